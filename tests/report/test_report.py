"""The page of a run says what the run's record says, and nothing of it but text comes out."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest

import edgelearn
from edgelearn import job, state
from edgelearn.errors import ConfigError, StorageFullError, UsageError
from edgelearn.ir.interp import Interpreter
from edgelearn.layout import Layout
from edgelearn.report import again, charts, report, stored
from edgelearn.report.markup import join, tag
from edgelearn.report.page import policy, style
from edgelearn.runs import RunStore
from tests.report.conftest import EVIL, STEPS, Page, Record

ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "article", "figure", "figcaption",
    "h1", "h2", "h3", "h4", "p", "span", "strong", "b", "a", "ul", "li", "dl", "div", "dt", "dd", "pre", "code", "details", "summary",
    "table", "thead", "tbody", "tr", "th", "td", "svg", "rect", "line", "circle", "polyline", "text",
}  # fmt: skip


def made(names: list[str], store: RunStore, folder: Path, stored_only: bool = False) -> tuple[bytes, Page]:
    file = folder / "report.html"
    done = report(names, file, store, stored_only)
    raw = file.read_bytes()
    assert done.nbytes == len(raw)
    return raw, Page(raw)


def test_a_run_is_told_with_its_figures(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    store, run = kept
    raw, page = made([run], store, tmp_path)
    result = store.get(run).result or {}
    accuracy, sha, ram = result["accuracy"], result["state_sha256"], result["ram"]
    assert isinstance(accuracy, float)
    assert isinstance(sha, str)
    assert isinstance(ram, dict)
    for shown in (run, sha, f"{100 * accuracy:.1f} %", f"{ram['measured']:,} B", f"{STEPS:,}", "64-32-32-10", "[rule]"):
        assert shown in page.text
    assert "as planned, byte for byte" in page.text
    assert "Counted by the board, on all 397 samples of the test set" in page.text
    assert f"edgelearn eval {run}" in page.text
    assert b"<polyline" in raw


def test_the_confusion_is_the_boards(kept: tuple[RunStore, str]) -> None:
    store, run = kept
    with edgelearn.connect("sim") as board:
        assert stored.read(store, run).confusion == board.eval(run, store)


def test_a_run_without_confusion_is_tested_again(kept: tuple[RunStore, str], store: RunStore, tmp_path: Path) -> None:
    """Runs of older versions: the C core says here what the board said there."""
    full, old = stored.read(*kept), older(kept, store)
    found = again.compiled(stored.read(store, old))
    assert not isinstance(found, str)
    assert found.evaluation == full.confusion
    page = made([old], store, tmp_path)[1]
    assert "Computed for this report by the C core" in page.text
    assert "Its accuracy is the one that the run has recorded" in page.text


def older(kept: tuple[RunStore, str], store: RunStore) -> str:
    """The run as a version would have kept it that knew neither confusion nor blocks."""
    run, checkpoint = kept[0].get(kept[1]), kept[0].newest_checkpoint(kept[1])
    assert checkpoint is not None
    copy = store.create(
        recipe=run.recipe, rule=run.rule, rule_text=run.rule_text, board=run.board, dtype=run.dtype, seed=run.seed,
        plan=run.plan, versions=run.versions, layout=run.layout,
    )  # fmt: skip
    store.checkpoint(copy, checkpoint.step, checkpoint.state, 1)
    result = {key: value for key, value in (run.result or {}).items() if key not in ("confusion", "blocks")}
    store.finish(copy, "finished", result)
    return copy


def test_the_page_loads_and_runs_nothing(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    raw, page = made([kept[1]], kept[0], tmp_path)
    assert page.elements <= ALLOWED
    assert policy() in page.attributes["content"]
    assert "default-src 'none'" in policy()
    assert "unsafe" not in policy()
    assert not {"style", "src", "srcset"} & page.attributes.keys()
    assert not [name for name in page.attributes if name.startswith("on")]
    assert b"http" not in raw.replace(b"http-equiv", b"")
    assert "url(" not in style()
    assert "@import" not in style()


HOSTILE = {
    "rule": EVIL, "rule_source": EVIL, "net": EVIL, "from": EVIL, "state_sha256": EVIL, "accuracy": 0.5, "steps": 7,
    "exponents": {EVIL: [EVIL, EVIL]}, "notes": [EVIL, 3], "ram": {"planned": EVIL, "measured": 5, "reason": EVIL},
    "link": {"bytes_tx": EVIL, "bytes_rx": -1}, "samples_per_s": float("inf"), "board_us_per_sample": float("nan"),
    "health": [{"kind": EVIL, "where": EVIL, "message": EVIL, "hint": EVIL, "steps": [1, 2]}, 5, {"steps": EVIL}],
    "confusion": [[1, 2], [3, 10**400]], "device": EVIL, "emulated": EVIL,
    "profile": {"phases": [{"name": EVIL, "joules": EVIL, "reason": EVIL, "at": EVIL}, EVIL], "trace_reason": EVIL,
                "trace": {"source": EVIL, "points": [EVIL, [1], [0, EVIL], [0, 1], [1, 2], [0, 3], [2, -1], [3, float("nan")]]}},
    "blocks": {"samples": EVIL, "of": -1, "reasons": {EVIL: EVIL, "b0": 5, "all": EVIL}},
    "instructions": {"board": EVIL, "compiler": EVIL, "rows": [{"name": "edgelearn int8", "train": EVIL, "infer": 10**400}, EVIL]},
}  # fmt: skip


@pytest.mark.parametrize("stored_only", [True, False])
def test_a_hostile_record_stays_text(store: RunStore, record: Record, tmp_path: Path, stored_only: bool) -> None:
    ways = {"recipe": EVIL, "rule": EVIL, "rule_text": EVIL, "board": EVIL, "port": EVIL, "versions": {EVIL: EVIL}}
    run = record(HOSTILE, **ways, layout={"stages": [{"last": EVIL}]})
    strange = (
        f"changed/{EVIL}",
        "limit/b0.W",
        "moved/",
        "block_accuracy/b0",
        "block_accuracy/b²",
        "block_accuracy/bx",
        "right",
    )
    for name in (EVIL, "train_accuracy", "saturation", "</svg>", *strange):
        for step, value in ((0, 0.5), (9, float("inf")), (10, 2.0), (11, -1.0)):
            store.log(run, step, name, value)
    store.checkpoint(run, 10, b"no state", 1)
    raw, page = made([run], store, tmp_path, stored_only)
    assert page.elements <= ALLOWED
    assert not [name for name in page.attributes if name.startswith("on")]
    assert EVIL in page.text
    assert b"<script" not in raw
    both = made([run, record(HOSTILE, rule=EVIL, board="../../etc")], store, tmp_path)[1]
    assert both.elements <= ALLOWED
    assert both.attributes["href"] == {"#run-1", "#run-2"}


@pytest.mark.parametrize(
    ("given", "shown"),
    [("a\u202eb", "a\\u202eb"), ("\x00", "\\u0000"), ("\ud800", "\\ud800"), ("<&\"'>", "&lt;&amp;&quot;&#x27;&gt;")],
)
def test_invisible_characters_are_spelt_out(given: str, shown: str) -> None:
    assert tag("p", given) == f"<p>{shown}</p>"
    assert tag("p", title=given) == f'<p title="{shown}"></p>'
    assert join(given, None, [given]) == shown * 2


def test_a_long_text_is_cut(store: RunStore, record: Record, tmp_path: Path) -> None:
    raw, page = made([record({}, recipe="x" * 10_000_000)], store, tmp_path)
    assert len(raw) < 200_000
    assert "more characters are not shown" in page.text


# --- records that lack something ------------------------------------------------------------------------------------------------


def test_a_run_of_an_older_version(store: RunStore, record: Record, tmp_path: Path) -> None:
    page = made([record({"accuracy": 0.75}, status="interrupted")], store, tmp_path)[1]
    assert "75.0 %" in page.text
    assert "This run is not finished: its status is 'interrupted'" in page.text
    assert "There is no confusion matrix, for the run cannot be compiled again" in page.text
    assert "The run has kept no learning curve." in page.text
    assert "The run has kept nothing of its link." in page.text


def test_a_run_without_result_and_checkpoint(store: RunStore, tmp_path: Path) -> None:
    run = of_job(store, job.prepare("digits-tiny", steps=500), None)
    page = made([run], store, tmp_path)[1]
    assert "its status is 'running'" in page.text
    assert "There is no confusion matrix: the run has no checkpoint." in page.text
    assert "The board has measured nothing." in page.text


def test_a_changed_rule_is_said_and_not_run(store: RunStore, record: Record, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "own.py").write_text(f"open({str(ran)!r}, 'w')")
    recipe = f'[model]\ninput = [4]\nlayers = [8]\nclasses = 3\n[rule]\nname = "{tmp_path}/own.py:Own"\n[data]\nname = "digits"\n'
    run = record({}, recipe=recipe, rule="own", rule_text="something else")
    assert "has changed since run" in made([run], store, tmp_path)[1].text
    assert not ran.exists()


def test_only_what_is_stored_is_shown_if_so_asked(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    page = made([kept[1]], *(kept[0], tmp_path), stored_only=True)[1]
    assert "the report was asked for with what is stored only" in page.text
    assert "Arena while it learns" not in page.text
    assert "exponents, and what is at its limit" in page.text  # the layout is stored


def test_runs_are_compared(kept: tuple[RunStore, str], store: RunStore, tmp_path: Path) -> None:
    with edgelearn.connect("sim") as board:
        other = board.train("digits", kept[0], steps=300, seed=5).run
    page = made([kept[1], other], kept[0], tmp_path)[1]
    assert "Side by side" in page.text
    assert "seed\u00a0\u2260" in page.text
    assert "rule\u00a0\u2260" not in page.text


def test_energy_is_told_only_where_it_was_read(store: RunStore, record: Record, tmp_path: Path) -> None:
    phases = [
        {
            "name": "learn",
            "seconds": 2.0,
            "joules": 1.5,
            "sigma": 0.1,
            "source": "ina226",
            "period_s": 0.1,
            "reason": None,
        },
        {"name": "idle", "seconds": 0.01, "joules": None, "source": "ina226", "reason": "shorter than the period"},
    ]
    without, given = record({}), record({"profile": {"phases": phases}})
    assert "Energy" not in made([without], store, tmp_path)[1].text
    text = made([given], store, tmp_path)[1].text
    assert "1.5 J" in text
    assert "No energy of idle: shorter than the period." in text


def profile_of(store: RunStore, run: str, **changed: object) -> str:
    phases = [
        {"name": "idle", "within": None, "seconds": 2.0, "joules": 1.0, "watts": 0.5, "sigma": 0.01, "source": "ina226", "period_s": 0.1},
        {"name": "learn", "within": None, "seconds": 6.0, "joules": 12.0, "watts": 2.0, "peak_w": 2.5, "source": "ina226", "period_s": 0.1},
        {"name": "infer", "within": None, "seconds": 1.0, "joules": None, "reason": "the counter did not advance"},
        {"name": "link", "within": "learn", "seconds": 1.0, "joules": None, "reason": "no meter tells it"},
    ]  # fmt: skip
    kept = stored.read(store, run)
    of = {"net": kept.net, "rule": kept.rule, "dtype": kept.run.dtype, "emulated": False}
    sample = {"learn": {"seconds": 0.01, "joules": 0.02, "estimate": {"joules": 0.005, "reference": "sheet, p. 9"}}}
    return json.dumps(of | {"phases": phases, "per_sample": sample} | changed)


def test_a_profile_is_shown_with_its_run(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    file = tmp_path / "cost.json"
    file.write_text(profile_of(*kept))
    report([kept[1]], tmp_path / "report.html", kept[0], True, file)
    page = Page((tmp_path / "report.html").read_bytes())
    for shown in ("12 J", "2.5 W", "0.02 J", "0.005 J (estimate: sheet, p. 9)", "link (in learn)", "did not advance"):
        assert shown in page.text
    assert page.elements <= ALLOWED
    assert {"22.222%", "66.667%", "11.111%"} <= page.attributes[
        "width"
    ]  # of nine seconds; the link is a part of learning


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no JSON"),
        ("[]", "has no phases"),
        ("{}", "has no phases"),
        ('{"phases": [], "net": "<b>"}', "is not of run"),
    ],
)
def test_a_wrong_profile_is_refused(kept: tuple[RunStore, str], tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "cost.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        report([kept[1]], tmp_path / "report.html", kept[0], True, file)
    with pytest.raises(ConfigError, match="Cannot read"):
        report([kept[1]], tmp_path / "report.html", kept[0], True, tmp_path / "missing.json")
    assert not (tmp_path / "report.html").exists()


def test_power_over_time_is_drawn_with_its_phases(store: RunStore, record: Record, tmp_path: Path) -> None:
    phases = [
        {"name": "idle", "within": None, "at": 0.0, "seconds": 2.0, "joules": 1.0},
        {"name": "learn", "within": None, "at": 2.0, "seconds": 6.0, "joules": 12.0},
        {"name": "link", "within": "learn", "at": 2.0, "seconds": 1.0, "joules": None, "reason": "none"},
    ]
    points = [[i / 10, 0.5 if i < 20 else 2.0] for i in range(81)]
    trace = {"source": "ina226, 3.3 V rail", "period_s": 0.1, "points": points}
    raw, page = made([record({"profile": {"phases": phases, "trace": trace}})], store, tmp_path)
    assert "Meter: ina226, 3.3 V rail, a value each 0.1 s" in page.text
    assert {"25%", "75%"} <= {
        width.replace(".000", "") for width in page.attributes["width"]
    }  # idle and learn; link is in learn
    assert b"1000.0,0.0" in raw  # 2 W is the top of the axis
    without = record({"profile": {"phases": phases, "trace": None, "trace_reason": "the meter counts joules"}})
    page = made([without], store, tmp_path)[1]
    assert "No power over time: the meter counts joules." in page.text


COUNTS = {"board": "mps2-an386", "net": "64-32-32-10", "compiler": "gcc 12",
          "rows": [{"name": "edgelearn int8", "train": 13697, "infer": 8213, "train_epoch1": 25618, "train_mean": 17591}]}  # fmt: skip


def test_instructions_are_told_where_they_were_counted(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    store, run = kept
    page = made([run], store, tmp_path)[1]
    assert "Instructions of a sample: not counted." in page.text
    assert f"edgelearn bench instructions --net 64-32-32-10 -o counts.json; edgelearn report {run}" in page.text
    (tmp_path / "counts.json").write_text(json.dumps(COUNTS))
    report([run], tmp_path / "report.html", store, instructions=tmp_path / "counts.json")
    page = Page((tmp_path / "report.html").read_bytes())
    for shown in (
        "25,618",
        "17,591",
        "8,213",
        "on mps2-an386 in QEMU",
        "neither cycles nor time",
        "This run was on sim.",
    ):
        assert shown in page.text


def test_counts_of_another_net_are_refused(
    kept: tuple[RunStore, str], store: RunStore, record: Record, tmp_path: Path
) -> None:
    file = tmp_path / "counts.json"
    file.write_text(json.dumps(COUNTS | {"net": "64-32-10"}))
    with pytest.raises(ConfigError, match="are of 64-32-10 and mono-forward, not of 64-32-32-10") as caught:
        report([kept[1]], tmp_path / "report.html", kept[0], instructions=file)
    assert "--net 64-32-32-10" in caught.value.hint
    file.write_text(json.dumps(COUNTS))
    with pytest.raises(ConfigError) as caught:
        report([record({"net": "64-32-32-10"}, rule="tpsgd")], tmp_path / "report.html", store, instructions=file)
    assert "Leave --instructions out" in caught.value.hint
    file.write_text("{}")
    with pytest.raises(ConfigError, match="has no rows"):
        report([kept[1]], tmp_path / "report.html", kept[0], instructions=file)
    assert not (tmp_path / "report.html").exists()


def test_a_profile_is_of_one_run(store: RunStore, record: Record, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be of 2 runs"):
        report([record({}), record({})], tmp_path / "report.html", store, True, tmp_path / "cost.json")


def test_a_stored_confusion_is_taken_as_it_is(store: RunStore, record: Record, tmp_path: Path) -> None:
    page = made([record({"confusion": [[30, 12], [0, 958]], "accuracy": 0.988})], store, tmp_path)[1]
    assert "Counted by the board, on all 1,000 samples" in page.text
    assert "71.4 %" in page.text  # 30 of 42
    assert page.attributes["class"] >= {"right q6", "wrong q5", "none", "right q8"}


def test_many_classes_get_a_list_and_no_matrix(store: RunStore, record: Record, tmp_path: Path) -> None:
    confusion = (np.eye(50, dtype=int) * 90 + 1).tolist()
    page = made([record({"confusion": confusion})], store, tmp_path)[1]
    assert "The 15 commonest of 2,450 confusions." in page.text
    assert "matrix" not in page.attributes["class"]


# --- size and time ----------------------------------------------------------------------------------------------------------------


def of_job(store: RunStore, made: job.Job, at: int | None, result: dict[str, object] | None = None) -> str:
    """A run as training would record it, without the training."""
    layout = {"stages": [{"last": stage.last, **Layout.of(stage.module).as_dict()} for stage in made.stages]}
    run = store.create(
        recipe=made.recipe.as_toml(), rule=made.rule_name, rule_text=made.rule.text(), board=made.board.id, dtype="int8",
        seed=0, plan=made.plans, versions={"data": made.data_sha256}, layout=layout,
    )  # fmt: skip
    if at is not None:
        store.checkpoint(run, at, state.encode(Interpreter(made.module, 0)), 1)
    if result is not None:
        store.finish(run, "finished", result)
    return run


def test_a_run_of_100000_steps_is_quick_and_small(store: RunStore, tmp_path: Path) -> None:
    steps = 100_000
    run = of_job(store, job.prepare("digits", steps=steps), steps, {"steps": steps, "accuracy": 0.9})
    noise = np.random.default_rng(0).random((steps, 2))
    for k, name in enumerate(("train_accuracy", "own", "right")):
        store.log_many(run, name, [(i, float(noise[i, k % 2] < 0.9 if k == 2 else noise[i, k])) for i in range(steps)])
    begun = time.process_time()  # another process may hold the core meanwhile
    raw, page = made([run], store, tmp_path)
    assert time.process_time() - begun < 5
    assert len(raw) < 3_000_000
    assert "means of up to 250 neighbouring readings" in page.text


# --- bad input --------------------------------------------------------------------------------------------------------------------


def test_bad_names_are_refused(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    store, run = kept
    file = tmp_path / "report.html"
    with pytest.raises(ConfigError, match="There is no run 'nothing'"):
        report(["nothing"], file, store)
    with pytest.raises(UsageError, match="named twice"):
        report([run, run], file, store)
    with pytest.raises(UsageError, match="Nothing says"):
        report([], file, store)
    assert not file.exists()


def test_too_many_runs_are_refused(store: RunStore, record: Record, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="9 runs are too many"):
        report([record({}) for _ in range(9)], tmp_path / "report.html", store)


def test_nothing_is_half_written(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageFullError, match="Cannot write"):
        report([kept[1]], tmp_path / "taken" / "report.html", kept[0], True)
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(StorageFullError, match="Is a directory"):
        report([kept[1]], tmp_path / "folder.html", kept[0], True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.html", "taken"]


# --- charts and colours -------------------------------------------------------------------------------------------------------------


def test_a_long_curve_is_thinned_by_means() -> None:
    points = tuple((i, float(i)) for i in range(1000))
    thin, width = charts.thinned(points)
    assert (width, len(thin)) == (3, 334)
    assert thin[0] == (2, 1.0)
    assert charts.thinned(points[:400]) == (points[:400], 1)


@pytest.mark.parametrize(("value", "top"), [(0, 1), (0.03, 0.04), (1, 1), (3, 4), (50, 100), (11, 20)])
def test_the_top_of_an_axis_is_round(value: float, top: float) -> None:
    assert charts.ceiling(value) == pytest.approx(top)


@pytest.mark.parametrize(
    ("last", "marks"), [(1, [0, 1]), (7000, [0, 2000, 4000, 6000]), (100_000, [0, 50_000, 100_000])]
)
def test_marks_of_an_axis_are_round(last: int, marks: list[int]) -> None:
    assert charts.ticks(last) == marks


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_can_be_told_from_their_ground(scheme: int) -> None:
    """Text 4.5 to 1, lines and areas 3 to 1, as WCAG asks for."""
    found = dict(re.findall(r"--([\w-]+): (#\w{6})", style().split(":root")[1 + scheme].partition("}")[0]))
    for ground in ("page", "card", "code"):
        for ink in ("ink", "dim", "link"):
            assert contrast(found[ink], found[ground]) >= 4.5, (ink, ground)
    assert contrast(found["warn-ink"], found["warn"]) >= 4.5
    for i in range(charts.COLOURS):
        assert contrast(found[f"s{i}"], found["card"]) >= 3, i


def test_json_of_the_result_may_hold_anything() -> None:
    deep = json.loads('{"a": {"b": [1, NaN, 1e999]}}')
    assert stored.number(deep["a"]["b"][1]) is None
    assert stored.number(deep["a"]["b"][2]) is None
    assert stored.number(10**400) is None
    assert stored.number(True) is None
