"""Kernels of feature maps on emulated boards: another compiler and other instructions, the same bytes."""

from __future__ import annotations

import pytest

from edgelearn import state
from edgelearn.ir.core import Module
from edgelearn.ir.interp import HALVE_EVERY, Interpreter
from edgelearn.passes.memory import plan_memory
from edgelearn.session import Session
from edgelearn_export.plan import encode
from tests.conformance.maps import Maps
from tests.conformance.test_maps import FAMILIES

FIRST, STEPS = HALVE_EVERY - 2, 3  # weights are halved on the way
EACH = 4  # modules of every family and storage
POOL = 5000  # bytes that every board has for plan, state and arena


def small_modules() -> list[tuple[Maps, Module]]:
    """Modules that fit any board. Every narrowed value changes the state, which is what a board shows."""
    found = []
    for family in FAMILIES:
        for numbers in ("int8", "int16 weights"):
            fitting = []
            for seed in range(100, 200):
                m = FAMILIES[family](seed, numbers)
                m.feed()
                module = plan_memory(m.module())
                need = module.integer("state_bytes") + module.integer("arena_bytes") + len(encode(module))
                if need <= POOL and len(fitting) < EACH:
                    fitting.append((m, module))
            assert len(fitting) == EACH
            found += fitting
    return found


def interpreted(m: Maps, module: Module) -> tuple[Interpreter, list[bytes]]:
    """The interpreter after STEPS samples, and the samples."""
    twin, samples = Interpreter(module, 3, FIRST), [m.sample() for _ in range(STEPS)]
    for x in samples:
        twin.learn(x, 0)
    return twin, [x.tobytes() for x in samples]


@pytest.mark.parametrize(
    ("board", "port"),
    [
        pytest.param("sim", "sim", id="sim"),
        pytest.param("microbit", "qemu", id="microbit", marks=[pytest.mark.qemu, pytest.mark.slow]),
        pytest.param("mps2-an386", "qemu", id="mps2-an386", marks=[pytest.mark.qemu, pytest.mark.slow]),
    ],
)
def test_a_board_computes_maps_as_the_interpreter_does(board: str, port: str) -> None:
    with Session(board, port) as session:
        client = session.client
        for m, module in small_modules():
            first = state.encode(Interpreter(module, 3, FIRST))
            twin, samples = interpreted(m, module)
            client.send_plan(encode(module))
            client.init(3)
            client.write_state(first)
            client.learn(
                lambda step, xs=samples: (xs[step - FIRST], 0), FIRST, FIRST + STEPS, lambda step, guesses: None
            )
            assert client.read_state(len(first)) == state.encode(twin)
