"""Every kind of file that edgelearn reads, by name; here the nets and its own, in ``targets_data`` the rest."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from tests.attack import targets_data
from tests.attack.mutate import mutated
from tests.attack.target import Target, archive, saved, seeded

# --- nets ---------------------------------------------------------------------------------------------------------------------------


def onnx() -> Target:
    from edgelearn import imports
    from tests.imports.test_hostile import small

    data = Path(__file__).parents[1] / "imports" / "data"
    return seeded("net.onnx", [small().bytes(), (data / "dense.onnx").read_bytes()], imports.read)


def pt2() -> Target:
    from edgelearn import imports
    from tests.imports.test_hostile import packed, program

    good = program()

    def make(random: Random) -> bytes:
        """Half of them damaged as archives, half with a damaged file in a good archive."""
        if random.random() < 0.5:
            return mutated([packed(good)], random)
        files = dict(good)
        name = random.choice(list(files))
        raw = files[name] if isinstance(files[name], bytes) else json.dumps(files[name]).encode()
        return packed({**files, name: mutated([raw], random)})

    return Target("net.pt2", packed(good), make, imports.read)


# --- our own ------------------------------------------------------------------------------------------------------------------------


def plan() -> Target:
    from edgelearn_export.plan.decode import decode
    from tests.firmware.test_verify import RULES, golden

    def sealed(raw: bytes) -> bytes:
        """With the size and the checksum that a plan of these bytes has."""
        body = bytearray(raw[:-4])
        if len(body) >= 12:
            struct.pack_into("<I", body, 8, len(raw))
        return bytes(body) + struct.pack("<I", zlib.crc32(bytes(body)))

    good = [golden(name) for name in RULES]
    return Target(
        "net.plan",
        good[0],
        lambda random: (sealed if random.random() < 0.8 else bytes)(mutated(good, random)),
        lambda path: decode(path.read_bytes()),
    )


def manifest() -> Target:
    """What `export` wrote, for ``train --from``."""
    from edgelearn import start
    from tests.attack.good import exported

    files = exported()
    good = next(raw for name, raw in files.items() if name.endswith(".json"))
    others = tuple((name, raw) for name, raw in files.items() if not name.endswith(".json"))
    stem = others[0][0].partition(".")[0]

    def read(path: Path) -> object:
        found = start.read(path)
        return found.snapshot, found.values, found.moving

    return Target(f"{stem}.json", good, lambda random: mutated([good], random), read, others)


def board() -> Target:
    from edgelearn import boards
    from edgelearn.paths import resource

    good = [path.read_bytes() for path in sorted(resource("boards").glob("*.toml"))]
    return seeded("own.toml", good, boards.read)


def recipe() -> Target:
    from edgelearn import recipe as recipes
    from edgelearn.errors import EdgeLearnError
    from edgelearn.layers import Layer

    own = (
        b"[model]\ninput = [8, 8, 3]\nlayers = [{ conv = 16, kernel = 5, bits = 9 }, { pool = 2 }, 32]\nclasses = 10\n"
        b'[rule]\nname = "mono-forward"\nlr = 0.0625\n[data]\nname = "digits"\nroot = "/data"\n'
        b'[train]\ndtype = "f32"\nepochs = 3\nseed = 1\ndrops = [0.5, 0.7]\nfreeze = [0]\nsteps = 100\n'
    )
    good = [*(file.read_bytes() for file in sorted(recipes.SHIPPED.glob("*.toml"))), own]

    def read(path: Path) -> object:
        found = recipes.load(path)
        try:
            again = recipes.parse(found.as_toml(), path)  # what a run keeps
        except EdgeLearnError as error:
            raise AssertionError(f"a recipe does not survive its own text: {error}") from error
        assert again == found
        assert all(isinstance(layer, Layer) for layer in found.model.layers)
        return found

    return seeded("own.toml", good, read)


def replay() -> Target:
    from edgelearn.link.replay import ReplayTransport

    good = b"edgelearn-replay 1\n> 0102\n< 030400ff\n<\n> 05\n< 00\n"

    def read(path: Path) -> object:
        found = ReplayTransport(path)
        return found.nonce(), found.name

    return seeded("talk.replay", [good], read)


def talk() -> Target:
    """A recording of a whole run, damaged, and run again."""
    from edgelearn.runs import RunStore
    from edgelearn.session import Session
    from tests.attack.good import recorded

    good = recorded()

    def read(path: Path) -> object:
        with Session("sim", f"replay:{path}") as session, RunStore(path.with_name("runs.sqlite")) as store:
            return session.train("digits-tiny", store, steps=20)

    return seeded("talk.replay", [good], read)


# --- the run store --------------------------------------------------------------------------------------------------------------------


def store() -> Target:
    from tests.attack.good import stored

    return seeded("runs.sqlite", [stored()], read_store)


def rows() -> Target:
    """A whole file, in which values, tables and their names are anything."""
    from tests.attack.good import hostile_rows, stored

    return Target("runs.sqlite", stored(), hostile_rows, read_store)


def read_store(path: Path) -> object:
    """All that a store is asked for without anything of it being run."""
    from edgelearn import report
    from edgelearn.report import tables
    from edgelearn.restore import learnt
    from edgelearn.runs import RunStore

    with RunStore(path) as runs:
        for run in runs.list():
            runs.metrics(run.id)
            runs.newest_checkpoint(run.id)
            learnt(run, runs)
            report.report([run.id], path.with_name("report.html"), runs, stored_only=True)
        for form in ("csv", "tensorboard"):
            tables.export(runs, (), form, path.with_name("tables"))
    return None


def moments() -> Target:
    """What an optimizer remembers, in a checkpoint."""
    from edgelearn import hostdevice

    good = saved(a=np.ones(3, np.float32), b=np.zeros((2, 2), np.float32))
    unpack = getattr(hostdevice, "_unpacked")  # noqa: B009 (there is no other way to it without torch)
    return Target("moments", good, lambda random: archive(good, random), lambda path: unpack(path.read_bytes()))


TARGETS: dict[str, Callable[[], Target]] = {
    "onnx": onnx, "pt2": pt2, "plan": plan, "manifest": manifest, "board": board, "recipe": recipe, "replay": replay,
    "talk": talk, "store": store, "rows": rows, "moments": moments, **targets_data.TARGETS,
}  # fmt: skip
NEEDS = {"onnx": "onnx", "jpeg": "PIL", "moments": "torch"}  # packages of extras
