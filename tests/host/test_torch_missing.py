"""Without torch there is one clear sentence, and it names the extra."""

from __future__ import annotations

import importlib
import sys

import pytest

from edgelearn.errors import MissingToolError


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("torch_lib", "torch_ops", "torch_net"):
        monkeypatch.delitem(sys.modules, f"edgelearn.host.{name}", raising=False)
    with pytest.raises(MissingToolError, match="not installed") as caught:
        importlib.import_module("edgelearn.host.torch_net")
    assert caught.value.exit_code == 14
    assert "edgelearn[torch]" in caught.value.hint
