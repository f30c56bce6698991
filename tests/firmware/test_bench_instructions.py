"""The counting bench: the baselines learn, careful C is cheaper than plain C, and counts can be repeated."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from edgelearn import boards
from edgelearn.bench import counts, instructions, profile, qemu
from edgelearn.bench.instructions import Bench, Row, Samples
from edgelearn.bench.plans import compile_plans
from edgelearn.data import datasets
from edgelearn.errors import ConfigError, DoesNotFitError, EdgeLearnError, MissingToolError, UsageError

pytestmark = pytest.mark.slow  # compiles a dozen images of the bench

BOARD = "mps2-an386"
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")
CAREFUL, PLAIN = "backprop f32 careful C", "backprop f32 plain C"


def digits() -> Samples:
    return instructions.samples(datasets.load("digits"))


@pytest.fixture
def tools() -> None:
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing and os.environ.get("EDGELEARN_REQUIRE_QEMU") == "1":
        pytest.fail(f"not installed, but EDGELEARN_REQUIRE_QEMU=1: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize(("net", "epochs", "learnt"), [("64-32-10", 5, 0.92), ("64-32-32-10", 1, 0.75)])
def test_careful_is_cheaper_than_plain_and_both_learn(net: str, epochs: int, learnt: float) -> None:
    careful, plain = instructions.run(BOARD, net, {}, digits(), epochs=epochs, rows=[CAREFUL, PLAIN])
    assert careful.train < 0.6 * plain.train
    assert careful.infer < 0.6 * plain.infer
    assert careful.ram == plain.ram
    for row in (careful, plain):
        assert row.accuracy >= learnt
        assert row.train > row.infer
        assert 0 < row.code < 8192


@pytest.mark.usefixtures("tools")
def test_counts_are_the_same_every_time() -> None:
    def once() -> Row:
        return instructions.run(BOARD, "64-10", {}, digits(), epochs=1, rows=[PLAIN])[0]

    assert once() == once()


@pytest.mark.usefixtures("tools")
def test_the_profile_finds_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path))
    elf = Bench(boards.load(BOARD), "64-10", {}, digits(), tmp_path, epochs=1).build(PLAIN)
    counts = profile.per_symbol(elf, boards.load(BOARD))
    assert counts["board_loop"] == pytest.approx(20_000_000, abs=10)
    weights_seen = 1400 * 64 * 10
    assert min(counts["bp_forward"], counts["bp_backward"]) > weights_seen


def plan(net: str, dtype: str, seed: int = 0) -> str:
    return compile_plans(net, datasets.load("digits"), boards.load(BOARD), seed)[dtype]


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_a_plan_learns_and_brings_only_its_own_kernels(dtype: str, tmp_path: Path) -> None:
    net, data = "64-32-10", digits()
    bench = Bench(boards.load(BOARD), net, {dtype: plan(net, dtype)}, data, tmp_path, epochs=2)
    row = bench.measure(f"edgelearn {dtype}")
    assert row.accuracy >= 0.85
    assert row.train > row.infer > 0
    weights = 64 * 32 + 32 * 10
    assert row.ram > weights * (4 if dtype == "f32" else 1)
    kernels = {
        name for name in qemu.symbols(bench.board, tmp_path / f"edgelearn-{dtype}.elf") if name.startswith("el_k_")
    }
    assert kernels
    assert all(name.endswith("_f32") == (dtype == "f32") for name in kernels)
    assert not any("_abs" in name for name in kernels)


KEPT = Path(__file__).parents[2] / "docs" / "benchmarks"


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("net", ["64-32-10", "64-32-32-10"])
def test_no_count_rose_above_those_that_are_kept(net: str) -> None:
    kept = counts.read(KEPT / f"instructions-{net}.json")
    row = instructions.run(BOARD, net, {"int8": plan(net, "int8", 1)}, digits(), rows=["edgelearn int8"])[0]
    now = {"case": f"{BOARD} {net}", "compiler": counts.compiler(boards.load(BOARD)), "rows": [asdict(row)]}
    counts.check(kept, now)  # raises; with another compiler it only tells
    assert net != "64-32-10" or round(row.accuracy * 397) >= 381


@pytest.mark.usefixtures("tools")
def test_a_dense_layer_is_near_the_limit_of_the_core() -> None:
    found = instructions.dense(BOARD)
    assert found is not None
    assert found <= 1.5 * instructions.DENSE
    assert instructions.dense("microbit") is None  # no room for its weights


def test_a_rise_fails_with_the_same_compiler_only() -> None:
    def counted(compiler: str, infer: int) -> dict[str, object]:
        row = {"name": "edgelearn int8", **dict.fromkeys(counts.COUNTED, 1000), "infer": infer}
        return {"case": "b n", "compiler": compiler, "rows": [row], "dense": None}

    assert counts.check(counted("gcc 12", 1000), counted("gcc 12", 1020)) == []
    with pytest.raises(EdgeLearnError, match="infer: 1,021 instructions, were 1,000"):
        counts.check(counted("gcc 12", 1000), counted("gcc 12", 1021))
    assert len(counts.check(counted("gcc 12", 1000), counted("gcc 13", 1021))) == 1
    with pytest.raises(ConfigError, match="b n"):
        counts.check(counted("gcc 12", 1000), {**counted("gcc 12", 1000), "case": "b m"})


def test_pixels_are_what_the_compiler_takes_them_for() -> None:
    with pytest.raises(ConfigError, match="1/255"):
        instructions.samples(datasets.load("digits"), 255)
    with pytest.raises(UsageError, match="784"):
        instructions.task("100-10")


@pytest.mark.usefixtures("tools")
def test_a_damaged_plan_ends_with_the_code_of_its_refusal(tmp_path: Path) -> None:
    damaged = re.sub(r"(el_app_plan\[\] = \{\s*)\d+", r"\g<1>0", plan("64-32-10", "int8"))
    bench = Bench(boards.load(BOARD), "64-32-10", {"int8": damaged}, digits(), tmp_path, epochs=1)
    with pytest.raises(EdgeLearnError, match=r"code \d+"):
        bench.measure("edgelearn int8")


def test_refusals_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="sim"):
        instructions.run("sim", "64-10", {}, digits())
    with pytest.raises(UsageError, match="no net"):
        instructions.run(BOARD, "64x10", {}, digits())
    with pytest.raises(ConfigError, match="32 inputs"):
        instructions.run(BOARD, "32-10", {}, digits())
    with pytest.raises(UsageError, match="plan in int8"):
        instructions.run(BOARD, "64-10", {}, digits(), rows=["edgelearn int8"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError) as caught:
        instructions.run(BOARD, "64-10", {}, digits(), rows=[PLAIN])
    assert caught.value.exit_code == 14
    assert "gcc-arm-none-eabi" in caught.value.hint


def test_a_row_that_the_board_has_no_room_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(self: instructions.Bench, name: str) -> instructions.Row:
        if "f32" in name:
            raise DoesNotFitError("It needs 9 bytes more.", "Count on a larger board.")
        return instructions.Row(name, 1, 1, 1, 1, 1.0, 1, 1, 1)

    monkeypatch.setattr(instructions.Bench, "measure", measure)
    data = instructions.samples(instructions.dataset("64-16-10"))
    plans = {"int8": "", "f32": ""}
    assert [row.name for row in instructions.run("microbit", "64-16-10", plans, data)] == ["edgelearn int8"]
    with pytest.raises(DoesNotFitError):
        instructions.run("microbit", "64-16-10", plans, data, rows=["edgelearn int8", "edgelearn f32"])
    with pytest.raises(DoesNotFitError):
        instructions.run("microbit", "64-16-10", {"f32": ""}, data)
