"""The plan's layout: the one definition that the encoder uses and ``firmware/gen/el_plan.h`` is generated from.

A plan is: header | drops u32[] | slots | tensors | inits | ops of infer | ops of learn | TLVs | crc32 u32. All little-endian, every
section a multiple of four bytes, no pointers: an op names tensors by index, a tensor names a region and an offset. That is the only
indirection, and there are no sentinel indices. docs/plan.md describes it for readers of bytes.
"""

from __future__ import annotations

import struct

MAGIC = 0x31504C45  # "ELP1"
VERSION = 0x0100  # major, minor

# name, struct letter; the offset of each is generated
HEADER = (
    ("magic", "I"), ("version", "H"), ("header_bytes", "H"), ("total_bytes", "I"), ("board", "I"),
    ("dtype", "B"), ("n_drops", "B"), ("n_slots", "B"), ("n_tensors", "B"), ("n_inits", "B"), ("flags", "B"), ("classes", "H"),
    ("n_infer", "H"), ("n_learn", "H"), ("state_bytes", "I"), ("arena_bytes", "I"), ("meta", "I"),
    ("input", "B"), ("label", "B"), ("guess", "B"), ("output", "B"), ("rescale_every", "H"), ("halve_every", "H"), ("tlv_bytes", "I"),
)  # fmt: skip
SLOT = (("kind", "B"), ("start", "b"), ("bits", "B"), ("tensor", "B"), ("elems", "H"), ("pad", "H"))
TENSOR = (
    ("off", "I"), ("rows", "H"), ("cols", "H"), ("region", "B"), ("dtype", "B"), ("exp", "b"), ("slot0", "B"), ("slot1", "B"),
    ("pad0", "B"), ("pad1", "H"),
)  # fmt: skip
INIT = (("tensor", "B"), ("kind", "B"), ("shift", "B"), ("stream", "B"), ("scale", "I"))
OP = (
    ("kernel", "B"), ("flags", "B"), ("k", "b"), ("id", "B"), ("a0", "B"), ("a1", "B"), ("a2", "B"), ("a3", "B"), ("imm", "i"),
)  # fmt: skip

RECORDS = {"header": HEADER, "slot": SLOT, "tensor": TENSOR, "init": INIT, "op": OP}
STRUCTS = {name: struct.Struct("<" + "".join(letter for _, letter in fields)) for name, fields in RECORDS.items()}

DTYPE_INT8, DTYPE_F32 = 1, 2
PLAN_DTYPES = {"int8": DTYPE_INT8, "f32": DTYPE_F32}
TENSOR_DTYPES = {"i8": 0, "i16": 1, "i32": 2, "f32": 3}
REGIONS = {"arena": 0, "state": 1}
SLOT_KINDS = {"constant": 0, "weight": 1, "moving": 2, "computed": 3}
INIT_KINDS = {"zeros": 0, "normal": 1}
FLAG_GUESS = 1  # learn says what it would have answered
OP_RELU, OP_NEGATIVE = 1, 2
OP_ARGS_SHIFT = 4  # the upper four bits of an op's flags count its operands

# Kernels: what each reads and writes. An argument is dtypes:shape:access. Dtypes are letters, b=i8 h=i16 w=i32 f=f32. Shape is m (rows r,
# cols c), r or c (a vector of that length) or 1 (one element). Access is r (arena, read), o (arena, written), s (state, read),
# u (state, updated) or x (either, read).
# Codes are part of the format: append only.
KERNELS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("affine", 1, ("b:m:s", "b:c:r", "h:r:s", "bhw:r:o")),
    ("matvec", 2, ("b:m:s", "b:c:r", "bhw:r:o")),
    ("matvec_t", 3, ("b:m:s", "h:r:r", "bhw:c:o")),
    ("matvec_t_mask", 4, ("b:m:s", "h:r:r", "b:c:r", "bhw:c:o")),
    ("add", 5, ("bhw:c:x", "bhw:c:x", "w:c:o")),
    ("sub", 6, ("bhw:c:x", "bhw:c:x", "w:c:o")),
    ("mul", 7, ("bh:c:x", "bh:c:x", "bhw:c:o")),
    ("scale", 8, ("bh:c:x", "bhw:c:o")),
    ("relu", 9, ("bhw:c:x", "bhw:c:o")),
    ("abs", 10, ("bhw:c:x", "bhw:c:o")),
    ("sign", 11, ("bhw:c:x", "h:c:o")),
    ("gt0", 12, ("bhw:c:x", "h:c:o")),
    ("mask", 13, ("bhw:c:x", "b:c:r", "bhw:c:o")),
    ("softmax", 14, ("bhw:c:r", "h:c:o")),
    ("one_hot", 15, ("w:1:r", "w:c:o")),
    ("sub_one_hot", 16, ("h:c:r", "w:1:r", "h:c:o")),
    ("gate", 17, ("bhw:c:r", "bhw:c:o")),
    ("quant", 18, ("hw:c:x", "bh:c:o")),
    ("argmax", 19, ("bhw:c:r", "w:1:o")),
    ("outer_update", 20, ("b:m:u", "h:r:r", "b:c:r")),
    ("vec_update", 21, ("bh:c:u", "bh:c:x")),
    ("affine_f32", 33, ("f:m:s", "f:c:r", "f:r:s", "f:r:o")),
    ("matvec_f32", 34, ("f:m:s", "f:c:r", "f:r:o")),
    ("matvec_t_f32", 35, ("f:m:s", "f:r:r", "f:c:o")),
    ("matvec_t_mask_f32", 36, ("f:m:s", "f:r:r", "f:c:r", "f:c:o")),
    ("add_f32", 37, ("f:c:x", "f:c:x", "f:c:o")),
    ("sub_f32", 38, ("f:c:x", "f:c:x", "f:c:o")),
    ("mul_f32", 39, ("f:c:x", "f:c:x", "f:c:o")),
    ("scale_f32", 40, ("f:c:x", "f:c:o")),
    ("relu_f32", 41, ("f:c:x", "f:c:o")),
    ("abs_f32", 42, ("f:c:x", "f:c:o")),
    ("sign_f32", 43, ("f:c:x", "f:c:o")),
    ("gt0_f32", 44, ("f:c:x", "f:c:o")),
    ("mask_f32", 45, ("f:c:x", "f:c:r", "f:c:o")),
    ("softmax_f32", 46, ("f:c:r", "f:c:o")),
    ("one_hot_f32", 47, ("w:1:r", "f:c:o")),
    ("sub_one_hot_f32", 48, ("f:c:r", "w:1:r", "f:c:o")),
    ("gate_f32", 49, ("f:c:r", "f:c:o")),
    ("argmax_f32", 51, ("f:c:r", "w:1:o")),
    ("outer_update_f32", 52, ("f:m:u", "f:r:r", "f:c:r")),
    ("vec_update_f32", 53, ("f:c:u", "f:c:x")),
)  # fmt: skip
KERNEL_CODES = {name: code for name, code, _ in KERNELS}
KERNEL_ARGS = {name: args for name, _, args in KERNELS}


def offsets(record: str) -> dict[str, int]:
    """Byte offset of each field of a record."""
    at, found = 0, {}
    for name, letter in RECORDS[record]:
        found[name] = at
        at += struct.calcsize("<" + letter)
    return found
