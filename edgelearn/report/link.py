"""What went over the link, and how well; what a sample took in time."""

from __future__ import annotations

from edgelearn.report.again import board_of
from edgelearn.report.markup import Markup
from edgelearn.report.stored import Stored
from edgelearn.report.words import NONE, count, facts, figure, number, section

TROUBLE = ("retries", "overruns", "bad_frames")


def link(stored: Stored) -> Markup:
    """Bytes, repairs and time."""
    if not stored.count("link", "bytes_tx") and stored.text("device") is not None:
        rows = [("time a sample", _time(stored)), ("samples learnt", _speed(stored))]
        return section("Time", figure("There was no link: this computer learnt. Measured on it.", facts(rows)))
    rows = [
        ("sent to the board", _bytes(stored, "bytes_tx")),
        ("sent back", _bytes(stored, "bytes_rx")),
        ("frames repeated", count(stored.number("link", "retries"))),
        ("bytes lost to a full ring", count(stored.number("link", "overruns"))),
        ("frames damaged", count(stored.number("link", "bad_frames"))),
        ("over the link", _speed(stored)),
        ("on the board", _time(stored)),
    ]
    return section("Link and time", figure(f"{quality(stored)} {where(stored)}", facts(rows)))


def quality(stored: Stored) -> str:
    """One sentence on the line."""
    counts = [stored.count("link", name) for name in TROUBLE]
    if all(n is None for n in counts):
        return "The run has kept nothing of its link."
    if not any(counts):
        return "Not a frame was repeated, lost or damaged. Counted by host and board."
    return "Every sample was learnt exactly once all the same. Counted by host and board."


def where(stored: Stored) -> str:
    """What a time of this run is worth."""
    if stored.at("emulated") is True:
        return "The board was emulated (QEMU): its times are this computer's, and say nothing of a real board."
    board = board_of(stored)
    if board is not None and board.family in ("sim", "torch"):
        return (
            "The firmware ran as a program on this computer: times are this computer's, not those of a microcontroller."
        )
    return "Times are measured: on the board by its own clock, over the link by this computer's."


def _bytes(stored: Stored, name: str) -> str:
    total, steps = stored.count("link", name), stored.count("steps")
    if total is None:
        return NONE
    return f"{total:,} B" + (f", {total / steps:.1f} a sample" if steps else "")


def _speed(stored: Stored) -> str:
    return number(stored.number("samples_per_s"), "a second")


def _time(stored: Stored) -> str:
    return number(stored.number("board_us_per_sample"), "us a sample")
