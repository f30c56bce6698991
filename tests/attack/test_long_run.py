"""A run over a noisy line, short here and 200,000 steps long in the soak: the same weights, and a host that does not grow."""

from __future__ import annotations

import sys

import pytest

from tests.attack import long_run


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_noisy_run_ends_in_the_same_weights_and_nothing_grows() -> None:
    done = long_run.run(6000, rate=2e-4)
    assert done["same_weights"]
    assert done["damaged_bytes"] > 50
    assert done["found"] == 0, done
