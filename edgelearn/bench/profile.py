"""Where an image's instructions go, symbol by symbol, counted by a QEMU plugin that is compiled on first use."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from edgelearn.bench import qemu
from edgelearn.boards import Board
from edgelearn.errors import EdgeLearnError, MissingToolError
from edgelearn.paths import cache_dir


def per_symbol(elf: Path, board: Board) -> dict[str, int]:
    """Instructions executed per symbol, the greatest first; "?" is code without one.

    Inlined functions count for the function that they were inlined into.

    Args:
        elf: a bare-metal image that ends by itself.
        board: the one that it is for.

    Raises:
        MissingToolError: there is no compiler for the plugin, or no QEMU that takes one.
        EdgeLearnError: the image crashed or did not end.
    """
    plugin = _plugin()
    with TemporaryDirectory(prefix="edgelearn-profile-") as folder:
        counts = Path(folder) / "counts"
        try:
            qemu.execute(board, elf, ("-plugin", str(plugin)), {"EDGELEARN_COUNT_OUT": str(counts)})
        except EdgeLearnError as e:
            if "plugin" not in e.hint:
                raise
            raise MissingToolError("This QEMU takes no plugins.", "Install a QEMU built with --enable-plugins.") from e
        return _read(counts)


def _read(counts: Path) -> dict[str, int]:
    pairs = (line.split(maxsplit=1) for line in counts.read_text().splitlines())
    return dict(sorted(((name, int(count)) for count, name in pairs), key=lambda pair: -pair[1]))


def _plugin() -> Path:
    """The compiled plugin in the user's cache, under a name that changes with its source."""
    source = qemu.sources() / "count.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    library = cache_dir() / "plugins" / f"count-{digest}.so"
    if not library.is_file():
        library.parent.mkdir(parents=True, exist_ok=True)
        fresh = library.with_suffix(f".{os.getpid()}")
        qemu.host_library(source, fresh).replace(library)  # whole or not at all, for those who run at the same time
    return library
