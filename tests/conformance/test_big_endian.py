"""The core on a machine of the other byte order: el-sim for s390x in qemu-user, over its link, against the core on this computer.

Plans, samples, states and what lies in flash are the same bytes there as everywhere, so that a run can move from one machine to the other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from edgelearn.compiler import Net, compile_net
from edgelearn.host.native import NativeCore
from edgelearn.job import prepare
from edgelearn.layers import Layer
from edgelearn.link.children import SimTransport
from edgelearn.link.client import Client
from edgelearn.passes.quantize import Calibration
from edgelearn.paths import native
from edgelearn.rules import find
from edgelearn_export.plan import encode
from edgelearn_export.plan import format as F
from tests.firmware.host import FIRMWARE
from tests.fuzz.targets import plans

pytestmark = pytest.mark.slow  # a cross compiler, and an emulator of a whole process

COMPILER, EMULATOR = "s390x-linux-gnu-gcc", "qemu-s390x"
STEPS, SEED = 1000, 5
SMALL = [
    f"{name}-{dtype}" for name in ("dense", "conv", "ff", "noprop", "drtp", "backprop") for dtype in ("int8", "f32")
]
MAPS = (
    Layer("conv", 4, kernel=3, pad=1, bits=12),
    Layer("pool", kernel=2),
    Layer("depthwise", kernel=3, pad=1),
    Layer("conv", 6, kernel=3, stride=2, pad=1, head=1, bits=7),
    8,
)  # kernels of 16 and of 8 bits, vectors of 16, pools


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program like el-sim whose core is big-endian."""
    missing = [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]
    if missing:
        miss = pytest.fail if os.environ.get("EDGELEARN_REQUIRE_QEMU") == "1" else pytest.skip
        miss(f"needs {', '.join(missing)}: make tools")
    folder = tmp_path_factory.mktemp("s390x")
    sources = [FIRMWARE / "gen/el_kernels_all.c"]
    sources += [file for part in ("core", "ports/sim") for file in sorted((FIRMWARE / part).glob("*.c"))]
    includes = [f"-I{FIRMWARE / part}" for part in ("include", "hal", "core", "gen")]
    # By -std=c11 this machine computes floats as doubles.
    options = [
        "-static",
        "-std=c11",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-ffp-contract=off",
        "-fexcess-precision=fast",
    ]
    subprocess.run(
        [COMPILER, *options, *includes, *map(str, sources), "-o", str(folder / "board"), "-lpthread", "-lm"], check=True
    )
    program = folder / "el-sim"
    program.write_text(f'#!/bin/sh\nexec {EMULATOR} {folder / "board"} "$@"\n')
    program.chmod(0o755)
    return program


@contextmanager
def board(program: Path, nv: Path | None = None) -> Iterator[Client]:
    with Client(SimTransport(program, ["--nv", str(nv)] if nv else [])) as client:
        client.connect("sim")
        yield client


class Stream(NamedTuple):
    """A plan, and samples to learn: rows of what the device reads, and their classes."""

    plan: bytes
    x: NDArray[Any]
    y: NDArray[Any]

    def header(self, field: str) -> int:
        names = [name for name, _ in F.HEADER]
        return int(F.STRUCTS["header"].unpack_from(self.plan)[names.index(field)])

    @property
    def state_bytes(self) -> int:
        return self.header("state_bytes")

    def sample(self, step: int) -> tuple[bytes, int]:
        return self.x[step].tobytes(), int(self.y[step])

    def learnt(self, client: Client, first: int = 0, last: int | None = None) -> bytes:
        """The state after the samples from ``first`` on; the board has the plan already if that is not 0."""
        if first == 0:
            client.send_plan(self.plan)
            client.init(SEED)
        client.learn(self.sample, first, len(self.x) if last is None else last, lambda step, guesses: None)
        return client.read_state(self.state_bytes)

    def expected(self) -> bytes:
        """What the core on this computer makes of it."""
        core = NativeCore(self.plan, self.state_bytes, self.header("arena_bytes"), SEED)
        core.learn(self.x, self.y, np.arange(len(self.x)))
        return core.read_state()


@cache
def stream(name: str, dtype: str) -> Stream:
    """Digits, dense or with maps."""
    layers = MAPS if name == "maps" else (32, 32)
    data = prepare("digits", "sim").data
    x, y = data.x_train[:STEPS], data.y_train[:STEPS]
    net = compile_net(find("mono-forward"), Net((8, 8), layers, 10), Calibration(x[:200], y[:200]), dtype, (400, 800))
    return Stream(encode(net.module), net.encode(x), y)


@pytest.mark.parametrize("dtype", ["int8", "f32"])
@pytest.mark.parametrize("name", ["dense", "maps"])
def test_a_thousand_steps_leave_the_same_bytes(big: Path, name: str, dtype: str) -> None:
    wanted = stream(name, dtype)
    with board(big) as client:
        assert wanted.learnt(client) == wanted.expected()


@pytest.mark.parametrize("name", SMALL)
def test_every_kernel_makes_the_same_bytes(big: Path, name: str) -> None:
    plan, draw = plans()[name], np.random.default_rng(1)
    inputs = 16 if name.startswith(("conv", "backprop")) else 6
    x = draw.integers(-127, 128, (60, inputs)).astype(np.int8)
    wanted = Stream(plan, x if name.endswith("int8") else x.astype("<f4") / 127, draw.integers(0, 3, len(x)))
    with board(big) as client:
        assert wanted.learnt(client) == wanted.expected()


def test_a_state_moves_from_one_machine_to_the_other(big: Path) -> None:
    """Half of the steps on a little-endian board, the rest on a big-endian one; and the same answers."""
    half, wanted = STEPS // 2, stream("maps", "int8")
    with board(native("el-sim")) as first:
        checkpoint = wanted.learnt(first, last=half)
    with board(big) as client:
        client.send_plan(wanted.plan)
        assert client.write_state(checkpoint) == half
        assert wanted.learnt(client, half) == wanted.expected()
        samples = [sample.tobytes() for sample in wanted.x[:20]]
        core = NativeCore(wanted.plan, wanted.state_bytes, wanted.header("arena_bytes"), SEED)
        core.write_state(wanted.expected())
        assert client.infer(samples) == core.infer(wanted.x[:20]).tolist()


def test_flash_moves_from_one_machine_to_the_other(big: Path, tmp_path: Path) -> None:
    wanted = stream("dense", "int8")
    files = [tmp_path / "little", tmp_path / "big"]
    for file, program in zip(files, (native("el-sim"), big), strict=True):
        with board(program, file) as client:
            wanted.learnt(client, last=20)
            assert client.save() == 20
            kept = client.read_state(wanted.state_bytes)  # a save leaves what is learnt from as it was
            assert wanted.learnt(client, 20, 30) != kept
    assert files[0].read_bytes() == files[1].read_bytes()
    for file, program in zip(files, (big, native("el-sim")), strict=True):
        with board(program, file) as client:
            client.send_plan(wanted.plan)
            assert client.load() == 20
            assert wanted.learnt(client, 20) == wanted.expected()
