"""What ``export --format plan-c`` writes compiles, fits the memory that its header asks for, and knows what the run knew."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import edgelearn as el
from edgelearn.host.native import NativeCore
from tests.cli.conftest import Cli
from tests.firmware.host import FIRMWARE, compile_host

CORE = sorted((FIRMWARE / "core").glob("*.c"))
SAMPLES = 20


def labels(cli: Cli, source: str, folder: Path, *flags: str) -> list[int]:
    """Of the first samples of the test set, by the exported C in a program for this machine."""
    artifacts = cli("export", source, "--format", "plan-c", "-o", str(folder), "--verify", "--json").json["artifacts"]
    code, header = (Path(a["path"]) for a in artifacts)
    named = (f'-DPLAN_HEADER="{header.name}"', f"-I{folder}", "-DEL_NO_F32", *flags)
    program = compile_host(folder / "app", [FIRMWARE / "tests/export_main.c", code, *CORE], *named)
    samples = el.compile("digits").x_test[:SAMPLES].tobytes()
    done = subprocess.run([program], input=samples, capture_output=True, check=True, timeout=60)
    return list(map(int, done.stdout.split()))


def test_a_run_as_c_knows_what_the_run_knew(cli: Cli, run_id: str, tmp_path: Path) -> None:
    told = cli("infer", run_id, "--first", str(SAMPLES), "--json").json["samples"]
    assert labels(cli, run_id, tmp_path / "out", "-DLEARNT") == [sample["class"] for sample in told]


def test_a_recipe_as_c_starts_from_the_seed(cli: Cli, tmp_path: Path) -> None:
    job = el.compile("digits")
    core = NativeCore(job.plan, job.state_bytes, job.arena_bytes, 1)
    assert labels(cli, "digits", tmp_path / "out") == core.infer(job.x_test[:SAMPLES]).tolist()


@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_the_header_stands_alone(cli: Cli, dtype: str, tmp_path: Path) -> None:
    cli("export", "digits", "--format", "plan-c", "--dtype", dtype, "-o", str(tmp_path))
    user = tmp_path / "user.c"
    user.write_text(
        '#include "digits_plan.h"\n#include "digits_plan.h"\nint main(void) { return EL_APP_INPUTS != 64; }\n'
    )
    assert subprocess.run([compile_host(tmp_path / "user", [user], f"-I{tmp_path}")], check=False).returncode == 0
