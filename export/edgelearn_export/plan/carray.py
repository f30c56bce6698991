"""The plan as C source: bytes for flash and a table of just the kernels it calls, so that the linker drops all others."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from edgelearn.ir.core import Module
from edgelearn_export.plan import encode
from edgelearn_export.plan import format as F  # noqa: N812

BYTES_PER_LINE = 20


@dataclass(frozen=True)
class CBackend:
    """Entry point ``plan-c`` of ``edgelearn.backends``: one C file to compile together with firmware/core."""

    name: str = "plan-c"
    suffix: str = ".c"

    def export(self, module: Module, board: str) -> bytes:
        """C text that defines ``el_app_plan``, ``el_app_plan_bytes`` and ``el_kernel_table``."""
        return c_source(encode(module, board), module).encode()


def c_source(plan: bytes, module: Module) -> str:
    """The C text for plan bytes; ``module`` is named in its comment."""
    codes = sorted(kernels(plan))
    names = {code: name for name, code, _ in F.KERNELS}
    rows = [", ".join(str(b) for b in plan[i : i + BYTES_PER_LINE]) for i in range(0, len(plan), BYTES_PER_LINE)]
    sizes = f"state {module.integer('state_bytes')} bytes, arena {module.integer('arena_bytes')} bytes"
    lines = [
        f"/* {module.name}: made by edgelearn from rule {module.attr('rule', '?')}, {module.dtype}; {sizes};",
        f" * plan {zlib.crc32(plan[:-4]):#010x}. */",
        '#include "el_kernel.h"', "",
        f"const uint32_t el_app_plan_bytes = {len(plan)};",
        "_Alignas(4) EL_ROM uint8_t el_app_plan[] = {", *(f"    {row}," for row in rows), "};", "",
        "EL_ROM el_kernel el_kernel_table[EL_KERNEL_CODES] = {", *(f"    [{c}] = el_k_{names[c]}," for c in codes), "};", "",
    ]  # fmt: skip
    return "\n".join(lines)


def kernels(plan: bytes) -> set[int]:
    """Codes of the kernels that a plan calls."""
    at = F.offsets("header")
    size = F.STRUCTS["op"].size
    n_ops = int.from_bytes(plan[at["n_infer"] : at["n_infer"] + 2], "little") + int.from_bytes(
        plan[at["n_learn"] : at["n_learn"] + 2], "little"
    )
    tlvs = int.from_bytes(plan[at["tlv_bytes"] : at["tlv_bytes"] + 4], "little")
    end = len(plan) - 4 - tlvs
    return {plan[end - size * (i + 1)] for i in range(n_ops)}
