"""What the firmware's link costs a board: instructions for each byte received and sent, counted in QEMU."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edgelearn.bench import qemu
from edgelearn.boards import Board
from edgelearn.errors import EdgeLearnError
from edgelearn.link.frame import encode
from edgelearn.link.messages import RESULTS, pack
from edgelearn.paths import resource

SAMPLE_BYTES = 64  # of the frame that is received: the digits'


@dataclass(frozen=True)
class LinkCosts:
    """Instructions per byte on the wire."""

    byte_in: float
    byte_out: float


def count(board: Board) -> LinkCosts:
    """Builds a bench image with the board's flags, runs it in QEMU and counts.

    Raises:
        MissingToolError: the cross compiler or QEMU is not installed. ConfigError: the board has no bench image.
    """
    firmware = resource("firmware")
    sample = encode(pack("sample", 1, bytes(i % 17 for i in range(SAMPLE_BYTES)), step=70_000, off=0, label=3))
    reply = pack("ack", 1, bytes((1, 0) * RESULTS), step=70_001, off=0, code=0)
    with TemporaryDirectory(prefix="edgelearn-bench-") as folder:
        (Path(folder) / "bench_frame.h").write_text(_header(sample, reply))
        files = [qemu.sources() / "link_main.c", firmware / "core" / "frame.c"]
        include = [Path(folder), *(firmware / part for part in ("include", "hal", "core", "gen", "ports/common"))]
        flags = ["-std=c11", "-DEL_RING_BYTES=512", board.optimize]
        elf = qemu.build(board, files, Path(folder) / "link.elf", include, flags)
        said = qemu.execute(board, elf, qemu.counting())
    if not said.startswith("{"):
        raise EdgeLearnError("The image that counts the link's instructions printed no result.", said.strip()[-500:])
    counts = json.loads(said.splitlines()[0])
    return LinkCosts(counts["in"] / len(sample), counts["out"] / len(encode(reply)))


def _header(wire: bytes, reply: bytes) -> str:
    arrays = (("bench_wire", wire), ("bench_reply", reply))
    lines = [f"static const uint8_t {name}[] = {{{', '.join(map(str, values))}}};" for name, values in arrays]
    return "\n".join(["#include <stdint.h>", *lines, ""])
