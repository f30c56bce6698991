"""From a rule and a net to a lowered module with planned memory: the one place that knows the whole way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgelearn.boards import Board
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Loc, Module, State
from edgelearn.ir.types import Exp, Type
from edgelearn.lang.trace import Block, Tensor, Trace, user_code
from edgelearn.lang.trace import rule_error as raise_rule_error
from edgelearn.nets import BlockSpec, dense_blocks
from edgelearn.passes.pipeline import Stages, lower
from edgelearn.passes.quantize import Calibration, check_rates, quantize_input
from edgelearn.rules import Rule

DTYPES = ("int8", "f32")


@dataclass(frozen=True)
class Net:
    """A net to train: ``inputs`` numbers in, a block per width in ``layers``, ``classes`` classes out."""

    inputs: int
    layers: tuple[int, ...]
    classes: int

    def __str__(self) -> str:
        return "-".join(map(str, (self.inputs, *self.layers, self.classes)))


@dataclass(frozen=True)
class Compiled:
    """A lowered module, the stages on the way to it, and what the compiler has to say about it."""

    module: Module
    net: Net
    stages: Stages = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def dtype(self) -> str:
        return self.module.dtype

    @property
    def input_exp(self) -> int:
        """Exponent of the int8 inputs; 0 for floats."""
        exp = dict(self.module.entry("infer").params)["%x"].exp
        return 0 if exp is None else exp.const

    def encode(self, x: NDArray[np.floating[Any]]) -> NDArray[Any]:
        """Samples (N, ...) of real values as rows (N, inputs) that the device reads: int8 units or float32."""
        rows = np.asarray(x).reshape(len(x), -1)
        return rows.astype("<f4") if self.dtype == "f32" else quantize_input(rows, self.input_exp)


def trace_module(rule: Rule, net: Net, name: str) -> Module:
    """Calls the rule once per block on traced tensors and writes down what it does, as entries ``learn`` and ``infer``.

    Raises:
        ConfigError: the rule does something that cannot be traced; its own line is shown.
    """
    specs = dense_blocks(net.inputs, net.layers, net.classes)
    with user_code():
        states = [_block_state(rule, spec) for spec in specs]
        entries = (_trace_learn(rule, net, specs, states), _trace_infer(rule, net, specs, states))
    flat = tuple(s for state in states for s in state.values())
    return Module(name, (("classes", net.classes),), flat, entries)


def _block_state(rule: Rule, spec: BlockSpec) -> dict[str, State]:
    declared = spec.declarations()
    if hasattr(rule.instance, "init"):
        rule.instance.init(declared, None)
    return {**spec.own_state(), **declared.states()}


def _trace_learn(rule: Rule, net: Net, specs: Sequence[BlockSpec], states: Sequence[dict[str, State]]) -> Any:
    trace = Trace("learn")
    x = trace.param("%x", Type("f32", (net.inputs,)))
    label = trace.param("%y", Type("i32", (1,), Exp(0)))
    y = trace.emit("one_hot", label, classes=net.classes)
    blocks = [Block(trace, spec.sizes(), state) for spec, state in zip(specs, states, strict=True)]
    if hasattr(rule.instance, "step_net"):  # a baseline: it sees the whole net
        rule.instance.step_net(blocks, x, y)
        return trace.entry(None)
    for spec, s in zip(specs, blocks, strict=True):
        x = rule.instance.step(s, x, y)
        if not isinstance(x, Tensor) or x.shape != (spec.out,):
            problem = f"step returned {_described(x)}"
            _rule_error(rule, "step", problem, f"It must return what the next block sees: {spec.out} numbers.")
    return trace.entry(None)


def _trace_infer(rule: Rule, net: Net, specs: Sequence[BlockSpec], states: Sequence[dict[str, State]]) -> Any:
    trace = Trace("infer")
    x = trace.param("%x", Type("f32", (net.inputs,)))
    blocks = [Block(trace, spec.sizes(), state) for spec, state in zip(specs, states, strict=True)]
    scores = rule.instance.predict(blocks, x)
    if not isinstance(scores, Tensor) or scores.shape != (net.classes,):
        _rule_error(
            rule, "predict", f"predict returned {_described(scores)}", f"It must return {net.classes} class scores."
        )
    return trace.entry(trace.emit("argmax", scores))


def _described(value: object) -> str:
    return f"a tensor of shape {value.shape}" if isinstance(value, Tensor) else repr(value)


def _rule_error(rule: Rule, method: str, message: str, hint: str) -> NoReturn:
    """What is wrong with a method as a whole is shown at its first line."""
    code = getattr(type(rule.instance), method).__code__
    raise_rule_error(message, hint, Loc(code.co_filename, code.co_firstlineno))


def compile_net(
    rule: Rule,
    net: Net,
    calibration: Calibration,
    dtype: str = "int8",
    drops: Sequence[int] = (),
    board: Board | None = None,
    name: str = "net",
) -> Compiled:
    """Lowers ``rule`` on ``net`` to numbers of kind ``dtype`` for ``board``.

    Args:
        calibration: samples that the first exponents and the input's unit come from.
        drops: steps at which the learning rate halves.

    Raises:
        ConfigError: the rule or the net cannot be lowered, or ``board`` has no such numbers.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"There is no dtype {dtype!r}.", f"Choose one of {', '.join(DTYPES)}.")
    if board is not None and dtype not in board.dtypes:
        raise ConfigError(
            f"Board {board.id} does not compute in {dtype}; it has {', '.join(board.dtypes)}.",
            f'Give --dtype {board.dtypes[0]}, or set dtype = "{board.dtypes[0]}" under [train].',
        )
    traced = trace_module(rule, net, name).with_attrs(drops=" ".join(map(str, drops)), rule=rule.name)
    stages = lower(traced, dtype, calibration)
    module = stages[-1][1]
    notes = tuple(check_rates(module)) if dtype == "int8" else ()
    return Compiled(module, net, stages, notes)
