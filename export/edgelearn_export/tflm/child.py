"""Runs one file in TFLite Micro for the process that started this one: ``python -m edgelearn_export.tflm.child``.

Its interpreter ends the process on some files that it does not like, which is why it has a process of its own.
"""

from __future__ import annotations

import os
from typing import IO, Any

import numpy as np

from edgelearn_export.tflm.wire import Arrays, receive, send, text

ARENA_BYTES = 1 << 24  # here memory is no object; what a board needs, a board says


def main() -> None:
    """Answers until the other end closes its pipe. What TFLite Micro prints goes to stderr: stdout is the answers'."""
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        serve(asked, answers)
    except (RuntimeError, ValueError) as error:
        send(answers, {"error": text(str(error))})


def serve(asked: IO[bytes], answers: IO[bytes]) -> None:
    """First comes the file, then the inputs of each run, by their numbers."""
    from tflite_micro import runtime

    first = receive(asked)
    if first is None:
        return
    interpreter = runtime.Interpreter.from_bytes(first["model"].tobytes(), arena_size=ARENA_BYTES)
    outputs = int(first["outputs"])
    send(answers, {})
    while (inputs := receive(asked)) is not None:
        send(answers, _run(interpreter, inputs, outputs))


def _run(interpreter: Any, inputs: Arrays, outputs: int) -> dict[str, Any]:
    for name, value in inputs.items():
        interpreter.set_input(value, int(name))
    interpreter.invoke()
    return {str(i): np.array(interpreter.get_output(i)) for i in range(outputs)}


if __name__ == "__main__":
    main()
