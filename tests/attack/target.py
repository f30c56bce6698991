"""What a kind of file is to the attacks: good ones, hostile ones, and what reads them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.attack.mutate import mutated

Make = Callable[[Random], bytes]
Read = Callable[[Path], object]


@dataclass(frozen=True)
class Target:
    """``make`` gives the bytes of a hostile file, which ``read`` gets under the name ``file``; ``others`` are good files beside it.

    ``good`` is a file that nothing is wrong with.
    """

    file: str
    good: bytes
    make: Make
    read: Read
    others: tuple[tuple[str, bytes], ...] = ()


def seeded(file: str, seeds: Iterable[bytes], read: Read, finish: Callable[[bytes], bytes] = bytes) -> Target:
    """Mutants of good files; ``finish`` puts right what would be noticed at once, such as a checksum."""
    good = tuple(seeds)
    return Target(file, good[0], lambda random: finish(mutated(good, random)), read)


def saved(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def archive(raw: bytes, random: Random) -> bytes:
    """Half of them damaged as archives, half with a damaged file in a good archive."""
    if random.random() < 0.5:
        return mutated([raw], random)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(made, "w") as new:
        hit = random.choice(old.namelist())
        for name in old.namelist():
            new.writestr(name, mutated([old.read(name)], random) if name == hit else old.read(name))
    return made.getvalue()
