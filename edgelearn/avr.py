"""What only the disassembly of an AVR image tells: how deep its stack can get, and whether QEMU can run it where it lies.

Debian's avr-gcc is too old for call graphs, so the bound is read from the code. And QEMU 7.2 hangs if an interrupt comes between an
instruction that skips and the one that it may skip, where a page of 256 bytes ends between the two: such code must lie elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from edgelearn.errors import EdgeLearnError
from edgelearn.stackbound import HAL, KERNELS, Graph, deepest

PREFIX = "avr-"
SHORT = 131_072  # bytes of flash that an address of two bytes, in words, reaches
PAGE = 256
PADS = range(0, PAGE, 2)
SKIPS = ("sbrs", "sbrc", "sbis", "sbic", "cpse")
# Who may call what through a pointer, as stackbound.INDIRECT_TARGETS says of files; anybody else calls the board.
RUNS_KERNELS = ("run_ops", "el_infer_staged", "el_learn_staged")
CHECKS_SHAPES = ("check_op", "check_records", "el_verify")

_SIZES = re.compile(r"__(stack|\w+_REGION_)\w*")  # symbols that are numbers, which the disassembler takes for addresses
_FUNCTION = re.compile(r"^[0-9a-f]+ <([^>]+)>:")
_INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\t[0-9a-f ]+\t(\w+)\t?([^;\t]*)(?:.*<([^>+]+)(?:\+0x[0-9a-f]+)?>)?")


@dataclass(frozen=True)
class _Instruction:
    function: str
    address: int
    name: str
    operands: str
    target: str  # the function that it names, ""


def _instructions(listing: str) -> Iterator[_Instruction]:
    """Of what ``avr-objdump -d`` prints."""
    function = ""
    for line in listing.splitlines():
        if heading := _FUNCTION.match(line):
            function = function if _SIZES.match(heading[1]) else heading[1]
        elif found := _INSTRUCTION.match(line):
            address, name, operands, target = found.groups()
            yield _Instruction(function, int(address, 16), name, operands.strip(), _known(target))


def _known(target: str | None) -> str:
    return "" if target is None or _SIZES.match(target) else target


def pad_for_emulator(listing: str) -> int:
    """Bytes to put before the code, so that no instruction that skips ends a page.

    Raises:
        EdgeLearnError: there is no such number: a miracle.
    """
    ends = {(i.address + 2) % PAGE for i in _instructions(listing) if i.name in SKIPS}
    for pad in PADS:
        if (PAGE - pad) % PAGE not in ends:
            return pad
    raise EdgeLearnError("QEMU cannot run this image wherever it lies.", "Please report it, with the recipe.")


def stack_bound(listing: str, long_calls: bool) -> int:
    """Most bytes of stack that an image can use: the deepest way from ``main``, and the deepest interrupt on top of it.

    Args:
        long_calls: does a call push three bytes, as on chips with more than 128 KB of flash?

    Raises:
        StackError: recursion.
    """
    graph = _graph(listing, 3 if long_calls else 2)
    return deepest(graph, "main") + max((deepest(graph, v) for v in graph.named("__vector_")), default=0)


def _graph(listing: str, pushed: int) -> Graph:
    graph, framed = Graph(), set[str]()
    for i in _instructions(listing):
        graph.frames.setdefault(i.function, pushed)
        calls = graph.calls.setdefault(i.function, set())
        if i.name in ("icall", "eicall"):
            calls.add(_through_pointer(i.function))
        elif i.name in ("call", "rcall", "jmp", "rjmp") and i.target not in ("", i.function):
            calls.add(i.target)
        else:
            graph.frames[i.function] = (graph.frames[i.function] or 0) + _taken(i, pushed, framed)
    for caller, calls in graph.calls.items():
        prefixes = [name.removeprefix("*") for name in calls if name.startswith("*")]
        calls -= {f"*{prefix}" for prefix in prefixes}
        calls |= {title for prefix in prefixes for title in graph.named(prefix)} - {caller}
        calls &= graph.frames.keys()
    return graph


def _through_pointer(caller: str) -> str:
    own = caller.partition(".")[0]  # of a clone: run_ops.constprop.1
    return "*" + (KERNELS if own in RUNS_KERNELS else "el_check_" if own in CHECKS_SHAPES else HAL)


def _taken(i: _Instruction, pushed: int, framed: set[str]) -> int:
    """Bytes that an instruction takes of the stack: a push, or the frame that a function makes once, below r29:r28."""
    if i.name == "push":
        return 1
    if i.name == "rcall":  # to the next instruction: makes room
        return pushed
    register, _, amount = i.operands.partition(", ")
    if i.name in ("sbiw", "subi") and register == "r28" and i.function not in framed:
        framed.add(i.function)
        return int(amount, 16)
    if i.name == "sbci" and register == "r29" and i.function in framed and f"{i.function}+" not in framed:
        framed.add(f"{i.function}+")
        return int(amount, 16) * PAGE if int(amount, 16) < 8 else 0  # else it is undone: minus the frame
    return 0
