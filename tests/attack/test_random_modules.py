"""Random modules: their text is exact, and every pass keeps what they mean, bit for bit (10,000 of them in the soak)."""

from __future__ import annotations

from contextlib import suppress
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Module
from edgelearn.ir.text import parse, print_module
from edgelearn.ir.verify import verify
from tests.attack import modules_soak
from tests.attack.random_modules import module

MODULES = 60


def test_every_pass_keeps_the_meaning_of_random_modules() -> None:
    tried = modules_soak.run(MODULES, seed=5)
    assert tried.wrong == []
    assert tried.modules == MODULES
    assert tried.passes > 10 * MODULES
    assert tried.integer_modules > MODULES // 2
    assert tried.refused < MODULES // 2


def test_a_pass_that_changes_the_meaning_is_found(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """The comparison above notices what it is there for: here `cse` forgets that a state has changed in between."""
    from edgelearn.passes import simplify

    def careless(entry):  # type: ignore[no-untyped-def]
        seen: dict[object, str] = {}
        names: dict[str, str] = {}
        for op in entry.ops:
            key = (op.name, op.attrs, op.args)
            if op.result is not None:
                names[op.result] = seen.setdefault(key, op.result)
        return simplify.renamed(entry, list(entry.ops), {old: new for old, new in names.items() if old != new})

    monkeypatch.setattr(simplify, "_cse", careless)
    assert modules_soak.run(60, seed=6).wrong


@given(st.text(max_size=40), st.text(max_size=40), st.dictionaries(st.text("abc_", min_size=1), st.text(max_size=60)))
def test_any_text_survives_the_text_of_a_module(name: str, rule: str, attrs: dict[str, str]) -> None:
    made = Module(name, tuple(sorted({**attrs, "rule": rule}.items())), (), ())
    assert parse(print_module(made)) == made


@given(st.integers(0, 1 << 30))
def test_a_damaged_module_text_is_refused_in_one_sentence(seed: int) -> None:
    random = Random(seed)
    text = print_module(module(random))
    at = random.randrange(len(text))
    hurt = text[:at] + random.choice(("", "%", "[", "9" * 30, "-", "\n", "}", "2^")) + text[at + random.randrange(3) :]
    with suppress(ConfigError):  # with a remedy, as all of them have
        verify(parse(hurt))
