"""What learning costs: energy, time and memory of rules beside backpropagation, on one device.

Two protocols, as the literature has them: *matched*, where all rows make as many passes; and *own convergence*, where each row learns
until its accuracy on a held-out tenth of the training set has not risen for some passes, is read where that was best, and pays for all
of its passes, those of waiting included. Seeds are paired: row by row the same first weights, order of samples and held-out tenth.
Only learning is measured, not the looks at accuracy between passes. What no meter measures is None with the reason.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgelearn import __version__, paths
from edgelearn.bench import energy_memory
from edgelearn.bench.accuracy import seeds_of
from edgelearn.bench.energy_cases import Case, Row, find
from edgelearn.bench.energy_learners import Learner, open_learner
from edgelearn.bench.results import replace_whole, slug
from edgelearn.data import datasets
from edgelearn.data.datasets import Dataset
from edgelearn.data.files import damaged
from edgelearn.energy.choose import choose
from edgelearn.energy.meter import Mark, Meter, Reading
from edgelearn.errors import ConfigError, Interrupted, UsageError
from edgelearn.profiling import place_of_host

SCHEMA = "edgelearn.bench.energy.training/1"
MATCHED, CONVERGED = "matched", "own convergence"
PROTOCOLS = {"matched": (MATCHED,), "convergence": (CONVERGED,), "both": (MATCHED, CONVERGED)}
HELD_OUT = 0.1
OnPart = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        device: of torch. meter: as ``--energy`` of ``profile``. passes: instead of a case's own, when they are matched.
        data: folder of the data sets. out: where each training's figures are kept; those there are not measured again, unless ``again``.
    """

    device: str = "cpu"
    meter: str = "auto"
    passes: int | None = None
    data: str | None = None
    out: Path | None = None
    again: bool = False
    on_part: OnPart = lambda done, total, what: None


def default_out() -> Path:
    """Where trainings are kept unless told otherwise."""
    return paths.cache_dir() / "bench" / "energy"


def run(
    case: str | Case,
    protocol: str,
    seeds: int | Sequence[int],
    rows: Sequence[str] = (),
    options: Options | None = None,
) -> dict[str, Any]:
    """Every training of a case, as the object that goes into the file.

    Raises:
        UsageError: there is no such case, protocol, row or meter. ConfigError: the data or the device are not there, or what is kept was
            measured otherwise. Interrupted: Ctrl-C; finished trainings are kept.
    """
    case, how = find(case) if isinstance(case, str) else case, options or Options()
    if protocol not in PROTOCOLS:
        raise UsageError(f"There is no protocol '{protocol}'.", f"Choose one of: {', '.join(PROTOCOLS)}.")
    device, numbers = {"name": how.device, **device_facts(how.device)}, seeds_of(seeds)
    chosen = case.chosen(rows, how.device.partition(":")[0])
    wanted = [(p, seed, row) for p in PROTOCOLS[protocol] for seed in numbers for row in chosen]
    whole, found = datasets.load(case.data, how.data), []
    for number, (which, seed, row) in enumerate(wanted, 1):
        at = f"{case.name}, {which}: {row.name}, seed {seed} ({number} of {len(wanted)} trainings)"
        try:
            found.append(_training(case, which, row, seed, whole, device, how, at))
        except KeyboardInterrupt:
            kept = f"{len(found)} of {len(wanted)} trainings are in {how.out or 'no folder'}."
            raise Interrupted(f"Stopped; {kept}", "Give the same command again to go on.") from None
    return {
        "case": f"energy {case.name}", "date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions(),
        "device": device, "protocols": list(PROTOCOLS[protocol]), "stopping": stopping(case), "seeds": numbers,
        "trainings": found,
    }  # fmt: skip


def stopping(case: Case) -> str:
    """The rule of own convergence, in words."""
    return (
        f"{HELD_OUT:.0%} of the training set held out; {case.patience} passes without a better accuracy there end it, "
        f"and {case.most} in all; read at the best"
    )


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    from edgelearn.host.torch_lib import torch

    return {"edgelearn": __version__, "python": platform.python_version(), "torch": str(torch.__version__)}


def device_facts(device: str) -> dict[str, Any]:
    """Which device it is, and on a GPU the driver; threads on a CPU."""
    from edgelearn.host.torch_lib import torch
    from edgelearn.host.torch_net import checked_device

    if not checked_device(device).startswith("cuda"):
        return {"model": _processor(), "threads": torch.get_num_threads()}
    told = torch.cuda.get_device_properties(device)
    return {"model": told.name, "driver": _driver(), "cuda": torch.version.cuda}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(named, platform.machine())


def _driver() -> str | None:
    try:
        import pynvml

        pynvml.nvmlInit()
        told = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
    except Exception:  # noqa: BLE001 (a missing library and a missing driver alike: the version is not known)
        return None
    return told.decode() if isinstance(told, bytes) else str(told)


# --- one training -------------------------------------------------------------------------------------------------------------------


def _training(
    case: Case, protocol: str, row: Row, seed: int, whole: Dataset, device: dict[str, Any], how: Options, at: str
) -> dict[str, Any]:
    """Its figures: those that are kept, or measured now."""
    settings = _settings(case, protocol, row, device, how)
    path = None if how.out is None else _path(how.out, case, protocol, row, seed, how.device)
    if path is not None and path.is_file() and not how.again:
        return _kept(path, settings)
    data = whole.shaped(row.method.input, case.classes)
    if row.method.standardise:
        data = datasets.standardised(data)
    told = measure(case, protocol, row, seed, data, how, lambda done, total: how.on_part(done, total, at))
    if path is not None:
        text = json.dumps({"schema": SCHEMA, "settings": settings, "training": told}, indent=1) + "\n"
        replace_whole(path, lambda file: file.write_text(text, encoding="utf-8"))
    return told


def measure(
    case: Case, protocol: str, row: Row, seed: int, data: Dataset, how: Options, show: Callable[[int, int], None]
) -> dict[str, Any]:
    """Trains one row with one seed by a protocol, under a meter."""
    learnt = data if protocol == MATCHED else datasets.validation_split(data, HELD_OUT, seed)
    learner = open_learner(row, learnt, seed, how.device)
    meter, tried = choose(how.meter, place_of_host(how.device))
    counted = energy_memory.forget_process()
    try:
        windows, read_at, cpu_s = _passes(case, protocol, row, learner, learnt, meter, how, show)
    finally:
        meter.close()
    # Matched passes follow each other without a look at the accuracy: one window, which a slow meter resolves better.
    measured = [(windows[0][0], windows[-1][1])] if protocol == MATCHED else windows
    total, n = added([meter.between(*window) for window in measured]), len(learnt.x_train)
    return {
        "row": row.name, "protocol": protocol, "seed": seed, "batch": row.method.batch, "parts": row.parts,
        "passes": len(windows), "read_at": read_at, "samples": len(windows) * n,
        "accuracy": learner.accuracy(data.x_test, data.y_test), "seconds": total.seconds, "cpu_s": cpu_s,
        "joules": total.joules, "sigma": total.sigma, "reason": total.reason, "meter": meter.name,
        "source": total.source, "period_s": total.period_s, "tried": [[t.meter, t.reason] for t in tried],
        "allocated": learner.allocated, "allocated_by": learner.allocated_by,
        "process": energy_memory.of_process() if counted else None,
    }  # fmt: skip


Windows = list[tuple[Mark, Mark]]


def _passes(
    case: Case, protocol: str, row: Row, learner: Learner, data: Dataset, meter: Meter, how: Options,
    show: Callable[[int, int], None],
) -> tuple[Windows, int, float]:  # fmt: skip
    """Learns; returns the window of each pass, after how many the net is read, and the processor's time. The net is left as it was then."""
    most = case.most if protocol == CONVERGED else how.passes or case.passes
    windows: Windows = []
    best, at, kept, cpu_s = -1.0, 0, None, 0.0
    n = len(data.x_train)
    while len(windows) < most and not (protocol == CONVERGED and len(windows) - at >= case.patience):
        done = len(windows)
        cpu, begin = time.process_time(), meter.mark()
        learner.learn_pass(done, lambda samples, done=done: show(done * n + samples, most * n))
        windows.append((begin, meter.mark()))
        cpu_s += time.process_time() - cpu
        if protocol == MATCHED:
            at = len(windows)
        elif (now := learner.accuracy(data.x_test, data.y_test)) > best:  # of the split: the held-out tenth
            best, at, kept = now, len(windows), learner.keep()
    if kept is not None:
        learner.restore(kept)
    return windows, at, cpu_s


def added(readings: Sequence[Reading]) -> Reading:
    """The sum of windows; no joules where one of them has none."""
    first, seconds = readings[0], sum(reading.seconds for reading in readings)
    reason = next((reading.reason for reading in readings if reading.joules is None), "")
    if reason:
        return Reading(None, seconds, first.source, first.period_s, reason=reason)
    sigmas = [reading.sigma for reading in readings]
    sigma = None if None in sigmas else sum(s * s for s in sigmas if s is not None) ** 0.5
    return Reading(sum(r.joules or 0.0 for r in readings), seconds, first.source, first.period_s, sigma)


# --- what is kept -------------------------------------------------------------------------------------------------------------------


def _settings(case: Case, protocol: str, row: Row, device: dict[str, Any], how: Options) -> dict[str, Any]:
    """All that a training's figures depend on but its seed."""
    ends = {"passes": how.passes or case.passes} if protocol == MATCHED else {"stopping": stopping(case)}
    learns = {key: value for key, value in row.method.training().items() if key != "passes"}
    return {**learns, "parts": row.parts, "data": case.data, "device": device, "meter": how.meter, **ends}


def _path(root: Path, case: Case, protocol: str, row: Row, seed: int, device: str) -> Path:
    return root / slug(f"{case.name} {device}") / slug(protocol) / f"{slug(row.name)}.seed{seed}.json"


def _kept(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        was, training = told["settings"], dict(told["training"])
        changed = [
            key for key in sorted({*was, *settings}) if was.get(key) != json.loads(json.dumps(settings)).get(key)
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, error) from error
    if changed:
        problem = f"{path} was measured with other settings: {', '.join(changed)}."
        raise ConfigError(problem, "Measure it again with --again, or name another folder with --out.")
    return training
