"""What is missing is named, with the line that installs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgelearn import boards, build, images
from edgelearn.errors import MissingToolError
from edgelearn.link.children import QemuTransport
from edgelearn.toolchains import TOOLCHAINS, install_emulator


@pytest.mark.parametrize("prefix", TOOLCHAINS)
def test_a_missing_emulator_is_named(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("PATH", "")
    command = replace(boards.load("microbit"), prefix=prefix).qemu_command(Path("x.elf"))
    with pytest.raises(MissingToolError, match=f"{command[0]} is not installed") as caught:
        QemuTransport(command)
    assert caught.value.hint == f"sudo apt-get install {TOOLCHAINS[prefix].emulator_package}"


@pytest.mark.parametrize("prefix", TOOLCHAINS)
def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("PATH", "")
    board = next(board for board in boards.all_boards() if board.prefix == prefix)
    with pytest.raises(MissingToolError, match=f"{prefix}gcc is not installed") as caught:
        images.build(replace(board, plan="over the link"))
    assert caught.value.hint == build.INSTALL[prefix] == f"sudo apt-get install {TOOLCHAINS[prefix].packages}"


def test_an_emulator_that_is_not_ours() -> None:
    assert install_emulator("qemu-system-m68k") == "sudo apt-get install qemu-system"
