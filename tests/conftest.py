"""What all tests share: a run store and a cache of their own, and the rule that CI may not skip an emulator."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from edgelearn.toolchains import TOOLCHAINS

# A deadline per example is a timed test, and this machine may be shared.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ARM = "arm-none-eabi-"


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never touch the user's runs."""
    monkeypatch.setenv("EDGELEARN_RUNS", str(tmp_path / "runs.sqlite"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked ``qemu`` are skipped where the tools are missing, and fail there under EDGELEARN_REQUIRE_QEMU=1.

    ``qemu("avr-")`` names another compiler than Arm's; with it goes another emulator.
    """
    marker = item.get_closest_marker("qemu")
    if marker is None:
        return
    chains = [TOOLCHAINS[prefix] for prefix in marker.args or (ARM,)]
    missing = [tool for row in chains for tool in (row.emulator, f"{row.prefix}gcc") if shutil.which(tool) is None]
    if not missing:
        return
    reason = f"needs {', '.join(missing)}: make tools"
    if os.environ.get("EDGELEARN_REQUIRE_QEMU") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
