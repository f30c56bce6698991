"""Tensors of tests are small: on a second thread torch would spend its time waiting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edgelearn.runs import RunStore


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    try:
        torch: Any = __import__("torch")
    except ImportError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunStore]:
    with RunStore(tmp_path_factory.mktemp("runs") / "runs.sqlite") as store:
        yield store
