"""Layers: what one entry of ``layers`` in a recipe says. Feature maps are (height, width, channels)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["dense", "conv", "depthwise", "pool", "recurrent"]
FLAT = 0  # a head that reads every unit of a map


@dataclass(frozen=True)
class Layer:
    """One layer. A pool has no state: it belongs to the weights that read what comes before it.

    Attributes:
        size: units of a dense or recurrent layer, channels of a convolution.
        kernel: width of a convolution's kernel, or of a pool's window.
        stride, pad: of a convolution, the same in both directions.
        mode: of a pool.
        head: a head reads the layer's map averaged to ``head`` by ``head`` positions, or all of it (0).
        bits: of the weights, without sign: 7 is int8, 8 to 13 are int16; 0: the compiler chooses.
    """

    kind: Kind
    size: int = 0
    kernel: int = 1
    stride: int = 1
    pad: int = 0
    mode: Literal["avg", "max"] = "avg"
    head: int = FLAT
    bits: int = 0

    def __str__(self) -> str:
        stride = f"s{self.stride}" if self.stride > 1 else ""
        match self.kind:
            case "dense":
                return str(self.size)
            case "conv":
                return f"c{self.size}k{self.kernel}{stride}"
            case "depthwise":
                return f"d{self.kernel}{stride}"
            case "recurrent":
                return f"r{self.size}"
            case _:
                return f"{'max' if self.mode == 'max' else 'p'}{self.kernel}"


def dense(size: int) -> Layer:
    return Layer("dense", size)


class LayerError(ValueError):
    """What is wrong with an entry of ``layers``, and a remedy."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem, self.hint = problem, hint


MAX_SIZE = 0xFFFF
MAX_KERNEL = 15
_HEADS = {
    "flat": FLAT,
    "pool": 1,
    "1x1": 1,
}  # a 1x1 convolution to class scores, averaged, is a head on the averaged map
_KEYS: dict[str, tuple[str, ...]] = {
    "dense": ("bits",),
    "conv": ("kernel", "stride", "pad", "head", "bits"),
    "depthwise": ("stride", "pad", "head", "bits"),
    "pool": ("mode",),
    "recurrent": ("bits",),
}


def from_item(item: object) -> Layer:
    """A layer as a recipe writes it: a width, or a table such as ``{ conv = 16, kernel = 3, stride = 2 }``.

    Raises:
        LayerError: it is none.
    """
    if not isinstance(item, dict):
        return dense(_number(item, "layers", MAX_SIZE))
    table: dict[str, object] = {str(key): value for key, value in item.items()}
    kinds = [kind for kind in _KEYS if kind in table]
    if len(kinds) != 1:
        raise LayerError(
            f"{table} names {'no' if not kinds else 'more than one'} kind of layer.", f"Kinds: {', '.join(_KEYS)}."
        )
    kind = kinds[0]
    for key in table:
        if key != kind and key not in _KEYS[kind]:
            raise LayerError(f"a {kind} layer has no '{key}'.", f"It may have: {', '.join(_KEYS[kind])}.")
    return _layer(kind, table)


def _layer(kind: str, table: dict[str, object]) -> Layer:
    bits = _bits(table.get("bits", 0))
    match kind:
        case "dense":
            return Layer("dense", _number(table[kind], kind, MAX_SIZE), bits=bits)
        case "recurrent":
            return Layer("recurrent", _number(table[kind], kind, MAX_SIZE), bits=bits)
        case "pool":
            mode = table.get("mode", "avg")
            if mode not in ("avg", "max"):
                raise LayerError(f"mode = {mode!r} is no kind of pool.", "Choose one of: avg, max.")
            return Layer("pool", kernel=_number(table[kind], kind, MAX_SIZE), mode="max" if mode == "max" else "avg")
        case "conv":
            kernel = _number(table.get("kernel", 3), "kernel", MAX_KERNEL)
            return _windowed("conv", _number(table[kind], kind, MAX_SIZE), kernel, table, bits)
        case _:
            return _windowed("depthwise", 0, _number(table[kind], kind, MAX_KERNEL), table, bits)


def _windowed(kind: Literal["conv", "depthwise"], size: int, kernel: int, table: dict[str, object], bits: int) -> Layer:
    pad = table.get("pad", "same")
    width = kernel // 2 if pad == "same" else _number(pad, "pad", kernel - 1, 0)
    return Layer(
        kind, size, kernel, _number(table.get("stride", 1), "stride", MAX_KERNEL), width, head=_head(table), bits=bits
    )


def _head(table: dict[str, object]) -> int:
    head = table.get("head", "flat")
    return _HEADS[head] if isinstance(head, str) and head in _HEADS else _number(head, "head", MAX_SIZE)


def _bits(value: object) -> int:
    return 0 if value == 0 else _number(value, "bits", 13, 7)


def _number(value: object, key: str, high: int, low: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise LayerError(f"{value!r} in '{key}' is no size.", f"Write a whole number from {low} to {high}.")
    return value


def to_item(layer: Layer) -> int | dict[str, int | str]:
    """What ``from_item`` makes this layer of."""
    bits: dict[str, int | str] = {"bits": layer.bits} if layer.bits else {}
    if layer.kind == "dense" and not bits:
        return layer.size
    if layer.kind == "pool":
        return {"pool": layer.kernel, "mode": layer.mode}
    if layer.kind in ("dense", "recurrent"):
        return {layer.kind: layer.size, **bits}
    window: dict[str, int | str] = {"stride": layer.stride, "pad": layer.pad, "head": layer.head or "flat", **bits}
    return (
        {"conv": layer.size, "kernel": layer.kernel, **window}
        if layer.kind == "conv"
        else {"depthwise": layer.kernel, **window}
    )
