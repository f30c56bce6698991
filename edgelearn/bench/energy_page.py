"""The tables of the energy bench: seeds summed up, ratios beside backpropagation, the published ones next to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from edgelearn.bench.energy_cases import BASELINE, CASES

Told = Mapping[str, Any]
MIB = 1 << 20
COLUMNS = (
    "case, protocol", "row", "seeds", "passes", "accuracy", "s", "x", "mJ/sample", "x", "MiB", "x", "process MiB",
    "published x: energy, memory",
)  # fmt: skip


def summed(cases: Sequence[Told]) -> list[dict[str, Any]]:
    """A row for each case, protocol and way of learning: means over its seeds, and ratios to the baseline's with the same seeds."""
    rows: list[dict[str, Any]] = []
    for told in cases:
        groups: dict[tuple[str, str], list[Told]] = {}
        for training in told["trainings"]:
            groups.setdefault((training["protocol"], training["row"]), []).append(training)
        name = told["case"].removeprefix("energy ")
        for (protocol, row), group in groups.items():
            rows.append(_row(name, protocol, row, group, groups.get((protocol, BASELINE), [])))
    return rows


def _row(case: str, protocol: str, name: str, group: Sequence[Told], beside: Sequence[Told]) -> dict[str, Any]:
    accuracies = [training["accuracy"] for training in group]
    published = [
        p
        for p in (CASES[case].published if case in CASES else ())
        if (p.row, p.protocol) == (name, protocol) and p.row != BASELINE
    ]
    joules, on_cpu = _mean(group, "joules"), not group[0]["allocated_by"].endswith("cuda")
    clock = "cpu_s" if on_cpu else "seconds"  # of a GPU the processor's time says nothing
    return {
        "case": case, "protocol": protocol, "row": name, "seeds": [training["seed"] for training in group],
        "passes": _mean(group, "passes"), "accuracy": mean(accuracies),
        "std": stdev(accuracies) if len(group) > 1 else 0.0,
        "seconds": _mean(group, "seconds"), "cpu_s": _mean(group, "cpu_s"), "time": _mean(group, clock),
        "time_ratio": _ratio(group, beside, clock),
        "joules": joules, "reason": next((t["reason"] for t in group if t["joules"] is None), ""),
        "joules_per_sample": None if joules is None else joules / mean(t["samples"] for t in group),
        "joules_ratio": _ratio(group, beside, "joules"),
        "allocated": _mean(group, "allocated"), "allocated_by": group[0]["allocated_by"],
        "allocated_ratio": _ratio(group, beside, "allocated"), "process": _mean(group, "process"),
        "published_energy": published[0].energy if published else None,
        "published_memory": published[0].memory if published else None,
        "published_source": published[0].source if published else "",
    }  # fmt: skip


def _mean(group: Sequence[Told], key: str) -> float | None:
    values = [training[key] for training in group]
    return None if not values or None in values else mean(values)


def _ratio(group: Sequence[Told], beside: Sequence[Told], key: str) -> float | None:
    """Of the means over the seeds that both have."""
    seeds = {t["seed"] for t in group} & {t["seed"] for t in beside}
    ours, theirs = (_mean([t for t in some if t["seed"] in seeds], key) for some in (group, beside))
    return None if ours is None or not theirs else ours / theirs


def cells(row: Told) -> list[str]:
    """A row under ``COLUMNS``."""
    accuracy = f"{100 * row['accuracy']:.2f}" + (f" ± {100 * row['std']:.2f}" if len(row["seeds"]) > 1 else "")
    each, published = row["joules_per_sample"], (row["published_energy"], row["published_memory"])
    return [
        f"{row['case']}, {row['protocol']}", row["row"], str(len(row["seeds"])), f"{row['passes']:.1f}".removesuffix(".0"), accuracy,
        f"{row['time']:.3g}", _times(row["time_ratio"]), "-" if each is None else f"{1000 * each:.3g}",
        _times(row["joules_ratio"]), _mib(row["allocated"]), _times(row["allocated_ratio"]), _mib(row["process"]),
        ", ".join(map(_times, published)) if any(published) else "",
    ]  # fmt: skip


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _mib(value: float | None) -> str:
    return "-" if value is None else f"{value / MIB:.3g}"


def remarks(files: Sequence[Told]) -> list[str]:
    """What a reader of the figures must know, and where they are from."""
    found = [
        f"x: times that of {BASELINE}, same seeds. s: of learning alone, on a GPU by the clock, on a CPU the processor's time, which bears "
        "other work on the computer better. MiB: the most that the allocator held at once, weights and moments of the optimizer included, "
        "the data set not; of the C core: what its plan says. process MiB: the most that the process had in memory, Python and data set "
        "included. Rates are starting points, the same for all rows but the C core's."
    ]
    for told in files:
        device, versions = told["device"], ", ".join(f"{k} {v}" for k, v in told["versions"].items())
        how = ", ".join(f"{key} {device[key]}" for key in ("threads", "driver", "cuda") if device.get(key) is not None)
        found.append(
            f"{told['date']}, {device['name']}: {device['model']}, {how}; {versions}. Made by `{told['command']}`."
        )
        reasons = dict.fromkeys(row["reason"] for row in told["rows"] if row["reason"])
        found += [f"No energy there: {reason}." for reason in reasons]
        ends = dict.fromkeys(c["stopping"] for c in told["cases"] if "own convergence" in c["protocols"])
        found += [f"Own convergence: {end}." for end in ends]
    sources = dict.fromkeys(
        row["published_source"] for told in files for row in told["rows"] if row["published_source"]
    )
    return [*found, *(f"Published: {source}." for source in sources)]


def table(files: Sequence[Told]) -> str:
    """All of it, in Markdown."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *(cells(row) for told in files for row in told["rows"])]
    said = "\n".join(f"- {line}" for line in remarks(files))
    shown = "".join("|" + "".join(f" {cell} |" if cell else " |" for cell in line) + "\n" for line in lines)
    return f"{shown}\n{said}\n"


def stored(folder: Path) -> list[Told]:
    """The files of this bench in ``docs/benchmarks``, GPUs first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("energy-*.json"))]
    return sorted(found, key=lambda told: told["device"]["name"] == "cpu")
