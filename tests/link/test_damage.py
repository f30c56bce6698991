"""No damaged frame is taken for another, and noise costs one good frame at most, on both ends of the link.

The guarantee of CRC-32 (every error of up to four bits in 371 bytes) holds for the frame, but bits turn on the line, where the frame is
COBS-encoded: so every pattern is tried there. ``python -m tests.fuzz.soak`` tries the longest frames too, 20 million streams and more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgelearn.link import messages
from edgelearn.link.frame import encode
from tests.fuzz.damage import Damage, build, damage, every_message, taken_by_python

CRC32_FOUR_BITS = 2974  # bits of data up to which CRC-32 finds all errors of four bits
DATA_BYTES = 32
SHORT = 12  # bytes on the line, up to which three bits are tried


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("frames"))


def assert_unharmed(found: Damage, frames: list[bytes], least: int) -> None:
    print(f"\n{found.streams:,} damaged streams: {found.wrong} wrong frames, {found.lost} lost more than one good one")  # noqa: T201
    assert found.streams >= least
    assert found.wrong == found.lost == 0
    assert len(found.sample) >= least // 1000
    assert all(taken_by_python(line, frames) == taken for taken, line in found.sample)


def test_the_longest_frame_is_one_that_the_crc_covers() -> None:
    assert 8 * messages.MAX_FRAME <= CRC32_FOUR_BITS


@pytest.mark.parametrize(("bits", "least"), [(1, 4_000), (2, 700_000)])
def test_flips_in_every_message(program: Path, bits: int, least: int) -> None:
    frames = every_message(DATA_BYTES)
    assert_unharmed(damage(program, frames, "flips", bits), frames, least)


def test_three_flips_in_the_shortest(program: Path) -> None:
    frames = [frame for frame in every_message(0) if len(encode(frame)) <= SHORT]
    assert_unharmed(damage(program, frames, "flips", 3), frames, 400_000)


def test_bytes_changed_lost_doubled_swapped_and_put_in(program: Path) -> None:
    frames = every_message(DATA_BYTES) + every_message(messages.MAX_FRAME, seed=1)
    assert_unharmed(damage(program, frames, "noise", 500_000), frames, 480_000)
