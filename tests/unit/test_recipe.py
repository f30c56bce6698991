"""Recipes: what is shipped loads, what is wrong is explained with file, line, key and remedy."""

from pathlib import Path

import pytest

from edgelearn import recipe
from edgelearn.errors import ConfigError, UsageError

GOOD = """\
[model]
input = [8, 8]
layers = [32, 32]
classes = 10

[rule]
name = "mono-forward"
lr = 0.0625

[data]
name = "digits"

[train]
epochs = 3
"""


def parsed(text: str) -> recipe.Recipe:
    return recipe.parse(text, Path("my.toml"))


@pytest.mark.parametrize(
    ("name", "layers", "epochs"), [("digits", (32, 32), 15), ("digits-tiny", (16,), 15), ("mnist", (100, 50), 10)]
)
def test_shipped(name: str, layers: tuple[int, ...], epochs: int) -> None:
    found = recipe.load(name)
    assert (found.name, tuple(layer.size for layer in found.model.layers), found.train.epochs) == (name, layers, epochs)
    assert found.rule.name == "mono-forward"
    assert float(found.rule.params["lr"]) in [2.0**-k for k in range(3, 9)]  # a power of two needs no rounding
    assert (found.train.dtype, found.train.drops, found.train.steps) == ("int8", recipe.DROPS, None)
    assert name in recipe.shipped()


def test_defaults_and_steps() -> None:
    found = parsed(GOOD)
    assert found.train == recipe.TrainSpec(epochs=3)
    assert found.steps_total(1400) == 4200
    assert found.override(steps=50).steps_total(1400) == 50
    assert found.override(steps=50).override(epochs=2).steps_total(1400) == 2800
    assert found.override(steps=50).override(seed=2).steps_total(1400) == 50


def test_freeze_and_schedule_read_back() -> None:
    found = parsed(GOOD).override(freeze=[0, 2], schedule="block-by-block")
    assert (found.train.freeze, found.train.schedule) == ((0, 2), "block-by-block")
    assert parsed(found.as_toml()).train == found.train
    assert found.override(freeze=()).train.freeze == ()
    with pytest.raises(UsageError, match="--freeze: these are no rising"):
        found.override(freeze=[1, 1])


@pytest.mark.parametrize(
    ("old", "new", "line", "message", "hint"),
    [
        ("epochs = 3", "epoch = 3", 14, "unknown key 'epoch' in [train]", "'epochs'"),
        ("[rule]", "[rules]", 6, "unknown key 'rules'", "'rule'"),
        ("classes = 10", 'classes = "ten"', 4, "'classes' must be a whole number, not 'ten'", "classes ="),
        ("classes = 10", "classes = true", 4, "must be a whole number", "classes ="),
        ("classes = 10", "classes = 1", 4, "'classes' is 1", "from 2"),
        ("input = [8, 8]", "input = []", 2, "'input' is empty", "at least one"),
        ("input = [8, 8]", "", 1, "[model] has no 'input'", "input ="),
        ("layers = [32, 32]", "layers = [32, 0]", 3, "0 in 'layers' is no size", "65535"),
        ("layers = [32, 32]", "layers = [{ conv = 16, width = 3 }]", 3, "a conv layer has no 'width'", "kernel"),
        ("layers = [32, 32]", "layers = [{ conv = 16, pool = 2 }]", 3, "names more than one kind", "depthwise"),
        ("layers = [32, 32]", "layers = [{ pool = 2, mode = 'min' }]", 3, "is no kind of pool", "avg"),
        ("layers = [32, 32]", "layers = [{ kernel = 3 }]", 3, "names no kind of layer", "depthwise"),
        ("epochs = 3", "epochs = 0", 14, "'epochs': 0 is too few", "from 1"),
        ("epochs = 3", 'dtype = "int4"', 14, "'int4' is no dtype", "int8, f32"),
        ("epochs = 3", "freeze = [1, 0]", 14, "no rising numbers of blocks", "[0, 1]"),
        ("epochs = 3", "freeze = [-1]", 14, "no rising numbers of blocks", "[0, 1]"),
        ("epochs = 3", "freeze = [0.5]", 14, "0.5 in 'freeze' is no number", "freeze ="),
        ("epochs = 3", "freeze = 0", 14, "must be a list", "freeze ="),
        ("epochs = 3", 'schedule = "greedy"', 14, "'greedy' is no schedule", "block-by-block"),
        ("epochs = 3", "drops = [0.9, 0.5]", 14, "no rising fractions", "0.95"),
        ("epochs = 3", 'drops = ["a"]', 14, "must be a list of numbers", "drops ="),
        ("epochs = 3", "seed = -1", 14, "'seed' is -1", "from 0"),
        ("lr = 0.0625", "lr = [1]", 8, "neither number", "lr ="),
        ("epochs = 3", "epochs = = 3", 14, "not valid TOML", "Correct that line"),
    ],
)
def test_wrong(old: str, new: str, line: int, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(GOOD.replace(old, new))
    assert "my.toml" in caught.value.message
    assert f"line {line}" in caught.value.message
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_the_line_is_of_the_right_section() -> None:
    text = GOOD.replace("[model]", 'x = 1\n[model]  # "name" is below twice')
    with pytest.raises(ConfigError, match=r"line 1: unknown key 'x'"):
        parsed(text)
    assert parsed(GOOD).fault("data", "name", "no", "yes").message == "my.toml, line 11: no"


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        recipe.load("digit")
    assert "'digits'" in caught.value.hint


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"a = " + b"[" * 5000, b"a = " + b"9" * 10_000, b"#" * (1 << 21)])
def test_hostile_files(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"bad\.toml"):
        recipe.load(path)


def test_override() -> None:
    found = parsed(GOOD).override(epochs=5, seed=7, dtype="f32", data="mnist", drops=())
    assert found.train == recipe.TrainSpec("f32", 5, 7, ())
    assert found.data.name == "mnist"
    with pytest.raises(UsageError, match="--dtype: 'int4'"):
        found.override(dtype="int4")


@pytest.mark.parametrize(
    ("line", "problem", "hint"),
    [('optimizer = "adamw"', "'optimizer': 'adamw' is no optimizer", "sgd, momentum, adam"),
     ('augment = "flip"', "'augment': 'flip' is no augmentation", "none, flip-crop"),
     ('scale = "max"', "'scale': 'max' is no scale", "mean, sum"), ("batch = 0", "'batch': 0 is too few", "from 1"),
     ('scale = "sum"\noptimizer = "adam"', "adam's steps are as large", 'scale = "mean"')],
)  # fmt: skip
def test_what_only_the_host_does_is_checked_too(line: str, problem: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        parsed(GOOD + f"\n{line}\n")
    assert hint in caught.value.hint


def test_a_recipe_for_boards_leaves_out_what_only_the_host_does() -> None:
    given = parsed(GOOD).override(batch=8, optimizer="momentum", augment="flip-crop", scale="sum", seed=3)
    assert recipe.parse(given.as_toml(), given.path) == given
    assert given.for_boards() == parsed(GOOD).override(seed=3)


def test_files_are_found_beside_the_recipe(tmp_path: Path) -> None:
    text = GOOD.replace('"digits"', '"my.csv"').replace('"mono-forward"', '"sub/rule.py:Mine"')
    (tmp_path / "r.toml").write_text(text)
    found = recipe.load(tmp_path / "r.toml")
    assert found.data.name == str(tmp_path / "my.csv")
    assert found.rule.name == f"{tmp_path}/sub/rule.py:Mine"


def test_a_folder_given_as_data_is_where_the_set_lies(tmp_path: Path) -> None:
    assert recipe.load("mnist").override(data=str(tmp_path)).data == recipe.DataSpec("mnist", str(tmp_path))


def test_what_a_run_keeps_reads_back_equal(tmp_path: Path) -> None:
    text = GOOD.replace("lr = 0.0625", 'lr = 1e-5\nmode = "a\\"b\\\\c"\nflag = true\nn = 3')
    found = parsed(text).override(seed=3, steps=9, data=str(tmp_path / "x.npz"))
    assert recipe.parse(found.as_toml(), found.path) == found


def test_what_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "blobs.npz").write_bytes(b"PK")
    with pytest.raises(ConfigError, match="is data; a recipe is a TOML file"):
        recipe.load(tmp_path / "blobs.npz")
    with pytest.raises(ConfigError, match="is a folder"):
        recipe.load(tmp_path)
