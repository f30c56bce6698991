"""The firmware's link compiled for this machine around a fake core, and the few bytes of host that a test needs."""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from cobs import cobs

from edgelearn.link import messages
from edgelearn.link.messages import Message

HERE = Path(__file__).resolve().parent
FIRMWARE = HERE.parents[1] / "firmware"
STAND_INS: dict[Path, Path] = {}  # what is compiled or linked in place of a source: tests/fuzz/mutation.py
LINK = [FIRMWARE / "core/frame.c", FIRMWARE / "core/proto.c", HERE / "fake_core.c"]


def compile_host(out: Path, sources: list[Path], *flags: str) -> Path:
    """Compiles C sources for this machine into ``out``, warnings being errors; skips where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    includes = [f"-I{FIRMWARE / folder}" for folder in ("include", "hal", "core", "gen")]
    options = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", *flags]
    files = [str(STAND_INS.get(file, file)) for file in sources]
    subprocess.run([compiler, *options, *includes, *files, "-o", str(out), "-lpthread"], check=True)
    return out


def encode(frame: bytes) -> bytes:
    """A frame as it stands on the line."""
    return cobs.encode(frame + struct.pack("<I", zlib.crc32(frame))) + b"\0"


def decode(raw: bytes) -> Message:
    """The message of one frame of the line, without its ending zero."""
    frame = cobs.decode(raw)
    assert struct.unpack("<I", frame[-4:])[0] == zlib.crc32(frame[:-4])
    message = messages.unpack(frame[:-4])
    assert message is not None
    return message


def fake_plan(inputs: int = 16, state: int = 32, arena: int = 24, classes: int = 10) -> bytes:
    """A plan for fake_core.c."""
    plan = b"FAKE" + struct.pack("<IIII", inputs, state, arena, classes)
    return plan + struct.pack("<I", zlib.crc32(plan))


class Board:
    """A board in this process; ``send`` returns its answers."""

    def __init__(self, library: Path, fixed_plan: bytes | None = None) -> None:
        self._library = ctypes.CDLL(str(library))
        self._out = (ctypes.c_uint8 * 65536)()
        self._plan = fixed_plan  # the board keeps a pointer to it
        self._library.fake_start(fixed_plan, len(fixed_plan or b""))

    def send(self, stream: bytes) -> list[Message]:
        n = self._library.fake_talk(stream, len(stream), self._out)
        *frames, rest = bytes(self._out[:n]).split(b"\0")
        assert rest == b""
        return [decode(frame) for frame in frames]

    def ask(self, name: str, data: bytes = b"", /, seq: int = 7, **fields: int) -> Message:
        """The one answer to one request."""
        (reply,) = self.send(encode(messages.pack(name, seq, data, (), **fields)))
        assert reply.seq == seq
        return reply

    def deploy(self, plan: bytes, seed: int = 5) -> None:
        """Plan and first state, over the link."""
        self.ask("plan_begin", size=len(plan), hash=struct.unpack("<I", plan[-4:])[0])
        self.ask("plan_data", plan, off=0)
        assert self.ask("plan_end")["code"] == 0
        assert self.ask("init", seed=seed)["code"] == 0
