"""Every board that can run here, over its link: the same samples leave the same bytes, in the memory that was planned."""

from __future__ import annotations

from functools import cache

import pytest

from edgelearn import boards
from edgelearn.errors import DoesNotFitError
from edgelearn.ir.interp import Interpreter
from edgelearn.job import Job, image_of, prepare
from edgelearn.session import Session, connect
from edgelearn.state import decode
from tests import emulated

LONG = ("sim", "microbit", "mps2-an386")  # so many samples that weights are halved, on one core of each kind
STEPS, SHORT = 1000, 300  # the short run still moves exponents
SEED = 5
QEMU_BOARDS = emulated.params(emulated.EMULATED, pytest.mark.slow)
WITH_FPU = tuple(i for i in emulated.EMULATED if "f32" in boards.load(i).dtypes)


@cache
def interpreted(recipe: str, steps: int) -> str:
    """The hash of the state that the interpreter learns."""
    job = prepare(recipe, "sim", steps=steps, seed=SEED)
    net = Interpreter(job.module, SEED)
    for i in job.order(0, job.steps):
        net.learn(job.x_train[i], int(job.data.y_train[i]))
    return net.sha256()


def digits_for(board: str, steps: int) -> Job:
    """The digits, with the smaller net where the board has no memory for the other."""
    try:
        return prepare("digits", board, steps=steps, seed=SEED)
    except DoesNotFitError:
        return prepare("digits-tiny", board, steps=steps, seed=SEED)


@pytest.mark.parametrize("board", ["sim", *QEMU_BOARDS])
def test_board_holds_the_interpreter_s_weights_in_planned_memory(board: str) -> None:
    port = "sim" if board == "sim" else "qemu"
    job = digits_for(board, STEPS if board in LONG else SHORT)
    with connect(board, port) as session:
        result = session.train(job)
    assert result.data["state_sha256"] == interpreted(job.recipe.name, job.steps)
    if not job.board.has_plan:  # there the ring holds one frame, and a repetition that comes while it learns is lost
        assert result.data["link"]["overruns"] == 0
    ram = result.data["ram"]
    assert ram["state"] == job.state_bytes
    assert ram["arena"] == job.arena_bytes
    assert ram["planned"] == ram["measured"]
    if port == "qemu":
        check_image(job, ram)


def check_image(job: Job, ram: dict[str, int]) -> None:
    """The stack stays within its static bound, and everything within the chip."""
    image, board = image_of(job.board, job.module), job.board
    assert 0 < ram["stack"] <= (image.stack_bound or image.stack) <= image.stack
    assert ram["plan"] == (0 if board.has_plan else len(job.plan))  # one that is compiled in lies in flash
    assert ram["link"] <= board.link, "the board file promises less than the image takes"
    assert ram["measured"] + ram["plan"] + image.stack + ram["link"] <= board.ram


@pytest.mark.parametrize("board", emulated.params(WITH_FPU, pytest.mark.slow))
def test_f32_on_a_board_with_an_fpu(board: str) -> None:
    job = prepare("digits", board, steps=300, dtype="f32")
    with connect(board, "qemu") as session, connect("sim") as twin:
        accuracy = session.train(job).accuracy
        raw = session.client.read_state(job.state_bytes)
        twin.train(prepare("digits", "sim", steps=300, dtype="f32"))
        other = twin.client.read_state(job.state_bytes)
    assert accuracy > 0.5  # it has only seen 300 samples
    mine, theirs = decode(job.module, raw), decode(job.module, other)
    for name, value in mine.tensors.items():
        assert abs(value - theirs.tensors[name]).max() <= 1e-5


@pytest.mark.parametrize(
    "board", emulated.params(tuple(i for i in emulated.EMULATED if boards.load(i).nv), pytest.mark.slow)
)
def test_state_survives_in_the_board_s_own_flash(board: str) -> None:
    """el_save and el_load over the link: what was learnt after the save is forgotten by the load."""
    with Session(board, "qemu") as session:
        job = prepare("digits-tiny", board, steps=40)
        session.client.send_plan(job.plan)
        session.client.init(3)
        source = sample_source(job)
        session.client.learn(source, 0, 20, lambda step, guesses: None)
        kept = session.client.read_state(job.state_bytes)
        assert session.client.save() == 20
        session.client.learn(source, 20, 40, lambda step, guesses: None)
        assert session.client.read_state(job.state_bytes) != kept
        assert session.client.load() == 20
        assert session.client.read_state(job.state_bytes) == kept


def sample_source(job: Job):
    return lambda step: (job.x_train[step].tobytes(), int(job.data.y_train[step]))
