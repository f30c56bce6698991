"""The accuracy bench: what it trains, keeps, refuses and shows. All of it on tiny cases."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgelearn.bench import accuracy, engines, table
from edgelearn.bench.accuracy import Options
from edgelearn.bench.choose import choose
from edgelearn.bench.methods import Case
from edgelearn.data import datasets
from edgelearn.errors import ConfigError, Interrupted, UsageError
from tests.bench import tiny

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The trainings that were done, by row and seed."""
    done: list[tuple[str, int]] = []

    def core(task: engines.Task) -> engines.Trained:
        done.append((task.method.name, task.seed))
        return engines.core(task)

    monkeypatch.setitem(engines.ENGINES, "core", core)
    return done


def run(seeds: Any = 2, case: Case = tiny.TINY, **options: Any) -> list[accuracy.Row]:
    return accuracy.run(case, seeds, options=Options(**options))


# --- what is measured -------------------------------------------------------------------------------------------------


def test_rows_have_everything_that_a_table_says() -> None:
    last, summed, backprop = run()
    assert [len(row.seeds) for row in (last, summed, backprop)] == [2, 2, 2]
    assert last.mean == pytest.approx(np.mean(last.seeds))
    assert last.std == pytest.approx(np.std(last.seeds, ddof=1))
    assert last.gap == pytest.approx(last.mean - backprop.mean)
    assert (backprop.gap, backprop.against, last.against) == (None, None, "backprop")
    assert (last.published, last.source, summed.published, summed.source) == (0.5, "a paper, another net", None, None)
    assert (last.dtype, last.engine, last.batch, last.passes, last.ram_of) == ("int8", "core", 1, 0.75, "device")
    assert (last.seed_numbers, last.stopping) == ([1, 2], "after the last step of a fixed schedule")
    assert last.ram < backprop.ram * 2
    assert min(last.mean, backprop.mean) > 0.3


def test_seeds_are_a_number_or_named() -> None:
    first, second = run()[0].seeds
    assert run([2], rows_only(tiny.LAST))[0].seeds == [second]
    assert run(1, rows_only(tiny.LAST))[0].seeds == [first]
    for wrong in (0, [], [-1], [2**32]):
        with pytest.raises(UsageError, match="seed"):
            run(wrong)


def rows_only(*rows: Any) -> Case:
    return replace(tiny.TINY, rows=rows)


def test_rows_that_only_read_otherwise_share_a_training(trained: list[tuple[str, int]]) -> None:
    last, summed, _ = run()
    assert trained == [("int8 last", 1), ("backprop", 1), ("int8 last", 2), ("backprop", 2)]
    assert run(2, rows_only(tiny.SUMMED))[0].seeds == summed.seeds
    assert run(2, rows_only(tiny.SUMMED, tiny.LAST))[1].seeds == last.seeds
    assert last.seeds != summed.seeds  # else this test says nothing


def test_a_core_case_does_not_import_torch() -> None:
    code = (
        "import sys; from edgelearn.bench import accuracy; from tests.bench import tiny;"
        "accuracy.run(tiny.TINY, 1); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False"]


def test_data_are_standardised_by_the_training_set() -> None:
    data = datasets.load("digits")
    x = np.repeat(data.x_train[:50, :, :, None], 2, axis=3) * np.array([3, 5], np.float32)
    maps = replace(data, x_train=x, y_train=data.y_train[:50], x_test=x + 1, y_test=data.y_train[:50])
    made = datasets.standardised(maps)
    assert made.x_train.dtype == np.float32
    assert made.x_train.mean((0, 1, 2)) == pytest.approx([0, 0], abs=1e-5)
    assert made.x_train.std((0, 1, 2)) == pytest.approx([1, 1], abs=1e-5)
    shift = 1 / x.reshape(-1, 2).std(0)
    assert (made.x_test - made.x_train).reshape(-1, 2).mean(0) == pytest.approx(shift, rel=1e-4)
    flat = datasets.standardised(data)
    assert (flat.x_train.mean(), flat.x_train.std()) == pytest.approx((0, 1), abs=1e-4)
    plain = run(1, rows_only(tiny.BACKPROP))[0]
    assert run(1, rows_only(replace(tiny.BACKPROP, standardise=True)))[0].seeds != plain.seeds


def test_mirror_images_stand_behind_the_training_set() -> None:
    data = datasets.load("digits")
    made = datasets.with_mirror_images(data)
    assert len(made.x_train) == len(made.y_train) == 2 * len(data.x_train)
    assert (made.x_train[: len(data.x_train)] == data.x_train).all()
    assert (made.x_train[-1, :, 0] == data.x_train[-1, :, -1]).all()
    assert (made.x_train[-1] != data.x_train[-1]).any()
    assert made.y_train[-1] == data.y_train[-1]
    assert made.x_test is data.x_test


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_what_is_there_is_not_measured_again(tmp_path: Path, trained: list[tuple[str, int]]) -> None:
    first = run(out=tmp_path)
    assert len(trained) == 4
    assert len(list(tmp_path.rglob("*.json"))) == 6
    assert not [*tmp_path.rglob("*.npz"), *tmp_path.rglob(".*")]
    assert run(out=tmp_path) == first
    assert len(trained) == 4
    assert [row.seeds[:2] for row in run(3, out=tmp_path)] == [row.seeds for row in first]
    assert trained[4:] == [("int8 last", 3), ("backprop", 3)]
    again = accuracy.run(tiny.TINY, 2, ["backprop"], options=Options(out=tmp_path, again=True))
    assert trained[6:] == [("backprop", 1), ("backprop", 2)]
    assert again[0].seeds == first[2].seeds


def test_results_of_other_settings_are_never_taken(tmp_path: Path) -> None:
    run(1, out=tmp_path)
    changed = rows_only(tiny.LAST.at(0.5), tiny.BACKPROP)
    with pytest.raises(ConfigError, match=r"other settings: lr 0.0625 instead of 0.5\.") as caught:
        run(1, changed, out=tmp_path)
    assert "--again --rows 'int8 last'" in caught.value.hint
    with pytest.raises(ConfigError, match=r"layers .* instead of"):
        run(1, rows_only(replace(tiny.LAST, layers=[16])), out=tmp_path)
    new = run(1, changed, out=tmp_path, again=True)
    assert run(1, changed, out=tmp_path) == new


def test_results_on_other_data_are_never_mixed(tmp_path: Path, trained: list[tuple[str, int]]) -> None:
    data = datasets.load("digits")
    path = tmp_path / "own.npz"

    def write(labels: Any) -> Case:
        np.savez(path, x=data.x_train, y=data.y_train, x_test=data.x_test, y_test=labels)
        return replace(tiny.TINY, data=str(path), rows=[tiny.BACKPROP])

    run(1, write(data.y_test), out=tmp_path / "out")
    case = write((data.y_test + 1) % 10)
    assert len(run(1, case, out=tmp_path / "out")) == 1  # nothing is missing: the data are not even looked at
    with pytest.raises(ConfigError, match="other data"):
        run(2, case, out=tmp_path / "out")
    assert len(trained) == 1
    assert run(2, case, out=tmp_path / "out", again=True)[0].mean < 0.3


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"result": {}}', '{"result": {"accuracy": "x"}, "data": "", "settings": {}}']
)
def test_a_damaged_result_is_refused(tmp_path: Path, text: str) -> None:
    run(1, rows_only(tiny.BACKPROP), out=tmp_path)
    (file,) = tmp_path.rglob("*.json")
    file.write_text(text)
    with pytest.raises(ConfigError, match="cannot be read"):
        run(1, rows_only(tiny.BACKPROP), out=tmp_path)


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path, trained: list[tuple[str, int]]) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if "backprop, seed 2" in what:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="5 of 6 results are in") as caught:
        run(out=tmp_path, on_epoch=stop)
    assert caught.value.hint == "Give the same command again to go on."
    before = list(trained)
    assert run(out=tmp_path) == run(out=tmp_path)
    assert trained[len(before) :] == [("backprop", 2)]
    with pytest.raises(Interrupted, match="not to be kept"):
        run(on_epoch=stop)


# --- a board ----------------------------------------------------------------------------------------------------------

WHOLE = Case("whole", "digits", [replace(tiny.LAST, passes=1), replace(tiny.BACKPROP, passes=1)])


def test_a_board_learns_the_same(tmp_path: Path) -> None:
    here, there = run(1, WHOLE, out=tmp_path), run(1, WHOLE, out=tmp_path, board="sim")
    assert [row.seeds for row in here] == [row.seeds for row in there]
    assert [row.ram for row in here] == [row.ram for row in there]
    assert {row.engine for row in there} == {"board sim"}
    assert len(list(tmp_path.rglob("*.sim.seed1.json"))) == 2


def test_a_stopped_board_goes_on(tmp_path: Path) -> None:
    from edgelearn.runs import RunStore

    seen: list[int] = []

    def stop(done: int, total: int, what: str) -> None:
        if done > 700:
            raise KeyboardInterrupt

    case = replace(WHOLE, rows=WHOLE.rows[:1])
    with pytest.raises(Interrupted, match="0 of 1 results"):
        run(1, case, out=tmp_path, board="sim", on_epoch=stop)
    row = run(1, case, out=tmp_path, board="sim", on_epoch=lambda done, total, what: seen.append(done))[0]
    assert seen[0] > 500
    assert row.seeds == run(1, case)[0].seeds
    with RunStore(tmp_path / "runs.sqlite") as runs:
        assert [r.status for r in runs.list()] == ["finished"]


def test_rows_that_no_board_can_learn() -> None:
    with pytest.raises(UsageError, match="No chosen row of tiny can learn on microbit"):
        accuracy.run(tiny.TINY, 1, ["backprop"], options=Options(board="microbit"))
    with pytest.raises(ConfigError, match="standardises its data or ends within a pass"):
        run(1, board="sim")


# --- choosing rates ---------------------------------------------------------------------------------------------------


def test_rates_are_chosen_without_the_test_set(tmp_path: Path) -> None:
    data = datasets.load("digits")
    blind = tmp_path / "blind.npz"
    np.savez(blind, x=data.x_train, y=data.y_train, x_test=data.x_test, y_test=(data.y_test + 1) % 10)
    found = choose(tiny.TINY, rates=[2**-4, 2**-9, 2**-4])
    assert found == choose(replace(tiny.TINY, data=str(blind)), rates=[2**-4, 2**-9])
    assert [choice.name for choice in found] == ["int8 last", "int8 summed", "backprop"]
    assert {choice.best for choice in found} == {2**-4}
    assert all(len(choice.validation) == 2 and min(choice.validation) > 0.05 for choice in found)
    (own,) = choose(tiny.TINY, rows=["backprop"], options=Options(out=tmp_path))
    assert own.rates == [2**-6, 2**-5, 2**-4, 2**-3, 2**-2]
    assert len(list(tmp_path.rglob("validation/rate-*/backprop.seed1.json"))) == 5


def test_choosing_as_the_demo_does() -> None:
    """The same split, the same passes, the same accuracies."""
    from edgelearn.bench import twin

    row = replace(tiny.BACKPROP, passes=2)
    (choice,) = choose(rows_only(row), rates=twin.RATES)
    expected = twin.best_rate(row.net(10), datasets.load("digits"), 2800, 1, row.drops)
    assert dict(zip(choice.rates, choice.validation, strict=True)) == expected


def test_what_choosing_refuses() -> None:
    with pytest.raises(UsageError, match="no rate"):
        choose(tiny.TINY, rates=[0.0])
    with pytest.raises(UsageError, match="in this process"):
        choose(tiny.TINY, options=Options(board="sim"))


# --- tables -----------------------------------------------------------------------------------------------------------


def test_markdown() -> None:
    rows = run()
    head, _, *lines = table.markdown("tiny", rows, "A note.").splitlines()
    assert head.startswith(
        "| tiny | accuracy | std | seeds | passes | batch | numbers | time | RAM, bytes | published | gap |"
    )
    cells = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert cells[:4] == ["int8 last", f"{100 * rows[0].mean:.2f}", f"{100 * rows[0].std:.2f}", "2"]
    assert cells[4:7] == ["0.75", "1", "int8, core"]
    assert cells[8:] == [f"{rows[0].ram:,}", "50.00", f"{100 * (rows[0].gap or 0):+.2f}"]
    text = "\n".join(lines[3:])
    for said in (
        "A note.",
        "Published, int8 last: a paper, another net.",
        "not chosen on a validation split: int8 summed, backprop.",
    ):
        assert said in text


def test_a_single_seed_has_no_spread_and_the_host_is_named() -> None:
    row = replace(run(1, rows_only(tiny.BACKPROP))[0], ram_of="host", seconds=90.0)
    line = table.markdown("x", [row]).splitlines()[2]
    assert "|  | 1 |" in line
    assert f"{row.ram:,} (host)" in line
    assert "1.5 min" in line


def test_stored_results_stay_readable(tmp_path: Path) -> None:
    stored = {path: json.loads(path.read_text()) for path in (ROOT / "docs/benchmarks").glob("*.json")}
    files = [path for path, told in stored.items() if "rows" in told and "mean" in told["rows"][0]]
    assert len(files) >= 4
    for file in files:
        case, rows = table.read(file)
        assert case == file.stem
        assert len(table.markdown(case, rows).splitlines()) >= 2 + len(rows)
    case, rows = table.read(ROOT / "docs/benchmarks/mnist-100-50-int8.json")
    assert [bool(row.source) for row in rows] == [row.published is not None for row in rows]
    now = run()
    (tmp_path / "now.json").write_text(json.dumps({"case": "tiny", "rows": [asdict(row) for row in now]}))
    assert table.read(tmp_path / "now.json") == ("tiny", now)
    for wrong in ('{"case": "x"}', '{"case": "x", "rows": [{"published": 1}]}', "[]", "x"):
        (tmp_path / "now.json").write_text(wrong)
        with pytest.raises(ConfigError, match="cannot be read"):
            table.read(tmp_path / "now.json")


def test_without_torch_its_rows_say_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from edgelearn.bench import accuracy; from tests.bench import tiny;"
        "from edgelearn.errors import MissingToolError\n"
        "try: accuracy.run(tiny.TORCH, 1)\n"
        "except MissingToolError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "pip install 'edgelearn[torch]'" in done.stdout
