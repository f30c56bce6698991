"""A long run on the simulated board over a line that damages one byte in ten thousand: nothing grows, nothing drifts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from edgelearn.link.transport import Transport
from edgelearn.runs import KEEP, RunStore
from edgelearn.session import Session
from edgelearn.testing.faulty_pipe import FaultyPipe
from edgelearn.training import Progress

RATE = 1e-4
WARM = 0.25  # of the run: after it nothing of the host may grow
MOST_GROWN_KIB = 4096
READINGS = 200


def resident_kib() -> int:
    """Memory of this process that is in use now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def run(steps: int, seed: int = 1, rate: float = RATE) -> dict[str, Any]:
    """Trains twice, with a clean line and with a damaged one, and says what differed; ``found`` counts what must not be."""
    clean, _, _ = _trained(steps, seed, 0.0)
    noisy, faults, memory = _trained(steps, seed, rate)
    early = memory[: max(1, int(len(memory) * WARM))]
    grown = max(memory) - max(early)
    link = noisy["link"]
    odd = [
        noisy["state_sha256"] != clean["state_sha256"],
        noisy["steps"] != steps,
        link["retries"] == 0 and faults > 20,
        noisy["checkpoints"] != clean["checkpoints"],
        grown > MOST_GROWN_KIB,
    ]
    return {
        "steps": steps, "rate": rate, "damaged_bytes": faults, "retries": link["retries"], "bad_frames_at_board": link["bad_frames"],
        "same_weights": noisy["state_sha256"] == clean["state_sha256"], "grown_kib": grown, "memory_kib": max(memory),
        "checkpoints_kept": noisy["checkpoints"], "store_bytes": noisy["store_bytes"], "found": sum(odd),
    }  # fmt: skip


def _trained(steps: int, seed: int, rate: float) -> tuple[dict[str, Any], int, list[int]]:
    pipes: list[FaultyPipe] = []
    memory: list[int] = []

    def wrapped(inner: Transport) -> Transport:
        pipes.append(FaultyPipe(inner, rate, seed=seed))
        return pipes[-1]

    def watched(at: Progress) -> None:
        if len(memory) * steps < at.step * READINGS:  # few, for the list of them grows too
            memory.append(resident_kib())

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.sqlite"
        with RunStore(path) as store, Session("sim", None, wrapped) as board:
            done = board.train("digits-tiny", store, watched, steps=steps, seed=seed)
            newest = store.newest_checkpoint(done.run)
            assert newest is not None and newest.step == steps
            kept = len(store._rows("SELECT step FROM checkpoints WHERE run = ?", done.run))
        assert kept <= KEEP
        size = path.stat().st_size
    return {**done.data, "checkpoints": kept, "store_bytes": size}, sum(pipe.faults for pipe in pipes), memory
