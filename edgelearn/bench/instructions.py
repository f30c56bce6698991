"""Guest instructions per training sample: edgelearn against backpropagation in plain and in careful C.

Every row is one bare-metal image, built with the same compiler, flags, startup code and samples, and run in QEMU with
one nanosecond of guest time per instruction. An instruction is neither a cycle nor time: use the figures as ratios.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from edgelearn.bench import qemu
from edgelearn.boards import Board, load
from edgelearn.data.datasets import Dataset
from edgelearn.errors import ConfigError, EdgeLearnError, UsageError
from edgelearn.paths import resource

FULL = 16  # the brightest pixel; it stands for 1.0
RATE = 0.05  # of the baselines, constant
EPOCHS = 5
PLANS = {"edgelearn int8": "int8", "edgelearn f32": "f32"}  # row -> dtype of its plan
RUNTIME_FLAGS = ("-std=c11", "-ffp-contract=off")  # as in the shipped images: floats come out as in the interpreter
BASELINES = {"backprop f32 careful C": "bp_careful.c", "backprop f32 plain C": "bp_plain.c"}


@dataclass(frozen=True)
class Samples:
    """Pixels of 0..16 and labels: the first ``train`` samples are learnt in this order, the others are the test."""

    x: NDArray[np.uint8]  # (N, inputs)
    y: NDArray[np.uint8]  # (N,)
    train: int


@dataclass(frozen=True)
class Row:
    """What one way of training costs. Instructions are per sample, sizes in bytes, ``accuracy`` is a fraction."""

    name: str
    train: int  # in the last epoch
    infer: int
    ram: int  # parameters, gradients, activations
    code: int  # text and data, the plan included, less those of a program with the same samples that does nothing
    accuracy: float
    train_epoch1: int
    train_mean: int  # over all passes
    stack: int


def samples(dataset: Dataset) -> Samples:
    """A data set whose values are sixteenths, as the digits' are, in the form that is linked in.

    Raises:
        ConfigError: its values or labels do not fit.
    """
    images = np.concatenate([dataset.x_train, dataset.x_test])
    x = images.reshape(len(images), -1) * FULL
    pixels = np.rint(x)
    if np.any(np.abs(x - pixels) > 1e-3) or pixels.min() < 0 or pixels.max() > FULL or dataset.classes > 256:
        raise ConfigError(f"The values of '{dataset.name}' are no sixteenths from 0 to 1.", "Use the set 'digits'.")
    labels = np.concatenate([dataset.y_train, dataset.y_test])
    return Samples(pixels.astype(np.uint8), labels.astype(np.uint8), len(dataset.y_train))


def widths(net: str) -> tuple[int, ...]:
    """``"64-32-10"`` as numbers: inputs, hidden layers, classes.

    Raises:
        UsageError: it is not written like that.
    """
    parts = net.split("-")
    if len(parts) < 2 or not all(part.isdigit() and 0 < int(part) <= 0xFFFF for part in parts):
        raise UsageError(f"'{net}' is no net.", "Write the widths from input to classes, as in 64-32-10.")
    return tuple(map(int, parts))


def run(
    board: str,
    net: str,
    plans: Mapping[str, str],
    data: Samples,
    *,
    epochs: int = EPOCHS,
    seed: int = 1,
    rows: Sequence[str] | None = None,
) -> list[Row]:
    """Builds one image per row, runs it and returns what it counted.

    Args:
        board: id of a board with the CMSDK timer, such as ``mps2-an386``.
        net: widths, as in ``"64-32-10"``; the plans must be for this net.
        plans: C source of the backend ``plan-c`` by dtype, ``"int8"`` and ``"f32"``.
        rows: names to measure; where None, the rows of the plans given and the baselines.

    Raises:
        MissingToolError: the cross compiler or QEMU is not installed.
        ConfigError: the board has no bench image, or net and samples do not belong together.
        UsageError: a row is unknown or lacks its plan.
    """
    if rows is None:
        rows = [name for name, dtype in PLANS.items() if dtype in plans] + list(BASELINES)
    target = load(board)
    with TemporaryDirectory(prefix="edgelearn-bench-") as folder:
        bench = Bench(target, net, plans, data, Path(folder), epochs, seed)
        return [bench.measure(name) for name in rows]


@dataclass(frozen=True)
class Bench:
    """The images of one comparison; their generated sources and ELF files lie in ``folder``."""

    board: Board
    net: str
    plans: Mapping[str, str]
    data: Samples
    folder: Path
    epochs: int = EPOCHS
    seed: int = 1

    def __post_init__(self) -> None:
        qemu.check_board(self.board)
        _check(widths(self.net), self.data)
        (self.folder / "bench_data.h").write_text(_header(widths(self.net), self.data, self.epochs, self.seed))
        (self.folder / "bench_data.c").write_text(_data_source(self.data))

    def measure(self, name: str) -> Row:
        """Builds and runs the image of one row."""
        elf = self.build(name)
        said = qemu.execute(self.board.qemu_machine, elf, qemu.counting())
        counts = _parse(name, said)
        return Row(
            name=name,
            train=counts["train"],
            infer=counts["infer"],
            ram=counts["state"],
            code=qemu.code_bytes(self.board, elf) - self._empty_bytes(elf),
            accuracy=counts["hits"] / counts["tests"],
            train_epoch1=counts["train_epoch1"],
            train_mean=counts["train_mean"],
            stack=counts["stack"],
        )

    def build(self, name: str) -> Path:
        """The ELF file of one row.

        Raises:
            UsageError: there is no such row, or its plan was not given.
        """
        bench = qemu.sources()
        if name in BASELINES:
            return self._image(name, [bench / "bp.c", bench / BASELINES[name]])
        dtype = PLANS.get(name)
        if dtype is None:
            raise UsageError(f"There is no row '{name}'.", f"Choose from: {', '.join((*PLANS, *BASELINES))}.")
        if dtype not in self.plans:
            raise UsageError(f"The row '{name}' needs a plan in {dtype}.", "Compile one for this net.")
        plan = self.folder / f"plan_{dtype}.c"
        plan.write_text(self.plans[dtype])
        core = sorted((resource("firmware") / "core").glob("*.c"))
        define = "-DBENCH_F32" if dtype == "f32" else "-DEL_NO_F32"
        return self._image(name, [bench / "el_plan.c", plan, *core], [define, *RUNTIME_FLAGS])

    def _image(self, name: str, files: Sequence[Path], flags: Sequence[str] = ()) -> Path:
        firmware = resource("firmware")
        include = [self.folder, *(firmware / part for part in ("include", "hal", "core", "gen"))]
        main = [qemu.sources() / "bench_main.c", self.folder / "bench_data.c"]
        return qemu.build(self.board, [*main, *files], self.folder / f"{name.replace(' ', '-')}.elf", include, flags)

    def _empty_bytes(self, elf: Path) -> int:
        """What an image owes to the library and the bench: one with no network, but with expf if ``elf`` has it."""
        flags = ["-DBENCH_EXPF"] if "expf" in qemu.symbols(self.board, elf) else []
        empty = self._image("empty", [qemu.sources() / "net_empty.c"], flags)
        return qemu.code_bytes(self.board, empty)


def _check(sizes: tuple[int, ...], data: Samples) -> None:
    if data.x.ndim != 2 or data.x.shape[1] != sizes[0]:
        problem = f"Samples of shape {list(data.x.shape[1:])} do not fit a net with {sizes[0]} inputs."
        raise ConfigError(problem, "Give the number of values in a sample as the first width.")
    if data.y.max() >= sizes[-1] or data.x.max() > FULL:
        problem = f"Labels go up to {data.y.max()} and pixels to {data.x.max()}; the net has {sizes[-1]} classes."
        raise ConfigError(problem, f"Labels must be below the last width, pixels at most {FULL}.")
    if not 0 < data.train < len(data.x):
        raise ConfigError(f"{data.train} of {len(data.x)} samples are for training.", "Leave some for the test.")


def _parse(name: str, said: str) -> dict[str, int]:
    line = next((line for line in said.splitlines() if line.startswith("{")), None)
    if line is None:
        raise EdgeLearnError(f"The image of '{name}' printed no result.", said.strip()[-500:] or "It printed nothing.")
    return json.loads(line)


def _header(sizes: tuple[int, ...], data: Samples, epochs: int, seed: int) -> str:
    params = sum(n_out * (n_in + 1) for n_in, n_out in pairwise(sizes))
    values = {
        "WIDTHS": ", ".join(map(str, sizes)),
        "INPUT": sizes[0],
        "CLASSES": sizes[-1],
        "PARAMS": params,
        "UNITS": sum(sizes),
        "TRAIN": data.train,
        "TEST": len(data.x) - data.train,
        "EPOCHS": epochs,
        "SEED": seed,
        "RATE": f"{RATE}f",
    }
    lines = [f"#define BENCH_{key} {value}" for key, value in values.items()]
    lines += [f"extern const uint8_t {array};" for array in ("bench_x[][BENCH_INPUT]", "bench_y[]")]
    return "\n".join(["/* Generated by edgelearn/bench/instructions.py */", "#include <stdint.h>", *lines, ""])


def _data_source(data: Samples) -> str:
    rows = ",\n".join("{" + _numbers(row.tobytes()) + "}" for row in data.x)
    return f"""#include "bench_data.h"
_Alignas(4) const uint8_t bench_x[][BENCH_INPUT] = {{
{rows}}};
const uint8_t bench_y[] = {{{_numbers(data.y.tobytes())}}};
"""


def _numbers(values: bytes) -> str:
    return ",".join(map(str, values))
