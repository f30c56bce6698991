"""Each core's own inner loops: bit by bit those of portable C, on that core in QEMU, and as cheap as they are said to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from edgelearn import boards
from edgelearn.bench import qemu
from edgelearn.paths import resource
from tests.emulated import params

# One board for each of the cores that el_dot.h tells apart, and for those that fault where others do not.
CORES = ("microbit", "hifive1", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547")
PRIMITIVES = {
    *("dot", "update_small", "update_large", "update_positive", "view4_i8", "view4_i16", "lengths", "windows"),
    *("columns4_i8", "add_run", "settle_i8"),
}
# Instructions a weight, 16 rows of 192 inputs that are all not zero. Counted: 4.34, 3.93, 1.70, 0.20; 10.1, 9.2, 6.6, 1.8.
LIMITS = {
    "microbit": {"dot": 4.5, "update_small": 10.5},
    "hifive1": {"dot": 4.1, "update_small": 9.6},
    "mps2-an386": {"dot": 1.8, "update_small": 6.9},
    "mps3-an547": {"dot": 0.21, "update_small": 1.9},
}


@dataclass(frozen=True)
class Said:
    """A line of firmware/tests/kernels_main.c."""

    hash: str
    cost: float  # instructions for each weight


def run(board_id: str, folder: Path, *flags: str) -> dict[tuple[str, str], Said]:
    """What the program found, by primitive and kind of input."""
    board = boards.load(board_id)
    firmware = resource("firmware")
    include = [firmware / part for part in ("include", "hal", "core", "gen")]
    files = [firmware / "tests/kernels_main.c"]
    elf = qemu.build(board, files, folder / "kernels.elf", include, [*flags, "-DEL_NO_F32", "-Werror"])
    lines = [line.split() for line in qemu.execute(board, elf, qemu.counting(), timeout_s=60).splitlines()]
    scale = next(int(work) / int(ticks) for name, _, _, ticks, work in lines if name == "loop")
    return {(name, of): Said(found, int(t) * scale / int(work)) for name, of, found, t, work in lines if name != "loop"}


@pytest.mark.slow
@pytest.mark.parametrize("board", params(CORES))
def test_variant_equals_portable(board: str, tmp_path: Path) -> None:
    portable = run(board, tmp_path, "-O2", "-DEL_PORTABLE")
    assert {name for name, _ in portable} == PRIMITIVES
    assert len({said.hash for said in portable.values()}) > len(PRIMITIVES)  # inputs differ, and so does what comes out
    for optimize in ("-O2", "-Os"):
        variant = run(board, tmp_path, optimize)
        assert {key: said.hash for key, said in variant.items()} == {k: said.hash for k, said in portable.items()}
        for name, limit in LIMITS.get(board, {}).items():
            assert variant[name, "full"].cost <= limit < portable[name, "full"].cost
