"""The fuzz targets of firmware/tests, how they are built, and the inputs that they start from."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from edgelearn.compiler import Net, compile_net
from edgelearn.layers import Layer
from edgelearn.link import messages
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn_export.plan import encode
from tests.firmware.host import FIRMWARE
from tests.firmware.host import encode as wire

CORPUS = Path(__file__).with_name("corpus")
CORE = [*sorted((FIRMWARE / "core").glob("*.c")), FIRMWARE / "gen/el_kernels_all.c"]
INCLUDES = [f"-I{FIRMWARE / folder}" for folder in ("include", "hal", "core", "gen", "tests")]
SANITIZERS = ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all", "-g", "-O1")
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
TARGETS = ("fuzz_plan", "fuzz_link")
LONGEST = {"fuzz_plan": 2048, "fuzz_link": 4096}  # bytes of an input
RAW, FRAME, PLAN, RESTART, FIXED = range(5)  # chunks of fuzz_link.c


def clang() -> str | None:
    """A clang that has libFuzzer beside it."""
    return next(filter(None, map(shutil.which, ("clang", "clang-19", "clang-16", "clang-15", "clang-14"))), None)


def build(compiler: str, target: str, folder: Path, *flags: str, core: Sequence[Path] = CORE) -> Path:
    """``core``: its sources, or objects that were compiled before."""
    out = folder / target
    sources = [str(FIRMWARE / f"tests/{target}.c"), *map(str, core)]
    subprocess.run([compiler, *WARNINGS, *flags, *INCLUDES, *sources, "-o", str(out), "-lm"], check=True, cwd=folder)
    return out


def objects(compiler: str, folder: Path, *flags: str) -> list[Path]:
    """The core, compiled into ``folder``."""
    subprocess.run([compiler, "-c", *WARNINGS, *flags, *INCLUDES, *map(str, CORE)], check=True, cwd=folder)
    return sorted(folder.glob("*.o"))


@dataclass(frozen=True)
class Fuzzed:
    """``code`` is libFuzzer's: not 0 when it found something, which ``log`` then shows."""

    code: int
    runs: int
    edges: int
    log: str


def fuzz(program: Path, corpus: Path, seconds: int, work: Path, seed: int = 1) -> Fuzzed:
    """Fuzzes for ``seconds``; new inputs go to ``work``."""
    work.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST[program.name]}", "-timeout=10", "-rss_limit_mb=1024"]
    options = [*limits, f"-seed={seed}", "-print_final_stats=1", f"-artifact_prefix={work}/found-"]
    command = [str(program), *options, str(work), str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 300, check=False)
    lines = done.stderr.splitlines()
    runs = next((int(line.split()[1]) for line in lines if line.startswith("stat::number_of_executed_units:")), 0)
    edges = [int(line.split("cov: ")[1].split()[0]) for line in lines if "cov: " in line]
    return Fuzzed(done.returncode, runs, edges[-1] if edges else 0, done.stderr)


# --- inputs


@cache
def plans() -> dict[str, bytes]:
    """Small plans that have every kernel between them."""
    draw = np.random.default_rng(0)
    nets = {
        "dense": ("mono-forward", Net((6,), (5,), 3)),
        "conv": ("mono-forward", Net((4, 4), (Layer("conv", 3, 3, 1, 1), Layer("pool", kernel=2)), 3)),
        "ff": ("forward-forward", Net((6,), (5,), 3)),
        "noprop": ("noprop", Net((6,), (5,), 3)),
        "drtp": ("drtp", Net((6,), (5,), 3)),
        "backprop": ("backprop", Net((4, 4), (Layer("conv", 3, 3, 1, 1), Layer("depthwise", kernel=3, pad=1)), 3)),
    }
    made: dict[str, bytes] = {}
    for name, (rule, net) in nets.items():
        calibration = Calibration(draw.random((200, *net.shape), np.float32), draw.integers(0, 3, 200))
        for dtype in ("int8", "f32"):
            made[f"{name}-{dtype}"] = encode(compile_net(find(rule, {}), net, calibration, dtype, (3,)).module)
    return made


def chunk(how: int, data: bytes = b"") -> bytes:
    return struct.pack("<BH", how, len(data)) + data


def frame(name: str, data: bytes = b"", **fields: int) -> bytes:
    """A chunk from which fuzz_link.c makes a frame: type, seq, body."""
    packed = messages.pack(name, 1, data, (), **fields)
    return chunk(FRAME, packed[:2] + packed[4:])


def sessions() -> dict[str, bytes]:
    """What a host would send."""
    start = frame("hello", proto=messages.PROTOCOL, nonce=7)
    sample, long_sample = bytes(range(6)), struct.pack("<6f", *range(6))
    learn = b"".join(frame("sample", sample, step=step, off=0, label=step % 3) for step in range(12))
    parts = frame("sample", sample[:4], step=12, off=0, label=1) + frame("sample", sample[4:], step=12, off=4, label=1)
    keep = frame("save") + learn + frame("load") + frame("stats") + frame("results")
    state = frame("state_read", off=0, len=300) + frame("state_write", bytes(40), off=4) + frame("state_done", crc=0)
    ask = frame("infer", sample, id=3, off=0) + frame("infer", sample[:2], id=4, off=0)
    wrong = (
        frame("sample", sample, step=99, off=0, label=77)
        + chunk(FRAME, b"\x7f\x01")
        + chunk(FRAME, b"\x0b\x01\x81\x00")
    )
    made = plans()
    begin = frame("plan_begin", size=40, hash=1)
    odd_plans = (
        frame("plan_data", bytes(9), off=0)
        + begin
        + frame("plan_data", bytes(30), off=0)
        + frame("plan_data", bytes(30), off=20)
    )
    odd_plans += (
        frame("plan_end")
        + frame("plan_data", bytes(10), off=30)
        + frame("plan_data", bytes(30), off=30)
        + frame("plan_end")
    )
    whole = made["dense-int8"]
    other_hash = frame("plan_begin", size=len(whole), hash=1) + frame("plan_data", whole[:300], off=0)
    other_hash += frame("plan_data", whole[300:], off=300) + frame("plan_end") + frame("plan_begin", size=9999, hash=1)
    again = frame("plan_begin", size=len(whole), hash=int.from_bytes(whole[-4:], "little")) + frame("plan_end")
    edges = (
        frame("state_read", off=99, len=3) + frame("state_write", bytes(3), off=96) + frame("state_write", b"", off=999)
    )
    edges += (
        frame("state_read", off=9999, len=3)
        + frame("infer", sample + b"more", id=5, off=0)
        + frame("infer", sample[2:], id=6, off=2)
    )
    edges += frame("infer", sample[2:], id=4, off=2) + frame("sample", bytes(9), step=0, off=0, label=0) + frame("load")
    edges += frame("sample", sample, step=0, off=3, label=0) + frame("state_done", crc=zlib.crc32(bytes(98)))
    ones = messages.pack("state_write", 1, b"\x01" * 340, off=0)
    full = chunk(RAW, wire(ones)) + chunk(RAW, wire(ones)[:-3] + b"\x07\x07\0") + frame("state_read", off=0, len=340)
    parts += frame("infer", sample[:2], id=8, off=0) + frame("infer", sample[2:4], id=9, off=2)
    parts += (
        frame("infer", sample[2:], id=8, off=2) + frame("infer", sample[:2], id=8, off=0) + frame("infer", id=8, off=2)
    )
    parts += frame("sample", sample[:2], step=13, off=0, label=1) + frame("results")
    parts += frame("sample", sample, step=13, off=5, label=1) + frame("plan_data", bytes(9), off=0)
    parts += frame("plan_begin", size=len(whole), hash=2) + frame("plan_data", bytes(9), off=99)
    zeros = (
        frame("state_write", bytes(98), off=0)
        + frame("state_done", crc=zlib.crc32(bytes(98))) * 2
        + frame("state_read", off=0, len=9)
    )
    return {
        "dense": start + chunk(PLAN, made["dense-int8"]) + learn + parts + keep + state + ask + wrong,
        "floats": chunk(PLAN, made["dense-f32"]) + frame("sample", long_sample, step=0, off=0, label=2) + state,
        "again": chunk(PLAN, made["conv-int8"]) + frame("save") + chunk(RESTART) + chunk(PLAN, made["conv-int8"]) + frame("load"),
        "edges": chunk(PLAN, whole) + again + start + edges + frame("sample", sample, step=0, off=0, label=9) + zeros + start,
        "parts": chunk(PLAN, whole) + learn + parts,
        "odd plans": odd_plans + other_hash + chunk(RESTART, b"1") + start + keep + frame("stats") + chunk(PLAN, whole) + keep,
        "compiled in": chunk(FIXED, whole) + frame("init", seed=3) + start + learn + keep + again + begin + frame("plan_end"),
        "badly compiled in": chunk(FIXED, bytes(100)) + start + frame("init", seed=3) + again + begin,
        "much state": chunk(PLAN, made["backprop-int8"]) + full + frame("state_read", off=0, len=9999),
        "early": learn + keep + state + ask + frame("plan_end") + frame("plan_data", bytes(9), off=0) + frame("init", seed=1),
        "raw": chunk(RAW, bytes(3) + bytes(range(1, 200)) * 3) + chunk(RAW, b"\x02\x0b\x02\x01\0") + start,
        "tlvs": chunk(FRAME, b"\x0b\x01\x05\x03abc\x01\x00") + chunk(FRAME, b"\x0b\x01\x05") + chunk(FRAME, b"\x0e\x01\x05\x09a"),
    }  # fmt: skip


def write_corpus(target: str, folder: Path) -> list[Path]:
    """Starting inputs and those that were found before, each in a file of ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = plans() if target == "fuzz_plan" else sessions()
    for name, raw in inputs.items():
        (folder / name).write_bytes(raw)
    with ZipFile(CORPUS / f"{target}.zip") as known:
        known.extractall(folder)
    return sorted(folder.iterdir())


def keep(target: str, files: Sequence[Path]) -> None:
    """Makes these the inputs that were found; the same ones give the same file."""
    with ZipFile(CORPUS / f"{target}.zip", "w") as known:
        for file in sorted(files):
            known.writestr(ZipInfo(file.name), file.read_bytes(), ZIP_DEFLATED)


def replay(program: Path, files: Sequence[Path]) -> subprocess.CompletedProcess[str]:
    """Runs a target that was built with -DREPLAY."""
    return subprocess.run([program, *files], capture_output=True, text=True, timeout=300, check=False)
