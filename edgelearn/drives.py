"""Boards that show up as a USB drive and program what is copied to it (DAPLink, the UF2 boot loaders)."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path

from edgelearn.errors import LinkLostError, StorageFullError

# Where a board's drive says what it is: DAPLink's "Unique ID: 9901...", UF2's "Board-ID: RPI-RP2".
_PAPERS = {"DETAILS.TXT": r"^Unique ID:\s*(\S+)", "INFO_UF2.TXT": r"^Board-ID:\s*(\S+)"}


def find(label: str) -> list[Path]:
    """Folders of the mounted drives called ``label``; a desktop that has two of them calls the second LABEL1."""
    name = re.compile(rf"{re.escape(label)}\d?")
    if sys.platform == "win32":
        return [root for root, volume in _windows_volumes() if volume == label]
    return [folder for folder in _mounts() if name.fullmatch(folder.name)]


def _mounts() -> list[Path]:
    if sys.platform == "darwin":
        return sorted(Path("/Volumes").glob("*"))
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    spelt = (re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), line.split()[1]) for line in lines)
    return sorted({Path(mount) for mount in spelt})


def _windows_volumes() -> list[tuple[Path, str]]:
    if sys.platform != "win32":
        return []
    import ctypes

    found: list[tuple[Path, str]] = []
    for letter in "DEFGHIJKLMNOPQRSTUVWXYZ":
        root, name = f"{letter}:\\", ctypes.create_unicode_buffer(64)
        if ctypes.windll.kernel32.GetVolumeInformationW(root, name, 64, None, None, None, None, 0):
            found.append((Path(root), name.value))
    return found


def identity(drive: Path) -> str:
    """What the board calls itself in the file that its drive shows; "" where there is none."""
    for paper, pattern in _PAPERS.items():
        try:
            said = (drive / paper).read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        if found := re.search(pattern, said, re.MULTILINE):
            return found[1]
    return ""


def copy(file: Path, drive: Path) -> None:
    """Copies ``file`` and sees that it has left this computer. The board may restart, and its drive go, with the last byte.

    Raises:
        StorageFullError: it does not fit. LinkLostError: it could not be written.
    """
    raw, target, written = file.read_bytes(), drive / file.name, 0
    try:
        with open(target, "wb", buffering=0) as out:
            while written < len(raw):
                written += out.write(raw[written:])
            os.fsync(out.fileno())
    except OSError as error:
        if written == len(raw) and not drive.exists():
            return
        if error.errno == errno.ENOSPC:
            raise StorageFullError(f"{file.name} does not fit on {drive}.", "Is it the board's drive?") from error
        raise LinkLostError(
            f"Cannot write {target}: {error.strerror}.", "Unplug the board and plug it in again."
        ) from error
