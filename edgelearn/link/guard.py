"""Runs a program that must not outlive its parent: ``python guard.py PROGRAM ARGS...``.

The parent holds a pipe to our standard input. When it closes, for whatever reason (even kill -9), the program is
killed.
Needs nothing but the standard library, so that it starts fast (python -I -S).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading


def _kill_at_end_of_input(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        continue
    child.kill()


def main(command: list[str]) -> int:
    """Runs ``command`` until it ends or our input does; returns its exit status (127: it does not exist)."""
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return 127
    threading.Thread(target=_kill_at_end_of_input, args=(child,), daemon=True).start()
    return child.wait() & 0xFF


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # without waiting for the thread that sits in read
