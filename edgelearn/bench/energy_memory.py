"""The most memory that a training holds: by torch's allocator, by the C core's plan, and of the process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def of_cpu(train: Callable[[], Any]) -> int:
    """The most bytes that torch's allocator for the CPU held at once while ``train`` ran.

    It keeps no such figure itself; its profiler sees each allocation.
    """
    # Kineto announces its start and end on standard error, unless told so before it first starts.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from edgelearn.host.torch_lib import torch

    of = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=of, profile_memory=True) as seen:
        train()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def of_process() -> int | None:
    """The most bytes that this process had in memory since ``forget_process``; None where Linux does not tell."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def forget_process() -> bool:
    """Lets the kernel count the process's most anew (proc(5), clear_refs); False where it does not."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


@contextmanager
def of_gpu(device: str, data: int) -> Iterator[dict[str, int]]:
    """``peak``: the most bytes that torch's allocator held on a GPU meanwhile, less those of the data set."""
    from edgelearn.host.torch_lib import torch

    told: dict[str, int] = {}
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    yield told
    torch.cuda.synchronize(device)
    told["peak"] = torch.cuda.max_memory_allocated(device) - data
