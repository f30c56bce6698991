"""``el_hal`` of firmware/hal/el_hal.h, for boards that are made in Python."""

from __future__ import annotations

import ctypes

BOARD_BYTES = 16  # of a board's name

Rx = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
Tx = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
Number = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)
StackUsed = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p)
NvAt = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)
NvBytes = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32)


class Hal(ctypes.Structure):
    """A function that is left out is NULL: a thing that the board cannot do."""

    _fields_ = (
        ("ctx", ctypes.c_void_p), ("board", ctypes.c_char * BOARD_BYTES), ("chip", ctypes.c_uint8 * 8),
        ("rx_buffer", ctypes.c_uint16), ("rx", Rx), ("tx", Tx), ("overruns", Number), ("now_us", Number),
        ("stack_used", StackUsed), ("nv_bytes", ctypes.c_uint32), ("nv_page", ctypes.c_uint32),
        ("nv_read", NvBytes), ("nv_erase", NvAt), ("nv_prog", NvBytes), ("power", ctypes.c_void_p),
    )  # fmt: skip
