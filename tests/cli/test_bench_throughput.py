"""``edgelearn bench throughput`` as it is typed, on a small net and without an export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgelearn.bench import throughput
from tests.cli.conftest import Cli

pytest.importorskip("onnxruntime", reason="ONNX Runtime is an extra: pip install 'edgelearn[onnx]'")
OURS = "edgelearn, ONNX Runtime"


def test_the_verb(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "NET", (64, 16, 16, 10))
    monkeypatch.setattr(
        throughput, "export", lambda: throughput.Row("export of digits", None, 2e6, 0.5, "3 s", 1.5, 1.0)
    )
    args = ("bench", "throughput", "--rounds", "1", "--turn", "0.002")
    told = cli(*args, "--json", "-o", tmp_path / "t.json").json
    assert (told["case"], told["net"]) == ("throughput 64-16-16-10", "64-16-16-10")
    assert json.loads((tmp_path / "t.json").read_text()) == told
    assert OURS in {row["name"] for row in told["rows"]}
    shown = cli(*args).out
    assert OURS in shown and "CPU time" in shown
