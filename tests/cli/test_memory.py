"""What `show`, `export` and `bench memory` say of memory before anything is flashed, and `bench link` of the wire."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgelearn import boards, footprint, images
from edgelearn.bench import link
from edgelearn.job import prepare
from tests.cli.conftest import Cli


def test_show_and_export_say_it_before_flashing(cli: Cli, tmp_path: Path) -> None:
    shown = cli("show", "digits-tiny", "--json").json
    found = footprint.of_job(prepare("digits-tiny", "sim"))
    assert shown["ram"]["total"] == found.ram
    assert shown["flash"] == {"runtime": None, "board": found.flash_size}
    cli("export", "digits-tiny", "-o", tmp_path)
    told = json.loads((tmp_path / "digits-tiny.json").read_text())
    assert told["memory"] == found.as_dict()


@pytest.mark.qemu
def test_show_knows_the_image_of_a_board(cli: Cli) -> None:
    shown, image = (
        cli("show", "digits-tiny", "--board", "microbit", "--json").json,
        images.build(boards.load("microbit")),
    )
    assert shown["flash"]["runtime"] == image.text + image.data
    assert (shown["ram"]["stack_bound"], shown["ram"]["link"]) == (image.stack_bound, image.link_bytes)
    assert f"{image.stack_bound:,} can be needed" in cli("show", "digits-tiny", "--board", "microbit").out


def test_the_memory_bench_as_it_is_typed(cli: Cli, tmp_path: Path) -> None:
    args = ("bench", "memory", "--case", "recipes", "--board", "sim", "-o", tmp_path / "m.json")
    told = cli(*args, "--json").json
    assert {row["recipe"] for row in told["rows"]} >= {"digits", "digits-tiny"}
    assert json.loads((tmp_path / "m.json").read_text()) == told
    assert "digits on sim" in cli(*args[:-2]).out
    assert cli("bench", "memory", "--case", "recipe").code == 2
    assert cli("bench", "memory", "--board", "nope").code == 4


@pytest.mark.qemu
@pytest.mark.slow
def test_the_link_bench_as_it_is_typed(cli: Cli) -> None:
    told = cli("bench", "link", "--net", "64-32-10", "--clock", "64", "--json").json
    assert [row["baud"] for row in told["rows"]] == list(link.BAUDS)
    assert "not measured" in told["note"]
    for row in told["rows"]:
        assert row["wire"] >= 0.9 or not row["waits"]
        assert row["instructions"] > 1000
    assert cli("bench", "link", "--net", "1-2").code == 2
