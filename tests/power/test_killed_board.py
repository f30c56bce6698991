"""A board that is killed while it saves: whatever it was doing, the next life loads the state before or the new one, whole.

The simulated board keeps its flash in a file and dies by SIGKILL. The emulated micro:bit has the nRF51's flash controller, with its rules;
QEMU keeps that flash in memory, so it is stopped at some instruction, the flash is taken out, and QEMU is killed and started from it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgelearn import boards, images
from edgelearn.errors import LinkLostError
from edgelearn.job import Job, prepare
from edgelearn.link import messages
from edgelearn.link.children import QemuTransport, SimTransport
from edgelearn.link.client import Client
from edgelearn.link.frame import encode
from edgelearn.paths import native

KILLS = {"sim": 25, "microbit": 8}
STEPS = 5  # learnt in each life
FLASH = 0x40000  # bytes of the micro:bit's
SAVE = encode(messages.pack("save", 200))


def learn(client: Client, job: Job, first: int) -> bytes:
    client.learn(
        lambda step: (job.x_train[step].tobytes(), int(job.data.y_train[step])), first, first + STEPS, lambda *_: None
    )
    return client.read_state(job.state_bytes)


def begin(client: Client, job: Job, known: list[bytes]) -> int:
    """The first steps of a life; what is loaded must be one of ``known``, the step of which is the answer."""
    client.send_plan(job.plan)
    if not known:
        client.init(3)
        return 0
    step = client.load()
    assert client.read_state(job.state_bytes) in known
    return step


@contextmanager
def simulated(flash: Path) -> Iterator[tuple[Client, SimTransport]]:
    transport = SimTransport(native("el-sim"), ["--nv", str(flash)])
    client = Client(transport)
    try:
        client.connect()
        yield client, transport
    finally:
        with contextlib.suppress(LinkLostError):
            client.close()


def test_a_simulated_board_that_is_killed_while_it_saves(tmp_path: Path) -> None:
    job, draw, known = prepare("digits", "sim"), random.Random(1), list[bytes]()
    ends = {"old": 0, "new": 0}
    for life in range(KILLS["sim"]):
        with simulated(tmp_path / "flash") as (client, transport):
            step = begin(client, job, known)
            if life:
                ends["new" if client.read_state(job.state_bytes) == known[-1] else "old"] += 1
            known = [client.read_state(job.state_bytes)] if life else []
            known.append(learn(client, job, step))
            if not life:
                assert client.save() == STEPS
                known.append(learn(client, job, STEPS))
            transport.write(SAVE)
            time.sleep(draw.random() * 2e-3)
            os.killpg(transport.pid, signal.SIGKILL)
    print(f"\nsim: {KILLS['sim'] - 1} kills, {ends}")  # noqa: T201
    assert sum(ends.values()) == KILLS["sim"] - 1


class Qmp:
    """QEMU's monitor."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r")
        self._lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: object) -> None:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while "return" not in (answer := json.loads(self._lines.readline())):
            assert "error" not in answer, answer


@contextmanager
def emulated(kernel: Path, folder: Path) -> Iterator[tuple[Client, QemuTransport, Qmp]]:
    monitor = folder / "qmp"
    monitor.unlink(missing_ok=True)
    command = [*boards.load("microbit").qemu_command(kernel), "-qmp", f"unix:{monitor},server=on,wait=off"]
    transport = QemuTransport(command)
    client = Client(transport)
    try:
        client.connect("microbit")
        yield client, transport, Qmp(monitor)
    finally:
        with contextlib.suppress(LinkLostError):
            client.close()


@pytest.mark.slow
@pytest.mark.qemu
def test_an_emulated_board_that_is_stopped_while_it_saves(tmp_path: Path) -> None:
    job, draw, known = prepare("digits-tiny", "microbit"), random.Random(2), list[bytes]()
    kernel, ends = images.build(boards.load("microbit")).path, {"old": 0, "new": 0}
    for life in range(KILLS["microbit"]):
        with emulated(kernel, tmp_path) as (client, transport, qmp):
            step = begin(client, job, known)
            now = client.read_state(job.state_bytes)
            if life:
                ends["new" if now == known[-1] else "old"] += 1
            known = [now, learn(client, job, step)] if life else [learn(client, job, step)]
            if not life:
                assert client.save() == STEPS
                known.append(learn(client, job, STEPS))
            transport.write(SAVE)
            time.sleep(draw.random() * 20e-3)
            qmp.ask("stop")
            kernel = tmp_path / f"flash{life}"
            qmp.ask("memsave", val=0, size=FLASH, filename=str(kernel))
            os.killpg(transport.pid, signal.SIGKILL)
    print(f"\nmicrobit: {KILLS['microbit'] - 1} kills, {ends}")  # noqa: T201
    assert sum(ends.values()) == KILLS["microbit"] - 1
