"""The line on which time is computed: what it counts is right, the protocol keeps it busy, and the board learns what it should."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from edgelearn.bench import link, link_costs, link_page
from edgelearn.bench.link_board import BITS, Line, VirtualBoard
from edgelearn.compiler import Compiled
from edgelearn.errors import EdgeLearnError
from edgelearn.link.client import Client
from edgelearn.link.frame import encode as encode_frame
from edgelearn.link.messages import pack
from edgelearn_export.plan import encode
from tests.cli.documents import ROOT, text
from tests.factory import X, Y, compiled, native

N = 60
FAST = 115_200
FIGURES = ROOT / "docs/benchmarks/link.json"


def line(step: float = 1e-3, baud: int = FAST, ring: int = 512, frame: int = 128, latency: float = 0.0) -> Line:
    return Line(baud, ring, frame, step, latency=latency)


def shares(there: Line, net: Compiled | None = None, n: int = N) -> link.Shares:
    net = net or compiled(layers=(32,))
    return link.stream("sim", there, encode(net.module), net, net.encode(X), Y, n)


def test_the_board_learns_what_any_other_learns() -> None:
    net = compiled(layers=(32,))
    there = VirtualBoard("sim", line(), 65_536)
    x = net.encode(X)
    with Client(there, worst_step_s=1.0, clock=there.clock) as client:
        client.connect("sim")
        assert (client.hello.max_frame, client.hello.rx_buffer) == (128, 512)
        client.send_plan(encode(net.module))
        client.init(3)
        client.learn(lambda step: (x[step].tobytes(), int(Y[step])), 0, N, lambda step, guesses: None)
        state = client.read_state(net.module.integer("state_bytes"))
        stats = client.stats()
        sent = client.bytes_tx
    twin = native(net, 3)
    twin.learn(x, Y, np.arange(N))
    assert state == twin.read_state()
    assert (stats.samples, stats.overruns, stats.bad_frames) == (N, 0, 0)
    assert stats.busy_us == pytest.approx(N * 1000, abs=N)
    assert there.sent == pytest.approx(sent * BITS / FAST)
    assert there.computing == pytest.approx(N * 1e-3)


@pytest.mark.parametrize("baud", [115_200, 921_600])
@pytest.mark.parametrize("latency", [0.0, 1e-3])
def test_a_board_that_waits_keeps_the_wire_busy(baud: int, latency: float) -> None:
    """Its step takes 40 % of a sample's time on the wire."""
    found = shares(line(0.4 * 83 * BITS / baud, baud, latency=latency), n=200)
    assert found.wire >= 0.90
    assert found.steps + found.link < 0.5
    assert (found.retries, found.overruns) == (0, 0)


def test_a_board_that_computes_longer_than_it_waits_leaves_the_wire_idle() -> None:
    sample = 83 * BITS / FAST
    found = shares(line(3 * sample))
    assert found.wire < 0.4
    assert found.steps > 0.8
    assert (found.retries, found.overruns) == (0, 0)
    assert found.samples_per_s < 1 / (3 * sample)


def test_a_large_sample_in_small_frames_does_not_stop_the_wire() -> None:
    """784 bytes, in parts of which only the last is answered."""
    rng = np.random.default_rng(0)
    x, y = rng.random((50, 784)).astype(np.float32), rng.integers(0, 10, 50)
    from edgelearn.compiler import Net, compile_net
    from edgelearn.passes.quantize import Calibration
    from edgelearn.rules import find

    net = compile_net(find("mono-forward"), Net(784, (16,), 10), Calibration(x, y), "int8")
    there = line(5e-3, ring=2048, frame=371)
    found = link.stream("sim", there, encode(net.module), net, net.encode(x), y, 40)
    assert found.wire >= 0.95


def test_bytes_that_find_no_room_are_lost_and_counted() -> None:
    """What comes while a step is computed, beyond the ring."""
    net = compiled(layers=(32,))
    there = VirtualBoard("sim", line(step=1.0, ring=64), 65_536)
    client = Client(there, worst_step_s=2.0, clock=there.clock)
    client.connect("sim")
    client.send_plan(encode(net.module))
    client.init(3)
    sample = encode_frame(pack("sample", 1, net.encode(X)[0].tobytes(), step=0, off=0, label=1))
    there.write(sample + bytes(200))
    there.read(3.0)
    assert client.stats().samples == 1
    assert there.overruns == 200 - 64


def test_time_passes_while_nothing_comes() -> None:
    there = VirtualBoard("sim", line(), 65_536)
    assert there.read(2.5) == b""
    assert there.clock() == 2.5


def test_a_board_that_never_answers_is_given_up_in_its_own_time() -> None:
    there = VirtualBoard("sim", line(), 65_536)
    there.close = partial(there.reset_input)
    there.write = lambda data: None
    client = Client(there, clock=there.clock)
    with pytest.raises(EdgeLearnError, match="has not answered"):
        client.connect("sim")
    assert 5 <= there.clock() < 10


@pytest.mark.qemu
@pytest.mark.slow
def test_a_byte_costs_what_it_did() -> None:
    from edgelearn import boards

    costs = link_costs.count(boards.load("mps2-an386"))
    assert 30 < costs.byte_in < 120
    assert 20 < costs.byte_out < 80


def test_the_page_has_what_was_to_be_reached() -> None:
    rows = json.loads(FIGURES.read_text())["rows"]
    waiting = [row for row in rows if row["waits"]]
    assert {row["net"] for row in waiting} == {"64-32-10", "784-100-50-10"}
    assert {row["baud"] for row in waiting} == {115_200, 921_600}
    assert min(row["wire"] for row in waiting) >= 0.90


def test_the_table_of_the_page_is_that_of_the_figures() -> None:
    page = text("docs/link.md")
    assert link_page.filled(page, json.loads(FIGURES.read_text())["rows"]) == page, (
        "python -m edgelearn.bench.link_page"
    )
