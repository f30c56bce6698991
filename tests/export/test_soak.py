"""The long proof goes on where it ended, and proves again what has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgelearn.errors import MismatchError
from edgelearn.parity import Proof
from edgelearn.testing import sizes, soak
from edgelearn.testing.backend import Cell

ONLY = "plan-mono-forward-dense-int8"  # its two cells


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells that are proved."""
    found: list[str] = []

    def proof(cell: Cell, inputs: int, steps: int) -> Proof:
        found.append(cell.entry)
        return Proof(0.0, inputs, steps)

    monkeypatch.setattr(soak, "prove_cell", proof)
    return found


def proved(place: Path, inputs: int = 3) -> list[dict[str, Any]]:
    return soak.proved(["plan"], inputs, 2, ONLY, place)


def test_what_was_proved_is_not_proved_again(asked: list[str], tmp_path: Path) -> None:
    place = tmp_path / "formats.json"
    first = proved(place)
    assert asked == ["infer", "train"]
    assert proved(place) == first == json.loads(place.read_text())["cells"]
    assert len(asked) == 2


def test_one_that_was_interrupted_keeps_what_it_had(asked: list[str], tmp_path: Path) -> None:
    place = tmp_path / "formats.json"
    proved(place)
    told = json.loads(place.read_text())
    place.write_text(json.dumps(told | {"cells": told["cells"][:1]}))
    proved(place)
    assert asked == ["infer", "train", "train"]


@pytest.mark.parametrize("changed", ["sha256", "versions", "inputs"])
def test_what_has_changed_is_proved_again(changed: str, asked: list[str], tmp_path: Path) -> None:
    place = tmp_path / "formats.json"
    proved(place)
    told = json.loads(place.read_text())
    if changed == "versions":
        told["versions"]["numpy"] = "0"
    if changed == "sha256":
        told["cells"][1]["sha256"] = "0"
    place.write_text(json.dumps(told))
    proved(place, 4 if changed == "inputs" else 3)
    assert asked[2:] == (["train"] if changed == "sha256" else ["infer", "train"])


def test_a_failure_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuted(cell: Cell, inputs: int, steps: int) -> Proof:
        raise MismatchError(f"{cell} differs.", "")

    with monkeypatch.context() as m:
        m.setattr(soak, "prove_cell", refuted)
        assert all("differs" in cell["problem"] for cell in proved(tmp_path / "f.json"))
    assert all(cell["max_diff"] == 0 for cell in proved(tmp_path / "f.json"))


def test_a_file_beside_its_weights() -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("flatbuffers")
    told = sizes.measured(["onnx"], "onnx-mono-forward-dense-int8")
    rows = {(r["rule"], r["entry"]): r for r in told["files"] if r["dtype"] == "int8"}
    infer, train = rows["mono-forward", "infer"], rows["mono-forward", "train"]
    assert infer["weights"] == 64 * 24 + 24 * 16 + 16 * 10 + 2 * (
        24 + 16
    )  # the first head only trains; biases are int16
    assert train["weights"] == infer["weights"] + 24 * 10
    assert infer["over"] == 0
    assert train["over"] == max(0, train["bytes"] - int(1.1 * train["weights"]) - 10240)
