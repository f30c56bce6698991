"""The backpropagation twin is trained as hard as what it is compared with."""

from __future__ import annotations

import numpy as np

from edgelearn.bench import accuracy, cases, hostrun, twin
from edgelearn.compiler import Net
from edgelearn.data import datasets
from edgelearn.job import prepare
from edgelearn.rules import find
from edgelearn.session import Session

NET = Net(64, (16,), 10)


def test_the_rate_is_chosen_without_the_test_set() -> None:
    data = datasets.load("digits")
    found = twin.backprop_twin(NET, data, steps=2800)
    assert len(found.validation) == len(found.rates) == len(twin.RATES)
    assert found.rate == found.rates[int(np.argmax(found.validation))]
    assert found.passes == 2
    assert found.accuracy > 0.85
    blind = datasets.Dataset("x", data.x_train, data.y_train, data.x_test, (data.y_test + 1) % 10, 10)
    assert twin.backprop_twin(NET, blind, steps=2800).validation == found.validation


def test_training_here_ends_in_the_boards_state() -> None:
    job = prepare("digits-tiny", steps=1600, seed=5)
    run = hostrun.train(
        find("mono-forward", dict(job.recipe.rule.params)), job.compiled.net, job.data, "int8", 1600, 5,
        job.recipe.train.drops,
    )  # fmt: skip
    with Session("sim") as board:
        board.train(job)
        assert board.client.read_state(job.state_bytes) == run.core.read_state()


def test_the_last_head_reads_the_state_that_it_would_have_learnt_itself() -> None:
    rows = {row.name: row for row in accuracy.run("digits-32-32-int8", 1)}
    data = datasets.load("digits")
    recipe = prepare("digits").recipe
    alone = hostrun.train(
        find("mono-forward", dict(recipe.rule.params)), Net(64, (32, 32), 10), data, "int8",
        recipe.steps_total(1400), accuracy.FIRST_SEED, recipe.train.drops,
    )  # fmt: skip
    assert rows[cases.LAST].seeds == [alone.accuracy(data)]
