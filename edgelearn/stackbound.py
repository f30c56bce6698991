"""How deep can the stack get? Read from the call graphs that gcc writes with ``-fcallgraph-info=su``.

The bound is the deepest way down from the entry, plus the deepest interrupt handler, plus what the hardware pushes for
it. Handlers of one priority do not nest, and every port gives all of its interrupts the same one. Some calls go
through a pointer, and their targets are known by name: `step.c` runs kernels (``el_k_*``), `plan.c` checks shapes
(``el_check_*``), `bootrom.c` uses what is in the chip, the link tells `power.c` (``el_power_*``) what happens, which reads
meters (``meter_*``), whose drivers use a bus (``i2c_*``) or a converter (``adc_*``), and anybody may use the board
(``hal_*``). Recursion, frames
whose size only run time knows, and functions that nobody has measured are errors.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from edgelearn.errors import EdgeLearnError

INDIRECT = "__indirect_call"
HAL, KERNELS, CHECKS, BOOT_ROM = "hal_", "el_k_", "el_check_", "boot ROM"
POWER, METERS, BUSES, CONVERTERS = "el_power_", "meter_", "i2c_", "adc_"
# Who may call what through a pointer; any file that is not named calls the board only.
INDIRECT_TARGETS: Mapping[str, tuple[str, ...]] = {
    "step.c": (KERNELS, HAL),
    "plan.c": (CHECKS,),
    "bootrom.c": (BOOT_ROM,),
    "proto.c": (HAL, POWER),
    "monocypher.c": ("sha512_vtable_", "blake2b_vtable_"),  # what a signature is hashed with
    "power.c": (HAL, METERS),
    "ina.c": (BUSES,),
    "shunt.c": (CONVERTERS,),
}

# Functions of the compiler and the C library, which come without a call graph: bytes, generous. Beside each row the
# deepest one found in the disassembly of gcc 12.2 and newlib-nano (Cortex-M0, M4F). Doubles are left out: none
# may be used.
ALLOWANCES: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"mem(cpy|set|move|cmp)|strlen|__aeabi_(u?idiv(mod)?|mem\w+)|__gnu_thumb1_case_\w+"), 64),  # 36
    (re.compile(r"__u?(div|mod)(si|di)3"), 64),  # 0: __udivdi3 of RISC-V
    (re.compile(BOOT_ROM), 256),  # not measured: five small functions deep in the source of the RP2040's
    (re.compile(r"__aeabi_(i2f|ui2f|f(?!2d)\w+|cf\w+|u?l(?!2d)\w+)|__clzsi2"), 128),  # 108: __aeabi_ldivmod
    (re.compile(r"(exp|log|tanh|sqrt|floor|round|ldexp|scalbn|fabs|nearbyint|rint|lrint|pow)f"), 192),  # 144: powf
)

_NODE = re.compile(r'^node: \{ title: "([^"]+)" label: "([^"]*)"', re.MULTILINE)
_EDGE = re.compile(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', re.MULTILINE)
_GRAPH = re.compile(r'^graph: \{ title: "([^"]+)"', re.MULTILINE)
_FRAME = re.compile(r"\\n(\d+) bytes \(([a-z,]+)\)")


class StackError(EdgeLearnError):
    """No bound can be given: a defect of the firmware."""


@dataclass(frozen=True)
class Graph:
    """The functions of an image. ``frames``: bytes by title, None for a frame that only run time knows."""

    frames: dict[str, int | None] = field(default_factory=dict)
    calls: dict[str, set[str]] = field(default_factory=dict)

    def named(self, prefix: str) -> list[str]:
        """Titles of the defined functions whose own name starts with ``prefix``."""
        return [title for title in self.frames if own_name(title).startswith(prefix)]


def own_name(title: str) -> str:
    """A static function's title is ``file:function``."""
    return title.rsplit(":", 1)[-1]


def read(texts: Iterable[str], linked: Container[str] | None = None) -> Graph:
    """Joins the ``.ci`` texts of an image's units; a call through a pointer becomes calls of all it can reach.

    Args:
        linked: names of the image's functions; a pointer does not reach others. None: all of the units' functions are in it.
    """
    graph = Graph()
    indirect: list[tuple[str, str]] = []
    for text in texts:
        indirect += _add_unit(graph, text)
    for caller, unit in indirect:
        for prefix in INDIRECT_TARGETS.get(unit, (HAL,)):
            if allowance(prefix) is not None:
                graph.calls[caller].add(prefix)
            graph.calls[caller].update(t for t in graph.named(prefix) if linked is None or own_name(t) in linked)
    return graph


def _add_unit(graph: Graph, text: str) -> list[tuple[str, str]]:
    """Adds one unit; returns (caller, file) of its calls through pointers."""
    heading = _GRAPH.search(text)
    if heading is None:
        raise StackError("A call graph file has no heading.", "Is this compiler gcc 10 or newer?")
    unit = PurePosixPath(heading[1]).name
    for title, label in _NODE.findall(text):
        frame = _FRAME.search(label)
        if frame:
            graph.frames[title] = None if frame[2] == "dynamic" else int(frame[1])
    indirect: list[tuple[str, str]] = []
    for caller, callee in _EDGE.findall(text):
        calls = graph.calls.setdefault(caller, set())
        if callee == INDIRECT:
            indirect.append((caller, unit))
        else:
            calls.add(callee)
    return indirect


def allowance(name: str) -> int | None:
    """Bytes granted to a library function, None if it is not a known one."""
    return next((size for pattern, size in ALLOWANCES if pattern.fullmatch(name)), None)


def deepest(graph: Graph, root: str) -> int:
    """Bytes of stack that ``root`` and all it calls can need.

    Raises:
        StackError: recursion, a frame of unknown size, or an unknown function; names the way there.
    """
    return _depth(graph, root, (), {})


def _depth(graph: Graph, title: str, path: tuple[str, ...], known: dict[str, int]) -> int:
    if title in known:
        return known[title]
    way = " > ".join(own_name(step) for step in (*path, title))
    if title in path:
        raise StackError(f"Recursion in the firmware: {way}.", "Write it as a loop.")
    if title not in graph.frames:
        granted = allowance(own_name(title))
        if granted is None:
            raise StackError(f"Nobody knows the stack use of {way}.", "Measure it and add it to stackbound.ALLOWANCES.")
        return granted
    frame = graph.frames[title]
    if frame is None:
        raise StackError(f"A frame without a bound in the firmware: {way}.", "No alloca and no variable-length arrays.")
    below = [_depth(graph, callee, (*path, title), known) for callee in sorted(graph.calls.get(title, ()))]
    known[title] = frame + max(below, default=0)
    return known[title]


def stack_bound(graph: Graph, exception_frame: int, entry: str = "Reset_Handler", handlers: str = "_IRQHandler") -> int:
    """Most bytes of stack that the image can ever use.

    Args:
        graph: all of the image's functions.
        exception_frame: bytes that the hardware pushes when an interrupt arrives.
        entry: where the image starts.
        handlers: how the names of interrupt handlers end.

    Raises:
        StackError: there is no bound, or no such entry.
    """
    if entry not in graph.frames:
        raise StackError(f"The image has no {entry}.", "Compile all of its files with -fcallgraph-info=su.")
    interrupts = [deepest(graph, title) for title in graph.frames if title.endswith(handlers)]
    return deepest(graph, entry) + max((depth + exception_frame for depth in interrupts), default=0)
