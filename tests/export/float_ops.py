"""Every op of the table in floats, alone: operands, what the table says of them, and the subgraph that TFLite's backends write for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir.core import Attr, Entry, Init, Module, Op, State
from edgelearn.ir.interp import Interpreter
from edgelearn.ir.ops import OPS
from edgelearn.ir.types import Exp, Type
from edgelearn_export.tflite import draws
from edgelearn_export.tflite.builder import Graph, Model
from edgelearn_export.tflite.calc import Calc
from edgelearn_export.tflite.floats import Lowering

Array = NDArray[Any]
Shape = tuple[int, ...]
SEED, STEP, FACTOR = 3, 5, 0.25
TOLERANCE = 1e-5
AT_ONCE = 40  # ops in a file

V, M, S = (12,), (2, 2, 3), (1,)  # a vector, a map with as many numbers, a scalar
TWO: list[list[Shape]] = [[V, V], [V, S], [S, V], [M, M], [M, V], [V, M], [M, S], [S, S]]
UPDATE: dict[str, Attr] = {"id": 0, "rate": 0.5, "sign": -1}
FUNCTIONS = (
    "relu", "abs", "sign", "gt0", "softmax", "quant", "argmax", "sum", "mean", "max", "rms_norm", "tanh", "sigmoid", "exp", "log", "sqrt",
    "rsqrt", "recip",
)  # fmt: skip
GEOMETRY: tuple[tuple[int, int], ...] = ((1, 1), (1, 0), (1, 2), (2, 1), (2, 0), (3, 2))  # stride, pad
SIZES: tuple[tuple[int, int, int], ...] = ((5, 6, 3), (7, 4, 1), (8, 8, 4), (9, 7, 2))  # height, width, kernel


@dataclass(frozen=True)
class Case:
    """An op on operands of ``shapes``."""

    name: str
    shapes: tuple[Shape, ...]
    attrs: tuple[tuple[str, Attr], ...] = ()

    def __str__(self) -> str:
        words = [self.name, *("x".join(map(str, s)) for s in self.shapes), *(f"{k}={v}" for k, v in self.attrs)]
        return " ".join(words)

    @property
    def types(self) -> dict[str, Type]:
        """Of the operands: ``@N`` where the op reads a state as it is."""
        found = {}
        for i, (role, shape) in enumerate(zip(OPS[self.name].roles, self.shapes, strict=False)):
            dtype, exp = ("i32", Exp()) if role == "label" else ("f32", None)
            found[f"{'@' if role in ('W', 'b') else '%'}{i}"] = Type(dtype, shape, exp)
        return found

    @property
    def op(self) -> Op:
        bare = Op(self.name, tuple(self.types)).with_attrs(**dict(self.attrs))
        row = OPS[self.name]
        if row.update:
            return bare
        shape, whole = row.shape(list(self.shapes), bare), self.name in ("argmax", "sample")
        return Op(
            bare.name, bare.args, bare.attrs, "%result", Type("i32", shape, Exp()) if whole else Type("f32", shape)
        )

    @cached_property
    def module(self) -> Module:
        params = tuple((n, t) for n, t in self.types.items() if n.startswith("%"))
        states = tuple(State(n, t, Init("zeros")) for n, t in self.types.items() if n.startswith("@"))
        entry = Entry("learn", params, (self.op,), None if OPS[self.name].update else "%result")
        return Module("op", (("classes", 7), ("drops", ""), ("dtype", "f32")), states, (entry,))

    @cached_property
    def operands(self) -> dict[str, Array]:
        """Now and then a zero and a large number; some pairs of equals, so that choices meet their limits."""
        draw = np.random.default_rng(len(str(self)))
        made: dict[str, Array] = {}
        for name, type in self.types.items():
            if type.is_int:
                made[name] = draw.integers(0, 7, type.shape, dtype=np.int32)
                continue
            v = draw.standard_normal(type.shape).astype(np.float32)
            v[draw.random(type.shape) < 0.1] = 0
            v[draw.random(type.shape) < 0.1] *= 50
            made[name] = v
        return made

    def expected(self) -> Array:
        """What the interpreter makes of them; an update's rate is halved twice."""
        net = Interpreter(self.module.with_attrs(drops=f"{STEP - 1} {STEP}"), SEED, STEP)
        net.state = {name: v for name, v in self.operands.items() if name.startswith("@")}
        entry = self.module.entry("learn")
        result = net._run(entry, [self.operands[name] for name, _ in entry.params], count=False)
        return np.asarray(net.state["@0"] if result is None else result)

    def write(self, graph: Graph, prefix: str = "") -> dict[str, Array]:
        """The op's subgraph, with one output; returns what its inputs are to be given."""
        calc, values, given = Calc(graph), {}, {}
        entry = self.module.entry("learn")
        for name, type in entry.params:
            shape = type.shape if type.is_int else (1, *type.shape)
            values[name] = graph.input(f"{prefix}{name}", type.dtype, shape)
            given[f"{prefix}{name}"] = self.operands[name].reshape(shape)
        rate = graph.input(f"{prefix}rate", "f32", (1,))
        given[f"{prefix}rate"] = np.array([FACTOR], np.float32)

        def read(calc: Calc, name: str) -> int:
            """A state is an input here: constants might be folded."""
            given[f"{prefix}{name}"] = self.operands[name]
            return graph.input(f"{prefix}{name}", "f32", self.types[name].shape)

        lowering = Lowering(calc, self.module, entry, SEED, read, rate, values, prefix=prefix)
        lowering.run()
        given.update({f"{prefix}{name}": v for name, v in draws.drawn(entry, SEED, STEP).items()})
        result = lowering.current["@0"] if entry.result is None else lowering.values["%result"]
        # An output of its own: an op may give back an input as it is, or a constant.
        shape = graph.shape(result)
        graph.output(
            graph.op("RESHAPE", [result], graph.dtype(result), shape, newShape=np.array(shape, np.int32)),
            f"{prefix}out",
        )
        return given


def together(cases: list[Case]) -> tuple[Model, Graph, dict[str, Array]]:
    """A file with a subgraph of all of them, and its inputs. One for each op would take minutes."""
    model, given = Model("ops"), {}
    graph = model.graph("main")
    for i, case in enumerate(cases):
        given.update(case.write(graph, f"{i}/"))
    model.signature("main", graph)
    return model, graph, given


def compare(cases: list[Case], found: dict[str, Array]) -> None:
    """What a file of ``cases`` gave, and what the interpreter says."""
    for i, case in enumerate(cases):
        assert difference(found[f"{i}/out"], case.expected()) <= TOLERANCE, str(case)


def difference(found: Array, expected: Array) -> float:
    """The largest; relative to the largest number, if that is above 1: sums of large terms of both signs lose as much."""
    assert found.size == expected.size
    e = expected.reshape(-1).astype(np.float64)
    return float(np.abs(found.reshape(-1) - e).max() / max(1.0, np.abs(e).max()))


def _reach(n: int, k: int, stride: int, pad: int) -> int:
    return (n + 2 * pad - k) // stride + 1


def _case(name: str, *shapes: Shape, **attrs: Attr) -> Case:
    return Case(name, shapes, tuple(attrs.items()))


def _convolutions() -> list[Case]:
    cases: list[Case] = []
    for stride, pad in GEOMETRY:
        for h, w, k in SIZES:
            g: dict[str, Attr] = {"stride": stride, "pad": pad}
            out = _reach(h, k, stride, pad), _reach(w, k, stride, pad)
            for name, W, c in (("conv", (4, k, k, 3), 4), ("depthwise", (k, k, 3), 3)):
                x, d = (h, w, 3), (*out, c)
                back: dict[str, Attr] = {**g, "shape": f"{h}x{w}x3"}
                cases += [
                    _case(name, W, x, **g), _case(f"{name}_affine", W, x, (c,), **g), _case(f"{name}_affine", W, x, (c,), relu=1, **g),
                    _case(f"{name}_t", W, d, **back), _case(f"{name}_t_mask", W, d, x, **back),
                    _case(f"{name}_update", W, d, x, **UPDATE, **g), _case(f"{name}_update_open", W, (c,), d, x, **UPDATE, **g),
                ]  # fmt: skip
    return cases


CASES: list[Case] = [
    *(_case(name, *shapes) for name in ("add", "sub", "mul", "minimum", "maximum", "mask") for shapes in TWO),
    _case("add", (4, 5, 3), (3,)), _case("add", (3,), (4, 5, 3)),
    *(_case(name, shape) for name in FUNCTIONS for shape in (V, M, S)),
    *(_case("sign", shape, dead=0.5) for shape in (V, M)),
    *(_case("scale", shape, k=-0.3) for shape in (V, M)),
    *(_case("gate", shape, threshold=t) for shape in (V, M, (3,)) for t in (0.5, 60)),
    *(_case("leaky_relu", shape, slope_log2=-3) for shape in (V, M)),
    *(_case("where", *shapes) for shapes in ([V, V, V], [S, V, V], [V, S, M], [M, V, S])),
    *(_case("clip", *shapes) for shapes in ([V, S, S], [M, V, S], [V, V, V])),
    _case("dot", V, V), _case("dot", M, V),
    _case("const", value=-0.75, size=1), _case("const", value=2.5, size=4),
    _case("overlay", V, (3,)), _case("overlay", M, V), _case("overlay", M, (5,)),
    *(_case("slice", shape, start=3, size=4) for shape in (V, M)), _case("slice", V, start=0, size=12),
    _case("one_hot", S, classes=7), _case("sub_one_hot", (7,), S),
    *(_case("noise", id=2, kind=kind, shape=shape) for kind in ("normal", "uniform") for shape in ("9", "2x3x2")),
    *(_case("sample", shape, id=i) for shape in ((7,), (1,), (40,)) for i in (1, 2, 3)),
    *(_case("signs", shape, rows=40, stream=6) for shape in (V, M, (33,))),
    _case("matvec", (4, 12), V), _case("matvec", (4, 12), M),
    *(_case("affine", (4, 12), x, (4,), relu=relu) for x in (V, M) for relu in (0, 1)),
    _case("matvec_t", (4, 12), (4,)), _case("matvec_t", (4, 12), (4,), shape="2x2x3"),
    _case("matvec_t_mask", (4, 12), (4,), V), _case("matvec_t_mask", (4, 12), (4,), M, shape="2x2x3"),
    _case("matvec_t_mask", (4, 12), (4,), V, shape="2x2x3"),
    _case("outer_update", (4, 12), (4,), V, **UPDATE), _case("outer_update", (4, 12), (4,), M, **UPDATE),
    _case("outer_update", (12, 4), M, (4,), **UPDATE),
    _case("vec_update", (5,), (5,), **UPDATE), _case("vec_update", (3,), (4, 2, 3), **UPDATE), _case("vec_update", S, S, **UPDATE),
    _case("vec_update_open", (3,), (3,), (4, 2, 3), **UPDATE), _case("update", (5,), (5,), id=0), _case("update", (3,), (4, 2, 3), id=0),
    _case("decay_update", (4, 12), **UPDATE), _case("decay_update", (3, 2, 2, 3), **UPDATE),
    *_convolutions(),
    *(_case(name, (6, 12, 3), size=size) for name in ("pool", "maxpool") for size in (2, 3)),
    *(_case(name, (4, 6, 3), size=0, count=24) for name in ("pool", "maxpool")),
    *(_case("unpool", shape, size=2, shape="4x6x3") for shape in ((2, 3, 3), (18,))),
    _case("unpool", (3,), size=0, count=24, shape="4x6x3"),
]  # fmt: skip
