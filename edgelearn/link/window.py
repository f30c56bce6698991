"""Go back N: which bytes may go out next, what an answer frees, and where to start again after a loss."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edgelearn.errors import ConfigError
from edgelearn.link.frame import encode, wire_size

Source = Callable[[int], tuple[bytes, int]]  # index -> (sample as the board wants it, label)
Position = tuple[int, int]  # (index of a sample, bytes of it)

MAX_SAMPLES = 8  # in flight
_MAX_FRAMES = 100  # in flight: well under half of the 256 sequence numbers
_RESERVE = 12  # encoded bytes of a `results` request, which must always fit the board's buffer too


class _Flying(NamedTuple):
    seq: int
    end: Position  # what the board expects next once it has this part
    size: int


class Window:
    """Samples ``first`` to ``last - 1`` on their way to a board.

    Args:
        frame: (seq, index, offset, label, part) -> frame; the frame is ``header`` bytes longer than the part.
        next_seq: gives a sequence number.
        credit: encoded bytes that the board can hold.
    """

    def __init__(
        self,
        source: Source,
        first: int,
        last: int,
        *,
        frame: Callable[[int, int, int, int, bytes], bytes],
        header: int,
        next_seq: Callable[[], int],
        credit: int,
    ) -> None:
        self.base: Position = (first, 0)  # the board has everything before
        self.last = last
        self._source, self._frame, self._header, self._next_seq = source, frame, header, next_seq
        self._credit = credit - _RESERVE
        self._next: Position = (first, 0)
        self._highest = first  # sample that was ever begun
        self.mark: Position = (first, 0)  # how far the board was ever known to have read: moves if anything moves
        self._flying: deque[_Flying] = deque()
        self._bytes = 0
        self._sample: tuple[int, bytes, int] | None = None

    @property
    def done(self) -> bool:
        return self.base[0] >= self.last

    @property
    def starved(self) -> bool:
        """Only parts from the middle of one sample are in flight: the board will answer nothing of its own accord."""
        return bool(self._flying) and self._next[0] == self.base[0]

    def sent(self, index: int) -> bool:
        """Can the board expect sample ``index``: has it been sent all before, and not been known to have it?"""
        return self.base[0] <= index <= self._highest

    def owns(self, seq: int) -> bool:
        """Is ``seq`` that of a frame in flight (and not of one given up)?"""
        return any(flying.seq == seq for flying in self._flying)

    def fill(self, frame_bytes: int) -> bytes:
        """Encoded frames, each of at most ``frame_bytes`` before its CRC, as many as may go out now."""
        out: list[bytes] = []
        while self._next[0] < min(self.last, self.base[0] + MAX_SAMPLES) and len(self._flying) < _MAX_FRAMES:
            index, off = self._next
            data, label = self._load(index)
            if off and off >= len(data):
                raise _too_short(index, len(data))
            part = data[off : off + frame_bytes - self._header]
            size = wire_size(self._header + len(part))
            if self._flying and self._bytes + size > self._credit:
                break
            seq, end = self._next_seq(), off + len(part)
            out.append(encode(self._frame(seq, index, off, label, part)))
            self._next = (index, end) if end < len(data) else (index + 1, 0)
            self._flying.append(_Flying(seq, self._next, size))
            self._bytes += size
        self._highest = max(self._highest, self._next[0])
        return b"".join(out)

    def accept(self, position: Position) -> int:
        """The board expects ``position`` next; returns how many more samples it has than we knew."""
        flying = self._flying
        while flying and flying[0].end <= position:
            self._bytes -= flying.popleft().size
        news = max(0, position[0] - self.base[0])
        self.base = max(self.base, position)
        self._next = max(self._next, self.base)
        self.mark = max(self.mark, self.base)
        return news

    def rewind(self, position: Position) -> None:
        """Nothing is in flight any more; go on at ``position``."""
        self.base = self._next = position
        self.mark = max(self.mark, position)
        self._flying.clear()
        self._bytes = 0

    def drained(self) -> None:
        """The board has taken what was in flight out of its buffer, whatever it made of it."""
        self.mark = max(self.mark, self._next)
        self._flying.clear()
        self._bytes = 0

    def _load(self, index: int) -> tuple[bytes, int]:
        if self._sample is None or self._sample[0] != index:
            self._sample = (index, *self._source(index))
        return self._sample[1], self._sample[2]


def _too_short(index: int, size: int) -> ConfigError:
    return ConfigError(
        f"Sample {index} has {size} bytes, and the board waits for more.",
        "Use data of the shape that the plan was made for.",
    )
