"""Writes gestures.npz, windows as sensor.c draws them, and gestures_plan.c and .h, the recipe compiled for any board.

python firmware/examples/sensor/make_data.py            # write both
python firmware/examples/sensor/make_data.py --check    # exit 1 if one of them is stale
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir.rng import mix
from edgelearn.job import prepare
from edgelearn_export.plan.carray import CBackend

HERE = Path(__file__).resolve().parent
WINDOWS, SAMPLES, UNIT = 250, 16, 64  # readings are in 1/UNIT g
TURN, WINDOW_DRAWS = 12, 64
# (turns, lead, gain, rest) of each axis of each gesture: see sensor.c
GESTURES = np.array(
    [
        [(3, 0, 64, 0), (3, 32, 16, 0), (0, 0, 0, 48)],
        [(1, 0, 64, 0), (1, 64, 64, 0), (0, 0, 0, 48)],
        [(1, 0, 12, 0), (0, 0, 0, 0), (1, 128, 64, 48)],
    ]
)


def draw(counters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Random 32-bit numbers, as draw() in sensor.c."""
    return mix(counters.astype(np.uint64)).astype(np.int64)


def wave(phase: NDArray[np.int64]) -> NDArray[np.int64]:
    """A sine of 256 steps from parabolas, as wave() in sensor.c."""
    half = phase & 127
    height = half * (128 - half) >> 6
    return np.where(phase & 128, -height, height)


def windows(n: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """The first n windows (n, SAMPLES, 3) in 1/UNIT g, and their gestures (n,)."""
    number = np.arange(n)
    label = draw(number // TURN) % len(GESTURES)
    first = ~(number * WINDOW_DRAWS) & 0xFFFFFFFF
    style = draw(first)[:, None, None]
    noise = draw(first[:, None] - 1 - np.arange(SAMPLES * 3)).reshape(n, SAMPLES, 3)
    turns, lead, gain, rest = np.moveaxis(GESTURES[label], -1, 0)[:, :, None, :]
    phase = np.arange(SAMPLES)[:, None] * turns * (256 // SAMPLES) + lead + (style & 63)
    swing = wave(phase & 255) * gain * (40 + (style >> 6 & 31)) >> 12
    g = rest + swing + (noise & 63) + (noise >> 6 & 63) - 63
    return np.clip(g, -127, 127).astype(np.int8), label


def data() -> bytes:
    """gestures.npz: x (WINDOWS, SAMPLES, 3) in g and y (WINDOWS,)."""
    x, y = windows(WINDOWS)
    file = BytesIO()
    np.savez_compressed(file, x=(x / UNIT).astype(np.float16), y=y.astype(np.uint8))
    return file.getvalue()


def plan() -> dict[str, bytes]:
    """gestures_plan.c and gestures_plan.h by name: the plan for any board, and the table of the kernels that it calls."""
    return CBackend().files(prepare(HERE / "gestures.toml").module, "", "gestures")


def update(name: str, new: bytes, stale: bool, checking: bool) -> bool:
    """Writes a file that is stale, unless only checking; returns whether it still is."""
    if stale and not checking:
        (HERE / name).write_bytes(new)
    if stale:
        sys.stderr.write(f"{name} is stale: run python {__file__}\n" if checking else f"wrote {name}\n")
    return stale and checking


def main(arguments: list[str]) -> int:
    """0, or 1 if something is stale with ``--check``."""
    checking, table = "--check" in arguments, HERE / "gestures.npz"
    x, y = windows(WINDOWS)
    kept = np.load(table) if table.exists() else {}  # the bytes of a zip file also say when it was made: compare values
    same = bool(kept) and np.array_equal(kept["x"] * UNIT, x) and np.array_equal(kept["y"], y)
    stale = update("gestures.npz", data(), not same, checking)
    for name, made in plan().items():
        source = HERE / name
        stale |= update(name, made, not source.exists() or source.read_bytes() != made, checking)
    return int(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
