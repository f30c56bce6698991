"""What a board says of itself, and whether it is still the same one."""

from __future__ import annotations

from dataclasses import dataclass

from edgelearn.errors import LinkLostError, VersionError, WrongBoardError
from edgelearn.link.messages import MIN_FRAME, PROTOCOL, TLV_PAIRING, Message
from edgelearn.link.refusals import WRITE_IMAGE, other_version
from edgelearn.pairing.session import Paired, read_tlv


@dataclass(frozen=True)
class Hello:
    """What a board says of itself; docs/link.md has each field's code.

    Attributes:
        proto: version of the link, ``major << 8 | minor``.
        boot_id: another one after each start of the board.
        board: id of the board that the image was built for. chip: 8 bytes that tell this chip from others.
        plan_hash: CRC-32 of its plan, whose last four bytes it is; 0: it has none.
        step: samples that its state has learnt. seed: of its first weights.
        max_frame, rx_buffer: bytes of a frame, and of frames on their way.
        pool: bytes for plan, state and arena.
        paired: None: the board is open, whoever reaches its line may write.
    """

    proto: int
    boot_id: int
    board: str
    chip: bytes
    firmware: int
    plan_hash: int
    step: int
    seed: int
    phase: int
    caps: int
    max_frame: int
    rx_buffer: int
    pool: int
    paired: Paired | None = None  # None: the board is open, whoever reaches its line may write


@dataclass(frozen=True)
class Stats:
    """What the board measured: memory in bytes, found by scanning, and counters since it started.

    ``samples`` have been learnt, in ``busy_us`` microseconds; 0 of these where the board has no clock. ``overruns`` are bytes lost to a
    full ring, ``bad_frames`` frames that came damaged. ``engine`` is empty but where the board is a program under Linux that cannot
    scan: state and arena are then what the memory of the program that it names grew by.
    """

    state: int
    arena: int
    stack: int
    stack_size: int
    link: int
    plan: int
    samples: int
    busy_us: int
    overruns: int
    bad_frames: int
    engine: str = ""


class BoardRestarted(LinkLostError):  # noqa: N818 (it tells what happened, and callers mostly handle it)
    """The board started anew and lost what it had learnt since. Restore a checkpoint and replay from its step."""

    def __init__(self, hello: Hello) -> None:
        super().__init__(f"The board {hello.board} keeps restarting.", "Check its power and cable.")
        self.hello = hello


def numbers(message: Message) -> dict[str, int]:
    """The fixed fields that are numbers."""
    return {name: value for name, value in message.fields.items() if isinstance(value, int)}


def read_hello(reply: Message) -> Hello:
    """What a ``hello_r`` says.

    Raises:
        VersionError: of a board that speaks another version of the link.
    """
    paired = read_tlv(dict(reply.tlvs).get(TLV_PAIRING))
    hello = Hello(board=_text(reply.fields["board"]), chip=_raw(reply.fields["chip"]), **numbers(reply), paired=paired)
    if hello.proto >> 8 != PROTOCOL >> 8:
        raise other_version(hello.proto)
    if hello.max_frame < MIN_FRAME:
        problem = f"The board takes frames of {hello.max_frame} bytes; this edgelearn needs at least {MIN_FRAME}."
        raise VersionError(problem, WRITE_IMAGE)
    return hello


def demand_same(before: Hello | None, hello: Hello, port: str) -> None:
    """Raises WrongBoardError where another board than before has taken its place at the port."""
    if before is None or (before.board, before.chip) == (hello.board, hello.chip):
        return
    raise WrongBoardError(
        f"Another board is at {port} now: {_identity(hello)}, and not {_identity(before)}.",
        "Plug the first one in again; or go on with this one from the last checkpoint: edgelearn resume",
    )


def _identity(hello: Hello) -> str:
    return f"{hello.board} with chip {hello.chip.hex()}" if any(hello.chip) else hello.board


def _raw(value: int | bytes) -> bytes:
    return value if isinstance(value, bytes) else b""


def _text(value: int | bytes) -> str:
    return _raw(value).rstrip(b"\0").decode("ascii", "replace")
