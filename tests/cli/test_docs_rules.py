"""The guide to rules says what is so: its files learn, its commands can be typed, its examples do what it says of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgelearn as el
from edgelearn.backends import backends
from edgelearn.compiler import compile_net
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Module
from edgelearn.lang import L
from edgelearn.lang.block import SIZES
from edgelearn.layers import from_item
from edgelearn.nets import Net
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn.testing import check_rule
from edgelearn.tracing import trace_module
from tests.cli.conftest import Cli
from tests.cli.documents import Block, blocks, run_shell, section, text, write_files
from tests.factory import X, Y

PAGE = "docs/rules.md"
NEEDS_QEMU = "needs qemu"


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the guide, and the current one."""
    write_files(PAGE, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _marks(block: Block) -> list[pytest.MarkDecorator]:
    return [pytest.mark.qemu] if block.note == NEEDS_QEMU else []


SHELL = [pytest.param(b, id=str(b), marks=_marks(b)) for b in blocks(PAGE, "sh")]


# --- what it shows works ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("block", SHELL)
def test_commands_can_be_typed(guide: Path, block: Block) -> None:
    done = run_shell(block.text, guide)
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("dtype", ["int8", "f32"])
@pytest.mark.parametrize(
    ("recipe", "rule", "least"),
    [
        ("my_digits.toml", "my_rule.py:MyRule", 0.9),
        ("my_maps.toml", "my_rule.py:MyRule", 0.9),
        ("my_rows.toml", "my_rows.py:Rows", 0.55),
    ],
)
def test_its_recipes_learn(guide: Path, recipe: str, rule: str, least: float, dtype: str) -> None:
    with el.connect("sim") as board:
        result = board.train(guide / recipe, dtype=dtype)
    assert result.data["rule_source"] == str(guide / rule)
    assert result.accuracy > least


def test_every_rule_file_is_trained() -> None:
    """By a recipe of the page, or by the test below."""
    named = set(re.findall(r'^name = "(\w+\.py):', text(PAGE), re.MULTILINE))
    files = {b.note.removeprefix("file: ") for b in blocks(PAGE, "python") if b.note.startswith("file: ")}
    assert files - named == {"my_views.py"}


def test_two_views_of_a_sample(guide: Path) -> None:
    """On both kinds of layers, as check_rule sees it: the same in C, bit for bit, draws included."""
    report = check_rule("my_views.py:TwoViews", base=guide, kinds=("dense", "conv"), passes=2, least=0.85)
    assert report.rule == "my_views.py:TwoViews"
    module = traced("my_views.py:TwoViews", [16], base=guide)
    assert [op.name for op in module.entry("learn").ops].count("noise") == 1


@pytest.mark.qemu
def test_the_same_bytes_on_the_emulated_board(guide: Path) -> None:
    hashes = set()
    for board_id, port in (("sim", "sim"), ("microbit", "qemu")):
        with el.connect(board_id, port) as board:
            hashes.add(board.train(guide / "my_digits.toml", steps=300).data["state_sha256"])
    assert len(hashes) == 1


@pytest.mark.parametrize("form", backends())
@pytest.mark.parametrize("recipe", ["my_digits.toml", "my_maps.toml"])
def test_every_backend_takes_it(guide: Path, cli: Cli, form: str, recipe: str) -> None:
    told = cli("export", guide / recipe, "--format", form, "--verify", "-o", guide / "out", "--json").json
    assert {a["format"] for a in told["artifacts"]} == {form}
    assert all(Path(a["path"]).stat().st_size == a["bytes"] for a in told["artifacts"])
    assert any(a["verified"] and a["max_diff"] == 0 for a in told["artifacts"])


def test_the_page_names_every_backend() -> None:
    (formats,) = re.findall(r"^edgelearn export .*--format ([\w,-]+)", text(PAGE), re.MULTILINE)
    others = re.findall(
        r"`([\w-]+)`", text(PAGE).partition("The other formats take the same rule")[2].partition("\n\n")[0]
    )
    assert {*formats.split(","), *others} == set(backends())


@pytest.mark.usefixtures("guide")
def test_check_rule_is_used_as_shown(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [b for b in blocks(PAGE, "python") if not b.note]
    exec(compile(block.text, str(block), "exec"), {})
    assert min(float(figure) for figure in capsys.readouterr().out.split()) > 0.85


# --- what it lists is all there is ------------------------------------------------------------------------------------


def test_it_names_every_word() -> None:
    words = {word for word in dir(type(L)) if not word.startswith("_")}
    assert set(re.findall(r"`L\.(\w+)\(", section(PAGE, "What a rule may say"))) == words


def test_it_names_what_a_block_has() -> None:
    rows = re.findall(r"^\| (`s\..*?) \|", section(PAGE, "What a rule may say"), re.MULTILINE)
    named = set(re.findall(r"`s\.(\w+)", " ".join(rows)))
    assert named == {*SIZES, "time", "key", "keep", "W", "b", "M"}


def test_it_names_every_hook() -> None:
    """What the package asks a rule's class for."""
    folder = Path(el.__file__).parent
    source = "".join(f.read_text(encoding="utf-8") for f in folder.rglob("*.py") if f.parent.name != "rules")
    asked = set(re.findall(r'(?:hasattr|getattr)\(\w*\.?instance, "(\w+)"', source)) - {"init"}
    rows = section(PAGE, "More than one method")
    assert asked == set(re.findall(r"^\| `(\w+)", rows, re.MULTILINE))


# --- what it says of layers -------------------------------------------------------------------------------------------

RULE = """
import edgelearn as el
from edgelearn import L


@el.rule("mine")
class Mine:
    lr: float = 2**-5
    {hook}

    def init(self, s, key):
        s.M = L.normal(key, (s.classes, s.out), std=0.1)

    def step(self, s, x, y):
        a = L.relu(s.W @ x + s.b)
        d = (s.M.T @ (L.softmax(s.M @ a) - y)) * (a > 0)
        {line}
        s.W -= self.lr * L.outer(d, x)
        s.b -= self.lr * d
        return {returned}

    def predict(self, blocks, x):
        for s in blocks:
            x = {kept}
        return blocks[-1].M @ x
"""
KEPT = "s.keep(L.relu(s.W @ x + s.b))"


def traced(rule: str, layers: list[Any], base: Path | None = None, shape: tuple[int, ...] = (8, 8)) -> Module:
    return trace_module(find(rule, base=base), Net(shape, [from_item(item) for item in layers], 10), "net")


def written(folder: Path, hook: str = "", line: str = "", returned: str = "a", kept: str = KEPT) -> str:
    (folder / "mine.py").write_text(RULE.format(hook=hook, line=line, returned=returned, kept=kept))
    return f"{folder / 'mine.py'}:Mine"


def learnt(module: Module) -> list[tuple[str, str]]:
    """(op, state) of every update, in order."""
    return [(op.name, op.args[0]) for op in module.entry("learn").ops if op.result is None]


@pytest.mark.parametrize(
    ("layer", "shape", "updates"),
    [
        (16, (16, 64), [("outer_update", "@b0.W"), ("update", "@b0.b")]),
        ({"conv": 5}, (5, 3, 3, 1), [("conv_update", "@b0.W"), ("update", "@b0.b")]),
        ({"depthwise": 3}, (3, 3, 1), [("depthwise_update", "@b0.W"), ("update", "@b0.b")]),
        ({"recurrent": 6}, (6, 8), [("outer_update", "@b0.W"), ("outer_update", "@b0.U"), ("update", "@b0.b")] * 8),
    ],
)
def test_one_text_on_every_layer(tmp_path: Path, layer: Any, shape: tuple[int, ...], updates: list[str]) -> None:
    module = traced(written(tmp_path), [layer])
    assert {s.name: s.type.shape for s in module.state}["@b0.W"] == shape
    assert learnt(module) == updates


def test_pools_belong_to_the_weights_that_read_them(tmp_path: Path) -> None:
    """And heads to their own block, averaged as the layer says: 4 by 4 positions, though the next block reads other pools."""
    sizes = "assert (s.inp, s.out, s.units) == ((64, 48, 192), (48, 64, 64))[s.index]"
    module = traced(written(tmp_path, line=sizes), [{"conv": 3, "head": 4}, {"pool": 2}, {"conv": 4}])
    shapes = {s.name: s.type.shape for s in module.state}
    assert (shapes["@b0.M"], shapes["@b1.W"], shapes["@b1.M"]) == ((10, 48), (4, 3, 3, 3), (10, 64))
    made = {op.result: op for op in module.entry("infer").ops}
    (second,) = [op for op in made.values() if op.name == "conv" and op.args[0] == "@b1.W"]
    assert made[second.args[1]].name == "pool"
    assert [op.name for op in module.entry("learn").ops].count("unpool") == 1  # the first block's head


def test_no_error_goes_back_through_a_max_pool(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine.py:16: .* max pool") as caught:
        traced(written(tmp_path), [{"conv": 3}, {"pool": 2, "mode": "max"}, {"conv": 4}])
    assert 'mode = "avg"' in caught.value.hint
    traced(written(tmp_path), [{"pool": 2, "mode": "max"}, {"conv": 4}])  # nothing is asked to go back there


@pytest.mark.parametrize("layer", [16, {"conv": 5}])
def test_weights_decay(tmp_path: Path, layer: Any) -> None:
    """By a line of their own, or in a sum with the gradient."""
    alone = traced(written(tmp_path, line="s.W -= 2**-9 * s.W"), [layer])
    within = traced(written(tmp_path, line="s.W -= self.lr * (L.outer(d, x) + 2**-4 * s.W)"), [layer])
    for module in (alone, within):
        (decay,) = [op for op in module.entry("learn").ops if op.name == "decay_update"]
        assert (decay.args, decay.number("rate"), decay.number("sign")) == (("@b0.W",), 2.0**-9, 1)


def test_the_recurrent_weights_decay_by_themselves(tmp_path: Path) -> None:
    module = traced(written(tmp_path, line="s.W -= 2**-9 * s.W; s.U -= 2**-8 * s.U"), [{"recurrent": 6}])
    assert learnt(module)[:2] == [("decay_update", "@b0.W"), ("decay_update", "@b0.U")]


def test_the_readme_s_rule_takes_maps(tmp_path: Path) -> None:
    write_files("README.md", tmp_path)
    module = traced("my_rule.py:MyRule", [{"conv": 4}, {"pool": 2}, {"depthwise": 3}], base=tmp_path)
    assert {"conv_update", "depthwise_update"} <= {name for name, _ in learnt(module)}


@pytest.mark.parametrize(("moments", "fits"), [(28, True), (64, False)])
def test_length_of_a_sequence(guide: Path, moments: int, fits: bool) -> None:
    assert "In int8 a sequence of 28 moments\nfits this rule, one of 64 does not" in text(PAGE)
    x = np.random.default_rng(0).random((5, moments * 8), np.float32)
    net = Net((moments, 8), [from_item({"recurrent": 32})], 10)
    module = compile_net(find("my_rows.py:Rows", base=guide), net, Calibration(x, Y[:5])).module
    encode = backends()["plan"].load()().export
    if fits:
        assert len(encode(module, "sim")) > 4000
    else:
        with pytest.raises(ConfigError, match="more values than a plan can number"):
            encode(module, "sim")


def test_the_arena_does_not_grow_with_the_moments(guide: Path) -> None:
    arenas = []
    for moments in (4, 12):
        net = Net((moments, 8), [from_item({"recurrent": 32})], 10)
        x = np.zeros((5, moments * 8), np.float32) + 0.5
        module = compile_net(find("my_rows.py:Rows", base=guide), net, Calibration(x, Y[:5])).module
        arenas.append(module.integer("arena_bytes") - moments * 8)
    assert arenas[0] == arenas[1]


# --- what it says of hooks, draws and notes ---------------------------------------------------------------------------


def test_annotated_attributes_are_parameters(guide: Path) -> None:
    assert vars(find("my_views.py:TwoViews", base=guide).instance) == {"lr": 2**-5, "noise": 0.25}
    module = compile_net(find("my_views.py:TwoViews", base=guide), Net(64, (16,), 10), Calibration(X, Y)).module
    assert {s.name: s.type.dtype for s in module.state} == {"@b0.W": "i16", "@b0.b": "i16", "@b0.M": "i8"}


def test_a_layer_s_bits_come_before_the_rule_s(guide: Path) -> None:
    net = Net(64, [from_item({"dense": 16, "bits": 12})], 10)
    module = compile_net(find("my_views.py:TwoViews", base=guide), net, Calibration(X, Y)).module
    assert {slot.name: slot.bits for slot in module.slots}["b0.W"] == 12


def test_independent_blocks_read_the_sample(tmp_path: Path) -> None:
    """A step that ends with something else, or a prediction that passes it on, does not fit."""
    apart = 'schedule = "independent"'
    rule = written(tmp_path, hook=apart, returned="x", kept="x; z = s.W @ x").replace("@ x\n", "@ z\n")
    source = (tmp_path / "mine.py").read_text().replace("blocks[-1].M @ x", "blocks[-1].M @ L.relu(z)")
    (tmp_path / "mine.py").write_text(source)
    module = traced(rule, [16, 12])
    assert {s.name: s.type.shape for s in module.state}["@b1.W"] == (12, 64)
    with pytest.raises(ConfigError, match=r"\(12, 64\) matrix cannot be applied"):
        traced(written(tmp_path, hook=apart), [16, 12])


def test_kinds_are_refused_with_their_reason(tmp_path: Path) -> None:
    rule = written(tmp_path, hook='kinds, kinds_why = ("dense", "conv"), "it counts positions"')
    traced(rule, [{"conv": 3}, 16])
    with pytest.raises(ConfigError, match=r"mine does not go with recurrent layers \(r6\): it counts positions"):
        traced(rule, [{"recurrent": 6}])


@pytest.mark.parametrize(("board", "code"), [("microbit", 3), ("mps2-an386", 3), ("sim", 0)])
def test_host_only_rules_are_refused_by_boards(guide: Path, cli: Cli, board: str, code: int) -> None:
    source = (guide / "my_rule.py").read_text().replace("    lr: float", '    host_only = "it is shy"\n    lr: float')
    (guide / "my_rule.py").write_text(source)
    answer = cli("show", guide / "my_digits.toml", "--board", board)
    assert answer.code == code
    assert ("it is shy" in answer.err) == (code == 3)


NOTE = "predict needs the range of a value"


@pytest.mark.parametrize(
    ("line", "noted"),
    [
        ("2 * L.relu(s.W @ x + s.b)", True),
        ("2 * L.clip(L.relu(s.W @ x + s.b), 0, 1)", False),
        ("L.relu(s.W @ x + s.b)", False),
        ("L.tanh(s.W @ x + s.b)", False),
    ],
)
def test_the_note_on_ranges(tmp_path: Path, line: str, noted: bool) -> None:
    assert noted == (f"\nx = {line}\n" in text(PAGE))
    assert noted or line in text(PAGE) or "tanh" in line
    compiled = compile_net(find(written(tmp_path, kept=line)), Net(64, (16, 12), 10), Calibration(X, Y))
    assert [NOTE in note for note in compiled.notes] == [True] * noted


def test_small_kernels_get_more_bits() -> None:
    layers = [from_item(item) for item in ({"conv": 4}, {"conv": 8}, 32)]
    module = compile_net(find("mono-forward"), Net((8, 8), layers, 10), Calibration(X, Y)).module
    sizes = {s.name[1:]: s.type.size for s in module.state if len(s.type.shape) > 1}
    wide = {name for name, size in sizes.items() if name.endswith("W") and 8 * size <= sum(sizes.values())}
    assert {slot.name for slot in module.slots if slot.bits == 12} == wide == {"b0.W", "b1.W"}


def test_a_draw_is_another_one_at_every_sample(guide: Path) -> None:
    """And the same again in a run that is repeated."""
    with el.connect("sim") as board:
        recipe = (guide / "my_rows.toml").read_text().replace("my_rows.py:Rows", "my_views.py:TwoViews")
        (guide / "my_views.toml").write_text(recipe.replace("{ recurrent = 32 }", "16"))
        runs = [board.train(guide / "my_views.toml", steps=200, seed=seed).data["state_sha256"] for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_drawing_in_python_is_found(tmp_path: Path) -> None:
    rule = written(tmp_path, line="import random; s.b -= random.random() * d")
    with pytest.raises(ConfigError, match="tracing it twice gives different ops"):
        check_rule(rule)
