"""Random modules: their text is exact, and every pass keeps what they mean, bit for bit (10,000 of them in the soak)."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Module
from edgelearn.ir.text import parse, print_module
from edgelearn.ir.verify import verify
from edgelearn.passes.fuse import fuse
from edgelearn.passes.simplify import fold
from tests.attack import modules_soak
from tests.attack.random_modules import meaning, module, samples

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


HEAD = """module late {classes=4, drops="1 2", rule="random"}
state @b0.W: f32[4,4] = normal(std=0.5, stream=0)
state @b0.b: f32[4] = normal(std=0.5, stream=1)
entry learn(%x: f32[4], %y: i32[1]*2^(0)) {
"""
TAIL = """}
entry infer(%x: f32[4]) {
  %0 = matvec(@b0.W, %x): f32[4]
  %1 = argmax(%0): i32[1]*2^(0)
  return %1
}
"""
CHANGE = "update(@b0.b, %x) {id=0}"
LATE = {
    "its own term": ("%1 = add(%x, @b0.b): f32[4]", "update(@b0.b, %1) {id=0}"),
    "a scaled state": ("%1 = scale(@b0.b) {k=-0.5}: f32[4]", CHANGE, "update(@b0.b, %1) {id=0}"),
    "a state as it is": ("%1 = scale(@b0.b) {k=1.0}: f32[4]", CHANGE, "update(@b0.b, %1) {id=0}"),
    "twice scaled": ("%1 = scale(@b0.b) {k=2.0}: f32[4]", CHANGE, "%2 = scale(%1) {k=0.5}: f32[4]", "update(@b0.b, %2) {id=0}"),
    "a product": (
        "%1 = matvec(@b0.W, %x): f32[4]", "outer_update(@b0.W, %x, %x) {id=0, rate=0.5, sign=1}", "%2 = add(%1, @b0.b): f32[4]",
        "%3 = relu(%2): f32[4]", "update(@b0.b, %3) {id=0}",
    ),
    "a sign": (
        "%1 = gt0(@b0.b): f32[4]", CHANGE, "%2 = mul(%x, %1): f32[4]", "update(@b0.b, %2) {id=0}",
    ),
    "a dot product": (
        "%1 = mul(@b0.b, %x): f32[4]", CHANGE, "%2 = sum(%1): f32[1]", "%3 = mul(%2, %x): f32[4]", "update(@b0.b, %3) {id=0}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lines", LATE.values(), ids=LATE)
def test_what_was_computed_before_an_update_is_not_computed_after_it(lines: tuple[str, ...]) -> None:
    """`fold` and `fuse` move work to where its result is read: not over an update of what it reads."""
    made = verify(parse(HEAD + "".join(f"  {line}\n" for line in lines) + TAIL))
    data = samples(made, Random(1), 2)
    assert meaning(verify(fuse(verify(fold(made)))), data, 3) == meaning(made, data, 3)


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
