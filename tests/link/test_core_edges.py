"""What the firmware's link answers where little is left, or something goes wrong that no host does."""

from __future__ import annotations

import pytest

from edgelearn.link import messages
from edgelearn.link.frame import Decoder, encode
from edgelearn.link.messages import Message
from edgelearn.testing import PowerCutFlash
from tests.link.core_board import CoreBoard, task

CRC, SIZE, MEMORY, PHASE, STEP = -4, -5, -7, -12, -13
HASH = int.from_bytes(task().plan[-4:], "little")
PART = 300  # bytes of a plan in one frame


def ask(board: CoreBoard, name: str, data: bytes = b"", /, **fields: int) -> list[Message]:
    board.write(encode(messages.pack(name, 7, data, (), **fields)))
    return [messages.unpack(frame) for frame in Decoder().feed(board.read(0.0))]  # type: ignore[misc]


def code(board: CoreBoard, name: str, data: bytes = b"", /, **fields: int) -> int:
    (answer,) = ask(board, name, data, **fields)
    return answer["code"]


def send_plan(board: CoreBoard, plan: bytes) -> int:
    """The code of plan_end."""
    assert code(board, "plan_begin", size=len(plan), hash=int.from_bytes(plan[-4:], "little")) == 0
    for off in range(0, len(plan), PART):
        assert code(board, "plan_data", plan[off : off + PART], off=off) == 0
    return code(board, "plan_end")


def ready(**options: int | PowerCutFlash) -> CoreBoard:
    board = CoreBoard(**options)  # type: ignore[arg-type]
    assert send_plan(board, task().plan) == 0
    assert code(board, "init", seed=1) == 0
    return board


def test_a_plan_that_fills_the_pool_leaves_no_room_to_run_it() -> None:
    plan = task().plan
    for pool in (len(plan), len(plan) + 1, len(plan) + 7, len(plan) + 200):
        assert send_plan(CoreBoard(pool_bytes=pool), plan) == MEMORY
    assert code(CoreBoard(pool_bytes=len(plan) - 1), "plan_begin", size=len(plan), hash=HASH) == MEMORY


def test_more_of_a_plan_than_was_announced_is_refused_and_not_kept() -> None:
    board = CoreBoard()
    assert code(board, "plan_begin", size=40, hash=1) == 0
    assert code(board, "plan_data", bytes(41), off=0) == SIZE
    assert code(board, "plan_data", bytes(40), off=0) == 0
    assert code(board, "plan_data", bytes(1), off=40) == SIZE
    assert code(board, "plan_data", bytes(41), off=0) == 0  # a repetition, of which nothing is taken
    assert code(board, "plan_data", bytes(1), off=41) == SIZE


@pytest.mark.parametrize("wrong", [1, 3, 5])
def test_a_part_of_a_question_at_another_offset_tells_where_to_go_on(wrong: int) -> None:
    board = ready()
    x, _ = task().samples[0]
    assert ask(board, "infer", x[:4], id=8, off=0) == []
    (answer,) = ask(board, "infer", x[4:], id=8, off=wrong)
    assert (answer["code"], answer["off"], answer["id"]) == (STEP, 4, 8)
    (answer,) = ask(board, "infer", x[4:], id=9, off=4)
    assert (answer["code"], answer["off"], answer["id"]) == (STEP, 0, 9)
    (answer,) = ask(board, "infer", x[4:], id=8, off=4)
    assert answer["code"] == 0


class Unsure(PowerCutFlash):
    """A flash of which whole states are read wrong, and their parts right."""

    def read(self, off: int, n: int) -> bytes:
        data = super().read(off, n)
        return data if n != task().state_bytes else bytes((data[0] ^ 1, *data[1:]))


def test_a_load_that_fails_when_the_old_state_is_gone_waits_for_another() -> None:
    board = ready(flash=Unsure(8192, 1024))
    x, label = task().samples[0]
    assert code(board, "sample", x, step=0, off=0, label=label) == 0
    assert code(board, "save") == 0
    assert code(board, "load") == CRC
    assert code(board, "sample", x, step=1, off=0, label=label) == PHASE
    assert code(board, "save") == PHASE
    assert code(board, "init", seed=2) == 0
    assert code(board, "sample", x, step=0, off=0, label=label) == 0


def test_a_load_that_finds_nothing_changes_nothing() -> None:
    board = ready(flash=PowerCutFlash(8192, 1024))
    x, label = task().samples[0]
    assert code(board, "sample", x, step=0, off=0, label=label) == 0
    assert code(board, "load") == -15
    assert code(board, "sample", x, step=1, off=0, label=label) == 0
