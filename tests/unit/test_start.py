"""Learnt weights for another run: what fits, what starts anew, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn import layout, start, state
from edgelearn.errors import ConfigError, EdgeLearnError
from edgelearn.ir.core import Module
from edgelearn.ir.expressions import meanings
from edgelearn.ir.interp import Interpreter
from edgelearn.job import prepare
from edgelearn.layout import Layout
from edgelearn.nets import Net, blocks_of
from edgelearn.recipe import Recipe, parse
from edgelearn.rules import find
from edgelearn.start import Start, first_state, fit, of_values
from edgelearn.tracing import trace_module
from tests.factory import X, Y, compiled


def learnt(module: Module, steps: int = 300, x: Any = None) -> Start:
    """What the interpreter has learnt."""
    net = Interpreter(module, 1)
    samples = X if x is None else x
    for i in range(steps):
        net.learn(samples[i], int(Y[i]))
    return Start("run old", Layout.of(module), state.encode(net))


@pytest.fixture(scope="module")
def int8() -> Start:
    net = compiled(seed=1)
    return learnt(net.module, x=net.encode(X[:300]))


@pytest.fixture(scope="module")
def f32() -> Start:
    return learnt(compiled(dtype="f32", seed=1).module, 100)


def fitted(begin: Start, layers: tuple[int, ...], classes: int, rule: str = "mono-forward") -> Any:
    net, found = Net(64, layers, classes), find(rule)
    own = [name for spec in blocks_of(net) for name in spec.own_state()]
    return fit(begin, trace_module(found, net, "net").state, own, classes)


# --- what fits --------------------------------------------------------------------------------------------------------------------


def test_the_same_net_takes_all(int8: Start) -> None:
    found, notes = fitted(int8, (32, 32), 10)
    assert notes == ()
    assert found.tensors.keys() == int8.tensors.keys()


def test_a_deeper_net_starts_its_new_blocks_from_the_seed(int8: Start) -> None:
    found, notes = fitted(int8, (32, 32, 16, 8), 10)
    assert notes == ("started from the seed, as new blocks: 2, 3",)
    assert len(found.tensors) == 6


def test_heads_start_anew_where_the_classes_are_others(int8: Start) -> None:
    found, notes = fitted(int8, (32, 32), 12)
    assert notes == ("started anew, for 12 classes instead of 10: b0.M, b1.M",)
    assert set(found.tensors) == {"@b0.W", "@b0.b", "@b1.W", "@b1.b"}


def test_a_head_that_is_no_longer_the_last_is_left_out() -> None:
    begin = learnt(compiled("backprop", dtype="f32").module, 1)
    found, notes = fitted(begin, (32, 32, 32), 10, "backprop")
    assert "not used, for its block is no longer the last: b1.M" in notes
    assert "@b1.M" not in found.tensors


def test_what_the_other_run_did_not_keep_is_noted(int8: Start) -> None:
    few = replace(int8, names=frozenset(int8.tensors) - {"@b0.M"})
    _, notes = fitted(few, (32, 32), 10)
    assert notes == ("started from the seed, for run old has none: b0.M",)


def test_everything_that_does_not_fit_is_in_one_error(int8: Start) -> None:
    with pytest.raises(ConfigError) as caught:
        fitted(int8, (16,), 10)
    for problem in (
        "b0.W is 32x64 there and 16x64 here",
        "b0.M is 10x32 there and 10x16 here",
        "b1.M (10x32) is not in it",
    ):
        assert problem in caught.value.message
    assert "run old" in caught.value.message
    with pytest.raises(ConfigError, match=r"b0\.W is 32x64 there and 10x64 here"):
        fitted(int8, (10, 10), 32)  # widths that happen to be the other's classes


# --- the numbers ------------------------------------------------------------------------------------------------------------------


def test_equal_storage_is_taken_over_bit_for_bit(int8: Start) -> None:
    net = compiled(seed=5)
    found = state.decode(net.module, first_state(net.module, 5, [int8]))
    assert (found.step, found.seed) == (0, 5)
    assert found.exps == int8.snapshot.exps
    assert any(int8.snapshot.exps[slot.name] != slot.start for slot in net.module.slots), "nothing has moved"
    for name, q in found.tensors.items():
        assert np.array_equal(q, int8.tensors[name])


def test_int8_to_float_is_exact_and_back_is_to_nearest(int8: Start) -> None:
    net = compiled(dtype="f32", seed=5)
    raw = first_state(net.module, 5, [int8])
    floats = state.decode(net.module, raw).tensors
    for name, q in int8.tensors.items():
        assert np.array_equal(floats[name], q * 2.0 ** int8.exponent(name))
    back = compiled(seed=5)
    units = state.decode(back.module, first_state(back.module, 5, [Start("floats", Layout.of(net.module), raw)]))
    for s in back.module.state:
        unit = 2.0 ** units.exps[s.name[1:]]
        limit = (1 << (7 if s.type.dtype == "i8" else 15)) - 1
        error = np.abs(units.tensors[s.name] * unit - np.clip(floats[s.name], -limit * unit, limit * unit))
        assert error.max() <= unit / 2


def test_float_weights_get_the_exponent_of_their_maximum(f32: Start) -> None:
    job = prepare("digits", "sim", f32, steps=20)
    raw = job.state_at(0, None)
    assert raw is not None
    found = state.decode(job.module, raw)
    for name in ("@b0.W", "@b1.W", "@b1.M"):
        largest = np.abs(f32.values[name]).max()
        unit = 2.0 ** found.exps[name[1:]]
        assert 64 * unit < largest <= 128 * unit
        assert np.abs(found.tensors[name] * unit - f32.values[name]).max() <= unit


def test_other_bits_are_rounded_anew(int8: Start) -> None:
    """int16 weights of a convolution's rule hold what int8 held."""
    wide = replace(int8.layout, slots=tuple(replace(s, bits=12) if s.name == "b0.W" else s for s in int8.layout.slots))
    begin = replace(int8, layout=wide)
    net = compiled(seed=5)
    found = state.decode(net.module, first_state(net.module, 5, [begin]))
    assert found.exps["b0.W"] == next(s.start for s in net.module.slots if s.name == "b0.W")
    assert found.exps["b1.W"] == int8.exponent("@b1.W")


def test_later_weights_go_over_earlier_ones(int8: Start) -> None:
    ones = of_values("ones", {"@b0.W": np.ones((32, 64), np.float32)})
    module = compiled(dtype="f32").module
    assert (state.decode(module, first_state(module, 0, [int8, ones])).tensors["@b0.W"] == 1).all()
    both = state.decode(module, first_state(module, 0, [ones, int8])).tensors["@b0.W"]
    assert np.array_equal(both, int8.values["@b0.W"])


def test_without_weights_it_is_the_seeds_own_state() -> None:
    for dtype in ("int8", "f32"):
        module = compiled(dtype=dtype).module
        assert first_state(module, 3, []) == state.encode(Interpreter(module, 3))


def test_a_moving_exponent_goes_with_its_value_and_not_with_its_name() -> None:
    """A frozen block leaves the activations what they are, though the slots after it may be called otherwise."""
    whole = prepare("digits", steps=20).module
    head = prepare("digits", steps=20, freeze=[0]).module
    deeper = prepare(_recipe("[32, 32, 32]"), steps=20).module
    shared = set(meanings(whole).values()) & set(meanings(head).values())
    assert len(shared) >= 2
    assert set(meanings(head).values()) <= set(meanings(whole).values())
    assert set(meanings(whole).values()) <= set(meanings(deeper).values())
    assert len(set(meanings(deeper).values())) == len(meanings(deeper))


def _recipe(layers: str) -> Recipe:
    text = f'[model]\ninput = [8, 8]\nlayers = {layers}\nclasses = 10\n[rule]\nname = "mono-forward"\n[data]\nname = "digits"\n'
    return parse(text, Path("digits.toml"))


def test_weights_of_a_diverged_run_are_refused(f32: Start) -> None:
    raw = bytearray(f32.raw)
    raw[:4] = np.float32(np.nan).tobytes()
    with pytest.raises(ConfigError, match=r"b0\.W has values that are no weights"):
        _ = replace(f32, raw=bytes(raw)).values


# --- bytes and files --------------------------------------------------------------------------------------------------------------


def test_what_a_run_keeps_reads_back(int8: Start, f32: Start) -> None:
    for begin in (int8, f32, of_values("two", {"@b0.W": np.eye(2, dtype=np.float32)})):
        back = start.from_bytes(begin.to_bytes())
        assert (back.origin, back.raw, back.to_bytes()) == (begin.origin, begin.raw, begin.to_bytes())
        assert all(np.array_equal(q, begin.values[name]) for name, q in back.values.items())
        assert back.moving == begin.moving


def test_damage_to_what_a_run_keeps_is_noticed(int8: Start) -> None:
    kept = int8.to_bytes()
    for at in range(0, len(kept), 97):
        raw = bytearray(kept)
        raw[at] ^= 1
        try:
            back = start.from_bytes(bytes(raw))
        except EdgeLearnError:
            continue
        assert back.raw == int8.raw, "the tensors were damaged and nobody noticed"


def exported(folder: Path, begin: Start) -> Path:
    """The files of an export."""
    (folder / "run.state").write_bytes(begin.raw)
    artifact = {"format": "state", "path": "run.state", "sha256": _sha256(begin.raw)}
    manifest = {"schema": "edgelearn.manifest/1", "artifacts": [artifact], **begin.layout.as_dict()}
    (folder / "run.json").write_text(json.dumps(manifest))
    return folder / "run.plan"


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("suffix", start.FILES)
def test_any_file_of_an_export_will_do(int8: Start, tmp_path: Path, suffix: str) -> None:
    found = start.read(exported(tmp_path, int8).with_suffix(suffix))
    assert found.origin == "run.state, step 300"
    assert all(np.array_equal(q, int8.tensors[name]) for name, q in found.tensors.items())


def test_files_that_are_no_weights(int8: Start, tmp_path: Path) -> None:
    plan = exported(tmp_path, int8)
    with pytest.raises(ConfigError, match="Cannot read"):
        start.read(tmp_path / "other.plan")
    manifest = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**manifest, "artifacts": []}))
    with pytest.raises(ConfigError, match="names no state"):
        start.read(plan)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ConfigError, match="no JSON object"):
        start.read(plan)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="no manifest"):
        start.read(plan)
    exported(tmp_path, int8)
    (tmp_path / "run.state").write_bytes(bytes(len(int8.raw)))
    with pytest.raises(ConfigError, match="is not the state"):
        start.read(plan)
    (tmp_path / "run.state").write_bytes(bytes(len(int8.raw) + 1))
    with pytest.raises(ConfigError, match="larger than its manifest allows"):
        start.read(plan)


BAD = [
    ("state", 5),
    ("state", [{"name": "b0.W", "type": "i8[99999999999,99999999999]*2^(b0.W)"}]),
    ("state", [{"name": "../b0.W", "type": "f32[2]"}]),
    ("state", [{"name": "b0.W", "type": "f32[0]"}]),
    ("state", [{"name": "b0.W", "type": "i32[2]*2^(b0.W)"}]),
    ("state", [{"name": "b0.W", "type": "i8[2]*2^(b1.W)"}]),
    ("state", [{"name": "b0.W"}] * 2),
    ("state", [None]),
    ("slots", [{"name": "b0.W", "kind": "weight", "bits": 99}]),
    ("slots", [{"name": "b0.W", "kind": "odd", "bits": 7}]),
    ("slots", [{"name": ["b0.W"], "kind": "weight", "bits": 7}]),
    ("dtype", "int4"),
    ("classes", -1),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_hostile_descriptions(int8: Start, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match="no description of a state"):
        layout.parse({**int8.layout.as_dict(), key: value})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "type", "kind", "bits", "value"]), inner),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["dtype", "classes", "state", "slots"]), _JSON))
def test_any_json_is_a_layout_or_an_error_of_ours(found: dict[str, Any]) -> None:
    try:
        read = layout.parse(found)
    except ConfigError:
        return
    assert layout.parse(read.as_dict()) == read


def test_a_layout_reads_back(int8: Start) -> None:
    back = layout.parse(json.loads(json.dumps(int8.layout.as_dict())))
    assert back.as_dict() == int8.layout.as_dict()
    assert back.decode(int8.raw).exps == int8.snapshot.exps
    assert back.bits == {"@b0.W": 7, "@b0.b": 15, "@b0.M": 7, "@b1.W": 7, "@b1.b": 15, "@b1.M": 7}
