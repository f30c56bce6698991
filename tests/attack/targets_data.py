"""Data sets and measurements, as files that somebody made to hurt."""

from __future__ import annotations

import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from tests.attack.mutate import mutated
from tests.attack.target import Target, archive, saved, seeded

# --- data -----------------------------------------------------------------------------------------------------------------------------


def _load(path: Path) -> object:
    from edgelearn.data import datasets

    return datasets.load(str(path))


def npz() -> Target:
    x, y = np.arange(40, dtype=np.float32).reshape(10, 4) / 40, np.arange(10) % 3
    good = [saved(x=x, y=y), saved(x_train=x, y_train=y, x_test=x[:5], y_test=y[:5])]
    return Target("data.npz", good[0], lambda random: archive(random.choice(good), random), _load)


def csv() -> Target:
    lines = b"a,b,label\n" + b"".join(b"%d,0.5,%d\n" % (i, i % 3) for i in range(20))
    return seeded("data.csv", [lines, lines.partition(b"\n")[2]], _load)


def idx() -> Target:
    from edgelearn.data import files

    image = struct.pack(">4B3I", 0, 0, 8, 3, 4, 2, 2) + bytes(range(16))
    return seeded("images-idx3-ubyte", [image], lambda path: files.read_idx(path, 3))


def idx_gz() -> Target:
    from edgelearn.data import files

    image = struct.pack(">4B3I", 0, 0, 8, 3, 4, 2, 2) + bytes(range(16))

    def make(random: Random) -> bytes:
        if random.random() < 0.5:
            return mutated([gzip.compress(image, mtime=0)], random)
        return gzip.compress(mutated([image], random), mtime=0)

    return Target("images-idx3-ubyte.gz", gzip.compress(image), make, lambda path: files.read_idx(path, 3))


def cifar() -> Target:
    from edgelearn.data import files

    return seeded("data_batch_1.bin", [bytes(3073 * 2)], files.read_cifar)


def jpeg() -> Target:
    from edgelearn.data import jpeg as reader
    from tests.attack.good import jpeg_archive

    good = jpeg_archive()

    def make(random: Random) -> bytes:
        return (
            lzma.compress(mutated([good], random)) if random.random() < 0.8 else mutated([lzma.compress(good)], random)
        )

    return Target("cifar10-jpeg.tar.xz", lzma.compress(good), make, lambda path: reader.read(path, (32, 32, 3)))


# --- measurements -----------------------------------------------------------------------------------------------------------------------


def meter() -> Target:
    from edgelearn.energy import external

    good = b"time(s),power(W)\n" + b"".join(b"%d.5,%d.25\n" % (1_700_000_000 + i, i % 4) for i in range(30))
    other = b"Timestamp(ms),Current(uA),D0\n" + b"".join(b"%d,%d,%d\n" % (i, 100 + i, i > 5) for i in range(30))

    def read(path: Path) -> object:
        first = path.read_bytes()[:4000]
        return external.read(external.Options(path, 3.0, "D0" if b"D0" in first else ""))

    return seeded("meter.csv", [good, other], read)


def bench() -> Target:
    from edgelearn.bench import table

    folder = Path(__file__).parents[2] / "docs" / "benchmarks"
    good = [path.read_bytes() for path in sorted(folder.glob("digits-*-int8.json"))[:2]]
    return seeded("bench.json", good, lambda path: table.markdown(*table.read(path)))


def counts() -> Target:
    from edgelearn.bench import counts as reader

    good = (Path(__file__).parents[2] / "docs" / "benchmarks").glob("instructions*.json")
    return seeded("counts.json", [min(good).read_bytes()], reader.read)


def profile() -> Target:
    """Of a run that is reported."""
    from edgelearn import report
    from edgelearn.runs import RunStore
    from tests.attack.good import profiled, stored

    def read(path: Path) -> object:
        with RunStore(path.with_name("runs.sqlite")) as runs:
            run = runs.list()[0].id
            return report.report([run], path.with_name("report.html"), runs, stored_only=True, profile=path)

    found = seeded("profile.json", [profiled()], read)
    return Target(found.file, found.good, found.make, found.read, (("runs.sqlite", stored()),))


TARGETS: dict[str, Callable[[], Target]] = {
    "npz": npz, "csv": csv, "idx": idx, "idx-gz": idx_gz, "cifar": cifar, "jpeg": jpeg, "meter": meter, "bench": bench,
    "counts": counts, "profile": profile,
}  # fmt: skip
