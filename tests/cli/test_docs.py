"""The documents say what is so: their examples run, and their tables are those of the code."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import edgelearn as el
from edgelearn import boards, errors, layers, recipe
from edgelearn.cli import VERBS, main
from edgelearn.cli import boards as cli_boards
from edgelearn.nets import Net, blocks_of
from edgelearn_export.plan import format as F
from tests.cli.documents import ROOT, blocks, run_shell, section, text, write_files

TYPES = {"B": "u8", "b": "i8", "H": "u16", "I": "u32", "i": "i32"}


# --- python.md ------------------------------------------------------------------------------------------------------


def test_python_page_runs() -> None:
    scope: dict[str, Any] = {}
    for block in blocks("docs/python.md", "python"):
        if block.note == "needs torch" and find_spec("torch") is None:
            continue
        exec(compile(block.text, str(block), "exec"), scope)


# --- personalise.md -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_personalisation_can_be_typed(tmp_path: Path) -> None:
    """And comes out as the page says, within what a change of the arithmetic may do."""
    page = "docs/personalise.md"
    write_files(page, tmp_path)
    script = "\n".join(block.text for block in blocks(page, "sh") if block.note == "run")
    done = run_shell(script, tmp_path)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    known, before, after, shipped, _ = (float(n) for n in re.findall(r"(?:accuracy +)?(\d+\.\d) %", done.stdout))
    told = re.search(r"knows ([\d.]+) % of 0 to 6, and so ([\d.]+) % of all ten", text(page))
    assert told is not None
    learnt = re.search(r"^([\d.]+) % of all ten\.", text(page), re.MULTILINE)
    assert learnt is not None
    assert (known, before, after) == pytest.approx((float(told[1]), float(told[2]), float(learnt[1])), abs=4)
    assert after > before + 10
    assert shipped == after, "a file has the same weights as the run"
    assert "warning" not in done.stdout + done.stderr


def test_what_freezing_saves() -> None:
    whole, frozen = el.compile("digits", steps=300), el.compile("digits", steps=300, freeze=[0])
    macs, states = (whole.macs("learn"), frozen.macs("learn")), (whole.state_bytes, frozen.state_bytes)
    saves = f"saves {macs[0] - macs[1]:,} of {macs[0]:,} multiplications per learnt sample and"
    assert f"{saves} {states[0] - states[1]:,} of {states[0]:,} bytes of state" in text("docs/personalise.md")


# --- features.md ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_features_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And come out as the page says, within what another PyTorch may do."""
    pytest.importorskip("torch", reason="needs torch: pip install 'edgelearn[torch]'")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # torch's threads get in each other's way where tests share the cores
    page = "docs/features.md"
    write_files(page, tmp_path)
    script = "\n".join(block.text for block in blocks(page, "sh") if block.note == "run")
    done = run_shell(script, tmp_path, timeout_s=300)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    (accuracy,) = re.findall(r"accuracy +(\d+\.\d) %", done.stdout)
    told = re.search(r"^([\d.]+) % of all ten digits. The note says .* `(scaled by 2\^-\d)`", text(page), re.MULTILINE)
    assert told is not None
    assert float(accuracy) == pytest.approx(float(told[1]), abs=4)
    assert told[2] in " ".join(done.stdout.split())
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "python"):
        if not block.note:
            exec(compile(block.text, str(block), "exec"), {})


def test_features_page_names_what_is_read() -> None:
    from edgelearn.imports import onnx_file, pt2_file

    rows = re.findall(r"^\| .* \| (.*) \| (.*) \|$", section("docs/features.md", "What can be read"), re.MULTILINE)[1:]
    shown = [{name for row in rows for name in re.findall(r"`([\w.]+)`", row[column])} for column in (0, 1)]
    assert shown == [set(onnx_file.READ), {name.removeprefix("aten.") for name in pt2_file.READ}]


def test_features_page_names_the_keys() -> None:
    keys = re.findall(r"^\| `(\w+)` \|", section("docs/features.md", "2. Name it"), re.MULTILINE)
    assert set(recipe.ModelSpec.__dataclass_fields__) == {*keys, "input", "layers", "classes"}


# --- plan.md --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", F.RECORDS)
def test_records_of_the_plan(record: str) -> None:
    title = "Operation" if record == "op" else record.capitalize()
    page = section("docs/plan.md", title)
    shown = re.findall(r"^\| (\d+) \| `(\w+)` \| (\w+) \|", page, re.MULTILINE)
    at = F.offsets(record)
    assert shown == [(str(at[name]), name, TYPES[letter]) for name, letter in F.RECORDS[record]]
    assert f"({F.STRUCTS[record].size} bytes)" in page


def test_codes_of_the_plan() -> None:
    header = (ROOT / "firmware/include/edgelearn.h").read_text(encoding="utf-8")
    codes = [(code, name) for name, code in re.findall(r"\b(EL_(?:OK|ERR_\w+)) = (-?\d+)", header)]
    assert re.findall(r"^\| (-?\d+) \| `(\w+)` \|", section("docs/plan.md", "Codes"), re.MULTILINE) == codes


# --- cli.md ---------------------------------------------------------------------------------------------------------


def test_every_verb_has_a_section() -> None:
    verbs = text("docs/cli.md").split("\n## Verbs\n")[1]
    assert re.findall(r"^### (\w+)$", verbs, re.MULTILINE) == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_is_named(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    flags = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", capsys.readouterr().out))
    flags -= {"--help", "--json", "--install-completion", "--show-completion"}
    known = section("docs/cli.md", verb) + section("docs/cli.md", "Words that come back")
    assert not {flag for flag in flags if flag not in known}


def test_exit_codes() -> None:
    classes = [errors.EdgeLearnError, *errors.EdgeLearnError.__subclasses__()]
    wanted = {(str(c.exit_code), c.kind) for c in classes if c.__module__ == errors.__name__}
    shown = re.findall(r"^\| (\d+) \| `([\w-]+)` \|", section("docs/cli.md", "Exit codes"), re.MULTILINE)
    assert set(shown) == wanted


SAMPLES = {
    "boards": ["boards"],
    "demo": ["demo", "--steps", "100"],
    "show": ["show", "digits"],
    "train": ["train", "digits-tiny", "--steps", "100"],
    "runs": ["runs"],
    "doctor": ["doctor"],
    "bench": ["bench", "--list"],
}


@pytest.mark.parametrize("verb", SAMPLES)
def test_every_json_key_is_named(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SAMPLES[verb], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("schema") == f"edgelearn.{verb}/1"
    page = section("docs/cli.md", verb) + (section("docs/cli.md", "train") if verb == "demo" else "")
    assert not [key for key in _keys(told) if f"`{key}`" not in page]


def _keys(told: dict[str, Any]) -> set[str]:
    """Keys of the object and of the objects in its lists."""
    rows = [row for value in told.values() if isinstance(value, list) for row in value if isinstance(row, dict)]
    return set(told) | {key for row in rows for key in row}


def test_layers_of_the_page() -> None:
    """Kinds, keys and defaults are those that recipes are read with."""
    row = r"^\| `([^`]*)`(?: or `([^`]*)`)? \| .* \| (.*) \|$"
    rows = re.findall(row, section("docs/cli.md", "Layers"), re.MULTILINE)
    tables = [tomllib.loads(f"layer = {shown[1] or shown[0]}")["layer"] for shown in rows]
    assert [next(iter(table)) for table in tables] == list(layers._KEYS)
    for table, (_, _, keys) in zip(tables, rows, strict=True):
        kind = next(iter(table))
        told = re.findall(r"`(\w+)(?: = ([^`]+))?`", keys)
        assert tuple(key for key, _ in told) == layers._KEYS[kind]
        defaults = {key: tomllib.loads(f"v = {value}")["v"] for key, value in told if value}
        assert layers.from_item({**table, **defaults}) == layers.from_item(table)
    assert layers.from_item(32) == layers.from_item({"dense": 32})


@pytest.mark.parametrize(
    ("shape", "items", "first"),
    [
        ((8, 8), [{"conv": 4}], (8, 8, 1)),
        ((8, 8, 3), [{"conv": 4}], (8, 8, 3)),
        ((8, 8), [{"recurrent": 4}], (8,)),
        ((8, 8, 3), [4], (192,)),
    ],
)
def test_what_an_input_shape_means(shape: tuple[int, ...], items: list[Any], first: tuple[int, ...]) -> None:
    net = Net(shape, [layers.from_item(item) for item in items], 10)
    assert blocks_of(net)[0].before.inp == first
    assert net.times == (8 if "recurrent" in str(items) else 1)


@pytest.mark.parametrize(("head", "units"), [("flat", 4 * 64), ("pool", 4), (1, 4), (4, 4 * 16)])
def test_what_a_head_reads(head: Any, units: int) -> None:
    net = Net((8, 8), [layers.from_item({"conv": 4, "head": head})], 10)
    assert blocks_of(net)[0].sizes()["out"] == units


# --- ARCHITECTURE.md ------------------------------------------------------------------------------------------------


def test_layers_of_the_package() -> None:
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (shown,) = [block.text for block in blocks("ARCHITECTURE.md", "text") if block.text.startswith("cli\n")]
    assert shown.splitlines() == [re.sub(r"[()]", "", layer) for layer in contracts[0]["layers"]]


def test_files_that_architecture_names() -> None:
    """In the tables of steps and places; a pattern such as NAME.py stands for any."""
    named = re.findall(
        r"`((?:edgelearn/)?(?:lang|ir|passes|rules|link|imports|data|cli)/[\w/]*\.?\w*)`", text("ARCHITECTURE.md")
    )
    assert len(named) > 15
    for name in named:
        if not re.search(r"[A-Z]{2}", name):
            path = ROOT / "edgelearn" / name.removeprefix("edgelearn/")
            assert path.exists(), name


# --- all ------------------------------------------------------------------------------------------------------------


def test_recipe_of_the_page_is_one() -> None:
    (block,) = blocks("docs/cli.md", "toml")
    assert recipe.parse(block.text, ROOT / "example.toml").train.epochs == 15


def test_program_of_the_boards_page_learns(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler")
    write_files("docs/boards.md", tmp_path)
    (tmp_path / "firmware").symlink_to(ROOT / "firmware")
    (block,) = [b for b in blocks("docs/boards.md", "sh") if b.note == "run"]
    done = run_shell(block.text, tmp_path)
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    assert done.stdout.splitlines()[-1] == "this is a 7"


def test_boards_page_lists_every_board() -> None:
    """With what its file says."""
    pattern = r"^\| `([\w-]+)` \| (.*), ([\w-]+) \| (\d+ \wB) \| ([\w, ]+) \| ([\w, ]+) \| (.*) \| ([\w, ]+) \|$"
    rows = re.findall(pattern, text("docs/boards.md").split("\n## ")[0], re.MULTILINE)
    assert [row[0] for row in rows] == list(boards.ids())
    for name, what, core, ram, dtypes, ways, port, tried in rows:
        board = boards.load(name)
        assert (what, core, dtypes) == (board.name, board.core, ", ".join(board.dtypes))
        assert (ram, ways, tried) == (
            cli_boards.short(board.ram),
            cli_boards._reached([*board.ports]),
            cli_boards._tried(board),
        )
        assert port.strip("`") == cli_boards.port(board) or board.is_host or board.is_linux


def test_readme_names_every_board() -> None:
    assert set(re.findall(r"`([\w-]+)`", section("README.md", "A board"))) >= set(boards.ids()) - {"host"}


@pytest.mark.parametrize("name", ["digits", "digits-tiny"])
def test_memory_figures_of_the_boards_page(name: str) -> None:
    job = el.compile(name, "microbit")
    target = job.board.target
    sizes = [job.state_bytes, job.arena_bytes, len(job.plan)]
    wanted = [
        f"`{name}`",
        str(job.compiled.net),
        *(f"{n:,}" for n in (*sizes, sum(sizes) + target.stack + target.link)),
    ]
    assert f"| {' | '.join(wanted)} |" in section("docs/boards.md", "Memory")
