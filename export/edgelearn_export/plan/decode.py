"""A plan read back: bytes that came from anywhere become a module, or one sentence that says why not.

What a plan does not say is made up: names of states, slots and values, and the lines of the rule. All else is what the encoder was given,
and that is proved each time: the module is encoded again, and must give the same bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edgelearn.errors import ConfigError, EdgeLearnError, VersionError
from edgelearn.ir import rng
from edgelearn.ir.core import Entry, Init, Module, Op, Place, Slot, State
from edgelearn.ir.ops import OPS
from edgelearn.ir.types import BYTES, Exp, Type
from edgelearn.ir.verify import verify
from edgelearn.passes.memory import ALIGN, IN_PLACE, scratch_name
from edgelearn_export.plan import encode
from edgelearn_export.plan import format as F  # noqa: N812
from edgelearn_export.plan.attributes import attributes

Record = dict[str, int]

_HINT = "Export it again with this version of edgelearn."
_HEADER, _CRC = F.STRUCTS["header"].size, 4
_BOARD = range(12, 16)  # where the header names the board: no module knows it
_KERNELS = {code: name for name, code, _ in F.KERNELS}
_DTYPES = {code: name for name, code in F.TENSOR_DTYPES.items()}
_STATE = F.REGIONS["state"]


def decode(plan: bytes) -> Module:
    """The module whose plan these bytes are: ``encode(decode(plan), board) == plan``.

    States are called ``@b0.t0``, ``@b0.t1`` and so on, in order: a plan has no names.

    Raises:
        VersionError: it is of another version.
        ConfigError: it is no plan, is damaged, or says what no module can.
    """
    read = _read(plan)
    for order in (
        ("learn", "infer"),
        ("infer", "learn"),
    ):  # values are numbered entry by entry; the compiler begins with learn
        module = _module(read, order)
        if _same(module, plan):
            return module
    raise _bad("it says something that this edgelearn would not say so")


def _same(module: Module, plan: bytes) -> bool:
    try:
        again = encode(module)
    except EdgeLearnError as error:
        raise _bad(error.message[0].lower() + error.message[1:].rstrip(".")) from error
    except struct.error:  # a number that no field holds comes of another that no encoder writes
        return False
    return _anonymous(again) == _anonymous(plan)


def _anonymous(plan: bytes) -> bytes:
    """A plan's bytes without its board, and without the CRC that depends on it."""
    return plan[: _BOARD.start] + plan[_BOARD.stop : -_CRC]


def _bad(why: str) -> ConfigError:
    return ConfigError(f"This is no plan that can be read: {why}.", _HINT)


# --- records --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """The sections of a plan as records."""

    header: Record
    drops: tuple[int, ...]
    slots: tuple[Record, ...]
    tensors: tuple[Record, ...]
    inits: tuple[Record, ...]
    infer: tuple[Record, ...]
    learn: tuple[Record, ...]

    @property
    def dtype(self) -> str:
        return "int8" if self.header["dtype"] == F.DTYPE_INT8 else "f32"

    def ops(self, entry: str) -> tuple[Record, ...]:
        return self.infer if entry == "infer" else self.learn


def _read(plan: bytes) -> _Plan:
    header = _header(plan)
    counts = {
        "slot": header["n_slots"], "tensor": header["n_tensors"], "init": header["n_inits"],
        "op": header["n_infer"] + header["n_learn"],
    }  # fmt: skip
    at = _HEADER + 4 * header["n_drops"]
    end = at + sum(F.STRUCTS[record].size * count for record, count in counts.items())
    if end + header["tlv_bytes"] + _CRC != len(plan):
        raise _bad("its sections do not add up to its size")
    drops = struct.unpack_from(f"<{header['n_drops']}I", plan, _HEADER)
    found: dict[str, tuple[Record, ...]] = {}
    for record, count in counts.items():
        found[record] = tuple(_records(record, plan, at, count))
        at += F.STRUCTS[record].size * count
    ops, cut = found["op"], header["n_infer"]
    read = _Plan(header, drops, found["slot"], found["tensor"], found["init"], ops[:cut], ops[cut:])
    _check(read)
    return read


def _header(plan: bytes) -> Record:
    if len(plan) < _HEADER + _CRC:
        raise _bad(f"{len(plan)} bytes are too few")
    header = next(_records("header", plan, 0, 1))
    if header["magic"] != F.MAGIC:
        raise _bad("it does not begin as plans do")
    if header["version"] >> 8 != F.VERSION >> 8:
        version = f"{header['version'] >> 8}.{header['version'] & 0xFF}"
        raise VersionError(f"This plan is of version {version}; this edgelearn reads {F.VERSION >> 8}.x.", _HINT)
    if header["header_bytes"] != _HEADER:
        raise _bad(f"its header has {header['header_bytes']} bytes instead of {_HEADER}")
    if header["total_bytes"] != len(plan):
        raise _bad(f"it has {len(plan)} of {header['total_bytes']} bytes")
    if zlib.crc32(plan[:-_CRC]) != int.from_bytes(plan[-_CRC:], "little"):
        raise _bad("it is damaged, its CRC does not match")
    return header


def _records(record: str, plan: bytes, at: int, count: int) -> Iterator[Record]:
    fields, packed = [name for name, _ in F.RECORDS[record]], F.STRUCTS[record]
    for i in range(count):
        yield dict(zip(fields, packed.unpack_from(plan, at + i * packed.size), strict=True))


def _check(plan: _Plan) -> None:
    """Every number that is used to find something is one of something that is there.

    Raises:
        ConfigError: it is not.
    """
    header, n = plan.header, len(plan.tensors)
    _demand(header["dtype"] in F.PLAN_DTYPES.values(), "its numbers are of no known kind")
    _demand(0 < len(plan.inits) <= n and len(plan.slots) > 0, "it has no state")
    _demand(all(header[port] < n for port in ("input", "label", "guess", "output")), "a port is no tensor of it")
    for tensor in plan.tensors:
        _check_tensor(plan, tensor)
    guess = ("guess",) if header["flags"] & F.FLAG_GUESS else ()
    for port in ("input", "label", "output", *guess):
        _check_port(plan, port)
    for i, init in enumerate(plan.inits):
        _demand(init["tensor"] == i and plan.tensors[i]["region"] == _STATE, "its states are not in order")
        _demand(init["kind"] in F.INIT_KINDS.values(), "a state starts in no known way")
    for slot in plan.slots[1:]:
        _demand(slot["kind"] in tuple(F.SLOT_KINDS.values())[1:] and slot["tensor"] < n, "an exponent is of no kind")
    for op in (*plan.infer, *plan.learn):
        _check_op(op, n, plan.dtype)


def _check_tensor(plan: _Plan, tensor: Record) -> None:
    _demand(tensor["dtype"] in _DTYPES and tensor["region"] in F.REGIONS.values(), "a tensor is of no known kind")
    _demand(max(tensor["slot0"], tensor["slot1"]) < len(plan.slots), "a tensor has an exponent that is not there")
    low, high = _extent(tensor)
    room = plan.header["meta"] if tensor["region"] == _STATE else plan.header["arena_bytes"]
    _demand(low % ALIGN == 0 and low < high <= room, "a tensor is not where tensors are")
    _demand(tensor["width"] == 0 or tensor["rows"] >= tensor["width"], "a map is narrower than its rows")


def _check_port(plan: _Plan, port: str) -> None:
    """A sample has the plan's numbers and lies where the link puts it; all others are class numbers."""
    tensor = plan.tensors[plan.header[port]]
    sample = {"int8": "i8", "f32": "f32"}[plan.dtype]
    right = tensor["off"] == 0 if port == "input" else tensor["rows"] * tensor["cols"] == 1
    kind = sample if port == "input" else "i32"
    _demand(right and tensor["region"] != _STATE and _DTYPES[tensor["dtype"]] == kind, f"its {port} is no {port}")


def _check_op(op: Record, tensors: int, dtype: str) -> None:
    kernel = _KERNELS.get(op["kernel"], "")
    _demand(kernel != "" and kernel.endswith("_f32") == (dtype == "f32"), f"{dtype} has no kernel {op['kernel']}")
    args = op["flags"] >> F.OP_ARGS_SHIFT
    _demand(args == len(F.KERNEL_ARGS[kernel]), "an operation has operands too many or too few")
    _demand(all(op[f"a{i}"] < tensors for i in range(4)), "an operand is no tensor of it")


def _demand(true: bool, why: str) -> None:
    if not true:
        raise _bad(why)


def _extent(tensor: Record) -> tuple[int, int]:
    """Where its bytes begin and end."""
    return tensor["off"], tensor["off"] + tensor["rows"] * tensor["cols"] * BYTES[_DTYPES[tensor["dtype"]]]


# --- types ----------------------------------------------------------------------------------------------------------------------------


def _shapes_used(plan: _Plan) -> dict[int, str]:
    """What the operations take each tensor of the state for: the letter of ``format.KERNELS`` for matrix and kernels."""
    found: dict[int, str] = {}
    for op in (*plan.infer, *plan.learn):
        name = _KERNELS[op["kernel"]]
        letter = F.KERNEL_ARGS[name][0].split(":")[1]
        if letter in "mkd" and not name.startswith("decay_update"):  # that one takes any tensor for a matrix
            found.setdefault(op["a0"], letter)
    return found


def _shape(tensor: Record, use: str) -> tuple[int, ...]:
    rows, cols, width = tensor["rows"], tensor["cols"], tensor["width"]
    if width == 0:
        return (rows, cols) if use == "m" or rows > 1 else (cols,)
    if use == "d" and rows == width * width:
        return width, width, cols
    if use != "k" and rows % width == 0:
        return rows // width, width, cols
    _demand(cols % (width * width) == 0, "a kernel is no square")
    return rows, width, width, cols // (width * width)


def _names(plan: _Plan) -> tuple[str, ...]:
    """Of the slots, by number; the first is the constant and has none. The slot of a weight is called as the weight."""
    kinds = {F.SLOT_KINDS["weight"]: "b0.t", F.SLOT_KINDS["moving"]: "moving", F.SLOT_KINDS["computed"]: "computed"}
    weight = F.SLOT_KINDS["weight"]
    return (
        "",
        *(f"{kinds[s['kind']]}{s['tensor'] if s['kind'] == weight else i}" for i, s in enumerate(plan.slots[1:])),
    )


class _Tensors:
    """Types of the plan's tensors, and the names of its states."""

    def __init__(self, plan: _Plan) -> None:
        uses, self.slots = _shapes_used(plan), _names(plan)
        self.records = plan.tensors
        self.states = len(plan.inits)
        self.types = [self._type(tensor, uses.get(i, "")) for i, tensor in enumerate(plan.tensors)]

    def _type(self, tensor: Record, use: str) -> Type:
        slots = tuple(self.slots[i] for i in (tensor["slot0"], tensor["slot1"]) if i)
        dtype = _DTYPES[tensor["dtype"]]
        return Type(dtype, _shape(tensor, use), None if dtype == "f32" else Exp(tensor["exp"], slots))

    def state(self, index: int) -> str:
        _demand(index < self.states, "an operation reads a state that nothing starts")
        return f"@b0.t{index}"


def _state(tensors: _Tensors, index: int, init: Record, plan: _Plan) -> State:
    name, type = tensors.state(index), tensors.types[index]
    _demand(type.dtype != "i32" and type.is_int == (plan.dtype == "int8"), "a state is of another kind of numbers")
    _demand(type.exp in (None, Exp(0, (name[1:],))), "a state's exponent is not its own")
    kind = next(kind for kind, code in F.INIT_KINDS.items() if code == init["kind"])
    if kind == "zeros":
        return State(name, type, Init(kind, 0.0, init["stream"]))
    if type.exp is None:
        return State(name, type, Init(kind, _float(init["scale"]) * rng.NORMAL_STD, init["stream"]))
    start = plan.slots[plan.tensors[index]["slot0"]]["start"]
    # As far above the multiplier as rounds down to it: at a power of two the next shift would begin.
    std = (init["scale"] + (0.25 if init["scale"] else 0.0)) * 2.0 ** (start - init["shift"]) * rng.NORMAL_STD
    return State(name, type, Init(kind, std, init["stream"]))


def _float(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def _slots(plan: _Plan, names: Sequence[str]) -> Iterator[Slot]:
    kinds = {code: kind for kind, code in F.SLOT_KINDS.items()}
    for name, s in zip(names[1:], plan.slots[1:], strict=True):
        yield Slot(name, kinds[s["kind"]], s["start"], s["bits"], s["elems"])


# --- entries --------------------------------------------------------------------------------------------------------------------------


class _Reader:
    """Reads the operations of one entry. A tensor of a plan is a place; here each value that is put there gets its own name."""

    def __init__(self, name: str, tensors: _Tensors, params: dict[int, str]) -> None:
        self.name, self.tensors = name, tensors
        self.live = dict(params)  # what stands in a tensor now
        self.params = tuple((value, tensors.types[index]) for index, value in params.items())
        self.places = [Place(name, value, "arena", tensors.records[index]["off"]) for index, value in params.items()]
        self.ops: list[Op] = []

    def entry(self, ops: Iterable[Record], result: int | None) -> Entry:
        for number, op in enumerate(ops):
            self._op(number, op)
        return Entry(self.name, self.params, tuple(self.ops), None if result is None else self._value(result))

    def _value(self, index: int) -> str:
        if self.tensors.records[index]["region"] == _STATE:
            return self.tensors.state(index)
        _demand(index in self.live, "an operation reads what nothing has written, or something has overwritten")
        return self.live[index]

    def _op(self, number: int, record: Record) -> None:
        kernel = _KERNELS[record["kernel"]]
        row = OPS[kernel.removesuffix("_f32")]
        indices = [record[f"a{i}"] for i in range(record["flags"] >> F.OP_ARGS_SHIFT)]
        operands, made = indices[: len(row.roles)], indices[len(row.roles) :]
        args = tuple(self._value(index) for index in operands)
        self._make_room(row.name, operands, made)
        result = None if row.update else f"%{number}"
        _demand(len(made) >= (not row.update), "an operation makes nothing")
        for index, value in zip(made, filter(None, (result, scratch_name(number))), strict=False):
            self.places.append(Place(self.name, value, "arena", self.tensors.records[index]["off"]))
        type = None if row.update else self.tensors.types[made[0]]
        if result is not None:
            self.live[made[0]] = result
        geometry = self.tensors.records[indices[0]]["geo"]
        attrs = attributes(kernel, record, [self.tensors.types[i] for i in operands], type, geometry)
        self.ops.append(Op(row.name, args, attrs, result, type))

    def _make_room(self, op: str, operands: Sequence[int], made: Sequence[int]) -> None:
        """What lies where something is written is gone; an operand may only lie there if the kernel can do with that."""
        records = self.tensors.records
        for index in made:
            _demand(records[index]["region"] != _STATE, "an operation writes to a state and does not update it")
            for other in {*operands, *self.live}:
                if records[other]["region"] == _STATE or not _overlap(records[index], records[other]):
                    continue
                alone = _extent(records[other]) == _extent(records[index])
                _demand(other not in operands or (op in IN_PLACE and alone), f"{op} overwrites its own operand")
                self.live.pop(other, None)


def _overlap(a: Record, b: Record) -> bool:
    (low, high), (first, last) = _extent(a), _extent(b)
    return low < last and first < high


# --- the whole ------------------------------------------------------------------------------------------------------------------------


def _module(plan: _Plan, order: tuple[str, ...]) -> Module:
    header, tensors = plan.header, _Tensors(plan)
    states = tuple(_state(tensors, i, init, plan) for i, init in enumerate(plan.inits))
    places = [Place("-", s.name, "state", plan.tensors[i]["off"]) for i, s in enumerate(states)]
    entries: list[Entry] = []
    for name in order:
        params = {header["input"]: "%x"} | ({header["label"]: "%y"} if name == "learn" else {})
        reader = _Reader(name, tensors, params)
        guessed = header["guess"] if header["flags"] & F.FLAG_GUESS else None
        entries.append(reader.entry(plan.ops(name), header["output"] if name == "infer" else guessed))
        places += reader.places
    attrs = {
        "dtype": plan.dtype, "drops": " ".join(map(str, plan.drops)), "classes": header["classes"],
        "state_bytes": header["state_bytes"], "arena_bytes": header["arena_bytes"],
    }  # fmt: skip
    module = Module("plan", (), states, tuple(entries), tuple(_slots(plan, tensors.slots)), tuple(places))
    try:
        return verify(module.with_attrs(**attrs))
    except EdgeLearnError as error:
        raise _bad(error.message.removeprefix("Module plan, ").rstrip(".")) from error
