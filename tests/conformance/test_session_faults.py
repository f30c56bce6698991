"""A whole training over a bad line, with a board that dies, and interrupted where it hurts: always the same final bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgelearn.errors import Interrupted
from edgelearn.job import Job, prepare
from edgelearn.link.client import BoardRestarted, Client
from edgelearn.link.replay import RecordingTransport
from edgelearn.link.transport import Transport
from edgelearn.runs import RunStore
from edgelearn.session import Session, connect
from edgelearn.testing.faulty_pipe import FaultyPipe
from tests.faults import Mortal, Pulled, interrupt

STEPS = 1200


@pytest.fixture(scope="module")
def job() -> Job:
    return prepare("digits", "sim", steps=STEPS, seed=2)


@pytest.fixture(scope="module")
def clean(job: Job, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash that every run here must end in."""
    with RunStore(tmp_path_factory.mktemp("clean") / "runs.sqlite") as store, connect("sim") as board:
        return board.train(job, store).data["state_sha256"]


@pytest.mark.parametrize("rate", [1e-4, 1e-3, pytest.param(3e-3, marks=pytest.mark.slow)])
def test_a_bad_line_changes_nothing(job: Job, clean: str, rate: float) -> None:
    with Session("sim", wrap=lambda inner: FaultyPipe(inner, rate, seed=7)) as board:
        data = board.train(job).data
    assert data["state_sha256"] == clean
    assert data["ram"]["planned"] == data["ram"]["measured"]
    if rate >= 1e-3:
        assert data["link"]["retries"] > 0, "the line was not bad at all"


@pytest.mark.parametrize("deaths", [{25}, {60, 200}, {150, 151, 300}])
def test_a_board_that_restarts_is_brought_back(job: Job, clean: str, deaths: set[int]) -> None:
    pipes: list[Mortal] = []

    def wrap(inner: Transport) -> Transport:
        pipes.append(Mortal(inner, deaths))
        return pipes[0]

    with Session("sim", wrap=wrap) as board:
        assert board.train(job).data["state_sha256"] == clean
    assert pipes[0].writes > max(deaths), "it never died"


@pytest.mark.parametrize("power", [False, True], ids=["the board stays on", "the board restarts"])
def test_a_port_that_is_pulled_out_and_put_back_is_gone_on_with(
    job: Job, clean: str, power: bool, tmp_path: Path
) -> None:
    """Often, in counted time, in tests/link/test_attack.py; here with a terminal that goes away."""
    times, after = (4, 60_000) if power else (25, 4_000)
    port = Pulled(tmp_path / "ttyBOARD", after, times, power)
    try:
        with Session("sim", str(port.device)) as board:
            assert board.train(job).data["state_sha256"] == clean
    finally:
        port.close()
    assert port.pulls == times, "it was not pulled so often"


@pytest.mark.qemu
@pytest.mark.parametrize("board", ["microbit", "mps2-an386"])
def test_a_bad_line_to_an_emulated_board_changes_nothing(board: str) -> None:
    short = prepare("digits-tiny", board, steps=60, seed=2)

    def learnt(port: str, rate: float) -> tuple[bytes, int]:
        pipes: list[FaultyPipe] = []

        def wrap(inner: Transport) -> Transport:
            pipes.append(FaultyPipe(inner, rate, seed=7))
            return pipes[0]

        with Session(board if port == "qemu" else "sim", port, wrap=wrap) as session:
            client = session.client
            client.send_plan(short.plan if port == "qemu" else prepare("digits-tiny", "sim", steps=60, seed=2).plan)
            client.init(2)
            order = short.order(0, 60)
            client.learn(
                lambda k: (short.x_train[order[k]].tobytes(), int(short.data.y_train[order[k]])), 0, 60, _heard
            )
            return client.read_state(short.state_bytes), pipes[0].faults

    bad, faults = learnt("qemu", 1e-3)
    assert faults > 3
    assert bad == learnt("sim", 0.0)[0]


def _heard(step: int, guesses: list[int]) -> None:
    """Nobody wants to know."""


@pytest.mark.parametrize(
    ("method", "nth"),
    [(m, n) for m, n in {"send_plan": 1, "init": 1, "infer": 2, "learn": 2, "read_state": 2, "stats": 1}.items() for n in range(1, n + 1)],
)  # fmt: skip
def test_ctrl_c_anywhere_leaves_a_run_that_resumes(
    job: Job, clean: str, method: str, nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunStore(tmp_path / "own.sqlite") as store:
        with monkeypatch.context() as patch, connect("sim") as board:
            interrupt(patch, method, nth)
            with pytest.raises(Interrupted, match="is kept up to step"):
                board.train(job, store, evaluate_before=True)
        run = store.list()[0]
        assert run.status == "interrupted"
        with connect("sim") as board:
            assert board.resume(run.id, store).data["state_sha256"] == clean


@pytest.mark.parametrize("method", ["send_plan", "init"])
def test_ctrl_c_while_a_restarted_board_is_set_up_again(
    job: Job, clean: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the board holds then is no state of the run, and must not be stored as one."""
    restarted = [False]
    original = Client.learn

    def learn(self: Client, *args: Any, **kwargs: Any) -> int:
        if self.step > 0 and not restarted[0]:
            restarted[0] = True
            self.send_plan(prepare("digits-tiny", "sim", steps=10).plan)  # as empty as after a reset
            raise BoardRestarted(self.hello)
        return original(self, *args, **kwargs)

    with RunStore(tmp_path / "own.sqlite") as store:
        with monkeypatch.context() as patch, connect("sim") as board:
            patch.setattr(Client, "learn", learn)
            interrupt(patch, method, 1, lambda: restarted[0])
            with pytest.raises(Interrupted):
                board.train(job, store)
        run = store.list()[0]
        with connect("sim") as board:
            assert board.resume(run.id, store).data["state_sha256"] == clean


def test_a_recorded_session_replays(tmp_path: Path) -> None:
    job = prepare("digits-tiny", "sim", steps=30)
    log = tmp_path / "session.elog"
    with Session("sim", wrap=lambda inner: RecordingTransport(inner, log)) as board:
        recorded = board.train(job).data["state_sha256"]
    with Session("sim", f"replay:{log}") as board:
        assert board.train(job).data["state_sha256"] == recorded
