"""The ways to train a row: the C core in this process, torch in mini-batches, torch's autograd, and a board over its link."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgelearn.bench import hostrun
from edgelearn.bench.methods import Method
from edgelearn.bench.results import Checkpoint, Result
from edgelearn.compiler import Compiled, compile_net
from edgelearn.data.datasets import Dataset
from edgelearn.data.files import Array
from edgelearn.errors import ConfigError, LinkLostError
from edgelearn.job import Job, drop_steps, prepare
from edgelearn.passes.quantize import Calibration
from edgelearn.recipe import DataSpec, ModelSpec, Recipe, RuleSpec, TrainSpec
from edgelearn.rules import Rule

if TYPE_CHECKING:
    from edgelearn.host.torch_net import TorchNet
    from edgelearn.runs import RunStore

REPORTS = 50  # an epoch
Show = Callable[[int, int], None]  # (samples learnt, of how many)


@dataclass(frozen=True)
class Task:
    """One training to do: a row, on data as the row wants them."""

    method: Method
    data: Dataset
    seed: int
    steps: int
    kept: Checkpoint
    show: Show


class Trained(Protocol):
    """A trained net."""

    def read(self, method: Method) -> Result:
        """Its accuracy on the test set as ``method`` reads it, which differs from the trained one in its readout at most."""
        ...


# --- the C core -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _InCore:
    run: hostrun.HostRun
    task: Task

    def read(self, method: Method) -> Result:
        task, run = self.task, self.run
        if dict(method.readout) != dict(task.method.readout):
            run = hostrun.read_as(run, method.found_rule(), task.data, task.seed)
        return Result(run.accuracy(task.data), run.seconds, run.ram, "device", task.steps)


def core(task: Task) -> Trained:
    """Bit for bit the boards' arithmetic; a checkpoint after every epoch."""
    method, data = task.method, task.data
    run = hostrun.train(
        method.found_rule(), method.net(data.classes), data, method.dtype, task.steps, task.seed, method.drops,
        lambda done, total, _: task.show(done, total), task.kept,
    )  # fmt: skip
    return _InCore(run, task)


# --- torch ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _InTorch:
    net: TorchNet
    compiled: Compiled
    seconds: float
    ram: int
    task: Task

    def read(self, method: Method) -> Result:
        net, task = self.net, self.task
        if dict(method.readout) != dict(task.method.readout):
            net = _read_as(self.net, _compiled(method.found_rule(), task))
        right = net.infer(self.compiled.encode(task.data.x_test)) == task.data.y_test
        return Result(float(right.mean()), self.seconds, self.ram, "host", task.steps)


def _read_as(net: TorchNet, compiled: Compiled) -> TorchNet:
    """The trained weights in a module that reads them otherwise.

    Raises:
        ConfigError: it keeps other weights.
    """
    read, trained = _torch_net(compiled, net.seed, net.optimizer), net.tensors()
    if missing := sorted(read.tensors().keys() - trained.keys()):
        raise ConfigError(
            f"The two ways of reading differ in {', '.join(missing)}.", "Give each a training of its own."
        )
    read.load({name: trained[name] for name in read.tensors()})
    return read


def torch(task: Task) -> Trained:
    """The rule as it stands, in mini-batches; a checkpoint after every epoch."""
    compiled = _compiled(task.method.found_rule(), task)
    net = _torch_net(compiled, task.seed, task.method.optimizer)
    seconds = _learn(net, compiled.encode(task.data.x_train), task)
    return _InTorch(net, compiled, seconds, _bytes_here(compiled), task)


def frozen(task: Task) -> Trained:
    """As ``torch``, in as many passes as the row wants over what the frozen part of the net gave once."""
    from edgelearn.host.frozen import FrozenNet

    compiled = _compiled(task.method.found_rule(), task)
    net = FrozenNet(compiled.module, task.seed, optimizer=task.method.optimizer, level=task.method.level)
    started = time.perf_counter()
    features = net.features(compiled.encode(task.data.x_train))
    seconds = time.perf_counter() - started + _learn(net, features, task)
    return _InTorch(net, compiled, seconds, _bytes_here(compiled), task)


def autograd(task: Task) -> Trained:
    """Backpropagation through all that the rule's ``predict`` does."""
    from edgelearn.host.autograd import AutogradNet

    compiled = _compiled(task.method.found_rule(), task)
    net = AutogradNet(compiled.module, task.method.rate, task.seed, optimizer=task.method.optimizer)
    seconds = _learn(net, compiled.encode(task.data.x_train), task)
    return _InTorch(net, compiled, seconds, net.bytes_of_a_step(), task)


def _bytes_here(compiled: Compiled) -> int:
    return compiled.module.integer("state_bytes") + compiled.module.integer("arena_bytes")


def _torch_net(compiled: Compiled, seed: int, optimizer: str) -> TorchNet:
    from edgelearn.host.torch_net import TorchNet

    return TorchNet(compiled.module, seed, optimizer=optimizer)


def _compiled(rule: Rule, task: Task) -> Compiled:
    data, method = task.data, task.method
    calibration = Calibration(data.x_train.reshape(len(data.x_train), -1), data.y_train, task.seed)
    return compile_net(rule, method.net(data.classes), calibration, "f32", drop_steps(method.drops, task.steps))


def _learn(net: TorchNet, x: Array, task: Task) -> float:
    """Learns what is left to learn from ``x``, which is what the net takes; returns the seconds of training in all."""
    from edgelearn.host import batches

    found = task.kept.load()
    seconds = 0.0
    if found is not None:
        net.load_state_dict(found[0])
        seconds = found[1]
    y, method = task.data.y_train, task.method
    while net.step < task.steps:
        started, end = time.perf_counter(), min((net.step // len(x) + 1) * len(x), task.steps)
        batches.train(
            net, x, y, end, method.batch, task.seed, lambda done, total, _: task.show(done, task.steps),
            max(method.batch, len(x) // REPORTS), method.augment, image_shape(task.data) if method.augment else None,
        )  # fmt: skip
        seconds += time.perf_counter() - started
        if net.step < task.steps:
            task.kept.save(net.state_dict(), seconds)
    return seconds


def image_shape(data: Dataset) -> tuple[int, int, int]:
    if len(data.shape) not in (2, 3):
        raise ConfigError(f"Samples of shape {list(data.shape)} are no images to augment.", "Give input as a map.")
    height, width, *channels = data.shape
    return height, width, channels[0] if channels else 1


ENGINES: dict[str, Callable[[Task], Trained]] = {
    "core": core,
    "torch": torch,
    "frozen": frozen,
    "bptt": autograd,
    "end-to-end": autograd,
}


# --- a board ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BoardRows:
    """Rows of the C core, learnt on a board over its link; its runs go into a store of the bench, and go on from there."""

    board: str
    port: str | None
    root: str | None  # folder of the data sets
    case: str
    store: Path

    def job(self, method: Method, data: str, classes: int, seed: int) -> Job:
        """What the board is sent.

        Raises:
            ConfigError: the row changes its data, which the link does not. DoesNotFitError: too large for the board.
        """
        if method.standardise or method.passes != int(method.passes):
            problem = f"Row '{method.name}' standardises its data or ends within a pass; a board's rows do neither."
            raise ConfigError(problem, "Choose other rows with --rows, or leave --board out.")
        rule = RuleSpec(method.rule, {**method.params, **method.readout})
        train = TrainSpec(dtype=method.dtype, epochs=int(method.passes), seed=seed, drops=tuple(method.drops))
        model = ModelSpec(input=method.input, layers=method.stack(), classes=classes)
        recipe = Recipe(model, rule, DataSpec(data, self.root), train, text="", path=Path(f"{self.case}.toml"))
        return prepare(recipe, self.board)

    def train(self, method: Method, data: str, classes: int, seed: int, show: Show) -> Result:
        """One run on the board; an unfinished one of the same recipe goes on.

        Raises:
            LinkLostError: the board is gone; what it learnt is kept.
        """
        from edgelearn.runs import RunStore
        from edgelearn.session import Progress, Session

        job = self.job(method, data, classes, seed)

        def progress(at: Progress) -> None:
            show(at.step, at.steps)

        try:
            with RunStore(self.store) as runs, Session(job.board, self.port) as session:
                begun = _unfinished(runs, job)
                done = session.resume(begun, runs, progress) if begun else session.train(job, runs, progress)
        except LinkLostError as error:
            raise LinkLostError(error.message, "Give the same command again to go on.") from error
        told = done.data
        ram: dict[str, Any] = told["ram"]
        seconds = told["steps"] / told["samples_per_s"]  # the speed is that of what was learnt since it went on
        return Result(told["accuracy"], seconds, ram["measured"], "device", told["steps"])


def _unfinished(runs: RunStore, job: Job) -> str | None:
    """The newest run of this job that is not finished and has something to go on from."""
    text = job.recipe.as_toml()
    for run in runs.list():
        same = (run.recipe, run.board, run.plan) == (text, job.board.id, job.plan)
        if same and run.status != "finished" and runs.newest_checkpoint(run.id) is not None:
            return run.id
    return None
