"""Calling a rule: once per block and moment, on tensors that write down what is done to them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Entry, Loc, Module, State
from edgelearn.ir.ops import OPS
from edgelearn.ir.types import Exp, Type
from edgelearn.lang.block import Block, Drawn
from edgelearn.lang.trace import StepKey, Tensor, Trace, user_code
from edgelearn.lang.trace import rule_error as raise_rule_error
from edgelearn.nets import BlockSpec, Net, blocks_of
from edgelearn.rules import Rule


@dataclass(frozen=True)
class _Part:
    """A block while a rule is traced: what it is, and the state that block and rule gave it."""

    spec: BlockSpec
    state: dict[str, State]
    fixed: dict[str, tuple[Drawn, int]]

    def block(self, trace: Trace, time: int = 0, h: Tensor | None = None) -> Block:
        return self.spec.block(trace, self.spec.scope(self.state, self.fixed, time), h)


def trace_module(rule: Rule, net: Net, name: str) -> Module:
    """Writes down what ``rule`` does on ``net``, as entries ``learn`` and ``infer``.

    Raises:
        ConfigError: the rule does something that cannot be traced (its own line is shown), or does not go with the net.
    """
    _check_kinds(rule, net)
    with user_code():
        parts = [_part(rule, spec) for spec in blocks_of(net, independent(rule))]
        entries = (_trace_learn(rule, net, parts), _trace_infer(rule, net, parts))
    flat = tuple(s for part in parts for s in part.state.values())
    return Module(name, (("classes", net.classes),), flat, entries)


def trace_features(net: Net) -> Module:
    """What the blocks of ``net`` that were trained elsewhere make of a sample, as the entry ``infer`` of a module of its own."""
    parts = [_Part(spec, spec.own_state(), {}) for spec in blocks_of(net)[: len(net.features)]]
    trace = Trace("infer")
    _, x = next(_moments(net, parts, trace))
    return Module("features", (), tuple(s for part in parts for s in part.state.values()), (trace.entry(x),))


def trace_first(rule: Rule, net: Net, blocks: int) -> Entry:
    """The entry ``infer`` of the net that ends after the first ``blocks`` blocks that learn: what ``predict`` makes of those alone.

    Raises:
        ConfigError: it has no answer without the others.
    """
    with user_code():
        parts = [_part(rule, spec) for spec in blocks_of(net, independent(rule))]
        return _trace_infer(rule, net, parts[: len(net.features) + blocks])


def independent(rule: Rule) -> bool:
    """Does every block of this rule read the sample itself, instead of what the block before returned?"""
    return getattr(rule.instance, "schedule", "cascade") == "independent"


def _check_kinds(rule: Rule, net: Net) -> None:
    """A rule may name the kinds of layers that it is for, and why."""
    kinds: dict[str, str] = {layer.kind: str(layer) for layer in net.learning}
    allowed = getattr(rule.instance, "kinds", tuple(kinds))
    for kind, layer in kinds.items():
        if kind not in allowed:
            why = getattr(rule.instance, "kinds_why", "its equations are written for others")
            raise ConfigError(
                f"The rule {rule.instance.rule_name} does not go with {kind} layers ({layer}): {why}.",
                f"Use {' or '.join(allowed)} layers, or another rule.",
            )
    if "recurrent" in kinds and not set(kinds) <= {"recurrent", "dense"}:
        raise ConfigError("Recurrent layers go with dense ones only: a moment is a vector.", "Leave the maps out.")
    if "recurrent" in kinds and hasattr(rule.instance, "views"):
        problem = f"The rule {rule.instance.rule_name} does not go with recurrent layers: a block remembers one output, not several views."
        raise ConfigError(problem, "Use tpsgd, or layers without memory.")
    if "recurrent" in kinds and hasattr(rule.instance, "step_net"):
        raise ConfigError(
            f"The rule {rule.instance.rule_name} does not go with recurrent layers: it would have to go back in time.",
            "Use tpsgd, or layers without memory.",
        )


def _part(rule: Rule, spec: BlockSpec) -> _Part:
    declared = spec.declarations()
    if hasattr(rule.instance, "init") and spec.index >= spec.first:
        rule.instance.init(declared, None)
    return _Part(spec, {**spec.own_state(), **declared.states()}, declared.fixed())


def _features(net: Net, parts: Sequence[_Part], x: Tensor) -> Tensor:
    """What the blocks that were trained elsewhere make of a sample."""
    for activation, part in zip(net.features, parts, strict=False):
        s = part.block(x.trace)
        x = s.W @ x + s.b
        x = part.spec.after.pool(x.trace.emit("relu", x) if activation == "relu" else x)
    return x


def _moments(net: Net, parts: Sequence[_Part], trace: Trace) -> Iterator[tuple[int, Tensor]]:
    """The parameter x, or its features: as a whole, or moment after moment of a sequence."""
    shape = parts[0].spec.before.inp
    if net.times == 1:
        yield 0, _features(net, parts, trace.param("%x", Type("f32", shape)))
        return
    x, size = trace.param("%x", Type("f32", (net.inputs,))), math.prod(shape)
    for time in range(net.times):
        yield time, trace.emit("slice", x, start=time * size, size=size)


def _trace_learn(rule: Rule, net: Net, parts: Sequence[_Part]) -> Entry:
    trace = Trace("learn")
    moments = _moments(net, parts, trace)
    first = next(moments)
    label = trace.param("%y", Type("i32", (1,), Exp(0)))
    y = trace.emit("one_hot", label, classes=net.classes)
    parts = parts[len(net.features) :]
    if hasattr(rule.instance, "step_net"):  # a baseline: it sees the whole net
        rule.instance.step_net([part.block(trace) for part in parts], first[1], y)
        return trace.entry(None)
    kept: list[Any] = [None] * len(parts)
    for time, x in chain([first], moments):
        seen = rule.instance.views(x, y, StepKey(trace)) if hasattr(rule.instance, "views") else x
        for i, part in enumerate(parts):
            s, given = part.block(trace, time, kept[i]), seen
            seen = rule.instance.step(s, seen, y)
            s.close()
            _check_step(rule, part.spec, given, seen)
            kept[i] = seen
    return trace.entry(None)


def _check_step(rule: Rule, spec: BlockSpec, given: object, seen: object) -> None:
    """A step returns what the next block reads, or a tuple of as many views of it as it was given."""
    views = seen if isinstance(seen, tuple) else (seen,)
    if isinstance(seen, tuple) != isinstance(given, tuple) or (isinstance(given, tuple) and len(given) != len(views)):
        count = len(given) if isinstance(given, tuple) else 1
        _rule_error(
            rule, "step", f"step returned {len(views)} views of the sample", f"It was given {count}: return as many."
        )
    units = math.prod(spec.units)
    fits = [isinstance(v, Tensor) and (independent(rule) or v.type.size == units) for v in views]
    if not all(fits):
        problem = f"step returned {_described(views[fits.index(False)])}"
        _rule_error(rule, "step", problem, f"It must return what the next block sees: {units} numbers.")


def _trace_infer(rule: Rule, net: Net, parts: Sequence[_Part]) -> Entry:
    trace = Trace("infer")
    moments, parts = _moments(net, parts, trace), parts[len(net.features) :]
    kept: list[Any] = [None] * len(parts)
    scores: object = None
    for time, x in moments:
        blocks = [part.block(trace, time, h) for part, h in zip(parts, kept, strict=True)]
        scores = rule.instance.predict(blocks, x)
        kept = [block.kept for block in blocks]
        if any(part.spec.layer.kind == "recurrent" and h is None for part, h in zip(parts, kept, strict=True)):
            problem = "predict does not say what a recurrent block remembers"
            _rule_error(rule, "predict", problem, "Write, say, x = s.keep(L.tanh(s.W @ x + s.b)).")
    if not isinstance(scores, Tensor) or scores.shape != (net.classes,):
        hint = f"It must return {net.classes} class scores."
        _rule_error(rule, "predict", f"predict returned {_described(scores)}", hint)
    for op in trace.ops:
        if OPS[op.name].update:
            raise_rule_error(
                "predict changes state", "State is updated in step only: classifying must not learn.", op.loc
            )
    return trace.entry(trace.emit("argmax", scores))


def _described(value: object) -> str:
    return f"a tensor of shape {value.shape}" if isinstance(value, Tensor) else repr(value)


def _rule_error(rule: Rule, method: str, message: str, hint: str) -> NoReturn:
    """What is wrong with a method as a whole is shown at its first line."""
    code = getattr(type(rule.instance), method).__code__
    raise_rule_error(message, hint, Loc(code.co_filename, code.co_firstlineno))
