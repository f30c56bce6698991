"""The board's own checkpoint: whatever happens to power and flash, ``el_load`` brings back the old state or the new one, whole.

The firmware's own ``el_save`` and ``el_load`` run on a flash with real rules: in C (firmware/tests/power_main.c), where every pair of cuts
is tried; test_power_cut_flash.py does so through the public ``edgelearn.testing.PowerCutFlash``. ``pytest -s`` prints the figures.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgelearn.compiler import Net, compile_net
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn_export.plan import encode
from tests.firmware.host import FIRMWARE, compile_host

SECONDS = 120
ORDERS = {"forward": 0, "backward": 1, "shuffled": 2}
PAGES = {"a ring of eight slots": 1024, "two slots": 4096}
NV_BYTES = 8192
WHOLE = [0, 0, 0]  # tries that ended with: another state, whole; none; a damaged one
LARGE, ODD = (
    Net((14,), (11,), 3),
    Net((6,), (5,), 3),
)  # states of 254 bytes: 70 operations; of 98, which is no multiple of 4


@cache
def plan(net: Net) -> bytes:
    draw = np.random.default_rng(0)
    x, y = draw.random((200, *net.shape), np.float32), draw.integers(0, 3, 200)
    return encode(compile_net(find("mono-forward", {}), net, Calibration(x, y), "int8", (3,)).module)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    core = [*sorted((FIRMWARE / "core").glob("*.c")), FIRMWARE / "gen/el_kernels_all.c"]
    out = tmp_path_factory.mktemp("power") / "power"
    return compile_host(out, [FIRMWARE / "tests/power_main.c", *core], "-lm")


@cache
def figures(program: Path, net: Net, page: int, order: str) -> dict[str, list[int]]:
    """What power_main.c prints: [tries, other, gone, damaged] by name."""
    stride = 8 if order == "forward" else 64  # of the bits that stick
    file = program.with_name(f"{net.shape[0]}.plan")
    file.write_bytes(plan(net))
    command = [program, file, NV_BYTES, page, ORDERS[order], stride]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=SECONDS, check=True)
    sys.stdout.write(f"\n{page} bytes a page, {order}:\n{done.stdout}")
    rows = (line.split(": ") for line in done.stdout.splitlines())
    return {name: list(map(int, numbers.split(", "))) for name, numbers in rows}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_no_cut_loses_a_state(program: Path, page: int, order: str) -> None:
    found = figures(program, LARGE, page, order)
    assert found["single"] == [210, *WHOLE]
    assert found["double"] == [210**2, *WHOLE]
    assert found["every place of the ring"] == [210 * (NV_BYTES // page + 2), *WHOLE]
    assert found["wrap"][0] > 210 * NV_BYTES // page and found["wrap"][1:] == WHOLE
    assert found["rules"] == [0]  # of flash, broken by el_save: a word programmed twice, or a bit set without an erase


def test_a_state_that_ends_within_a_word(program: Path) -> None:
    found = figures(program, ODD, 1024, "shuffled")
    assert found["single"][1:] == found["double"][1:] == found["wrap"][1:] == WHOLE
    assert found["double"][0] == found["single"][0] ** 2 > 8000


def test_worn_flash_is_passed_over_or_refused_and_loses_nothing(program: Path) -> None:
    ring, pair = (figures(program, LARGE, page, "forward") for page in PAGES.values())
    for found in (ring, pair):
        assert found["bad pages"][1:] == found["stuck bits"][1:] == found["turned bits"][1:] == WHOLE
    assert ring["stuck bits"][0] > 30_000 and ring["turned bits"][0] == 8 * (20 + 254)
    assert ring["refused"] == [0]  # seven slots are left
    assert pair["refused"][0] > 0  # one slot alone cannot be written: the old state stays, and el_save says so


def test_pages_wear_evenly(program: Path) -> None:
    saves, pages, slots, least, most = figures(program, LARGE, 1024, "forward")["wear"]
    assert (pages, slots) == (8, 8)
    assert least == most == saves // slots


def test_cells_that_read_differently_each_time_never_bring_back_damage(program: Path) -> None:
    """Nothing can be promised of a bit that a cut left between 0 and 1 but this: what is loaded was once saved, whole. With two slots both
    may be gone (docs/reliability.md)."""
    ring, pair = (figures(program, LARGE, page, "forward") for page in PAGES.values())
    assert ring["single, unsure"] == pair["single, unsure"] == [70, *WHOLE]
    assert ring["double, unsure"][0] == 70**2 and ring["double, unsure"][2:] == [0, 0]
    assert pair["double, unsure"][3] == 0
