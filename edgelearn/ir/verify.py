"""Is a module sane? Runs between all passes; a failure is a bug of a pass or of a hand-written module, and names the op."""

from __future__ import annotations

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Entry, Module, Op
from edgelearn.ir.ops import OPS, result_shape
from edgelearn.ir.text import print_op
from edgelearn.ir.types import Exp, Type


def verify(module: Module) -> Module:
    """Returns the module if every op is known, every name defined once and before use, and every type follows from the table.

    Raises:
        ConfigError: naming the entry and the op.
    """
    slots = {s.name for s in module.slots}
    if len(slots) != len(module.slots):
        raise _bad(module, "-", "an exponent slot is defined twice")
    if len(module.state_types()) != len(module.state):
        raise _bad(module, "-", "a state is defined twice")
    for state in module.state:
        _check_exp(module, state.name, state.type, slots)
    for entry in module.entries:
        _verify_entry(module, entry, slots)
    return module


def _verify_entry(module: Module, entry: Entry, slots: set[str]) -> None:
    known = {**module.state_types(), **dict(entry.params)}
    for op in entry.ops:
        try:
            _verify_op(op, known)
        except (ValueError, KeyError) as error:
            raise _bad(module, entry.name, f"{error} in `{print_op(op)}`") from error
        if op.result is not None and op.type is not None:
            _check_exp(module, op.result, op.type, slots)
            known[op.result] = op.type
    if entry.result is not None and entry.result not in known:
        raise _bad(module, entry.name, f"it returns {entry.result}, which nothing defines")


def _verify_op(op: Op, known: dict[str, Type]) -> None:
    row = OPS.get(op.name)
    if row is None:
        raise ValueError("unknown op")
    for arg in op.args:
        if arg not in known:
            raise ValueError(f"{arg} is used before it is defined")
    if len(op.args) != len(row.roles):
        raise ValueError(f"{len(op.args)} operands instead of {len(row.roles)}")
    types = [known[a] for a in op.args]
    for key in ("id", "k", "threshold", "classes", "value", "slope_log2", "rows", "stream"):
        if key in row.attrs:
            op.number(key)
    shape = result_shape(op, types)
    if row.update:
        if op.result is not None or not op.args[0].startswith("@"):
            raise ValueError("an update changes state and has no result")
        return
    if op.result is None or op.type is None:
        raise ValueError("it has no result")
    if op.result in known:
        raise ValueError(f"{op.result} is defined twice")
    if op.type.shape != shape:
        raise ValueError(f"its result has shape {op.type.shape} instead of {shape}")
    floats = [t.dtype == "f32" for t, role in zip(types, row.roles, strict=True) if role != "label"]
    if floats and any(floats) != all(floats):
        raise ValueError("it mixes floats and integers")


def _check_exp(module: Module, name: str, type: Type, slots: set[str]) -> None:
    if type.is_int != (type.exp is not None):
        raise _bad(module, name, f"{type} must have an exponent if, and only if, it is an integer")
    for slot in (type.exp or Exp()).slots:
        if slot not in slots:
            raise _bad(module, name, f"its exponent names the slot {slot}, which does not exist")


def _bad(module: Module, where: str, what: str) -> ConfigError:
    return ConfigError(
        f"Module {module.name}, {where}: {what}.", "If a pass made this module, please report it with `edgelearn show`."
    )
