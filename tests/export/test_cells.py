"""Every cell of rule x layers x numbers x entry x format, proved in the format's own runtime, or declared a gap."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgelearn.compiler import DTYPES
from edgelearn.errors import MissingToolError
from edgelearn.testing import matrix
from edgelearn.testing.backend import BLOCKS, RULES, cells, prove_cell


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("form", matrix.FORMATS)
def test_a_cell_does_what_the_interpreter_does(form: str, rule: str, block: str, dtype: str) -> None:
    try:
        for cell in cells(form, [rule], [block], [dtype]):
            if cell.status == "open":
                prove_cell(cell)
            else:
                assert cell.reason
    except MissingToolError as error:
        if os.environ.get("CI"):  # there every extra is installed: what is missing is a failure
            raise
        pytest.skip(f"{error.message} {error.hint}")


def test_the_page_is_up_to_date() -> None:
    root = Path(__file__).parents[2]
    assert (root / matrix.PAGE).read_text() == matrix.page(), "run: python -m edgelearn.testing.matrix"
