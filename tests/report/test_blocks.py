"""The page says what each block and each tensor was recorded to do, and why where it was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgelearn.report import report
from edgelearn.report.blocks import PREFIXES
from edgelearn.runs import RunStore
from tests.report.conftest import Page, Record


def page_of(store: RunStore, run: str, folder: Path) -> Page:
    report([run], folder / "report.html", store, True)
    return Page((folder / "report.html").read_bytes())


def test_curves_of_blocks_and_the_strips_of_tensors(store: RunStore, record: Record, tmp_path: Path) -> None:
    run = record({"blocks": {"samples": 300, "of": 1400, "reasons": {}}})
    for step in (1000, 2000):
        for name, value in (
            ("block_accuracy/b0", 0.5), ("block_accuracy/b1", 0.75), ("changed/b0.W", 0.25), ("changed/b10.W", 1.0), ("changed/b2.W", 0.0),
            ("moved/b0.W", 0.125), ("limit/b0.W", 0.0),
        ):  # fmt: skip
            store.log(run, step, name, value)
    page = page_of(store, run, tmp_path)
    for shown in (
        "block 0",
        "block 1",
        "on 300 of the 1,400 samples of the training split",
        "Update sparsity",
        "25.0 %",
        "12.5 %",
    ):
        assert shown in page.text
    assert "at no checkpoint was any element of a weight at its limit" in page.text
    assert page.text.index("b0.W") < page.text.index("b2.W") < page.text.index("b10.W")
    assert {"0.25", "1.00", "0.12"} <= page.attributes["fill-opacity"]
    assert "as the run has logged it" not in page.text, "what has a place of its own is not drawn again under its name"


def test_what_was_not_asked_says_why(store: RunStore, record: Record, tmp_path: Path) -> None:
    text = page_of(store, record({"blocks": {"samples": 0, "of": 9, "reasons": {"all": "too dear"}}}), tmp_path).text
    assert "The blocks were not asked one by one, which may take 3 % of a run at most: too dear." in text
    reasons = {"b0": "no head", "b1": "no head", "b2": "no plan"}
    text = page_of(store, record({"blocks": {"samples": 5, "of": 9, "reasons": reasons}}), tmp_path).text
    assert "No curve of block 0, 1 by themselves: no head." in text
    assert "No curve of block 2 by itself: no plan." in text
    assert "has not recorded what its blocks would say" in page_of(store, record({}), tmp_path).text


def test_a_trained_run_has_them(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    store, run = kept
    names = store.curves(run)
    for prefix in PREFIXES[1:]:
        assert {f"{prefix}b{i}.{name}" for i in (0, 1) for name in "WbM"} <= names.keys()
    page = page_of(store, run, tmp_path)
    assert "Update sparsity" in page.text
    assert "step by step" not in page.text, "too few steps for a line"


@pytest.mark.parametrize("value", [1e-4, 1e-3, 0.1, 1.0])
def test_few_elements_at_the_limit_are_seen(store: RunStore, record: Record, tmp_path: Path, value: float) -> None:
    run = record({})
    store.log(run, 10, "limit/b0.W", value)
    shades = {float(shade) for shade in page_of(store, run, tmp_path).attributes.get("fill-opacity", set())}
    assert shades == {1e-4: set(), 1e-3: set(), 0.1: {0.67}, 1.0: {1.0}}[value]
