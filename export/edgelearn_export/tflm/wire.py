"""Arrays through a pipe, between the runner and the process that holds TFLite Micro's interpreter."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

LENGTH = struct.Struct("<I")
Arrays = Mapping[str, NDArray[Any]]


def send(pipe: IO[bytes], arrays: Arrays) -> None:
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    pipe.write(LENGTH.pack(len(out.getvalue())) + out.getvalue())
    pipe.flush()


def receive(pipe: IO[bytes]) -> dict[str, NDArray[Any]] | None:
    """None at the end of the pipe."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    body = pipe.read(LENGTH.unpack(head)[0])
    with np.load(io.BytesIO(body), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def text(words: str) -> NDArray[Any]:
    return np.frombuffer(words.encode(), np.uint8)


def words(array: NDArray[Any]) -> str:
    return array.tobytes().decode()
