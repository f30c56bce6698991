"""What learning costs on a board: time, memory and energy, a training sample and a guess at a time, each figure with where it comes from.

Windows are measured one after the other: ``load`` (plan and state go to the board), ``idle`` (it waits), ``learn``, ``infer``. What
was not measured is None and has a reason. An estimate from the board's data sheet is called one and stands apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgelearn import boards, recipe
from edgelearn.agent.identity import identify
from edgelearn.boards import Board
from edgelearn.device import Device, Link
from edgelearn.energy import trace
from edgelearn.energy.choose import BUILT_IN, Place, Tried, choose
from edgelearn.energy.external import External
from edgelearn.energy.meter import Mark, Meter, Mute, Reading
from edgelearn.energy.telemetry import Ask, Telemetry, Work
from edgelearn.errors import ConfigError, UsageError
from edgelearn.job import Job, prepare
from edgelearn.link.client import Stats
from edgelearn.link.messages import MARKER_HIGH, MARKER_LOW
from edgelearn.restore import restore_job
from edgelearn.runs import Checkpoint, RunStore
from edgelearn.session import Session
from edgelearn.training import check

STEPS = 1000
IDLE_S = 2.0
COUNTER_WRAPS_US = 1 << 32  # the board's clock of its own work
OWN_CLOCK = "the board's own clock"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

Told = Callable[[str, int, int], None]  # (phase, samples done, of how many)


@dataclass(frozen=True)
class Window:
    """A phase as this computer saw it.

    Attributes:
        at: seconds since the first phase began. began: seconds since 1970. cpu_s: what our process computed in it.
        work: what the board's own meter tells of the time in which it computed.
    """

    name: str
    began: float
    cpu_s: float
    reading: Reading
    work: Work | None = None
    at: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "within": None, "at": self.at, "began": self.began, "cpu_s": self.cpu_s, **asdict(self.reading),
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
    key_file: Path | None = None,
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
    with Session(job.board, port, token_file=token_file, key_file=key_file) as session:
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
    """Which meters measure what learns: the board's own, if it has one, and this computer's, if it is this computer."""
    return replace(_computer(device, board, port), ask=_ask(device, board, port))


def _ask(device: Device, board: Board, port: str | None) -> Ask | None:
    """How the board is asked for its own meter. One whose image is made with its plan has not booted yet, and has none."""
    if not isinstance(device, Link) or (board.has_plan and port == "qemu"):
        return None

    def ask(window: int) -> tuple[dict[str, int], str] | None:
        return device.client.power(window)

    return ask


def place_of_host(port: str | None) -> Place:
    """The meters of this computer, for what torch learns on it; ``port`` is torch's device."""
    gpu = _gpu(port)
    return Place(
        ("nvml", "ina3221", "rapl") if gpu else ("ina3221", "rapl"), "it measures a GPU, and the net is on the CPU", gpu
    )


def _computer(device: Device, board: Board, port: str | None) -> Place:
    """Which of this computer's own meters measure what learns; of a board at the end of a line none does."""
    if board.is_host:
        return place_of_host(port)
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

    def __init__(self, meter: Meter, device: Device) -> None:
        self._meter, self._device = meter, device
        self._marks: list[tuple[str, Mark, Mark, float]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        marked = name == "learn" and isinstance(self._meter, External)
        with self._pin() if marked else nullcontext():
            cpu, begin = time.process_time(), self._meter.mark()
            yield
            end = self._meter.mark()
        self._marks.append((name, begin, end, time.process_time() - cpu))
        if marked and isinstance(self._meter, External):
            self._meter.marked(begin, end)

    @contextmanager
    def _pin(self) -> Iterator[None]:
        """The board's marker pin is high meanwhile, if it has one and the meter's file shall show it."""
        link = self._device if isinstance(self._device, Link) and getattr(self._meter, "wants_marker", False) else None
        if link is None or not link.client.marker(MARKER_HIGH):
            yield  # a pin of the user's own, perhaps
            return
        try:
            yield
        finally:
            link.client.marker(MARKER_LOW)

    def rest(self, seconds: float) -> None:
        """Waits, as the meter must have it."""
        (self._meter.rest if isinstance(self._meter, Telemetry) else time.sleep)(seconds)

    def windows(self) -> dict[str, Window]:
        self._meter.close()
        return {marks[0]: self._window(*marks) for marks in self._marks}

    def _window(self, name: str, begin: Mark, end: Mark, cpu: float) -> Window:
        work = self._meter.work(begin, end) if isinstance(self._meter, Telemetry) else None
        at = begin.at - self._marks[0][1].at
        return Window(name, begin.wall, cpu, self._meter.between(begin, end), work, at)

    def trace(self, period_s: float | None) -> dict[str, Any]:
        """Power over all windows, where the meter keeps single values."""
        return trace.told(self._meter, self._marks[0][1], self._marks[-1][2], period_s)


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
    watch = Watch(meter, device)
    with watch.phase("load"):
        device.put(job, checkpoint)
    if idle_s > 0 and not isinstance(meter, Mute):
        with watch.phase("idle"):
            watch.rest(idle_s)
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
    phases = [window.as_dict() for window in windows.values()] + _parts(windows["learn"], own, learnt)
    return {
        "board": job.board.id, "device": costs["device"], "emulated": costs["emulated"], "recipe": job.recipe.name,
        "net": str(job.compiled.net), "rule": job.rule_name, "dtype": job.compiled.dtype, "from_step": first,
        "samples": {"learn": learnt, "infer": len(rows)},
        "energy": {"meter": meter.name, "source": meter.source, "tried": [asdict(t) for t in tried]},
        "phases": phases, **watch.trace(windows["learn"].reading.period_s),
        "per_sample": {
            "learn": _per_sample(windows["learn"], learnt, own, estimate(job.board, own, port, costs)),
            "infer": _per_sample(windows["infer"], len(rows), _infer_time(windows["infer"], len(rows), costs), None),
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
    return OwnTime(busy / 1e6 / learnt, "", _clock(costs))


def _clock(costs: dict[str, Any]) -> str:
    return "the emulator's clock, not the chip's" if costs["emulated"] else OWN_CLOCK


def _infer_time(window: Window, n: int, costs: dict[str, Any]) -> OwnTime:
    """Boards count the time of inferences only beside a meter."""
    if window.work is None or not n:
        return OwnTime(None, "boards count the time of learning alone")
    return OwnTime(window.work.seconds / n, "", _clock(costs))


def _parts(learn: Window, own: OwnTime, learnt: int) -> list[dict[str, Any]]:
    """What learning consists of, as far as clock and meter of the board tell it apart."""
    step = _step(learn, own, learnt)
    within = "a board says what it used before and after a step, not in it; `infer` is the forward pass alone"
    return [step, _link(learn, own, learnt, step), _part("forward", within), _part("update", within)]


def _part(name: str, reason: str) -> dict[str, Any]:
    blank = {"seconds": None, "joules": None, "source": "", "period_s": None, "sigma": None}
    return {"name": name, "within": "learn", **blank, "reason": reason}


def _step(learn: Window, own: OwnTime, learnt: int) -> dict[str, Any]:
    """The time in which the board computed, and its energy where the board's own meter is quick enough."""
    told = _part("step", "no meter tells a step from the rest of learning")
    if learn.work is None:
        seconds = None if own.seconds is None else own.seconds * learnt
        return told | {"seconds": seconds}
    reading, work = learn.reading, learn.work
    found = {"source": reading.source, "period_s": reading.period_s} if work.joules is not None else {}
    return told | found | {"seconds": work.seconds, "joules": work.joules, "reason": work.reason}


def _link(learn: Window, own: OwnTime, learnt: int, step: dict[str, Any]) -> dict[str, Any]:
    """What of learning the board did not compute in: wire, host, and each waiting for the other."""
    reading, busy = learn.reading, None if own.seconds is None else own.seconds * learnt
    told = _part("link", step["reason"] or "no meter tells the link from the rest of learning")
    if reading.joules is not None and step["joules"] is not None and reading.joules > step["joules"]:
        told |= {"joules": reading.joules - step["joules"], "source": reading.source, "period_s": reading.period_s}
        told["reason"] = ""
    if own.source != OWN_CLOCK or busy is None:
        return told | {"reason": f"not told apart: {own.reason or own.source}"}
    if busy > reading.seconds:
        return told | {"reason": f"the board's clock runs ahead of ours: {busy:.3g} s in {reading.seconds:.3g} s"}
    return told | {"seconds": reading.seconds - busy}


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
