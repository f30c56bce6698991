"""The verifier ends, and soon: its work grows with the bytes of a plan and with nothing that they say.

Instructions are counted in QEMU on a Cortex-M0. The time on a Cortex-M0+ is an estimate from them, not a measurement.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from edgelearn import boards
from edgelearn.bench import qemu
from edgelearn_export.plan import format as F
from tests.firmware.host import FIRMWARE
from tests.firmware.test_verify import golden, sealed, sections

BOARD = "microbit"
LARGE = 64 * 1024  # bytes of a plan
CYCLES = 1.5  # of an instruction of a Cortex-M0+: most take one, loads and branches that are taken two
HERTZ = 133e6  # of the M0+ boards with so much RAM: RP2040
MOST_MS = {
    "mono-forward": 32,
    "maps": 47,
}  # 50 are wanted. Counted: 29.7 and 43.9; shapes of maps are divided, twice an operation


def grown(plan: bytes, size: int) -> bytes:
    """The same with the ops of `learn` again and again, until it has ``size`` bytes or nearly so."""
    header, offsets = F.STRUCTS["header"], F.offsets("header")
    count = dict(zip((name for name, _ in F.HEADER), header.unpack_from(plan), strict=True))["n_learn"]
    one = F.STRUCTS["op"].size
    first, end = [at for record, at in sections(plan) if record == "op"][-count], len(plan) - 4
    times = (size - len(plan)) // one
    ops = plan[first : first + count * one]
    body = bytearray(
        plan[: first + count * one] + (ops * (times // count + 1))[: times * one] + plan[first + count * one : end]
    )
    struct.pack_into("<H", body, offsets["n_learn"], count + times)
    struct.pack_into("<I", body, offsets["total_bytes"], len(body) + 4)
    return sealed(body)


def instructions(plan: bytes, folder: Path) -> tuple[int, int]:
    """(executed by el_verify, the code it gave, negated)."""
    numbers = ",".join(map(str, plan))
    (folder / "bench_plan.h").write_text(f"#include <stdint.h>\nstatic const uint8_t bench_plan[] = {{{numbers}}};\n")
    board = boards.load(BOARD)
    kernels = [FIRMWARE / "gen/el_kernels_all.c", *sorted((FIRMWARE / "core").glob("*.c"))]
    files = [qemu.sources() / "verify_main.c", *kernels]
    include = [folder, *(FIRMWARE / name for name in ("include", "hal", "core", "gen"))]
    elf = qemu.build(board, files, folder / "verify.elf", include, ["-Os", "-DEL_NO_F32", "-ffp-contract=off"])
    found = json.loads(qemu.execute(board, elf, qemu.counting()))
    return found["instructions"], found["refused"]


def milliseconds(count: int) -> float:
    """An estimate."""
    return count * CYCLES / HERTZ * 1e3


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("name", MOST_MS)
def test_the_time_grows_with_the_bytes_alone(name: str, tmp_path: Path) -> None:
    plan = golden(name)
    small, large = grown(plan, LARGE // 4), grown(plan, LARGE)
    found = [instructions(each, tmp_path) for each in (small, large)]
    per_byte = [count / len(each) for (count, _), each in zip(found, (small, large), strict=True)]
    ms = milliseconds(found[1][0])
    print(f"\n{name}: {found[1][0]:,} instructions for {len(large):,} bytes: about {ms:.0f} ms at {HERTZ / 1e6:.0f} MHz (estimate)")  # noqa: T201 # fmt: skip
    assert [code for _, code in found] == [0, 0]
    assert len(large) > LARGE - 64
    assert per_byte[1] <= 1.02 * per_byte[0]
    assert ms <= MOST_MS[name]
