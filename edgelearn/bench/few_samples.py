"""What a few samples of one's own teach a trained network: the figures of docs/personalise.md, docs/features.md and docs/qat.md.

python -m edgelearn.bench.few_samples            measures, writes docs/benchmarks/few-samples.json; `edgelearn bench figures` does the rest
python -m edgelearn.bench.few_samples qat        measures that part alone

Files and programs come from the pages themselves, and commands are typed as there, so what is measured is what a reader does.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from edgelearn import __version__
from edgelearn.bench.results_page import Row, load, table

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs/benchmarks/few-samples.json"
SEEDS, RATES, PASSES = (0, 1, 2), [2.0**-e for e in range(1, 7)], (1, 3, 10)
_NEW = (
    "import numpy as np; d = dict(np.load('own.npz', allow_pickle=False)); new = d['y_train'] >= 7; "
    "np.savez('new.npz', x_train=d['x_train'][new], y_train=d['y_train'][new], x_test=d['x_test'], y_test=d['y_test'])"
)
_LAYERS = {
    "these features, 16 units that learn": 'features = "net.pt2"\nlayers = [16]',
    "16 units that learn, on the pixels": "input = [8, 8]\nlayers = [16]",
    "layers as in the file, its max pool an average, and 16 units, all from a seed": (
        "input = [8, 8]\nlayers = [{ conv = 12 }, { pool = 2 }, { conv = 24 }, { pool = 2 }, 16]"
    ),
}
_RECIPE = (
    '[model]\n{layers}\nclasses = 10\n[rule]\nname = "mono-forward"\nlr = {lr}\n'
    '[data]\nname = "own.npz"\n[train]\nepochs = 10\n'
)  # fmt: skip


@dataclass(frozen=True)
class Typist:
    """Types commands in a folder of its own, with a run store of its own."""

    folder: Path

    def python(self, *arguments: str) -> str:
        env = {**os.environ, "EDGELEARN_RUNS": str(self.folder / "runs.sqlite")}
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=self.folder, env=env, check=True, capture_output=True, text=True).stdout

    def edgelearn(self, *arguments: str) -> Row:
        return json.loads(self.python("-m", "edgelearn.cli", *arguments, "--json"))


@contextmanager
def _page(name: str, *programs: str) -> Iterator[Typist]:
    """The page's files in a folder, with its programs run."""
    text = (ROOT / name).read_text(encoding="utf-8")
    with TemporaryDirectory(prefix="edgelearn-bench-") as folder:
        for file, content in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text, re.DOTALL):
            (Path(folder) / file).write_text(content, encoding="utf-8")
        typist = Typist(Path(folder))
        for program in programs:
            typist.python(program)
        yield typist


def run(parts: Sequence[str]) -> dict[str, Any]:
    """The figures of these pages, each with when it was made, as they go into the file."""
    return {
        part: {
            "command": f"python -m edgelearn.bench.few_samples {part}", "seeds": list(SEEDS),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "versions": {"edgelearn": __version__, "python": platform.python_version()}, **PARTS[part](),
        }
        for part in parts
    }  # fmt: skip


def personalise() -> dict[str, Any]:
    """300 samples of all ten digits, from a network that knows 0 to 6 and from a seed."""
    with _page("docs/personalise.md", "split.py") as at:
        known = {
            s: at.edgelearn("train", "digits", "--data", "known.npz", "--epochs", "5", "--seed", str(s)) for s in SEEDS
        }
        runs = {seed: told["run"] for seed, told in known.items()}
        at.python("-c", _NEW)

        def taught(data: str, passes: int, *how: str, start: bool = True) -> float:
            return mean(
                at.edgelearn("train", *(("--from", runs[s]) if start else ("digits",)), "--data", data,
                             "--epochs", str(passes), "--seed", str(s), *how)["accuracy"]
                for s in SEEDS
            )  # fmt: skip

        rows = [
            {"passes": p, "frozen": taught("own.npz", p, "--freeze", "0"), "learning": taught("own.npz", p),
             "seed": taught("own.npz", p, start=False)}
            for p in PASSES
        ]  # fmt: skip
        ten = mean(at.edgelearn("eval", run, "--data", "own.npz")["accuracy"] for run in runs.values())
        return {
            "known": mean(told["accuracy"] for told in known.values()), "all": ten, "rows": rows,
            "forgot": taught("new.npz", 3, "--freeze", "0"),
        }  # fmt: skip


def features() -> dict[str, Any]:
    """100 samples on a trained network's features, and without them; each at the best of the rates, chosen on the test set."""
    with _page("docs/features.md", "pretrain.py") as at:
        found: list[dict[str, Any]] = []
        for name, layers in _LAYERS.items():
            by_rate: dict[float, float] = {}
            for rate in RATES:
                (at.folder / "this.toml").write_text(_RECIPE.format(layers=layers, lr=rate), encoding="utf-8")
                by_rate[rate] = mean(at.edgelearn("train", "this.toml", "--seed", str(s))["accuracy"] for s in SEEDS)
            best = max(by_rate, key=lambda rate: by_rate[rate])
            found.append({"name": name, "accuracy": by_rate[best], "rate": best})
        return {"rates": RATES, "rows": found}


def qat() -> dict[str, Any]:
    """300 inverted digits, on the net that Brevitas trained for the tests (tests/imports/make_qat.py), and from a seed."""
    with _page("docs/qat.md", "invert.py") as at:
        shutil.copy(ROOT / "tests/imports/data/conv-norm.onnx", at.folder / "net.onnx")

        def taught(passes: int, *how: str) -> float:
            told = [at.edgelearn("train", "own.toml", "--epochs", str(passes), "--seed", str(s), *how) for s in SEEDS]
            return mean(one["accuracy"] for one in told)

        start = ("--from", "net.onnx")
        rows = [
            {
                "passes": p,
                "frozen": taught(p, *start, "--freeze", "0"),
                "learning": taught(p, *start),
                "seed": taught(p),
            }
            for p in PASSES
        ]
        return {"net": "tests/imports/data/conv-norm.onnx", "rows": rows}


PARTS = {"personalise": personalise, "features": features, "qat": qat}


# --- the pages ----------------------------------------------------------------------------------------------------------------------


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _taught(told: Row, start: str) -> str:
    heading = (
        "passes over the 300 samples",
        f"from {start}, block 0 frozen",
        f"from {start}, all blocks learn",
        "from a seed",
    )
    lines = [
        [str(row["passes"]), *(_percent(row[key]) for key in ("frozen", "learning", "seed"))] for row in told["rows"]
    ]
    return table(heading, lines)


def qat_table(folder: Path) -> str:
    return _taught(load(folder / OUT.name)["qat"], "the file")


def personalise_table(folder: Path) -> str:
    told = load(folder / OUT.name)["personalise"]
    return (
        f"{_taught(told, 'a run')}\nBefore, the runs knew {_percent(told['known'])} of 0 to 6, and so {_percent(told['all'])} of all ten. "
        f"With samples of 7, 8 and 9 only (3 passes, block 0 frozen) the network forgets: {_percent(told['forgot'])} of all ten remain.\n"
    )  # fmt: skip


def features_table(folder: Path) -> str:
    rows = load(folder / OUT.name)["features"]["rows"]
    lines = [[row["name"], _percent(row["accuracy"]), f"{row['rate']:g}"] for row in rows]
    return table(("network", "accuracy", "rate"), lines)


if __name__ == "__main__":
    for part in sys.argv[1:] or list(PARTS):
        made = run([part])
        kept = load(OUT) if OUT.exists() else {}
        OUT.write_text(json.dumps({**kept, **made}, indent=1) + "\n", encoding="utf-8")
