"""Doctor and boards: each missing tool is named with the way to it and the boards that need it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgelearn import boards
from edgelearn.cli import doctor
from edgelearn.programmers import ways
from tests.cli.conftest import Cli

Checks = dict[str, dict[str, Any]]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A computer without any tool, and without images but those in the package; its PATH's folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path / "cache"))
    return folder


def checks_of(cli: Cli, *args: str) -> Checks:
    return {check["name"]: check for check in cli("doctor", *args, "--json").json["checks"]}


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_every_missing_tool_and_who_needs_it(cli: Cli, bare: Path) -> None:
    checks = checks_of(cli)
    for board in boards.all_boards():
        chain = board.toolchain
        if chain:
            compiler = checks[f"{chain.prefix}gcc"]
            assert board.id in compiler["boards"]
            assert (compiler["ok"], compiler["code"], compiler["needed"]) == (False, 14, False)
            assert compiler["repair"] == chain.install
        if chain and board.qemu_machine:
            assert board.id in checks[chain.emulator]["boards"]
            assert checks[chain.emulator]["repair"] == chain.install_emulator
        able = ways(board)
        lines = [check for check in checks.values() if able and board.id in check["boards"]]
        told = any(able[0].tool.program in check["name"] for check in lines if able[0].tool.program)
        assert told == (bool(able) and not any(way.is_drive for way in able)), board.id
    assert all(check["repair"] for check in checks.values() if not check["ok"])


def test_it_is_short(cli: Cli, bare: Path) -> None:
    """One line for all images; of many boards that need a tool, some."""
    shown = cli("doctor").out
    assert shown.count("firmware images") == 1
    assert len(shown.splitlines()) < 80
    assert " more" in shown
    assert "Ready, but for what is missing" in shown, "what only some boards need does not stop the others"


def test_of_one_board_only_what_it_needs(cli: Cli, bare: Path) -> None:
    names = set(checks_of(cli, "mega2560"))
    assert {"avr-gcc", "qemu-system-avr", "avrdude"} <= names
    assert not {"arm-none-eabi-gcc", "qemu-system-arm", "PyTorch"} & names
    assert "avrdude" not in checks_of(cli, "microbit"), "it is a drive"
    assert cli("doctor", "nosuch", "--json").code == 4


def test_one_programmer_of_several_is_enough(cli: Cli, bare: Path) -> None:
    name = next(name for name in checks_of(cli, "nucleo-f411re") if "openocd" in name)
    assert name.startswith("st-flash or ")
    put(bare, "openocd", "exit 0")
    check = checks_of(cli, "nucleo-f411re")[name]
    assert check["ok"]
    assert check["detail"] == str(bare / "openocd")


@pytest.mark.parametrize(
    ("board", "prefix", "answer", "here"),
    [
        ("mega2560", "avr-", "echo libc.a", False),
        ("mega2560", "avr-", "echo /usr/lib/avr/lib/libc.a", True),
        ("hifive1", "riscv64-unknown-elf-", "exit 1", False),
        ("hifive1", "riscv64-unknown-elf-", "echo libc.a", True),
    ],
)
def test_a_compiler_without_its_library(cli: Cli, bare: Path, board: str, prefix: str, answer: str, here: bool) -> None:
    """Debian packs them apart: without the second nothing can be linked."""
    put(bare, f"{prefix}gcc", f'case "$*" in *print-file-name*) {answer};; *) echo a compiler 1.0;; esac')
    check = checks_of(cli, board)[f"{prefix}gcc"]
    assert check["ok"] == here
    assert ("C library is not installed" in check["detail"]) == (not here)
    assert ("apt-get install" in check["repair"]) == (not here)


@pytest.mark.parametrize(("root", "member", "told"), [(True, False, False), (False, True, False), (False, False, True)])
def test_the_group_of_serial_ports(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, root: bool, member: bool, told: bool
) -> None:
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.setattr(doctor, "RULES", "/nonexistent")
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(os, "getgroups", lambda: [20] if member else [1000])
    monkeypatch.setattr("grp.getgrall", lambda: [SimpleNamespace(gr_name="dialout", gr_gid=20)])
    checks = checks_of(cli, "microbit")
    assert ("serial ports' group" in checks) == told
    assert "serial ports' group" not in checks_of(cli, "mps2-an386"), "it has no serial port of its own"
    if told:
        assert "usermod -aG dialout" in checks["serial ports' group"]["repair"]


def test_udev_rules_name_each_id_once(cli: Cli) -> None:
    rules = [line for line in cli("doctor", "--udev").out.splitlines() if not line.startswith("#")]
    ids = {usb for board in boards.all_boards() for usb in board.usb}
    assert len(rules) == len(ids)
    for usb in ids:
        vid, pid = usb.split(":")
        assert any(f'"{vid}"' in rule and f'"{pid}"' in rule and "uaccess" in rule for rule in rules)


@pytest.mark.parametrize("board_id", boards.ids())
def test_all_about_a_board(cli: Cli, board_id: str) -> None:
    board = boards.load(board_id)
    shown = " ".join(cli("boards", board_id).out.split())
    for wanted in (board.name, board.core, f"{board.ram:,} B", *board.usb, *(way.tool.program for way in ways(board))):
        assert wanted in shown
    for line in board.source:
        assert " ".join(line.split()) in shown


def test_the_list_says_that_nothing_ran_on_hardware(cli: Cli) -> None:
    shown = cli("boards").out
    assert ("None of them has been run on hardware" in shown) == all(
        b.verified != "hardware" for b in boards.all_boards()
    )
    assert all(board_id in shown for board_id in boards.ids())
