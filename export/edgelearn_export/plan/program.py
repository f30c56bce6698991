"""Exported C as a program for this computer that infers and learns what it is sent: driver.c beside it."""

from __future__ import annotations

import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.resources import files as packaged
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError, EdgeLearnError
from edgelearn.ir.core import Module
from edgelearn_export.plan import ccompile

BATCH = 1024  # samples a request: the answers must fit a pipe, for nobody reads them before all is sent
WAIT_S = 5.0


class Program:
    """A compiled net, started. It ends when nobody refers to it any more."""

    def __init__(
        self, files: Mapping[str, bytes], includes: Sequence[str], defines: Mapping[str, str], module: Module
    ) -> None:
        """Compiles and starts it.

        Args:
            files: C and headers by path. includes: folders among them.
            defines: what driver.c is told, without ``DRIVER_``.

        Raises:
            MissingToolError: there is no compiler. EdgeLearnError: it does not compile.
        """
        self._state_bytes = module.integer("state_bytes")
        x = dict(module.entry("infer").params)["%x"]
        self._dtype, self._inputs = np.dtype(np.float32 if x.exp is None else np.int8), x.size
        told = {**defines, "SAMPLE_BYTES": str(self._inputs * self._dtype.itemsize)}
        text = "".join(f"#define DRIVER_{name} {value}\n" for name, value in told.items()) + _driver(told["NET"])
        scratch = tempfile.TemporaryDirectory(prefix="edgelearn-")
        program = _build({**files, "driver.c": text.encode()}, includes, Path(scratch.name))
        self._child = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1)
        weakref.finalize(self, _end, self._child, scratch)

    def infer(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any] | None]:
        rows = self._rows(x)
        parts = [self._request(b"i", rows[i : i + BATCH]) for i in range(0, len(rows), BATCH)]
        return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64), None

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        rows, labels = self._rows(x), np.ascontiguousarray(y, np.uint16).reshape(-1, 1).view(np.uint8)
        both = np.concatenate([rows, labels], axis=1)
        for i in range(0, len(both), BATCH):
            self._request(b"l", both[i : i + BATCH])

    def state(self) -> bytes:
        return self._ask(b"s", self._state_bytes)

    def _rows(self, x: NDArray[Any]) -> NDArray[np.uint8]:
        """Samples as rows of bytes."""
        rows = np.ascontiguousarray(x, self._dtype)
        if rows.ndim != 2 or rows.shape[1] != self._inputs:
            raise ConfigError(f"Samples of shape {rows.shape[1:]} are given.", f"This net takes {self._inputs} values.")
        return rows.view(np.uint8).reshape(len(rows), -1)

    def _request(self, code: bytes, rows: NDArray[np.uint8]) -> NDArray[np.uint16]:
        sent = code + np.uint32(len(rows)).tobytes() + rows.tobytes()
        return np.frombuffer(self._ask(sent, 2 * len(rows)), np.uint16)

    def _ask(self, sent: bytes, wanted: int) -> bytes:
        assert self._child.stdin and self._child.stdout
        try:
            self._child.stdin.write(sent)
            self._child.stdin.flush()
        except OSError:
            raise self._failed() from None
        answer = self._child.stdout.read(wanted)
        if len(answer) != wanted:
            raise self._failed()
        return answer

    def _failed(self) -> EdgeLearnError:
        code = self._child.wait(WAIT_S)
        return ConfigError(f"The exported C ended with code {-code}.", "docs/plan.md lists the codes. Export it anew.")


def _driver(net: str) -> str:
    text = packaged("edgelearn_export.plan").joinpath("driver.c").read_text()
    return text.replace("#include DRIVER_NET", f"#include {net}")  # the compiler's cache looks for names of headers


def _build(files: Mapping[str, bytes], includes: Sequence[str], folder: Path) -> Path:
    compiler = ccompile.host()
    objects = compiler.compile(files, includes, folder)
    return compiler.link(objects, ("-lm",), folder / "net")


def _end(child: subprocess.Popen[bytes], scratch: tempfile.TemporaryDirectory[str]) -> None:
    for pipe in (child.stdin, child.stdout):
        with suppress(OSError):  # what it was not sent any more
            assert pipe
            pipe.close()
    try:
        child.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    scratch.cleanup()
