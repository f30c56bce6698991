"""How long to wait and how long a frame to dare: learnt from the line while it is used."""

from __future__ import annotations

from edgelearn.link.messages import MAX_FRAME, MIN_FRAME

_FIRST_WAIT, _SHORTEST_WAIT, _LONGEST_WAIT = 0.5, 0.1, 1.0  # seconds
_LOSSES = 2  # so many within _CLEAN arrivals halve the frames
_CLEAN = 64  # so many arrivals in a row double them again


class Pace:
    """``wait``: seconds until something unanswered is lost; ``frame``: bytes that a frame may have before its CRC.

    A long frame is cheap, but is lost whole when one of its bytes is damaged: at one bad byte in 100, frames of 371
    bytes arrive 1 time in 45, frames of 64 bytes every second time.
    """

    def __init__(self) -> None:
        self.wait = _FIRST_WAIT
        self._longest = self.frame = MIN_FRAME
        self._losses = self._clean = 0

    def limit(self, frame: int) -> None:
        """The board takes frames of up to ``frame`` bytes."""
        self._longest = self.frame = min(frame, MAX_FRAME)

    def arrived(self, seconds: float) -> None:
        """Something was answered within ``seconds``, at the first attempt."""
        self.wait = min(_LONGEST_WAIT, max(_SHORTEST_WAIT, 4 * seconds, self.wait / 2))
        self._clean += 1
        if self._clean >= _CLEAN:
            self._clean = self._losses = 0
            self.frame = min(self._longest, 2 * self.frame)

    def lost(self) -> None:
        """Something was not answered, or its gap was noticed."""
        self._clean = 0
        self._losses += 1
        if self._losses >= _LOSSES:
            self._losses = 0
            self.frame = max(MIN_FRAME, self.frame // 2)

    def hurried(self) -> None:
        """Something was answered twice: the second attempt was too early."""
        self.wait = min(_LONGEST_WAIT, 2 * self.wait)
