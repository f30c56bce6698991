"""``features`` in a recipe: what was trained elsewhere computes what the blocks of the recipe learn from, and stays what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgelearn as el
from edgelearn import recipe as recipes
from edgelearn import state
from edgelearn.compiler import Net, compile_net
from edgelearn.data import datasets
from edgelearn.errors import ConfigError, EdgeLearnError
from edgelearn.ir.interp import Interpreter
from edgelearn.job import Job, prepare
from edgelearn.layers import Layer, dense
from edgelearn.nets import blocks_of
from edgelearn.passes.quantize import Calibration, settled_exponent
from edgelearn.restore import restore_job
from edgelearn.rules import find
from edgelearn.rules.registry import BUILT_IN
from edgelearn.runs import RunStore
from tests.factory import X, Y
from tests.imports.reference import OnnxNet, compiled, interpreter

pytest.importorskip("onnx", reason="needs onnx: pip install 'edgelearn[onnx]'")

RECIPE = """
[model]
features = "net.onnx"
layers = [12]
classes = 10

[rule]
name = "mono-forward"
lr = 0.0625

[data]
name = "digits"
"""


def conv_net(seed: int = 0) -> OnnxNet:
    """A net for digits, untrained, with a max pool: nothing could be learnt through it."""
    net = OnnxNet((1, 1, 8, 8), seed=seed).conv(1, 4, pads=[1] * 4).norm(4).relu()
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2]).conv(4, 6, pads=[1] * 4).relu()
    return net.add("AveragePool", kernel_shape=[2, 2], strides=[2, 2]).add("Flatten").gemm(24, 10, transB=1)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "net.onnx").write_bytes(conv_net().bytes())
    (tmp_path / "own.toml").write_text(RECIPE)
    return tmp_path / "own.toml"


def changed(recipe: Path, *changes: tuple[str, str]) -> Path:
    text = recipe.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text)
    return recipe


# --- recipes ------------------------------------------------------------------------------------------------------------------------


def test_the_input_comes_from_the_file(recipe: Path) -> None:
    found = recipes.load(recipe)
    assert (found.model.input, found.model.features) == ((), str(recipe.parent / "net.onnx"))
    job = prepare(found)
    assert job.recipe.model.input == (8, 8, 1)
    assert str(job.compiled.net) == "8x8x1-c4k3-max2-c6k3-p2-12-10"
    assert job.notes[0].startswith("features of net.onnx (ONNX, opset 17): 2 frozen blocks, without Gemm 'Gemm_8'")


def test_a_recipe_with_features_is_read_back(recipe: Path) -> None:
    changed(recipe, ("layers", "upto = 1\nfeature_bits = 8\nlayers"))
    found = recipes.load(recipe)
    assert recipes.parse(found.as_toml(), Path("again.toml")) == found
    kept = prepare(found).recipe
    assert recipes.parse(kept.as_toml(), Path("again.toml")) == kept
    assert kept.model.features_sha256


@pytest.mark.parametrize(
    ("given", "fits"), [("[8, 8]", True), ("[8, 8, 1]", True), ("[64]", False), ("[4, 16]", False)]
)
def test_a_given_input_must_agree(recipe: Path, given: str, fits: bool) -> None:
    changed(recipe, ("layers", f"input = {given}\nlayers"))
    if fits:
        assert prepare(recipe).recipe.model.input == (8, 8, 1)
        return
    with pytest.raises(
        ConfigError, match=r"own.toml, line 4: the features of net.onnx .* take samples of shape"
    ) as caught:
        prepare(recipe)
    assert "[8, 8, 1]" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('features = "net.onnx"', "upto = 1\ninput = [64]", "line 3: 'upto' without 'features'"),
        ('features = "net.onnx"', "feature_bits = 8\ninput = [64]", "line 3: 'feature_bits' without 'features'"),
        ('features = "net.onnx"', "", "has no 'input'"),
        ('"net.onnx"', '"absent.onnx"', "line 3: Cannot read"),
        ('"net.onnx"', '"net.pth"', "line 3: .* is a pickle"),
        ('"net.onnx"', '"own.toml"', "line 3: .* is no kind of net"),
        ('"net.onnx"', "3", "line 3: 'features' must be a text"),
        ("layers = [12]", "layers = []", "'layers' is empty"),
        ("layers = [12]", "layers = [12]\nupto = 0", "line 5: 'upto' is 0"),
        ("layers = [12]", "layers = [12]\nupto = 9", "line 3: net.onnx .* has 3 layers with weights, not 9"),
        ("layers = [12]", "layers = [12]\nfeature_bits = 6", "line 5: 'feature_bits' is 6"),
        ("layers = [12]", "layers = [12]\ninput = []", "'input' is empty"),
        ("layers = [12]", "layers = [{ recurrent = 4 }]", "Recurrent layers cannot follow features"),
        ("layers = [12]", "layers = [{ conv = 4, kernel = 5, pad = 0 }]", "a kernel of 5 does not fit"),
        ("layers = [12]", 'layers = [12]\nfeatures_sha256 = "00"', "is not the file that this recipe was made with"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(recipe: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        prepare(changed(recipe, (old, new)))
    assert caught.value.hint


def test_samples_of_another_shape_are_refused(recipe: Path) -> None:
    np.savez(
        recipe.parent / "data.npz", x=np.random.default_rng(0).random((20, 2, 8, 4), np.float32), y=np.arange(20) % 10
    )
    changed(recipe, ('"digits"', '"data.npz"'))
    with pytest.raises(ConfigError, match=r"shape \[2, 8, 4\], the features \[8, 8, 1\]") as caught:
        prepare(recipe)
    assert "(height, width, channels)" in caught.value.hint


# --- what learns, and what does not -------------------------------------------------------------------------------------------------


def interpreted(job: Job, steps: int) -> Interpreter:
    net = Interpreter(job.module, job.recipe.train.seed)
    first = job.state_at(0, None)
    assert first is not None
    state.restore(net, first)
    for i in job.order(0, steps):
        net.learn(job.x_train[i], int(job.data.y_train[i]))
    return net


@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_frozen_blocks_have_no_heads_and_do_not_change(recipe: Path, dtype: str) -> None:
    job = prepare(recipe, dtype=dtype, steps=1100)
    assert {s.name for s in job.module.state} == {"@b0.W", "@b0.b", "@b1.W", "@b1.b", "@b2.W", "@b2.b", "@b2.M"}
    first, last = (interpreted(job, steps).tensors() for steps in (0, 1100))
    same = {name for name in first if (first[name] == last[name]).all()}
    assert same == {"@b0.W", "@b0.b", "@b1.W", "@b1.b"}


@pytest.mark.parametrize("rule", sorted(BUILT_IN))
@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_every_rule_learns_on_features(recipe: Path, rule: str, dtype: str) -> None:
    """Whatever it does to its own blocks, it sees nothing of the others: not their kinds, not the pools that no error goes through."""
    from edgelearn.imports import read

    found = find(rule)
    if dtype == "int8" and hasattr(found.instance, "host_only"):
        pytest.skip("a rule of the host")
    extractor = read(recipe.parent / "net.onnx")
    own = (12,) if rule in ("noprop-ct", "noprop-fm") else (12, 12)  # those have one block
    net = Net(extractor.input, (*extractor.layers, *own), 10, extractor.activations)
    module = compile_net(found, net, Calibration(X, Y, values=extractor.values), dtype).module
    assert {s.name for s in module.state if s.name < "@b2"} == set(extractor.values)
    assert {op.args[0][:3] for op in module.entry("learn").ops if op.result is None} <= {"@b2", "@b3"}


def test_a_rule_counts_its_own_blocks_only(recipe: Path) -> None:
    from edgelearn.imports import read

    extractor = read(recipe.parent / "net.onnx")
    net = Net(extractor.input, (*extractor.layers, 12, 9), 10, extractor.activations)
    specs = blocks_of(net)
    assert [(spec.sizes()["index"], spec.sizes()["blocks"]) for spec in specs[2:]] == [(0, 2), (1, 2)]
    assert [spec.prefix for spec in specs] == ["b0", "b1", "b2", "b3"]
    assert specs[2].before.inp == (2, 2, 6)
    assert net.learning == (dense(12), dense(9))


def test_blocks_may_be_trained_one_after_the_other(recipe: Path) -> None:
    changed(recipe, ("layers = [12]", "layers = [12, 8]"))
    job = prepare(recipe, schedule="block-by-block", steps=100)
    assert [(stage.first, stage.last) for stage in job.stages] == [(0, 50), (50, 100)]


@pytest.mark.parametrize(("heads", "kept"), [("last", {"@b0.W", "@b0.b"}), ("sum", {"@b0.W", "@b0.b", "@b0.M"})])
def test_state_that_nothing_reads_is_dropped(heads: str, kept: set[str]) -> None:
    """A frozen block of a net of ours needs its head only where the head is asked."""
    net = Net(64, (8, 8), 10)
    found = compile_net(find("mono-forward", {"heads": heads}), net, Calibration(X, Y), freeze=(0,))
    assert {s.name for s in found.module.state if s.name.startswith("@b0")} == kept
    assert not any(slot.name == "b0.M" for slot in found.module.slots) or heads == "sum"


# --- numbers ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [7, 10, 13, 15])
@pytest.mark.parametrize(
    "values", [[1.0, -1.0], [1.0] * 200 + [0.5], [0.1, 0.2], [127.0, 3.0], [1e-30], [3e4], [0.999999]]
)
def test_weights_of_a_file_are_never_halved(values: list[float], bits: int) -> None:
    """What saturates, or sits at the limit in crowds, would be halved on the board, with other values."""
    array = np.array(values, np.float32)
    exponent, limit = settled_exponent(array, bits), (1 << bits) - 1
    units = np.round(array / 2.0**exponent)
    assert abs(units).max() <= limit
    assert (abs(units) == limit).mean() <= 0.01
    assert abs(units).max() > limit / 4 or exponent == -40


@pytest.mark.parametrize(
    ("bits", "storage"),
    [
        (None, {"@b0.W": "i16", "@b1.W": "i8"}),
        (7, {"@b0.W": "i8", "@b1.W": "i8"}),
        (13, {"@b0.W": "i16", "@b1.W": "i16"}),
    ],
)
def test_feature_bits(recipe: Path, bits: int | None, storage: dict[str, str]) -> None:
    if bits is not None:
        changed(recipe, ("layers", f"feature_bits = {bits}\nlayers"))
    changed(recipe, ("layers = [12]", "layers = [40]"))
    job = prepare(recipe)
    assert {name: job.module.state_types()[name].dtype for name in storage} == storage


def test_int8_features_are_near_those_of_floats(recipe: Path) -> None:
    from edgelearn.imports import read

    extractor, x = read(recipe.parent / "net.onnx"), X[:20].reshape(20, 8, 8, 1)
    made: list[Any] = []
    for dtype in ("f32", "int8"):
        found = compiled(extractor, x, dtype)
        net, infer = interpreter(found, extractor), found.module.entry("infer")
        at, name = next((i, op.args[1]) for i, op in enumerate(infer.ops) if op.args[0] == "@b2.W")
        cut = replace(infer, ops=infer.ops[:at], result=name)
        units = np.stack([np.asarray(net._run(cut, [sample], count=False)).reshape(-1) for sample in found.encode(x)])
        made.append(units * 2.0 ** net.exponent(infer.types()[name].exp))
    error = np.sqrt(((made[0] - made[1]) ** 2).mean() / (made[0] ** 2).mean())
    assert error < 0.05


def test_features_are_made_as_large_as_samples(recipe: Path) -> None:
    from edgelearn.imports import read
    from edgelearn.imports.scale import features_of, settled

    extractor = read(recipe.parent / "net.onnx")
    net = Net(extractor.input, (*extractor.layers, 12), 10, extractor.activations)
    found, power = settled(extractor, net, X)
    assert power != 0
    plain, scaled = (features_of(net, e.values, X[:200]) for e in (extractor, found))
    assert (scaled == plain * 2.0**power).all()
    assert 0.35 < np.sqrt((scaled**2).mean()) < 0.71
    assert (found.values["@b0.W"] == extractor.values["@b0.W"]).all()


@pytest.mark.parametrize(("factor", "said"), [(0.0, "all zero"), (1e38, "infinite")])
def test_features_without_any_size_are_refused(recipe: Path, factor: float, said: str) -> None:
    x = np.full((20, 8, 8, 1), factor, np.float32)
    net = OnnxNet((1, 1, 8, 8)).conv(1, 2, bias=False).relu().conv(2, 2, bias=False).relu()
    for name in net.constants:
        net.constants[name] = np.full_like(net.constants[name], 9.0)
    (recipe.parent / "net.onnx").write_bytes(net.bytes())
    np.savez(recipe.parent / "data.npz", x=x, y=np.arange(20) % 10)
    with pytest.raises(EdgeLearnError, match=said):
        prepare(changed(recipe, ('"digits"', '"data.npz"')))


# --- on a board ---------------------------------------------------------------------------------------------------------------------


def test_training_on_sim_is_the_interpreter_s(recipe: Path) -> None:
    job = prepare(recipe, steps=600)
    with el.connect("sim") as board:
        result = board.train(job)
    assert result.data["state_sha256"] == interpreted(job, 600).sha256()
    assert any(note.startswith("features of net.onnx") for note in result.data["notes"])


def test_another_file_is_noticed_when_a_run_goes_on(recipe: Path) -> None:
    with RunStore() as store, el.connect("sim") as board:
        run = board.train(recipe, store, steps=100).run
        assert restore_job(store.get(run)).steps == 100
        (recipe.parent / "net.onnx").write_bytes(conv_net(seed=1).bytes())
        with pytest.raises(ConfigError, match="is not the file that this recipe was made with"):
            restore_job(store.get(run))


@pytest.mark.slow
def test_a_trained_extractor_beats_one_that_is_not(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'edgelearn[torch]'")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    nn, digits = torch.nn, datasets.load("digits")
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    x, y = torch.from_numpy(digits.x_train).reshape(-1, 1, 8, 8), torch.from_numpy(digits.y_train)
    (tmp_path / "own.toml").write_text(
        RECIPE.replace("net.onnx", "net.pt2").replace("[12]", "[16]").replace("0.0625", "0.03125")
    )
    found = {}
    for trained in (False, True):
        if trained:
            adam = torch.optim.Adam(net.train().parameters(), 2e-3)
            for _ in range(15):
                for batch in torch.randperm(len(x)).split(32):
                    loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
                    adam.zero_grad()
                    loss.backward()
                    adam.step()
        torch.export.save(torch.export.export(net.eval(), (x[:1],)), tmp_path / "net.pt2")
        with el.connect("sim") as board:
            found[trained] = board.train(tmp_path / "own.toml", epochs=6).accuracy
    assert found[True] > found[False] + 0.05
    assert found[True] > 0.93


def test_a_learning_block_may_be_a_convolution(recipe: Path) -> None:
    """On the map that the features are, where they were not flattened."""
    layer = Layer("conv", 5, 3, 1, 1)
    job = prepare(changed(recipe, ("layers = [12]", "upto = 1\nlayers = [{ conv = 5 }, 12]")), steps=10)
    assert job.compiled.net.learning == (layer, dense(12))
    assert job.compiled.net.stack[1].kind == "pool"
