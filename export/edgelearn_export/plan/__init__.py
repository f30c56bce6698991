"""The plan backend: a lowered module as the bytes that the C runtime runs."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from edgelearn.backends import Artifact, EntryName, Runner, Source
from edgelearn.errors import ConfigError
from edgelearn.ir import rng
from edgelearn.ir.core import Entry, Module, Op, State
from edgelearn.ir.interp import HALVE_EVERY, MAX_ELEMS, RESCALE_EVERY, normal_multiplier
from edgelearn.ir.ops import OPS, rate, scale_parts
from edgelearn.ir.types import Exp, Type
from edgelearn.passes.memory import arena_types, scratch_name, state_layout
from edgelearn_export.plan import format as F  # noqa: N812
from edgelearn_export.plan.gates import idle_after
from edgelearn_export.plan.immediates import float_bits, of_word
from edgelearn_export.plan.source import CoreRunner, inputs, learnt, outputs

POOLS = ("pool", "maxpool", "unpool")


MAX_STREAM = 0xFF


@dataclass(frozen=True)
class Backend:
    """Entry point ``plan`` of ``edgelearn.backends``."""

    name: str = "plan"
    suffix: str = ".plan"

    def export(self, module: Module, board: str) -> bytes:
        """The plan of ``module``, bound to ``board`` ("" for any)."""
        return encode(module, board)

    def decode(self, plan: bytes) -> Module:
        """The module of a plan; see ``edgelearn_export.plan.decode``, which says why it is none."""
        from edgelearn_export.plan.decode import decode

        return decode(plan)

    def gap(self, module: Module, entry: EntryName) -> str:
        """Of all entries alike: a plan holds all or none."""
        return gap(module)

    def artifacts(self, source: Source) -> tuple[Artifact, ...]:
        """The plan, and the state that a run has learnt."""
        module, state = source.module, learnt(source)
        if gap(module):
            return ()
        plan = encode(module, source.board)
        made = Artifact(f"{source.name}.plan", plan, "all", module.dtype, inputs(module), outputs())
        if state is None:
            return (made,)
        return made, Artifact(f"{source.name}.state", state, "all", module.dtype, runs=False)

    def open(self, artifact: Artifact, source: Source) -> Runner:
        """The C core, on this computer."""
        return CoreRunner(artifact.raw, source)


def gap(module: Module) -> str:
    """Why no plan can hold ``module``; "" if one can."""
    try:
        encode(module)
    except ConfigError as error:
        return error.message.removesuffix(".")
    return ""


def board_number(board: str) -> int:
    """What a plan carries of its board's id; 0 means any board."""
    return zlib.crc32(board.encode()) if board else 0


def encode(module: Module, board: str = "") -> bytes:
    """A planned module (after the memory pass) as plan bytes.

    Raises:
        ConfigError: the module uses an op that no kernel does, or has too many values.
    """
    return _Encoder(module).encode(board)


def _layout(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(rows, cols, width): a map (height, width, channels) has a row per position, a kernel (out, k, k, in) one per output."""
    match shape:
        case (rows, cols):
            return rows, cols, 0
        case (height, width, channels):
            return height * width, channels, width
        case (out, k, width, channels):
            return out, k * width * channels, width
        case _:
            return 1, math.prod(shape), 0


def _geometry(module: Module) -> dict[str, int]:
    """Stride and pad of every kernel in state, packed; they come from the ops that apply it.

    Raises:
        ConfigError: two ops differ, or a plan cannot say it.
    """
    found: dict[str, int] = {}
    for entry in module.entries:
        for op in entry.ops:
            if "stride" not in OPS[op.name].attrs:
                continue
            stride, pad, name = int(op.number("stride")), int(op.number("pad")), op.args[0]
            if not (1 <= stride <= F.GEO_MAX and 0 <= pad <= F.GEO_MAX):
                raise ConfigError(
                    f"{name[1:]} has stride {stride} and pad {pad}.", f"A plan can say up to {F.GEO_MAX} of each."
                )
            geo = stride | pad << F.GEO_PAD_SHIFT
            if found.setdefault(name, geo) != geo:
                raise ConfigError(
                    f"{name[1:]} is used with two strides or pads.", "Give each convolution a kernel of its own."
                )
    return found


def _window(op: Op) -> float:
    """Positions that a pool makes one of."""
    return op.number("count", op.number("size") ** 2)


class _Encoder:
    """Numbers the tensors and slots of one module and writes the sections."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.layout = state_layout(module)
        self.slots = {s.name: i + 1 for i, s in enumerate(module.slots)}  # slot 0 is the constant 0
        self.index: dict[tuple[str, str], int] = {}
        self.tensors: list[bytes] = []
        self.types: list[Type] = []
        self.geometry = _geometry(module)
        for s in module.state:
            self._add(("-", s.name), s.type, "state", self.layout.tensors[s.name])
        places = {(p.entry, p.value): p.offset for p in module.places}
        for entry in module.entries:
            for name, type in arena_types(module, entry).items():
                self._add((entry.name, name), type, "arena", places[entry.name, name])

    def _add(self, key: tuple[str, str], type: Type, region: str, offset: int) -> None:
        rows, cols, width = _layout(type.shape)
        exp = type.exp or Exp()
        slots = [self.slots[s] for s in exp.slots] + [0, 0]
        if len(exp.slots) > 2 or max(rows, cols) > 0xFFFF:
            raise ConfigError(f"{key[1]} ({type}) is beyond what a plan can say.", "Make the layer narrower.")
        dtype = F.TENSOR_DTYPES[type.dtype]
        record = F.STRUCTS["tensor"].pack(
            offset, rows, cols, F.REGIONS[region], dtype, exp.const, *slots[:2], self.geometry.get(key[1], 0), width
        )
        if record not in self.tensors:  # values of both entries often coincide
            self.tensors.append(record)
            self.types.append(type)
        self.index[key] = self.tensors.index(record)
        if len(self.tensors) > 255:
            raise ConfigError("The net has more values than a plan can number.", "Use fewer layers.")

    def encode(self, board: str) -> bytes:
        module = self.module
        infer, learn = module.entry("infer"), module.entry("learn")
        sections = b"".join(
            (
                struct.pack(f"<{len(module.drops)}I", *module.drops),
                self._slots(),
                b"".join(self.tensors),
                self._inits(),
                self._ops(infer),
                self._ops(learn),
            )
        )
        header = {
            "magic": F.MAGIC, "version": F.VERSION, "header_bytes": F.STRUCTS["header"].size,
            "total_bytes": F.STRUCTS["header"].size + len(sections) + 4, "board": board_number(board),
            "dtype": F.PLAN_DTYPES[module.dtype], "n_drops": len(module.drops), "n_slots": len(module.slots) + 1,
            "n_tensors": len(self.tensors), "n_inits": len(module.state), "flags": F.FLAG_GUESS if learn.result else 0,
            "classes": module.integer("classes"), "n_infer": len(infer.ops), "n_learn": len(learn.ops),
            "state_bytes": self.layout.nbytes, "arena_bytes": module.integer("arena_bytes"), "meta": self.layout.meta,
            "input": self.index["infer", "%x"], "label": self.index["learn", "%y"],
            "guess": self.index["learn", learn.result] if learn.result else 0, "output": self.index["infer", infer.result or ""],
            "rescale_every": RESCALE_EVERY, "halve_every": HALVE_EVERY, "tlv_bytes": 0,
        }  # fmt: skip
        body = F.STRUCTS["header"].pack(*(header[name] for name, _ in F.HEADER)) + sections
        return body + struct.pack("<I", zlib.crc32(body))

    def _slots(self) -> bytes:
        pack = F.STRUCTS["slot"].pack
        found = [pack(0, 0, 0, 0, 0, 0)]
        owner = {s.type.exp.slots[0]: i for i, s in enumerate(self.module.state) if s.type.exp}
        for s in self.module.slots:
            elems = min(s.elems, MAX_ELEMS)
            found.append(pack(F.SLOT_KINDS[s.kind], s.start, s.bits, owner.get(s.name, 0), elems, 0))
        return b"".join(found)

    def _inits(self) -> bytes:
        return b"".join(self._init(i, s) for i, s in enumerate(self.module.state))

    def _init(self, index: int, s: State) -> bytes:
        shift, scale = 0, 0
        if s.init.stream > MAX_STREAM:
            raise ConfigError("The net has more blocks than a plan has random streams for.", "Use at most 16 blocks.")
        if s.init.kind == "normal" and s.type.exp is None:
            scale = int(np.float32(s.init.std / rng.NORMAL_STD).view(np.uint32))
        elif s.init.kind == "normal":
            starts = {slot.name: slot.start for slot in self.module.slots}
            assert s.type.exp is not None
            scale, shift = normal_multiplier(s.init.std, starts[s.type.exp.slots[0]])
        return F.STRUCTS["init"].pack(index, F.INIT_KINDS[s.init.kind], shift, s.init.stream, scale)

    def _ops(self, entry: Entry) -> bytes:
        return b"".join(self._op(entry, op, i) for i, op in enumerate(entry.ops))

    def _op(self, entry: Entry, op: Op, index: int) -> bytes:
        name = op.name if self.module.dtype != "f32" else f"{op.name}_f32"
        if not OPS[op.name].kernels or name not in F.KERNEL_CODES:
            where = f"{op.loc.file}:{op.loc.line}: " if op.loc else ""
            raise ConfigError(
                f"{where}No kernel does {op.name} in {self.module.dtype}.", "Write it with other words of edgelearn.L."
            )
        keys = [("-", a) if a.startswith("@") else (entry.name, a) for a in op.args]
        keys += [
            (entry.name, name) for name in (op.result or "", scratch_name(index)) if (entry.name, name) in self.index
        ]
        args = [self.index[key] for key in keys]
        self._check(name, op, [self.types[a] for a in args])
        flags = (F.OP_RELU if op.attr("relu", 0) else 0) | (F.OP_NEGATIVE if op.attr("sign", 1) == -1 else 0)
        flags |= len(args) << F.OP_ARGS_SHIFT
        k, imm = self._numbers(op)
        number = int(op.number("size" if op.name in POOLS else "id", 0))
        if name == "gate":
            number = idle_after(entry, index)
        if number > 0xFF:
            raise ConfigError("The net has more updates than a plan can number.", "Use fewer layers.")
        return F.STRUCTS["op"].pack(F.KERNEL_CODES[name], flags, k, number, *(args + [0] * 4)[:4], imm)

    def _check(self, name: str, op: Op, types: list[Type]) -> None:
        """A kernel reads only what its row says; the device would refuse it too."""
        for type, arg in zip(types, F.KERNEL_ARGS[name], strict=True):
            if F.LETTERS[type.dtype] not in arg.split(":")[0]:
                where = f"{op.loc.file}:{op.loc.line}: " if op.loc else ""
                raise ConfigError(
                    f"{where}No kernel does {op.name} on {type}.", "Write it with other words of edgelearn.L."
                )

    def _numbers(self, op: Op) -> tuple[int, int]:
        """(k, imm): the rate's exponent, the factor or the threshold, as the kernel wants it."""
        floats = self.module.dtype == "f32"
        found = of_word(op, floats)
        if found is not None:
            return found
        if floats:
            if OPS[op.name].update:
                return 0, float_bits(rate(op, 0))
            if op.name in POOLS:
                return 0, float_bits(1 / _window(op))
            key = {"scale": "k", "gate": "threshold"}.get(op.name)
            return 0, float_bits(op.number(key)) if key else 0
        if OPS[op.name].update:
            return int(op.number("rate_log2")), 0
        if op.name == "scale" or op.name in POOLS:
            mantissa, exponent = scale_parts(op.number("k") if op.name == "scale" else 1 / _window(op))
            return exponent, mantissa
        return 0, round(op.number("threshold") * 32768) if op.name == "gate" else 0
