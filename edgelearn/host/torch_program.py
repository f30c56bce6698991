"""An entry of a module as a list of kernels: everything that is the same for all batches is decided here, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgelearn.errors import ConfigError
from edgelearn.host import torch_draws, torch_functions, torch_maps, torch_ops
from edgelearn.host.torch_lib import Tensor, torch
from edgelearn.host.torch_ops import SHARING, Run, Site
from edgelearn.ir.core import Entry, Module, Op
from edgelearn.ir.ops import OPS

KERNELS = {**torch_ops.KERNELS, **torch_maps.KERNELS, **torch_functions.KERNELS, **torch_draws.KERNELS}
UPDATES = {**torch_ops.UPDATES, **torch_maps.UPDATES}


@dataclass(frozen=True)
class _Call:
    """One op: its kernel, what it reads, where the result goes and what nobody reads afterwards."""

    kernel: Callable[..., Tensor]
    args: tuple[str, ...]
    result: str | None
    dead: tuple[str, ...]


class Program:
    """One entry, ready to run.

    Args:
        state: the tensors that the entry reads and changes, in place.

    Raises:
        ConfigError: the entry has an op that has no kernel here.
    """

    def __init__(self, module: Module, entry: str, state: dict[str, Tensor], optimizer: Any, seed: int) -> None:
        self.entry = module.entry(entry)
        self._types = module.types(self.entry)
        self._optimizer, self._seed = optimizer, seed
        self._device = str(next(iter(state.values())).device) if state else "cpu"
        # Where an op reads a state as it reads a value, it sees a batch of one.
        self._known = {**state, **{_value(name): t.unsqueeze(0) for name, t in state.items()}}
        self._fresh = _fresh(self.entry)
        self._last = _last_reads(self.entry)
        self._calls = [self._call(i, op) for i, op in enumerate(self.entry.ops)]

    def __call__(self, run: Run, *inputs: Tensor) -> Any:
        """The entry's result for a batch, None if it has none; ``inputs`` are the entry's parameters."""
        values = dict(self._known)
        for (name, type), given in zip(self.entry.params, inputs, strict=True):
            values[name] = given.reshape(run.batch, *type.shape)
        self._run(self._calls, run, values)
        return values[self.entry.result].expand(run.batch, 1) if self.entry.result is not None else None

    def _run(self, calls: list[_Call], run: Run, values: dict[str, Tensor]) -> None:
        """Adds the results of ``calls`` to ``values``."""
        with torch.no_grad():
            for call in calls:
                result = call.kernel(run, *[values[a] for a in call.args])
                if call.result is not None:
                    values[call.result] = result
                for name in call.dead:
                    del values[name]

    # --- before the first batch -------------------------------------------------------------------------------------------------------

    def _call(self, index: int, op: Op) -> _Call:
        if op.name not in KERNELS and op.name not in UPDATES:
            raise ConfigError(
                f"torch cannot run the op {op.name}.", "Give a module after the pass fuse, from dtype f32."
            )
        roles = OPS[op.name].roles
        args = tuple(a if r in ("W", "b") else _value(a) for a, r in zip(op.args, roles, strict=True))
        dead = tuple(n for n, last in self._last.items() if last == index and n != self.entry.result)
        return _Call(self._kernel(index, op), args, op.result, dead)

    def _kernel(self, index: int, op: Op) -> Callable[..., Tensor]:
        first = op.args[0] if op.args else ""
        site = Site(
            op, tuple(self._types[a] for a in op.args), self._seed, self._device,
            overwrite=first in self._fresh and self._last[first] == index and op.args.count(first) == 1
            and first != self.entry.result, state=first.startswith("@"),
        )  # fmt: skip
        return self._update(index, site) if op.name in UPDATES else KERNELS[op.name](site)

    def _update(self, index: int, site: Site) -> Callable[..., None]:
        """Adds to the gradient; at the last update of its state, the optimizer does its step."""
        op, optimizer = site.op, self._optimizer
        name = op.args[0]
        same = [i for i, other in enumerate(self.entry.ops) if other.name in UPDATES and other.args[0] == name]
        lr = max(self.entry.ops[i].number("rate") for i in same)
        share = op.number("rate") * op.number("sign", 1) / lr if lr else 0.0
        is_first, is_last, add = index == same[0], index == same[-1], UPDATES[op.name](site)

        def kernel(run: Run, *args: Tensor) -> None:
            into, factor = optimizer.open(name, is_first, lr * run.rate)
            add(into, factor * share / run.batch, run, *args)
            if is_last:
                optimizer.close(name, lr * run.rate)

        return kernel


def _value(name: str) -> str:
    return f"{name} as a value" if name.startswith("@") else name


def _last_reads(entry: Entry) -> dict[str, int]:
    """Index of the op after which nobody reads a value."""
    last = {op.result: i for i, op in enumerate(entry.ops) if op.result is not None}
    last.update((a, i) for i, op in enumerate(entry.ops) for a in op.args if not a.startswith("@"))
    return last


def _fresh(entry: Entry) -> set[str]:
    """Values whose memory is theirs alone: neither given by the caller nor shared with another value."""
    made = {op.result for op in entry.ops if op.result is not None and op.name not in SHARING}
    return made - {a for op in entry.ops if op.name in SHARING for a in op.args}
