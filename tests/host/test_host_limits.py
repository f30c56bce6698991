"""The board `host` at its limits: nets without a plan, the closed form, divergence, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'edgelearn[torch]'")

from edgelearn.errors import ConfigError, DoesNotFitError, Interrupted, UsageError  # noqa: E402
from edgelearn.host.closed_form import closed_form  # noqa: E402
from edgelearn.host.torch_net import TorchNet  # noqa: E402
from edgelearn.job import prepare  # noqa: E402
from edgelearn.runs import RunStore  # noqa: E402
from edgelearn.session import Session, connect  # noqa: E402
from tests.host.runs import MODEL, difference, digits, recipe, stopper, tensors  # noqa: E402

# --- a net that no plan can hold ------------------------------------------------------------------------------------------------------


def test_a_net_beyond_plans_is_learnt_here_and_refused_elsewhere(tmp_path: Path, store: RunStore) -> None:
    """Its first layer reads more than 65,535 numbers."""
    x = np.random.default_rng(0).random((20, 260, 260)).astype(np.float32)
    np.savez(tmp_path / "large.npz", x=x, y=np.arange(20) % 2)
    model = '[model]\ninput = [260, 260]\nlayers = [3]\nclasses = 2\n[data]\nname = "large.npz"\n'
    large = recipe(tmp_path, 'name = "mono-forward"\nlr = 0.0001', "batch = 4\nsteps = 8\n", model)
    job = prepare(large, "host")
    assert job.plan_bytes == 0
    with connect("host") as session:
        run = session.train(job, store).run
        session.eval(run, store)
    with pytest.raises(ConfigError, match="beyond what a plan can say"):
        _ = job.plan
    with connect("sim") as session, pytest.raises(ConfigError, match="beyond what a plan can say"):
        session.eval(run, store)


# --- the closed form ------------------------------------------------------------------------------------------------------------------


CLOSED = 'name = "cascaded-forward"\nloss = "closed-form"\nridge = 0.01'


def test_the_closed_form_is_one_pass(tmp_path: Path, store: RunStore) -> None:
    job = prepare(recipe(tmp_path, CLOSED, "epochs = 7\nseed = 5\n"), "host")
    with connect("host") as session:
        result = session.train(job, store)
    assert (job.steps, result.data["steps"]) == (1400, 1400)
    assert result.accuracy > 0.75
    chosen = job.order(0, 1400)
    expected = closed_form(job.module, job.x_train[chosen], job.data.y_train[chosen], 5, 0.01)
    assert difference(tensors(store, result.run, job), expected) < 1e-6
    with connect("sim") as session:
        assert session.eval(result.run, store).accuracy == pytest.approx(result.accuracy, abs=0.01)
        with pytest.raises(UsageError, match="a board sees one") as caught:
            session.train(start=result.run, store=store)
    assert 'loss = "mse"' in caught.value.hint


def test_a_closed_form_that_is_stopped_begins_again(tmp_path: Path, store: RunStore) -> None:
    job = prepare(recipe(tmp_path, CLOSED), "host")
    with connect("host") as session:
        whole = session.train(job, store).data["state_sha256"]
        with pytest.raises(Interrupted, match="up to step 0"):
            session.train(job, store, stopper(500))
    run = store.list()[0].id
    assert store.newest_checkpoint(run) is None
    with connect("host") as session:
        assert session.resume(run, store).data["state_sha256"] == whole


def test_closed_forms_block_by_block(tmp_path: Path, store: RunStore) -> None:
    """Each head has its share of the samples; those of blocks that came first stay."""
    job = prepare(recipe(tmp_path, CLOSED), "host", schedule="block-by-block")
    with connect("host") as session:
        result = session.train(job, store)
    found = tensors(store, result.run, job)
    assert result.accuracy > 0.6
    assert all(np.abs(found[f"@b{i}.M"]).max() > 0 for i in range(2))


# --- what is wrong, and what is refused -----------------------------------------------------------------------------------------------


def test_divergence_is_reported_as_on_boards(tmp_path: Path, store: RunStore) -> None:
    job = prepare(
        recipe(tmp_path, 'name = "cascaded-forward"\nloss = "mse"\nlr = 100.0', "batch = 32\n"), "host", epochs=1
    )
    told = []
    with connect("host") as session, np.errstate(all="ignore"):
        result = session.train(job, store, told.append)
    assert "diverged" in {finding["kind"] for finding in result.data["health"]}
    assert "diverged" in {finding.kind for at in told for finding in at.health}
    assert store.metrics(result.run)["not_finite"][0][1] > 0


def refused(store: RunStore, error: type[Exception], said: str, **given: Any) -> str:
    with connect("host") as session, pytest.raises(error, match=said) as caught:
        session.train("digits", store, **{"dtype": "f32", "steps": 10, **given})
    return str(getattr(caught.value, "hint", ""))


def test_what_the_host_refuses(tmp_path: Path, store: RunStore) -> None:
    assert "--board sim" in refused(store, ConfigError, "does not compute in int8", dtype="int8")
    assert "sgd, momentum, adam" in refused(store, UsageError, "'lion' is no optimizer", optimizer="lion")
    assert "flip-crop" in refused(store, UsageError, "'rotate' is no augmentation", augment="rotate")
    assert "mean, sum" in refused(store, UsageError, "'max' is no scale", scale="max")
    refused(store, UsageError, "adam's steps are as large", scale="sum", optimizer="adam")
    with pytest.raises(ConfigError, match="no device 'tpu'"):
        connect("host", "tpu")
    count = len(store.list())
    with connect("host") as session:
        closed = recipe(tmp_path, CLOSED)
        with pytest.raises(UsageError, match="takes no steps; the optimizer is adam"):
            session.train(closed, store, optimizer="adam")
        flat = recipe(tmp_path, 'name = "mono-forward"', 'augment = "flip-crop"\n', MODEL.replace("[8, 8]", "[64]"))
        with pytest.raises(ConfigError, match=r"line 11: 'augment': samples of shape \[64\] are no images"):
            session.train(flat, store)
    assert len(store.list()) == count, "nothing was recorded"


@pytest.mark.parametrize(
    ("given", "said"),
    [({"batch": 2}, "the batch is 2"), ({"optimizer": "adam"}, "the optimizer is adam"), ({"augment": "flip-crop"}, "flip-crop")],
)  # fmt: skip
def test_what_only_the_host_does_is_refused_elsewhere(given: dict[str, Any], said: str, store: RunStore) -> None:
    count = len(store.list())
    with Session("sim") as session, pytest.raises(UsageError, match=said) as caught:
        session.train("digits", store, steps=10, **given)
    assert "--board host" in caught.value.hint
    assert len(store.list()) == count


def test_rules_of_the_host_compile_for_it_and_the_sim_board(tmp_path: Path) -> None:
    dfa = recipe(tmp_path, 'name = "cascaded-forward-dfa"')
    for board in ("host", "sim"):
        assert prepare(dfa, board).rule_name == "cascaded-forward-dfa"
    with pytest.raises(
        ConfigError, match="line 8: the rule cascaded-forward-dfa is not for boards: its blocks learn"
    ) as caught:
        prepare(dfa, "mps2-an386")
    assert "--board host" in caught.value.hint


def test_a_gpu_that_is_full_says_so(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, x: Any, y: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ...")

    monkeypatch.setattr(TorchNet, "learn", full)
    with connect("host") as session, pytest.raises(DoesNotFitError, match=r"memory: CUDA out of memory\.\n") as caught:
        session.train(digits(steps=20, batch=10), store)
    assert "--batch" in caught.value.hint
    assert store.list()[0].status == "failed"
