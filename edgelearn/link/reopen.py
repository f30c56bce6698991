"""A port that comes back by itself after it was gone: a cable that was pulled, a board that left the bus while it restarted."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgelearn.errors import EdgeLearnError, LinkLostError, NoBoardError, PortBusyError
from edgelearn.link.transport import LineReopened, Transport

WITHIN_S = 5.0  # that a port may be gone
EVERY_S = 0.1  # between two looks whether it is back


class ReopeningTransport:
    """A transport that is opened anew when it breaks. What was on its way is lost, as on any line; the client sends it again.

    Args:
        opening: opens the port; called at once, and whenever it has to be opened again.
        closed: called when the transport is closed for good.
        within: seconds that the port may be gone. clock, sleep: other ones where time is counted.

    Attributes:
        losses: how often the port was gone and came back.

    Raises:
        NoBoardError, PortBusyError: as ``opening``.
    """

    def __init__(
        self,
        opening: Callable[[], Transport],
        closed: Callable[[], None] = lambda: None,
        *,
        within: float = WITHIN_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.losses = 0
        self._opening, self._closed = opening, closed
        self._within, self._clock, self._sleep = within, clock, sleep
        self._broken: LinkLostError | None = None
        self._inner = opening()

    @property
    def name(self) -> str:
        return self._inner.name

    def read(self, timeout: float) -> bytes:
        """As any transport's.

        Raises:
            LineReopened: the port was gone and is back.
            LinkLostError, PortBusyError: it stayed away, or somebody else has it now.
        """
        if self._broken is None:
            try:
                return self._inner.read(timeout)
            except LinkLostError as error:
                self._broken = error
        self._reopen(self._broken)
        raise LineReopened(self.name)

    def write(self, data: bytes) -> None:
        if self._broken is None:
            try:
                self._inner.write(data)
            except LinkLostError as error:
                self._broken = error

    def reset_input(self) -> None:
        try:
            self._inner.reset_input()
        except LinkLostError as error:
            self._broken = error

    def close(self) -> None:
        self._inner.close()
        self._closed()

    def _reopen(self, broken: LinkLostError) -> None:
        self._inner.close()
        give_up = self._clock() + self._within
        while True:
            try:
                self._inner = self._opening()
            except (NoBoardError, PortBusyError) as error:
                if self._clock() >= give_up:
                    raise _final(broken, error) from error
                self._sleep(EVERY_S)
            else:
                self._broken = None
                self.losses += 1
                return


def _final(broken: LinkLostError, error: EdgeLearnError) -> EdgeLearnError:
    return error if isinstance(error, PortBusyError) else broken
