"""Builds TFLite models: subgraphs, tensors, ops, variables and signatures, in the schema that ai-edge-litert ships. No TensorFlow."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated
from numpy.typing import NDArray

from edgelearn import __version__
from edgelearn.backends import Signature

schema: Any = schema_py_generated  # its annotations say lists where it takes arrays
FILE_ID = b"TFL3"
SCHEMA_VERSION = 3
SEAL = "edgelearn.sha256"  # metadata: the digest of the file with zeros in the digest's place
DIGEST_BYTES = 32
DATA_ALIGNMENT = 16  # the schema asks for it, the generated writer does not
TYPES = {
    "f32": "FLOAT32", "i8": "INT8", "i16": "INT16", "i32": "INT32", "i64": "INT64", "u8": "UINT8", "bool": "BOOL", "resource": "RESOURCE",
}  # fmt: skip
NAMES = {
    np.dtype(np.float32): "f32", np.dtype(np.int8): "i8", np.dtype(np.int16): "i16", np.dtype(np.int32): "i32", np.dtype(np.int64): "i64",
    np.dtype(np.uint8): "u8", np.dtype(np.bool_): "bool",
}  # fmt: skip
NONE, RELU = 0, 1  # fused activations
SAME, VALID = 0, 1  # padding of convolutions and pools
ABSENT = -1  # an optional input that is left out

# Options of the ops whose own are not called after them.
_OPTIONS = {
    "CONV_2D": "Conv2D", "DEPTHWISE_CONV_2D": "DepthwiseConv2D", "MAX_POOL_2D": "Pool2D", "AVERAGE_POOL_2D": "Pool2D", "SUM": "Reducer",
    "MEAN": "Reducer", "REDUCE_MAX": "Reducer", "REDUCE_MIN": "Reducer", "REDUCE_PROD": "Reducer", "REDUCE_ANY": "Reducer",
    "REDUCE_ALL": "Reducer", "MAXIMUM": "MaximumMinimum", "MINIMUM": "MaximumMinimum", "BATCH_MATMUL": "BatchMatMul", "PADV2": "PadV2",
    "L2_NORMALIZATION": "L2Norm", "TOPK_V2": "TopKV2", "SPACE_TO_BATCH_ND": "SpaceToBatchND", "BATCH_TO_SPACE_ND": "BatchToSpaceND",
}  # fmt: skip
# Ops of which runtimes read options only if there are some.
_PLAIN = ("ADD", "SUB", "MUL", "CAST")


@dataclass(frozen=True)
class Quantization:
    """What one unit of an integer tensor is worth; several scales are those of the slices along ``axis``."""

    scale: float | Sequence[float]
    zero: int = 0
    axis: int = 0


class _Builder(flatbuffers.Builder):
    """Writes equal vectors, strings and tables once, since they are most of what a small file holds, and aligns the data of constants."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[Any, ...], int] = {}

    def once(self, key: tuple[Any, ...], write: Callable[[], int]) -> int:
        """Where what is known by ``key`` lies; written when it is first asked for."""
        if key not in self._written:
            self._written[key] = write()
        return self._written[key]

    def CreateString(self, s: str, encoding: str = "utf-8", errors: str = "strict") -> int:  # noqa: N802 (overridden)
        return self.once(("string", s), lambda: flatbuffers.Builder.CreateString(self, s, encoding, errors))

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802 (overridden)
        if x.dtype == np.uint8:  # data: each has a buffer of its own, for the digest is written into one later
            self.Prep(DATA_ALIGNMENT, x.nbytes)
            return super().CreateNumpyVector(x)
        return self.once((x.dtype, x.tobytes()), lambda: flatbuffers.Builder.CreateNumpyVector(self, x))


def _shared(kind: Any) -> Any:
    """A table that a file holds once for all that are equal: tensors between ops, which have no more than a number, and options."""

    def pack(self: Any, builder: _Builder) -> int:
        return builder.once(_content(self), lambda: kind.Pack(self, builder))

    return type(kind.__name__, (kind,), {"Pack": pack})


def _content(table: Any) -> tuple[Any, ...]:
    """What a table holds, to be compared."""
    parts = (_content(v) if hasattr(v, "Pack") else _plain(v) for v in vars(table).values())
    return type(table).__name__, *parts


def _plain(value: Any) -> Any:
    return (value.dtype, value.tobytes()) if isinstance(value, np.ndarray) else value


_Tensor = _shared(schema.TensorT)


class Model:
    """A file that grows. Equal constants share a buffer, whichever subgraphs they are in."""

    def __init__(self, name: str) -> None:
        self._model = schema.ModelT()
        self._model.version = SCHEMA_VERSION
        self._model.description = f"{name}, written by edgelearn {__version__}"
        self._model.subgraphs, self._model.operatorCodes, self._model.signatureDefs = [], [], []
        self._model.buffers = [schema.BufferT()]  # buffer 0 is what tensors without data refer to
        self._codes: dict[tuple[str, int], int] = {}
        self._buffers: dict[bytes, int] = {}

    def graph(self, name: str) -> Graph:
        """A new subgraph; the first one is what a runtime without signatures runs."""
        made = Graph(self, len(self._model.subgraphs), name)
        self._model.subgraphs.append(made.raw)
        return made

    def signature(self, key: str, graph: Graph) -> None:
        """``graph`` can be called by the name ``key``, its inputs and outputs by theirs."""
        made = schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex = key, graph.index
        made.inputs = [_named(s.name, t) for s, t in zip(graph.inputs, graph.raw.inputs, strict=True)]
        made.outputs = [_named(s.name, t) for s, t in zip(graph.outputs, graph.raw.outputs, strict=True)]
        self._model.signatureDefs.append(made)

    def bytes(self) -> bytes:
        """The file, sealed."""
        self._place_seal()
        builder = _Builder(1 << 16)
        builder.Finish(self._model.Pack(builder), FILE_ID)
        raw = bytearray(builder.Output())
        at = seal_offset(raw)
        raw[at : at + DIGEST_BYTES] = digest(raw, at)
        return bytes(raw)

    def _place_seal(self) -> None:
        if self._model.metadata:
            return
        made, place = schema.MetadataT(), schema.BufferT()
        place.data = np.zeros(DIGEST_BYTES, np.uint8)
        self._model.buffers.append(place)
        made.name, made.buffer = SEAL, len(self._model.buffers) - 1
        self._model.metadata = [made]

    def buffer(self, array: NDArray[Any]) -> int:
        raw = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        if raw not in self._buffers:
            made = schema.BufferT()
            made.data = np.frombuffer(raw, np.uint8)
            self._model.buffers.append(made)
            self._buffers[raw] = len(self._model.buffers) - 1
        return self._buffers[raw]

    def code(self, name: str, version: int) -> int:
        if (name, version) not in self._codes:
            made = schema.OperatorCodeT()
            made.builtinCode, made.version = getattr(schema.BuiltinOperator, name), version
            made.deprecatedBuiltinCode = min(made.builtinCode, 127)  # what readers older than the 128th op look at
            self._model.operatorCodes.append(made)
            self._codes[name, version] = len(self._model.operatorCodes) - 1
        return self._codes[name, version]


class Graph:
    """A subgraph that grows. A tensor is known by its number, which every method returns that makes one.

    A size of ``"B"`` in the shape of an input or output is free: runtimes that resize tensors may have another there than 1.
    """

    def __init__(self, model: Model, index: int, name: str) -> None:
        self.model, self.index, self.name = model, index, name
        self.inputs: list[Signature] = []
        self.outputs: list[Signature] = []
        self.raw = schema.SubGraphT()
        self.raw.name = name
        self.raw.tensors, self.raw.operators, self.raw.inputs, self.raw.outputs = [], [], [], []
        self._types: list[tuple[str, tuple[int, ...]]] = []
        self._constants: dict[tuple[Any, ...], int] = {}
        self._known: dict[int, NDArray[Any]] = {}
        self._handles: dict[str, int] = {}

    # --- tensors ----------------------------------------------------------------------------------------------------------------------

    def input(
        self, name: str, dtype: str, shape: Sequence[int | str], quant: Quantization | float | None = None
    ) -> int:
        made = self.tensor(dtype, shape, quant, name=name)
        self.inputs.append(Signature(name, dtype, tuple(shape), _scale(quant)))
        self.raw.inputs.append(made)
        return made

    def output(
        self, tensor: int, name: str, shape: Sequence[int | str] | None = None, scale: float | None = None
    ) -> None:
        """``tensor`` leaves the graph as ``name``."""
        self.raw.tensors[tensor].name = name
        self.outputs.append(Signature(name, self.dtype(tensor), tuple(shape or self.shape(tensor)), scale))
        self.raw.outputs.append(tensor)

    def constant(self, array: Any, dtype: Any = None, quant: Quantization | float | None = None, name: str = "") -> int:
        """A tensor whose values are in the file; give ``dtype`` (numpy's) where ``array`` is a plain number or list."""
        kept = np.asarray(array, dtype)
        buffer = self.model.buffer(kept)
        key = (buffer, kept.dtype, kept.shape, repr(quant), name)
        if key not in self._constants:
            made = self.tensor(NAMES[kept.dtype], kept.shape, quant, name=name)
            self.raw.tensors[made].buffer = buffer
            self._constants[key], self._known[made] = made, kept
        return self._constants[key]

    def known(self, tensor: int) -> NDArray[Any] | None:
        """The values of a constant."""
        return self._known.get(tensor)

    def tensor(
        self, dtype: str, shape: Sequence[int | str], quant: Quantization | float | None = None, name: str = ""
    ) -> int:
        """A tensor that an op will write; a plain number as ``quant`` is the scale of all of it."""
        made = _Tensor()
        sizes = tuple(1 if isinstance(n, str) else int(n) for n in shape)
        made.name, made.type, made.buffer = name or None, getattr(schema.TensorType, TYPES[dtype]), 0
        made.shape, made.hasRank = np.array(sizes, np.int32), not sizes
        if any(isinstance(n, str) for n in shape):
            made.shapeSignature = np.array([-1 if isinstance(n, str) else n for n in shape], np.int32)
        if quant is not None:
            made.quantization = _quantization(quant)
        self.raw.tensors.append(made)
        self._types.append((dtype, sizes))
        return len(self._types) - 1

    def dtype(self, tensor: int) -> str:
        return self._types[tensor][0]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Its sizes; 1 where they are free."""
        return self._types[tensor][1]

    # --- ops --------------------------------------------------------------------------------------------------------------------------

    def op(
        self, name: str, inputs: Sequence[int], dtype: str, shape: Sequence[int | str],
        quant: Quantization | float | None = None, version: int = 1, **options: Any,
    ) -> int:  # fmt: skip
        """The result of a built-in op with one: ``op("FULLY_CONNECTED", [x, W, b], "f32", [1, 10], fusedActivationFunction=RELU)``."""
        made = self.tensor(dtype, shape, quant)
        self.call(name, inputs, [made], version, **options)
        return made

    def call(self, name: str, inputs: Sequence[int], outputs: Sequence[int], version: int = 1, **options: Any) -> None:
        """A built-in op with any number of results, none included."""
        made = schema.OperatorT()
        made.opcodeIndex = self.model.code(name, version)
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        kind = f"{_OPTIONS.get(name) or _camel(name)}Options"
        made.builtinOptions = _shared(getattr(schema, f"{kind}T"))() if hasattr(schema, f"{kind}T") else None
        for key, value in options.items():
            if not hasattr(made.builtinOptions, key):
                raise AttributeError(f"{name} has no option {key}")
            setattr(made.builtinOptions, key, value)
        if made.builtinOptions is not None and _says(made.builtinOptions, name):
            made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        else:
            made.builtinOptions = None
        self.raw.operators.append(made)

    # --- state ------------------------------------------------------------------------------------------------------------------------

    def call_once(self, init: Graph) -> None:
        """Runs ``init`` if it has not run in this interpreter: the first op of every subgraph that reads or writes variables."""
        self.call("CALL_ONCE", [], [], initSubgraphIndex=init.index)

    def variable(self, name: str) -> int:
        """A handle of the resource variable ``name``, which all subgraphs share."""
        if name not in self._handles:
            self._handles[name] = self.op("VAR_HANDLE", [], "resource", [], sharedName=name)
        return self._handles[name]

    def read(self, handle: int, dtype: str, shape: Sequence[int], quant: Quantization | float | None = None) -> int:
        return self.op("READ_VARIABLE", [handle], dtype, shape, quant)

    def assign(self, handle: int, value: int) -> None:
        self.call("ASSIGN_VARIABLE", [handle, value], [])


# --- seals --------------------------------------------------------------------------------------------------------------------------


def seal_offset(raw: bytes | bytearray) -> int:
    """Where the digest of a file lies.

    Raises:
        ValueError: it has none, or is damaged.
    """
    try:
        model = schema.Model.GetRootAs(raw, 0)
        metadata = [model.Metadata(i) for i in range(model.MetadataLength())]
        found = next(m for m in metadata if m.Name() == SEAL.encode())
        place = model.Buffers(found.Buffer())
        if place.DataLength() != DIGEST_BYTES:
            raise ValueError("the digest has another length")
        return place._tab.Vector(place._tab.Offset(4))
    except (StopIteration, AttributeError, TypeError, IndexError, struct.error) as error:
        raise ValueError("there is no digest") from error


def digest(raw: bytes | bytearray, at: int) -> bytes:
    """Of a file whose digest lies at ``at``."""
    sha256 = hashlib.sha256(raw[:at])
    sha256.update(bytes(DIGEST_BYTES))
    sha256.update(raw[at + DIGEST_BYTES :])
    return sha256.digest()


def is_whole(raw: bytes) -> bool:
    """Whether a file is as it was written."""
    try:
        at = seal_offset(raw)
    except ValueError:
        return False
    return digest(raw, at) == raw[at : at + DIGEST_BYTES]


def _says(options: Any, op: str) -> bool:
    """Is there anything in a table of options that a runtime would not assume without it?"""
    return vars(options) != (vars(type(options)()) if op in _PLAIN else {})


def _camel(name: str) -> str:
    """``FULLY_CONNECTED`` as ``FullyConnected``."""
    return "".join(part.capitalize() for part in name.split("_"))


def _scale(quant: Quantization | float | None) -> float | None:
    scale = quant.scale if isinstance(quant, Quantization) else quant
    return float(scale) if isinstance(scale, int | float) else None


def _quantization(quant: Quantization | float) -> Any:
    given = quant if isinstance(quant, Quantization) else Quantization(quant)
    scales = np.atleast_1d(np.asarray(given.scale, np.float32))
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint = scales, np.full(len(scales), given.zero, np.int64)
    made.quantizedDimension = given.axis
    return made


def _named(name: str, tensor: int) -> Any:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name, tensor
    return made
