"""The table of cases is in order: rules, nets, comparisons, names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgelearn.bench import cases
from edgelearn.bench.cases import CASES, LAST, SUMMED, TWIN
from edgelearn.bench.methods import Case, Method
from edgelearn.bench.results import Key
from edgelearn.compiler import chosen_bits
from edgelearn.data.datasets import NAMES
from edgelearn.errors import ConfigError, UsageError
from edgelearn.tracing import trace_module
from tests.bench import tiny

ROWS = [pytest.param(case, row, id=f"{case.name}/{row.name}") for case in CASES.values() for row in case.rows]
FIRST = ("mnist-100-50-int8", "mnist-100-50-int8-1pass", "digits-32-32-int8", "digits-16-int8")


@pytest.mark.parametrize(("case", "row"), ROWS)
def test_a_row_can_be_trained(case: Case, row: Method) -> None:
    rule, net = row.found_rule(), row.net(case.classes)
    module = trace_module(rule, net, "row")
    assert [entry.name for entry in module.entries] == ["learn", "infer"]
    assert chosen_bits(rule, net).keys() <= {state.name[1:] for state in module.state}
    assert case.data in NAMES
    assert row.passes > 0
    host_only = getattr(rule.instance, "host_only", "")
    assert not (host_only and row.engine == "core")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_case_compares_what_it_has(case: Case) -> None:
    names = [row.name for row in case.rows]
    assert len({Key(case.name, name, 1).path for name in names}) == len(names)
    for row in case.rows:
        assert row.against == "" or row.against in names
        assert row.published is None or (0 < row.published.accuracy < 1 and row.published.source)
        assert "," not in row.name  # it separates names in --rows
        assert not any(c in row.name for c in "*?[")  # those are patterns


def test_the_first_cases_have_their_rows() -> None:
    for name in FIRST:
        assert [row.name for row in CASES[name].rows] == [LAST, SUMMED, TWIN]
        assert [row.dtype for row in CASES[name].rows] == ["int8", "int8", "f32"]
    assert CASES["mnist-100-50-int8"].rows[0].published is not None


def test_settings_are_what_decides_the_weights() -> None:
    last, summed = tiny.LAST, tiny.SUMMED
    assert last.training() == summed.training() != last.settings() != summed.settings()
    explicit = replace(last, params={**last.params, "gate": 0.05})  # the rule's own default
    assert explicit.training() == last.training()
    for changed in (
        last.at(0.5),
        replace(last, passes=3),
        replace(last, layers=[16, 17]),
        replace(last, drops=()),
        replace(last, mirrored=True),
    ):
        assert changed.training() != last.training()


def test_rows_are_chosen_by_name_pattern_and_type() -> None:
    assert [row.name for row in tiny.TINY.chosen(["int8*"])] == ["int8 last", "int8 summed"]
    assert [row.name for row in tiny.TINY.chosen(["backprop", "int8 last"])] == ["int8 last", "backprop"]
    assert [row.name for row in tiny.TINY.chosen((), "f32")] == ["backprop"]
    with pytest.raises(UsageError, match="no row 'backprob'") as caught:
        tiny.TINY.chosen(["backprob"])
    assert "'backprop'" in caught.value.hint
    with pytest.raises(UsageError, match="No chosen row of tiny computes in int8"):
        tiny.TINY.chosen(["backprop"], "int8")
    with pytest.raises(UsageError, match="no case 'digits-16'"):
        cases.find("digits-16")


def test_impossible_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="sample by sample"):
        tiny.method("x", batch=2)
    with pytest.raises(ConfigError, match="sample by sample"):
        tiny.method("x", optimizer="adam")
    with pytest.raises(ConfigError, match="f32 only"):
        tiny.method("x", engine="torch", dtype="int8")
    with pytest.raises(ConfigError, match="cannot be another image in every pass"):
        tiny.method("x", engine="frozen", augment="flip-crop")
    with pytest.raises(ConfigError, match="torch keeps none"):
        tiny.method("x", engine="torch", level=8)
    with pytest.raises(ConfigError, match="Row 'x'"):
        tiny.method("x", layers=[{"cov": 3}]).stack()


def test_paths_of_results_are_apart() -> None:
    keys = [
        Key("c", "a b", 1),
        Key("c", "a b", 2),
        Key("c", "a b", 1, "sim"),
        Key("c", "a b", 1, None, 0.5),
        Key("c", "a", 1),
    ]
    assert len({key.path for key in keys}) == len(keys)
    assert Key("c/..", "../x", 1).path.parts[0] == "c-.."
    assert Key("..", "..", 1).path == Path("../...seed1.json")
