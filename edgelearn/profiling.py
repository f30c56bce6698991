"""What learning costs on a board: time, memory and energy, a training sample and a guess at a time, each figure with where it comes from.

Windows are measured one after the other: ``load`` (plan and state go to the board), ``idle`` (it waits), ``learn``, ``infer``. What
was not measured is None and has a reason. An estimate from the board's data sheet is called one and stands apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgelearn import boards, recipe
from edgelearn.agent.identity import identify
from edgelearn.boards import Board
from edgelearn.device import Device, Link
from edgelearn.energy.choose import BUILT_IN, Place, Tried, choose
from edgelearn.energy.external import External
from edgelearn.energy.meter import Meter, Mute, Reading
from edgelearn.errors import ConfigError, UsageError
from edgelearn.job import Job, prepare
from edgelearn.link.client import Stats
from edgelearn.restore import restore_job
from edgelearn.runs import Checkpoint, RunStore
from edgelearn.session import Session
from edgelearn.training import check

STEPS = 1000
IDLE_S = 2.0
COUNTER_WRAPS_US = 1 << 32  # the board's clock of its own work
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

Told = Callable[[str, int, int], None]  # (phase, samples done, of how many)


@dataclass(frozen=True)
class Window:
    """A phase as this computer saw it. ``cpu_s`` is what our process computed in it, ``began`` seconds since 1970."""

    name: str
    began: float
    cpu_s: float
    reading: Reading

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "within": None, "began": self.began, "cpu_s": self.cpu_s, **asdict(self.reading),
            "watts": self.reading.watts,
        }  # fmt: skip


def profile(
    what: str,
    board: str | None = None,
    port: str | None = None,
    energy: str = "auto",
    steps: int = STEPS,
    idle_s: float = IDLE_S,
    store: RunStore | None = None,
    token_file: Path | None = None,
    on_progress: Told = lambda phase, done, total: None,
    **overrides: Any,
) -> dict[str, Any]:
    """Learns ``steps`` samples and classifies as many, and says what that cost; nothing is kept in the run store.

    Args:
        what: a recipe, which begins with first weights, or a run, which goes on from what it has learnt.
        board: None: the run's own, or sim. energy: as ``edgelearn.energy.choose.choose`` takes it.
        idle_s: how long the board waits to have its idle power measured; not done without a meter.

    Raises:
        UsageError, ConfigError: as for a training, or there is no such meter, or its file is wrong.
    """
    job, checkpoint, port = _subject(what, board, port, store, steps, overrides)
    check(job)
    if port is not None and port.startswith("replay:"):
        raise UsageError("A recording takes neither time nor energy.", "Profile the board itself.")
    with Session(job.board, port, token_file=token_file) as session:
        meter, tried = choose(energy, place_of(session.device, job.board, port))
        try:
            return measure(session.device, job, meter, tried, port, checkpoint, steps, idle_s, on_progress)
        finally:
            meter.close()


def _subject(
    what: str, board: str | None, port: str | None, store: RunStore | None, steps: int, given: dict[str, Any]
) -> tuple[Job, Checkpoint | None, str | None]:
    """The job, the state that it begins with (None: the first), and the way to its board."""
    if what in recipe.shipped() or Path(what).is_file() or what.endswith(".toml"):
        return prepare(what, board or boards.DEFAULT, steps=steps, **given), None, port
    if store is None:
        with RunStore() as own:
            return _subject(what, board, port, own, steps, given)
    try:
        run = store.get(what)
    except ConfigError as error:
        hint = f"Recipes: {', '.join(recipe.shipped())}, or a file. {error.hint}"
        raise ConfigError(f"'{what}' is neither a recipe nor a run.", hint) from error
    if given:
        raise UsageError(f"A run is what it was; --{next(iter(given))} is for recipes.", "Leave it out.")
    job = restore_job(run, boards.load(board) if board else None)
    if job.board.is_host:
        raise UsageError("The host learns no more samples of a run that is at its end.", "Profile its recipe.")
    own_way = run.port if board in (None, run.board) else None
    return job, store.newest_checkpoint(run.id), port or own_way


# --- what the board is to a meter ---------------------------------------------------------------------------------------------------


def place_of(device: Device, board: Board, port: str | None) -> Place:
    """Which of this computer's own meters measure what learns; of a board at the end of a line none does."""
    if board.is_host:
        gpu = _gpu(port)
        return Place(
            ("nvml", "ina3221", "rapl") if gpu else ("ina3221", "rapl"),
            "it measures a GPU, and the net is on the CPU",
            gpu,
        )
    if port == "qemu" or (isinstance(device, Link) and device.emulated):
        return Place((), f"the energy of an emulator is not that of a {board.id}")
    remote = port is not None and port.startswith("tcp://")
    if board.id == boards.DEFAULT and not remote:
        return Place(("ina3221", "rapl"), "it measures a GPU, and sim runs on the CPU")
    if board.is_linux and remote and _here(board, port or ""):
        return Place(BUILT_IN[1:], "it measures a GPU, and the agent does not say whether it uses one")
    return Place(
        (),
        f"it measures this computer, and {board.id} is at the other end of a line: give csv:FILE of a meter in its supply",
    )


def _here(board: Board, port: str) -> bool:
    """Is the agent on this computer? A tunnel (ssh -L) from a computer of the same kind looks the same."""
    return port.removeprefix("tcp://").rpartition(":")[0] in LOOPBACK and identify().id == board.id


def _gpu(port: str | None) -> str:
    """The UUID of torch's device, by which NVML knows it too; empty if it is no GPU."""
    if port is None or not port.startswith("cuda"):
        return ""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(port).uuid}"


# --- measuring ----------------------------------------------------------------------------------------------------------------------


class Watch:
    """Windows, one after the other, of which the meter is asked when all are over."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._marks: list[tuple[str, Any, Any, float]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        cpu, begin = time.process_time(), self._meter.mark()
        yield
        end = self._meter.mark()
        self._marks.append((name, begin, end, time.process_time() - cpu))
        if name == "learn" and isinstance(self._meter, External):
            self._meter.marked(begin, end)

    def windows(self) -> dict[str, Window]:
        self._meter.close()
        read = self._meter.between
        return {name: Window(name, begin.wall, cpu, read(begin, end)) for name, begin, end, cpu in self._marks}


def measure(
    device: Device,
    job: Job,
    meter: Meter,
    tried: tuple[Tried, ...],
    port: str | None,
    checkpoint: Checkpoint | None,
    steps: int = STEPS,
    idle_s: float = IDLE_S,
    on_progress: Told = lambda phase, done, total: None,
) -> dict[str, Any]:
    """The profile of ``job`` on an open device, as the object that ``profile --json`` prints."""
    watch = Watch(meter)
    with watch.phase("load"):
        device.put(job, checkpoint)
    if idle_s > 0 and not isinstance(meter, Mute):
        with watch.phase("idle"):
            time.sleep(idle_s)
    first, before = device.step, _stats(device)
    with _allocator(job, port) as memory, watch.phase("learn"):
        device.learn(job, _last(job, first, steps), lambda step, *_: on_progress("learn", step - first, steps))
    after, learnt = _stats(device), device.step - first
    rows = job.x_test[:steps]
    with watch.phase("infer"):
        device.infer(rows)
    windows = watch.windows()
    costs = device.costs(job)
    own = _board_time(before, after, learnt, windows["learn"], costs)
    phases = [window.as_dict() for window in windows.values()]
    phases.append(_link(windows["learn"], own, learnt))
    return {
        "board": job.board.id, "device": costs["device"], "emulated": costs["emulated"], "recipe": job.recipe.name,
        "net": str(job.compiled.net), "rule": job.rule_name, "dtype": job.compiled.dtype, "from_step": first,
        "samples": {"learn": learnt, "infer": len(rows)},
        "energy": {"meter": meter.name, "source": meter.source, "tried": [asdict(t) for t in tried]},
        "phases": phases,
        "per_sample": {
            "learn": _per_sample(windows["learn"], learnt, own, estimate(job.board, own, port, costs)),
            "infer": _per_sample(windows["infer"], len(rows), OwnTime(None, "boards count the time of learning alone"), None),
        },
        "ram": costs["ram"] | {"allocator": memory}, "link": costs["link"],
    }  # fmt: skip


def _last(job: Job, first: int, steps: int) -> int:
    """The step to learn up to: of the stage that the board holds, which at the end of a run has no end."""
    return first + steps if first >= job.steps else min(first + steps, job.stage_at(first).last)


def _stats(device: Device) -> Stats | None:
    return device.client.stats() if isinstance(device, Link) else None


@contextmanager
def _allocator(job: Job, port: str | None) -> Iterator[dict[str, Any]]:
    """The most that torch's own allocator held while learning, on a GPU; NVML would count the whole card."""
    told: dict[str, Any] = {"peak": None, "reason": "only torch on a GPU counts what it allocates"}
    on_gpu = job.board.is_host and port is not None and port.startswith("cuda")
    if not on_gpu:
        yield told
        return
    import torch

    torch.cuda.reset_peak_memory_stats(port)
    yield told
    told.update(peak=torch.cuda.max_memory_allocated(port), reason="")


# --- a sample -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OwnTime:
    """Seconds a sample by the board's own clock; ``source`` says which clock that is."""

    seconds: float | None
    reason: str = ""
    source: str = ""


def _board_time(
    before: Stats | None, after: Stats | None, learnt: int, window: Window, costs: dict[str, Any]
) -> OwnTime:
    if before is None or after is None:
        return OwnTime(costs["board_us_per_sample"] / 1e6, "", "this computer's clock, around torch")
    if window.reading.seconds * 1e6 > COUNTER_WRAPS_US:
        return OwnTime(None, "the board's clock wraps after 71 minutes: take fewer samples")
    busy = (after.busy_us - before.busy_us) % COUNTER_WRAPS_US
    if busy == 0 or learnt == 0:
        return OwnTime(None, f"the board's clock did not advance in {learnt:,} samples")
    clock = "the emulator's clock, not the chip's" if costs["emulated"] else "the board's own clock"
    return OwnTime(busy / 1e6 / learnt, "", clock)


def _link(learn: Window, own: OwnTime, learnt: int) -> dict[str, Any]:
    """What of the time of learning the board did not compute in: wire, host, and each waiting for the other."""
    total = learn.reading.seconds
    busy = None if own.seconds is None else own.seconds * learnt
    told = {
        "name": "link",
        "within": "learn",
        "seconds": None,
        "joules": None,
        "source": "",
        "period_s": None,
        "sigma": None,
    }
    told["reason"] = "no meter tells the link from the rest of learning"
    if own.source != "the board's own clock" or busy is None:
        return told | {"reason": f"not told apart: {own.reason or own.source}"}
    if busy > total:
        return told | {"reason": f"the board's clock runs ahead of ours: {busy:.3g} s in {total:.3g} s"}
    return told | {"seconds": total - busy}


def _per_sample(window: Window, n: int, own: OwnTime, guess: dict[str, Any] | None) -> dict[str, Any]:
    """A window's figures, shared out evenly. Nothing is subtracted, idle power neither."""
    reading, share = window.reading, max(n, 1)
    return {
        "seconds": reading.seconds / share, "cpu_s": window.cpu_s / share,
        "board_s": own.seconds, "board_source": own.source, "board_reason": own.reason,
        "joules": None if reading.joules is None else reading.joules / share,
        "sigma": None if reading.sigma is None else reading.sigma / share,
        "source": reading.source, "period_s": reading.period_s, "reason": reading.reason, "estimate": guess,
    }  # fmt: skip


def estimate(board: Board, own: OwnTime, port: str | None, costs: dict[str, Any]) -> dict[str, Any]:
    """Active current x supply x the board's own time: what the chip alone would use by its data sheet. It is no measurement."""
    told: dict[str, Any] = {"kind": "estimate", "joules": None, "reference": "", "reason": ""}
    if not board.active_ua:
        return told | {"reason": f"the file of {board.id} has no active_ua from a data sheet"}
    told["reference"] = board.reference("active_ua")
    if own.seconds is None:
        return told | {"reason": own.reason}
    if costs["emulated"] or port in ("sim", "qemu") or (port or "").startswith("tcp://"):
        return told | {"reason": "the time may be an emulator's, and says nothing of the chip"}
    return told | {"joules": board.active_ua * 1e-6 * board.supply_mv * 1e-3 * own.seconds}
