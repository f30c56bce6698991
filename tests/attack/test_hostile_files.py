"""Files that somebody made to hurt: each kind that edgelearn reads, by the thousand in the soak, by the hundred here.

They are read, or refused in one sentence; in bounded memory and time; nothing in them is run, and no other file is touched.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgelearn import recipe
from edgelearn.data import datasets
from edgelearn.errors import LONGEST, ConfigError, EdgeLearnError
from edgelearn.runs import RunStore
from tests.attack.targets import TARGETS
from tests.attack.warm import ROOT

FILES = 20
PACKAGES = ("edgelearn", "export/edgelearn_export")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is bounded as Linux does it")
def test_hostile_files_of_every_kind_are_refused_or_read(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.attack.fuzzing",
        "--count",
        str(FILES),
        "--seed",
        "3",
        "--keep",
        str(tmp_path),
    ]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "export")])
    env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    assert done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert {one["kind"] for one in found} == set(TARGETS)
    assert [(one["kind"], one["wrong"]) for one in found if one["wrong"]] == []
    for one in found:
        if not one["skipped"]:
            assert one["files"] == FILES
            assert one["refused"] > FILES // 4, f"hardly any file of {one['kind']} was hostile"


def test_nothing_unpickles_and_nothing_evaluates() -> None:
    """Not in the sources: what is not there cannot be reached. numpy's loader is told so by name, every time."""
    forbidden = re.compile(
        r"(?<![\w.])(?<!def )((pickle|marshal|shelve|dill|joblib)\.|(yaml\.load|torch\.load|eval|exec)\()"
    )
    loads = re.compile(r"np\.load\((?:[^()]|\([^()]*\))*\)")
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            code = re.sub(r'"""[\s\S]*?"""|#.*', "", text)
            found = [hit[0] for hit in forbidden.finditer(code)]
            assert found == [], f"{file}: {found}"
            assert all("allow_pickle=False" in hit[0] for hit in loads.finditer(code)), file


def test_no_shell_is_started() -> None:
    shell = re.compile(r"shell\s*=\s*True|os\.system\(|os\.popen\(|subprocess\.getoutput")
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            assert not shell.search(file.read_text(encoding="utf-8")), file


def test_pickled_objects_in_an_array_stay_closed(tmp_path: Path) -> None:
    class Marker:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "was here",)

    np.savez(tmp_path / "data.npz", x=np.array([Marker()], object), y=np.zeros(1))
    with pytest.raises(ConfigError):
        datasets.load(str(tmp_path / "data.npz"))
    assert not (tmp_path / "was here").exists()


ENDLESS = (
    "DROP TABLE checkpoints; CREATE VIEW checkpoints(run, step, boot_id, crc, state, moments) AS WITH RECURSIVE c(x) AS"
    " (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT 'a', x, x, x, x'00', NULL FROM c"
)
COMPUTED = "ALTER TABLE checkpoints ADD COLUMN huge AS (zeroblob(900000000))"
TRIGGER = "CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM checkpoints; END"
INDEX = "CREATE INDEX i ON runs (length(hex(recipe)))"


@pytest.mark.parametrize("program", [ENDLESS, COMPUTED, TRIGGER, INDEX], ids=["view", "column", "trigger", "index"])
def test_a_store_with_a_program_in_it_is_refused(program: str, tmp_path: Path) -> None:
    """What SQLite itself would run while it reads or writes a file, which need not end, or fills the memory."""
    path = tmp_path / "runs.sqlite"
    RunStore(path).close()
    with sqlite3.connect(path) as db:
        db.executescript(program)
    db.close()
    for read_only in (False, True):
        with pytest.raises(ConfigError, match="is none of ours"):
            RunStore(path, read_only)


@pytest.mark.parametrize("text", ["a." * 9000 + "a = 1", "[" + "a." * 9000 + "a]", "x = 1\n" * 60_000])
def test_a_recipe_that_would_take_hours_is_refused(text: str, tmp_path: Path) -> None:
    """tomllib takes the square of a dotted key's length in time."""
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"more than \d+ (bytes|dots)|larger than"):
        recipe.load(tmp_path / "own.toml")


@pytest.mark.parametrize("value", ["nan", "-inf", "inf", "9" * 400])
def test_a_parameter_that_is_no_number_is_refused(value: str, tmp_path: Path) -> None:
    text = (
        '[model]\ninput = [8, 8]\nlayers = [16]\nclasses = 10\n[data]\nname = "digits"\n[rule]\nname = "mono-forward"\n'
    )
    (tmp_path / "own.toml").write_text(f"{text}lr = {value}\n")
    with pytest.raises(ConfigError, match=r"line 9: 'lr' is no number") as caught:
        recipe.load(tmp_path / "own.toml")
    assert caught.value.hint


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    good = (recipe.SHIPPED / "digits.toml").read_text()
    for name in ("/" + "x" * 5000, "a\\u0000/b.npz", "~nobody-of-this-name/x.npz"):
        (tmp_path / "own.toml").write_text(good.replace('name = "digits"', f'name = "{name}"'))
        with pytest.raises(ConfigError):
            datasets.load(recipe.load(tmp_path / "own.toml").data.name)


def test_a_message_does_not_control_the_terminal() -> None:
    error = EdgeLearnError("a\x1b[2J\x07b\u202ec\nd" + "x" * 10_000, "\x9b31m")
    assert error.message.startswith("a?[2J?b?c\nd")
    assert len(error.message) <= LONGEST + 4
    assert error.hint == "?31m"
    assert "\x1b" not in str(error)


def test_an_export_stays_in_its_folder(tmp_path: Path) -> None:
    """Whatever a recipe is called, its files are named after it within the folder of ``-o``."""
    from edgelearn.exporting import export

    for name in ("..", "a b", "-rf", "x\ny"):
        file = tmp_path / f"{name}.toml"
        file.write_text((recipe.SHIPPED / "digits-tiny.toml").read_text())
        out = tmp_path / "out"
        done = export(str(file), ["plan", "plan-c"], out)
        for path in (done.manifest, *(written.path for written in done.written)):
            assert path.resolve().parent == out.resolve()


@pytest.mark.parametrize("run", ["../../escaped", "/etc/passwd", "..", "a/b", "\x00", "con\n"])
def test_a_run_that_is_called_like_a_path_stays_in_its_folder(run: str, tmp_path: Path) -> None:
    from edgelearn.report import tables

    path, out = tmp_path / "store" / "runs.sqlite", tmp_path / "deep" / "er" / "out"
    with RunStore(path) as store:
        known = {"recipe": "", "rule": "r", "rule_text": "", "board": "sim", "dtype": "f32", "seed": 0, "plan": b""}
        store.create(**known, versions={})
        with sqlite3.connect(path) as db:
            db.execute("UPDATE runs SET id = ?", (run,))
        db.close()
        for form in ("csv", "tensorboard"):
            try:
                files = tables.export(store, (), form, out)
            except EdgeLearnError:  # SQLite takes a text with a zero in it for a shorter one
                continue
            assert all(out.resolve() in file.resolve().parents for file in files)
    assert {p.name for p in tmp_path.iterdir()} <= {"deep", "store"}
