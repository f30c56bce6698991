from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelearn.link.frame import Decoder, encode, wire_size
from edgelearn.link.messages import MAX_FRAME, pack

FRAMES = st.binary(max_size=MAX_FRAME - 8).map(lambda data: pack("plan_data", 7, data, off=len(data)))


@settings(max_examples=60, deadline=None)
@given(st.lists(FRAMES, max_size=6), st.data())
def test_frames_survive_however_the_stream_is_cut(frames: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(map(encode, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    decoder = Decoder()
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert [frame for piece in pieces for frame in decoder.feed(piece)] == frames
    assert decoder.bad == 0


@settings(max_examples=60, deadline=None)
@given(FRAMES, st.data())
def test_a_damaged_frame_is_dropped_and_the_next_one_arrives(frame: bytes, data: st.DataObject) -> None:
    wire = bytearray(encode(frame))
    wire[data.draw(st.integers(0, len(wire) - 2))] ^= 1 << data.draw(st.integers(0, 7))
    decoder = Decoder()
    assert decoder.feed(bytes(wire) + b"\0" + encode(b"\x0e\1\0\0")) == [b"\x0e\1\0\0"]
    assert decoder.bad >= 1


def test_every_encoding_fits_its_announced_size_and_extra_zeros_are_no_frames() -> None:
    for n in range(MAX_FRAME - 8):
        frame = pack("plan_data", 1, bytes([1]) * n, off=0)
        assert len(encode(frame)) <= wire_size(len(frame))
    decoder = Decoder()
    assert decoder.feed(b"\0\0\0") == []
    assert decoder.bad == 0


def test_noise_without_end_is_not_kept() -> None:
    decoder = Decoder()
    for _ in range(100):
        assert decoder.feed(b"\x55" * 1000) == []
    assert len(decoder._tail) < 1000
    assert decoder.bad == 1
    good = encode(pack("results", 3))
    assert decoder.feed(b"\0" + good) == [pack("results", 3)]


def test_after_noise_without_end_every_frame_arrives() -> None:
    good = encode(pack("results", 3))
    for together in (True, False):
        decoder = Decoder()
        decoder.feed(b"\x55" * 5000)
        end = b"\x55" * 7 + b"\0"
        stream = [end + good + good, good] if together else [end, good, good, good]
        assert [len(decoder.feed(part)) for part in stream] == ([2, 1] if together else [0, 1, 1, 1])
        assert decoder.bad == 1
        decoder.feed(b"\x55" * 5000)
        assert decoder.feed(b"\0" + good) == [pack("results", 3)]
        assert decoder.bad == 2


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_the_longest_frame_is_taken_and_a_longer_one_is_not(extra: int) -> None:
    frame = b"\x0b\1" + (MAX_FRAME + extra - 4).to_bytes(2, "little") + b"\xff" * (MAX_FRAME + extra - 4)
    line = encode(frame)
    for parts in ([line], [line[:-1], line[-1:]], [line[i : i + 1] for i in range(len(line))]):
        decoder = Decoder()
        taken = [got for part in parts for got in decoder.feed(part)]
        assert taken == ([] if extra > 0 else [frame])
        assert decoder.bad == (extra > 0)


def test_a_length_field_that_lies_makes_a_frame_bad() -> None:
    decoder = Decoder()
    assert decoder.feed(encode(b"\x0e\1\5\0")) == []
    assert decoder.bad == 1
