"""The host is killed with SIGKILL at any moment of a run: nothing that was learnt is lost, and nothing is learnt twice."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.attack.killing import TRAIN, integrity, killed, same, uninterrupted
from tests.attack.warm import Warm

KILLS = 10


@pytest.mark.slow
def test_a_killed_host_goes_on_to_the_same_weights(warm: Warm, store: Path) -> None:
    whole = uninterrupted(warm)
    random, kills = Random(12), 0
    while kills < KILLS:
        store.parent.joinpath("runs.sqlite").unlink(missing_ok=True)
        for rest in store.parent.glob("runs.sqlite-*"):
            rest.unlink()
        found = killed(warm, store, random, whole.seconds, KILLS - kills)
        kills += max(found.kills, 1)
        assert same(found.result, whole.json)
        assert integrity(store) == "ok"
        known = [step for step in found.progress if step is not None]
        assert known == sorted(known), "a checkpoint was lost"


def test_one_sample_more_or_less_has_another_hash(warm: Warm, store: Path) -> None:
    """The hash that the test above relies on would notice."""
    hashes = {
        warm.run(*TRAIN[:3], str(steps), "--seed", "11", "--json").json["state_sha256"] for steps in (299, 300, 301)
    }
    assert len(hashes) == 3
