"""What the record of an op says besides its operands, as the attributes of the op: ``immediates.py`` and ``_numbers``, the other way."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Attr, Attrs
from edgelearn.ir.ops import OPS, shape_text
from edgelearn.ir.ops.draws import NOISE_EXP
from edgelearn.ir.types import Type
from edgelearn_export.plan import POOLS
from edgelearn_export.plan import format as F  # noqa: N812

_POWER = 1 << 30  # the largest mantissa of a constant, and of no other number
_ROUNDS_UP = 2.0**-8  # less than half a unit of the mantissa that a factor is rounded to


def attributes(
    kernel: str, record: dict[str, int], operands: Sequence[Type], result: Type | None, geometry: int
) -> Attrs:
    """The attributes of the op that ``record`` of a plan is.

    Args:
        operands: the types of what it reads. result: of what it makes, None for an update.
        geometry: stride and pad of its first operand, packed.

    Raises:
        ConfigError: no op has such numbers.
    """
    floats = kernel.endswith("_f32")
    name = kernel.removesuffix("_f32")
    row = OPS[name]
    found: dict[str, Attr] = {}
    if "stride" in row.attrs:
        found |= {"stride": geometry & F.GEO_MAX, "pad": geometry >> F.GEO_PAD_SHIFT}
        if not found["stride"]:
            raise _impossible(name, "a stride of 0")
    if "shape" in row.attrs and result is not None and (name == "noise" or len(result.shape) == 3):
        found["shape"] = shape_text(result.shape)
    if "relu" in row.attrs and record["flags"] & F.OP_RELU:
        found["relu"] = 1
    if row.update:
        found |= _rate(record, floats)
    elif name in POOLS:
        found |= _window(record, operands, result)
    elif result is not None:
        found |= _word(name, record, operands, result, floats)
    return tuple(sorted(found.items()))


def _rate(record: dict[str, int], floats: bool) -> dict[str, Attr]:
    sign = -1 if record["flags"] & F.OP_NEGATIVE else 1
    if floats:
        return {"id": record["id"], "rate": sign * _float(record["imm"]), "sign": sign}
    return {"id": record["id"], "rate": 2.0 ** record["k"], "rate_log2": record["k"], "sign": sign}


def _window(record: dict[str, int], operands: Sequence[Type], result: Type | None) -> dict[str, Attr]:
    """Of a pool: a window of size 0 is the whole of the larger map."""
    size = record["id"]
    large = max((*operands, *((result,) if result else ())), key=lambda type: type.size)
    return {"size": size, "count": size * size if size else math.prod(large.shape[:2])}


def _word(name: str, record: dict[str, int], operands: Sequence[Type], result: Type, floats: bool) -> dict[str, Attr]:
    imm, k = record["imm"], record["k"]
    match name:
        case "scale":
            return {"k": _float(imm) if floats else _factor(imm, k)}
        case "gate":
            return {"threshold": _float(imm) if floats else imm / 32768}
        case "sign":
            return {"dead": _float(imm) if floats else imm / 32768}
        case "const":
            exp = result.exp.const if result.exp else 0
            return {"value": _float(imm) if floats else _constant(imm, exp), "size": result.size}
        case "leaky_relu":
            return {"slope_log2": _log2(_float(imm)) if floats else k}
        case "slice":
            return {"start": imm, "size": result.size}
        case "signs":
            return {"stream": imm, "rows": result.size}
        case "noise":
            if not 0 <= k < len(NOISE_EXP):
                raise _impossible(name, f"the kind {k}")
            return {"kind": list(NOISE_EXP)[k], "id": record["id"]}
        case "sample":
            return {"id": record["id"]}
        case "one_hot":
            return {"classes": result.size}
        case _:
            return {}


def _float(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<i", bits))[0]


def _log2(slope: float) -> int:
    fraction, exponent = math.frexp(slope)
    if fraction != 0.5:
        raise _impossible("leaky_relu", f"the slope {slope:g}")
    return exponent - 1


def _factor(mantissa: int, exponent: int) -> float:
    """A factor that is rounded to this mantissa. At a power of two, where another exponent begins, one that is a little less or more."""
    off = {64: _ROUNDS_UP * 64, 128: -_ROUNDS_UP * 64}.get(abs(mantissa), 0.0)
    return math.copysign(abs(mantissa) + off, mantissa) * 2.0**exponent


def _constant(mantissa: int, exponent: int) -> float:
    """A constant of this mantissa: one that was rounded up to a power of two is a little less than it."""
    off = _POWER >> 17 if abs(mantissa) == _POWER else 0
    return math.copysign(abs(mantissa) - off, mantissa) * 2.0**exponent if mantissa else 0.0


def _impossible(name: str, what: str) -> ConfigError:
    return ConfigError(f"An operation '{name}' of this plan has {what}.", "Export it again.")
