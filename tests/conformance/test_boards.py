"""Every board, over its link: the same 1,000 samples leave the same bytes, in the memory that was planned."""

from __future__ import annotations

import pytest

from edgelearn import boards, images
from edgelearn.ir.interp import Interpreter
from edgelearn.job import Job, prepare
from edgelearn.session import Session, connect
from edgelearn.state import decode

STEPS = 1000
PORTS = [
    pytest.param("sim", "sim", id="sim"),
    pytest.param("microbit", "qemu", id="microbit", marks=[pytest.mark.qemu, pytest.mark.slow]),
    pytest.param("mps2-an386", "qemu", id="mps2-an386", marks=[pytest.mark.qemu, pytest.mark.slow]),
]


def interpreted(job: Job) -> Interpreter:
    net = Interpreter(job.module, job.recipe.train.seed)
    for i in job.order(0, job.steps):
        net.learn(job.x_train[i], int(job.data.y_train[i]))
    return net


@pytest.mark.parametrize(("board", "port"), PORTS)
def test_board_holds_the_interpreter_s_weights_in_planned_memory(board: str, port: str) -> None:
    job = prepare("digits", board, steps=STEPS, seed=5)
    with connect(board, port) as session:
        result = session.train(job)
    assert result.data["state_sha256"] == interpreted(job).sha256()
    ram = result.data["ram"]
    assert ram["state"] == job.state_bytes
    assert ram["arena"] == job.arena_bytes
    assert ram["planned"] == ram["measured"]
    if port == "qemu":
        check_image(board, ram, len(job.plan))


def check_image(board: str, ram: dict[str, int], plan: int) -> None:
    """The stack stays within its static bound, and everything within the chip."""
    image = images.build(boards.load(board))
    assert 0 < ram["stack"] <= image.stack_bound <= image.stack
    assert ram["plan"] == plan
    target = boards.load(board)
    assert ram["link"] <= target.link, "the board file promises less than the image takes"
    assert ram["measured"] + ram["plan"] + image.stack + ram["link"] <= target.ram


@pytest.mark.parametrize(("board", "port"), PORTS[2:])
def test_f32_on_a_board_with_an_fpu(board: str, port: str) -> None:
    job = prepare("digits", board, steps=300, dtype="f32")
    with connect(board, port) as session, connect("sim") as twin:
        accuracy = session.train(job).accuracy
        raw = session.client.read_state(job.state_bytes)
        twin.train(prepare("digits", "sim", steps=300, dtype="f32"))
        other = twin.client.read_state(job.state_bytes)
    assert accuracy > 0.5  # it has only seen 300 samples
    mine, theirs = decode(job.module, raw), decode(job.module, other)
    for name, value in mine.tensors.items():
        assert abs(value - theirs.tensors[name]).max() <= 1e-5


@pytest.mark.parametrize(("board", "port"), PORTS[1:2])
def test_state_survives_in_the_board_s_own_flash(board: str, port: str) -> None:
    """el_save and el_load over the link: what was learnt after the save is forgotten by the load."""
    with Session(board, port) as session:
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
