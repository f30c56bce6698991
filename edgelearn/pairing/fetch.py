"""Monocypher, which checks signatures and tags on the board: fetched on demand, pinned by hash, and no part of edgelearn.

python -m edgelearn.pairing.fetch           # from the Python index, where a package carries its sources
python -m edgelearn.pairing.fetch FILE      # from that package's archive, brought by other means
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from edgelearn.errors import EdgeLearnError, LinkLostError, MismatchError, MissingToolError, StorageFullError
from edgelearn.paths import cache_dir

# Monocypher 3.1.2, the release after its audit, BSD-2-Clause or CC0-1.0: the newest whose RFC 8032 form (SHA-512) is on the Python index.
# The files are those of the tag 3.1.2 of its repository, but for the version in their first line.
VERSION = "3.1.2"
ARCHIVE = "monocypher-py-0.0.3.tar.gz"
URL = f"https://files.pythonhosted.org/packages/ad/9a/b8981f6f6ea67b448c3d19e3d4b5f3f12209cafd5725520726236c527d17/{ARCHIVE}"
ARCHIVE_SHA256 = "9f1da74704ade57be8f1f93c75526342b0c4515a9548a388cc2f6ddc62ac94a3"
_INSIDE = "monocypher-py-0.0.3/src/monocypher-3.1.2-src/"
FILES = {
    "monocypher.c": "7d10bba489ae669a406e6842f717537053102a47f459469c8031c101ba2ae7b4",
    "monocypher.h": "bb0106c0f0af10c08422f7a8d0edfcca5387d2547c67a59b0fdd94c27211287c",
    "optional/monocypher-ed25519.c": "4914571bfed6ffb81d75343f6e9e318ed7c97a23e493ba041270e00d0102d2e1",
    "optional/monocypher-ed25519.h": "686b79791a55d41a7b448926aabb5da14205de63e03f20b9e52e2155b115ca74",
}
_MOST = 1 << 20  # bytes of the archive; it has 57 thousand
_HINT = "make pairing   # or, from anywhere: python -m edgelearn.pairing.fetch"


def folder() -> Path:
    return cache_dir() / f"monocypher-{VERSION}"


def sources() -> list[Path]:
    """The files, checked against their hashes.

    Raises:
        MissingToolError: they have not been fetched. MismatchError: they are not what they were.
    """
    found = [folder() / Path(name).name for name in FILES]
    for file, wanted in zip(found, FILES.values(), strict=True):
        if not file.is_file():
            raise MissingToolError("Pairing needs Monocypher, which has not been fetched.", _HINT)
        if hashlib.sha256(file.read_bytes()).hexdigest() != wanted:
            raise MismatchError(f"{file} is not the file that was fetched.", f"Remove {folder()}, then: {_HINT}")
    return found


def fetch(archive: Path | None = None) -> list[Path]:
    """Puts the files into the cache, from ``archive`` or the Python index; nothing of them is run.

    Raises:
        LinkLostError: the index cannot be reached. MismatchError: what came is something else.
        StorageFullError: the cache cannot be written.
    """
    try:
        return sources()
    except MissingToolError:
        _unpack(_download() if archive is None else _read(archive))
    return sources()


def _download() -> bytes:
    try:
        with urllib.request.urlopen(URL, timeout=60) as opened:
            return bytes(opened.read(_MOST))
    except OSError as error:
        hint = f"Bring the file here by other means, then: python -m edgelearn.pairing.fetch {ARCHIVE}"
        raise LinkLostError(f"Cannot fetch {URL}: {error}.", hint) from error


def _read(archive: Path) -> bytes:
    try:
        return archive.read_bytes()[:_MOST]
    except OSError as error:
        raise MissingToolError(f"Cannot read {archive}: {error.strerror}.", f"It is at {URL}") from error


def _unpack(raw: bytes) -> None:
    _demand(raw, ARCHIVE_SHA256, ARCHIVE)
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        texts = {name: _member(archive, name) for name in FILES}
    for name, text in texts.items():
        _demand(text, FILES[name], name)
    target = folder()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
            whole = Path(scratch) / "whole"
            whole.mkdir()
            for name, text in texts.items():
                (whole / Path(name).name).write_bytes(text)
            if not target.exists():
                os.rename(whole, target)
    except OSError as error:
        if not target.is_dir():  # else another process was quicker
            hint = "Set EDGELEARN_CACHE to another folder."
            raise StorageFullError(f"Cannot write {target}: {error.strerror}.", hint) from error


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    opened = archive.extractfile(_INSIDE + name)
    assert opened is not None
    return opened.read()


def _demand(raw: bytes, wanted: str, name: str) -> None:
    found = hashlib.sha256(raw).hexdigest()
    if found != wanted:
        raise MismatchError(f"{name} has SHA-256 {found}, not {wanted}.", "Do not use it; report where it came from.")


if __name__ == "__main__":
    try:
        fetch(Path(sys.argv[1]) if sys.argv[1:] else None)
    except EdgeLearnError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    print(f"Monocypher {VERSION} is in {folder()}")  # noqa: T201
