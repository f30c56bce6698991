"""LiteRT writes news to the process's stderr that no option turns off: what is no warning is left out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2
NEWS = b"INFO:"


@contextmanager
def quiet() -> Iterator[None]:
    """Lines of news that are written meanwhile are dropped; all others come out afterwards."""
    kept = os.dup(STDERR)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
            said.seek(0)
            for line in said:
                if not line.startswith(NEWS):
                    os.write(STDERR, line)
