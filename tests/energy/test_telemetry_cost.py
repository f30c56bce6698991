"""A board's own meter takes less than 2 % of a training step's instructions, counted in QEMU; and nothing where there is none."""

from __future__ import annotations

import json
import subprocess

import pytest

from edgelearn import boards, images
from edgelearn.bench import telemetry
from edgelearn.errors import ConfigError


@pytest.mark.slow
@pytest.mark.qemu
def test_a_meter_costs_a_step_less_than_2_percent() -> None:
    told = telemetry.run(epochs=1, names=("off", "period 20 ms"))
    off, on = told["rows"]
    assert 0 < on["added"] < telemetry.LIMIT
    assert on["accuracy"] == off["accuracy"], "it learns the same"


def test_the_page_has_the_figures() -> None:
    told, page = json.loads(telemetry.FIGURES.read_text()), telemetry.PAGE.read_text()
    assert telemetry.filled(page, told) == page, "python -m edgelearn.bench.telemetry --page"
    assert all(row["added_last_pass"] < telemetry.LIMIT for row in told["rows"])


def test_boards_whose_clock_the_bench_does_not_read() -> None:
    with pytest.raises(ConfigError, match="not counted on board 'microbit'"):
        telemetry._clock(boards.load("microbit"))


@pytest.mark.qemu
def test_an_image_without_a_meter_has_nothing_of_it() -> None:
    board = boards.load("microbit")
    listed = subprocess.run(
        [f"{board.prefix}nm", str(images.build(board).path)], capture_output=True, text=True, check=True
    )
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    assert "el_link_poll" in names
    assert not [name for name in names if name.startswith(("el_power", "el_ina", "meter_", "i2c_", "twi_"))]
