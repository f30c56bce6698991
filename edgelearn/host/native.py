"""The C core on this computer, in this process: the fastest way to run a plan here, and bit for bit the board's arithmetic."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError
from edgelearn.paths import native

_POINTER, _U32 = ctypes.c_void_p, ctypes.c_uint32


class _Stats(ctypes.Structure):
    """``el_stats_t`` of firmware/include/edgelearn.h."""

    _fields_ = [(name, _U32) for name in ("state", "arena", "stack", "stack_size", "step", "samples", "busy_us")]


@cache
def library() -> ctypes.CDLL:
    """The C runtime, with the types of what Python calls."""
    lib = ctypes.CDLL(str(native("libelrt")))
    lib.el_host_context_bytes.restype = ctypes.c_size_t
    lib.el_open.argtypes = [_POINTER, _POINTER, _POINTER, ctypes.c_size_t, _POINTER, ctypes.c_size_t, _U32]
    lib.el_host_learn.argtypes = [_POINTER, _POINTER, _POINTER, _POINTER, _U32, _POINTER]
    lib.el_host_infer.argtypes = [_POINTER, _POINTER, _U32, _POINTER]
    lib.el_host_read_state.argtypes = lib.el_host_write_state.argtypes = [_POINTER, _POINTER]
    lib.el_host_read_state.restype = lib.el_host_write_state.restype = None
    lib.el_learn.argtypes = [_POINTER, ctypes.c_char_p, ctypes.c_uint16, _POINTER]
    lib.el_infer.argtypes = [_POINTER, ctypes.c_char_p, _POINTER]
    lib.el_step.argtypes = lib.el_seed.argtypes = [_POINTER]
    lib.el_step.restype = lib.el_seed.restype = _U32
    lib.el_stats.argtypes = [_POINTER, _POINTER]
    lib.el_save.argtypes = lib.el_load.argtypes = [_POINTER]
    lib.el_verify.argtypes = [_POINTER, _U32, ctypes.c_char_p]
    lib.el_host_link_bytes.restype = ctypes.c_size_t
    lib.el_link_init.argtypes = [_POINTER, _POINTER, _POINTER, _POINTER, _U32, _POINTER, _U32]
    lib.el_link_init.restype = None
    lib.el_link_poll.argtypes = [_POINTER]
    lib.el_link_poll.restype = _U32
    return lib


def _address(array: NDArray[Any]) -> int:
    return array.ctypes.data


class NativeCore:
    """One plan with its state.

    Args:
        plan: bytes of the plan backend.
        state_bytes, arena_bytes: what the plan needs.
        input_bytes: size of one encoded sample.
    """

    def __init__(self, plan: bytes, state_bytes: int, arena_bytes: int, seed: int = 0) -> None:
        self._lib = library()
        self._plan = np.frombuffer(plan, np.uint8).copy()
        self._pool = np.zeros(state_bytes + arena_bytes + 1024, np.uint8)
        self._context = np.zeros(self._lib.el_host_context_bytes(), np.uint8)
        self.state_bytes = state_bytes
        code = self._lib.el_open(
            _address(self._context), None, _address(self._plan), len(plan), _address(self._pool), len(self._pool), seed
        )
        self._check(code, "refused the plan")

    def learn(self, x: NDArray[Any], y: NDArray[Any], order: NDArray[Any]) -> NDArray[np.uint16]:
        """Learns x[order]; returns what the net said of each sample before it learnt it (65535: the rule does not say).

        Args:
            x: encoded samples (N, inputs). y: (N,) classes. order: (n,) indices.
        """
        x, y16, o32 = (
            np.ascontiguousarray(x),
            np.ascontiguousarray(y, np.uint16),
            np.ascontiguousarray(order, np.uint32),
        )
        if len(o32) and int(o32.max()) >= min(len(x), len(y16)):
            raise ConfigError("The order names samples that do not exist.", "Indices go from 0 to N - 1.")
        guesses = np.empty(len(o32), np.uint16)
        code = self._lib.el_host_learn(
            _address(self._context), _address(x), _address(y16), _address(o32), len(o32), _address(guesses)
        )
        self._check(code, "refused a sample")
        return guesses

    def infer(self, x: NDArray[Any]) -> NDArray[np.uint16]:
        """Classes of encoded samples (N, inputs)."""
        x = np.ascontiguousarray(x)
        labels = np.empty(len(x), np.uint16)
        self._check(
            self._lib.el_host_infer(_address(self._context), _address(x), len(x), _address(labels)), "refused a sample"
        )
        return labels

    def learn_one(self, x: bytes, label: int) -> int:
        """``learn`` for one encoded sample, with nothing around it."""
        guess = ctypes.c_uint16()
        code = self._lib.el_learn(_address(self._context), x, label, ctypes.byref(guess))
        self._check(code, "refused a sample")
        return guess.value

    def infer_one(self, x: bytes) -> int:
        """``infer`` for one encoded sample."""
        label = ctypes.c_uint16()
        self._check(self._lib.el_infer(_address(self._context), x, ctypes.byref(label)), "refused a sample")
        return label.value

    def read_state(self) -> bytes:
        """The raw state region, ``state_bytes`` long; ``edgelearn.state.decode`` reads it."""
        raw = np.empty(self.state_bytes, np.uint8)
        self._lib.el_host_read_state(_address(self._context), _address(raw))
        return raw.tobytes()

    def write_state(self, raw: bytes) -> None:
        """Replaces the state region.

        Raises:
            ConfigError: ``raw`` has another size.
        """
        if len(raw) != self.state_bytes:
            raise ConfigError(
                f"The state has {len(raw)} bytes instead of {self.state_bytes}.", "It belongs to another plan."
            )
        copy = np.frombuffer(raw, np.uint8).copy()
        self._lib.el_host_write_state(_address(self._context), _address(copy))

    def position(self) -> tuple[int, int]:
        """Step and seed of the state."""
        at = _address(self._context)
        return int(self._lib.el_step(at)), int(self._lib.el_seed(at))

    def touched(self) -> tuple[int, int]:
        """Bytes of state and arena that were ever written, found by scanning painted memory."""
        found = _Stats()
        self._check(self._lib.el_stats(_address(self._context), ctypes.byref(found)), "keeps no count")
        return found.state, found.arena

    def _check(self, code: int, what: str) -> None:
        if code:
            raise ConfigError(f"The C core {what} (code {code}).", "docs/plan.md lists the codes.")


def verify_plan(plan: bytes, board: str = "") -> int:
    """What the device's verifier says of these bytes: 0, or a negative EL_ERR_*."""
    raw = np.frombuffer(plan, np.uint8).copy() if plan else np.zeros(1, np.uint8)
    return int(library().el_verify(_address(raw), len(plan), board.encode() if board else None))
