"""The plan as C source: bytes for flash and a table of just the kernels it calls, so that the linker drops all others."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgelearn.backends import Artifact, EntryName, Runner, Source
from edgelearn.ir.core import Module
from edgelearn.paths import resource
from edgelearn_export.plan import encode, gap
from edgelearn_export.plan import format as F  # noqa: N812
from edgelearn_export.plan.core import FOLDERS, files_for
from edgelearn_export.plan.program import Program
from edgelearn_export.plan.source import inputs, learnt, outputs

BYTES_PER_LINE = 20
STATE = "el_app_state"
START = "core/el_start.h"


@dataclass(frozen=True)
class CBackend:
    """Entry point ``plan-c`` of ``edgelearn.backends``: a C file to compile together with firmware/core, and its header."""

    name: str = "plan-c"
    suffix: str = ".c"

    def export(self, module: Module, board: str) -> bytes:
        """C text that defines ``el_app_plan``, ``el_app_plan_bytes``, ``el_kernel_table`` and ``el_signatures``."""
        return c_source(encode(module, board), module).encode()

    def files(self, module: Module, board: str, name: str, state: bytes | None = None) -> dict[str, bytes]:
        """``NAME_plan.c`` and ``NAME_plan.h`` by file name; ``state``, the raw state of a run, becomes ``el_app_state``."""
        plan, stem = encode(module, board), identifier(name)
        source, header = c_source(plan, module, state), c_header(plan, module, stem, state is not None)
        return {f"{stem}_plan.c": source.encode(), f"{stem}_plan.h": header.encode()}

    def gap(self, module: Module, entry: EntryName) -> str:
        """Of all entries alike: a plan holds all or none."""
        return gap(module)

    def artifacts(self, source: Source) -> tuple[Artifact, ...]:
        """The C file, which ``open`` compiles, and its header."""
        if gap(source.module):
            return ()
        made = self.files(source.module, source.board, source.name, learnt(source))
        return tuple(c_artifact(name, raw, source.module, name.endswith(".c")) for name, raw in made.items())

    def open(self, artifact: Artifact, source: Source) -> Runner:
        """Compiles it with the core's sources for this computer."""
        module, state = source.module, learnt(source)
        made = {**self.files(module, source.board, source.name, state), artifact.file: artifact.raw}
        core = files_for(kernels(encode(module)).items())
        made |= {f"firmware/{path}": (resource("firmware") / path).read_bytes() for path in (*core, START)}
        defines = {"NET": f'"{identifier(source.name)}_plan.h"', "PLAN_ONLY": "", "SEED": f"{source.seed}u"}
        if state is not None:
            defines["LEARNT"] = ""
        return Program(made, [".", *(f"firmware/{folder}" for folder in FOLDERS)], defines, module)


def c_artifact(name: str, raw: bytes, module: Module, runs: bool) -> Artifact:
    """A file of C; the one that runs stands for all that are compiled with it."""
    signatures = (inputs(module), outputs()) if runs else ((), ())
    return Artifact(name, raw, "all", module.dtype, *signatures, runs=runs)


def c_source(plan: bytes, module: Module, state: bytes | None = None) -> str:
    """The C text for plan bytes, and for the state to start from where there is one."""
    used = kernels(plan)
    table = (f"[{F.KERNEL_CODES[name]}] = {F.c_function(name, common)}" for name, common in used.items())
    checks = "el_check_map_shapes" if any(map(F.has_maps, used)) else "0"
    lines = [
        *_title(plan, module), '#include "el_kernel.h"', "",
        *_array("el_app_plan", plan), *(_array(STATE, state) if state is not None else ()),
        *_braced("EL_ROM el_kernel el_kernel_table[]", table),
        *_braced("EL_ROM el_signature el_signatures[]", (F.signature(name, common) for name, common in used.items())),
        f"const uint16_t el_signature_count = {len(used)};", f"const el_shape_check el_map_shapes = {checks};", "",
    ]  # fmt: skip
    return "\n".join(lines)


def c_header(plan: bytes, module: Module, name: str, has_state: bool) -> str:
    """Declares what the C source defines, and what an application must provide: memory, and samples of this shape."""
    guard = f"EL_PLAN_{name.upper()}_H"  # a run's id starts with a digit
    state_bytes, arena_bytes = module.integer("state_bytes"), module.integer("arena_bytes")
    x = dict(module.entry("infer").params)["%x"]
    sample = "float" if x.exp is None else "int8_t: the real value times 2^-EL_APP_INPUT_EXP"
    lines = [
        *_title(plan, module), f"#ifndef {guard}", f"#define {guard}",
        '#include "edgelearn.h"', '#include "el_hal.h"', *(['#include "el_start.h"'] if has_state else ()), "",
        f"#define EL_APP_STATE_BYTES {state_bytes}",
        f"#define EL_APP_ARENA_BYTES {arena_bytes}",
        f"#define EL_APP_POOL_BYTES {pool_bytes(state_bytes, arena_bytes)} "
        "/* _Alignas(8) static uint8_t pool[EL_APP_POOL_BYTES]; 7 more if not aligned */",
        f"#define EL_APP_INPUTS {x.size} /* {sample} */",
        f"#define EL_APP_INPUT_EXP ({x.exp.const if x.exp else 0})",
        f"#define EL_APP_CLASSES {module.integer('classes')}", "",
        *_extern("el_app_plan"), *(_extern(STATE) if has_state else ()),
        "#endif", "",
    ]  # fmt: skip
    return "\n".join(lines)


def pool_bytes(state_bytes: int, arena_bytes: int) -> int:
    """Bytes that ``el_open`` needs at an address that is a multiple of 8: the arena starts at one too."""
    return -(-state_bytes // 8) * 8 + arena_bytes


def identifier(name: str) -> str:
    """``name`` as the compiler and make take it, but for a digit in front."""
    return "".join(c if c.isalnum() and c.isascii() else "_" for c in name)


def kernels(plan: bytes) -> dict[str, bool]:
    """Names of the kernels that a plan calls, by code, and whether all of its calls have only the common operands."""
    header = dict(zip((name for name, _ in F.HEADER), F.STRUCTS["header"].unpack_from(plan), strict=True))
    at = F.STRUCTS["header"].size + 4 * header["n_drops"] + F.STRUCTS["slot"].size * header["n_slots"]
    tensors = list(_records("tensor", plan, at, header["n_tensors"]))
    at += F.STRUCTS["tensor"].size * len(tensors) + F.STRUCTS["init"].size * header["n_inits"]
    names = {code: name for name, code, _ in F.KERNELS}
    found: dict[str, bool] = {}
    for op in _records("op", plan, at, header["n_infer"] + header["n_learn"]):
        name = names[op["kernel"]]
        operands = [tensors[op[f"a{i}"]] for i in range(op["flags"] >> F.OP_ARGS_SHIFT)]
        found[name] = found.get(name, True) and _is_common(name, operands)
    return dict(sorted(found.items(), key=lambda item: F.KERNEL_CODES[item[0]]))


def _records(record: str, plan: bytes, at: int, count: int) -> Iterator[dict[str, int]]:
    fields, packed = [name for name, _ in F.RECORDS[record]], F.STRUCTS[record]
    for i in range(count):
        yield dict(zip(fields, packed.unpack_from(plan, at + i * packed.size), strict=True))


def _is_common(name: str, operands: list[dict[str, int]]) -> bool:
    """Do operands fit ``COMMON_ARGS``, given that they fit ``KERNEL_ARGS``?"""
    if name not in F.COMMON_ARGS:
        return False
    dtypes = {code: F.LETTERS[dtype] for dtype, code in F.TENSOR_DTYPES.items()}
    columns = set()
    for operand, arg in zip(operands, F.COMMON_ARGS[name], strict=True):
        letters, shape, _ = arg.split(":")
        if dtypes[operand["dtype"]] not in letters:
            return False
        if shape == "c":
            columns.add(operand["rows"] * operand["cols"])
    return len(columns) <= 1


def _title(plan: bytes, module: Module) -> list[str]:
    sizes = f"state {module.integer('state_bytes')} bytes, arena {module.integer('arena_bytes')} bytes"
    return [
        f"/* {module.name}: made by edgelearn from rule {module.attr('rule', '?')}, {module.dtype}; {sizes};",
        f" * plan {zlib.crc32(plan[:-4]):#010x}. */",
    ]


def _array(name: str, raw: bytes) -> list[str]:
    """Definitions of ``name`` and ``name_bytes``."""
    rows = (", ".join(map(str, raw[i : i + BYTES_PER_LINE])) for i in range(0, len(raw), BYTES_PER_LINE))
    return [f"const uint32_t {name}_bytes = {len(raw)};", *_braced(f"_Alignas(4) EL_ROM uint8_t {name}[]", rows)]


def _braced(declared: str, rows: Iterable[str]) -> list[str]:
    return [f"{declared} = {{", *(f"    {row}," for row in rows), "};", ""]


def _extern(name: str) -> list[str]:
    return [f"extern const uint32_t {name}_bytes;", f"extern EL_ROM uint8_t {name}[];"]
