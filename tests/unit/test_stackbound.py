"""The stack's bound, from call graphs written by hand."""

from __future__ import annotations

import pytest

from edgelearn import stackbound
from edgelearn.stackbound import StackError


def unit(name: str, *lines: str) -> str:
    return "\n".join([f'graph: {{ title: "/src/{name}"', *lines, "}"])


def node(title: str, size: int, kind: str = "static") -> str:
    return f'node: {{ title: "{title}" label: "{title}\\n/src/x.c:1:1\\n{size} bytes ({kind})" }}'


def edge(caller: str, callee: str) -> str:
    return f'edge: {{ sourcename: "{caller}" targetname: "{callee}" label: "/src/x.c:2:2" }}'


def bound(*units: str, frame: int = 36) -> int:
    return stackbound.stack_bound(stackbound.read(units), frame)


RESET = unit("reset.c", node("Reset_Handler", 8), edge("Reset_Handler", "main"))


def test_the_deepest_way_counts() -> None:
    main = unit("main.c", node("main", 16), node("a", 100), node("b", 40), node("c", 80))
    calls = unit("more.c", edge("main", "a"), edge("main", "b"), edge("b", "c"))
    assert bound(RESET, main, calls) == 8 + 16 + 40 + 80


def test_the_deepest_interrupt_and_its_frame_are_added_once() -> None:
    handlers = unit("irq.c", node("A_IRQHandler", 8), node("B_IRQHandler", 16), node("f", 4), edge("A_IRQHandler", "f"))
    assert bound(RESET, unit("main.c", node("main", 0)), handlers, frame=108) == 8 + 16 + 108


def test_library_functions_get_an_allowance() -> None:
    assert bound(RESET, unit("main.c", node("main", 0), edge("main", "memcpy"))) == 8 + 64
    assert bound(RESET, unit("main.c", node("main", 0), edge("main", "__aeabi_ldivmod"))) == 8 + 128


def test_only_step_c_calls_kernels_through_a_pointer() -> None:
    targets = unit("k.c", node("el_k_dot", 200), node("/src/port.c:hal_tx", 30), node("bystander", 999))
    step = unit("step.c", node("main", 0), edge("main", "__indirect_call"))
    other = unit("frame.c", node("main", 0), edge("main", "__indirect_call"))
    assert bound(RESET, step, targets) == 8 + 200
    assert bound(RESET, other, targets) == 8 + 30


def test_bounded_dynamic_frames_are_fine_and_others_are_not() -> None:
    assert bound(RESET, unit("main.c", node("main", 24, "dynamic,bounded"))) == 32
    with pytest.raises(StackError, match="Reset_Handler > main"):
        bound(RESET, unit("main.c", node("main", 24, "dynamic")))


def test_recursion_is_an_error_that_shows_the_circle() -> None:
    main = unit("main.c", node("main", 8), node("f", 8), edge("main", "f"), edge("f", "f"))
    with pytest.raises(StackError, match=r"Recursion.*main > f > f"):
        bound(RESET, main)


@pytest.mark.parametrize("callee", ["printf", "__aeabi_dmul", "malloc"])
def test_an_unknown_function_is_an_error(callee: str) -> None:
    with pytest.raises(StackError, match=f"main > {callee}"):
        bound(RESET, unit("main.c", node("main", 8), edge("main", callee)))


def test_what_is_never_called_is_not_looked_at() -> None:
    assert bound(RESET, unit("main.c", node("main", 8), node("dead", 8), edge("dead", "printf"))) == 16


def test_static_functions_of_one_name_are_apart() -> None:
    one = unit("a.c", node("main", 0), node("/src/a.c:f", 8), edge("main", "/src/a.c:f"))
    assert bound(RESET, one, unit("b.c", node("/src/b.c:f", 500))) == 16


def test_no_entry_and_no_graph() -> None:
    with pytest.raises(StackError, match="no Reset_Handler"):
        bound(unit("main.c", node("main", 8)))
    with pytest.raises(StackError, match="no heading"):
        bound("not a graph")


def test_the_boot_rom_has_an_allowance_of_its_own() -> None:
    """What is called through a pointer in bootrom.c is in the chip: none of our functions."""
    flash = unit("bootrom.c", node("main", 8), edge("main", "__indirect_call"), node("hal_rx", 1000))
    assert bound(RESET, flash) == 8 + 8 + 256
