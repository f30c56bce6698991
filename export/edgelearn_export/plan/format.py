"""The plan's layout: the one definition that the encoder uses and ``firmware/gen/el_plan.h`` is generated from.

A plan is: header | drops u32[] | slots | tensors | inits | ops of infer | ops of learn | TLVs | crc32 u32. All little-endian, every
section a multiple of four bytes, no pointers: an op names tensors by index, a tensor names a region and an offset. That is the only
indirection, and there are no sentinel indices. docs/plan.md describes it for readers of bytes.
"""

from __future__ import annotations

import struct

MAGIC = 0x31504C45  # "ELP1"
VERSION = 0x0101  # major, minor

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
    ("geo", "B"), ("width", "H"),
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
GEO_PAD_SHIFT = 4  # the upper four bits of a kernel's geometry are its pad, the lower four its stride
GEO_MAX = 15

# Kernels: what each reads and writes. An argument is dtypes:shape:access. Dtypes are letters, b=i8 h=i16 w=i32 f=f32. Access is r (arena,
# read), o (arena, written), s (state, read), u (state, updated) or x (either, read). Shapes count elements, so that a map may stand where
# a vector does:
#   m  a matrix of r rows and c columns         k  a convolution's kernel: r rows (out), c columns (width * width * in)
#   r  r elements                               d  a depthwise kernel: r elements, c columns (channels)
#   c  c elements                               i  the map that the kernel reads, or its error
#   v  c elements, or one that goes with each   o  the map that the kernel makes of it, or its error
#   n  c elements, or some times as many        l  a map that is cut into windows (the op's id says how wide; 0: one)
#   1  one element                              p  one element for each window and channel
# Codes are part of the format: append only.
SHAPES = {  # from k on, the shapes of a whole op are compared by firmware/core/plan_shapes.c
    "m": "MATRIX", "r": "ROWS", "c": "COLS", "1": "ONE", "v": "SPREAD", "n": "TIMES", "k": "KERNEL", "d": "DEPTHWISE", "i": "MAP_IN",
    "o": "MAP_OUT", "l": "WINDOWS", "p": "POOLED",
}  # fmt: skip
ACCESS = {"r": "ARENA_IN", "o": "ARENA_OUT", "s": "STATE_IN", "u": "STATE_OUT", "x": "ANY_IN"}
LETTERS = {"i8": "b", "i16": "h", "i32": "w", "f32": "f"}
KERNELS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("affine", 1, ("bh:m:s", "b:c:r", "h:r:s", "bhw:r:o")),
    ("matvec", 2, ("bh:m:s", "b:c:r", "bhw:r:o")),
    ("matvec_t", 3, ("bh:m:s", "h:r:r", "bhw:c:o")),
    ("matvec_t_mask", 4, ("bh:m:s", "h:r:r", "b:c:r", "bhw:c:o")),
    ("add", 5, ("bhw:v:x", "bhw:v:x", "w:c:o")),
    ("sub", 6, ("bhw:v:x", "bhw:v:x", "w:c:o")),
    ("mul", 7, ("bh:v:x", "bh:v:x", "bhw:c:o")),
    ("scale", 8, ("bh:c:x", "bhw:c:o")),
    ("relu", 9, ("bhw:c:x", "bhw:c:o")),
    ("abs", 10, ("bhw:c:x", "bhw:c:o")),
    ("sign", 11, ("bhw:c:x", "h:c:o")),
    ("gt0", 12, ("bhw:c:x", "h:c:o")),
    ("mask", 13, ("bhw:v:x", "b:v:r", "bhw:c:o")),
    ("softmax", 14, ("bhw:c:r", "h:c:o")),
    ("one_hot", 15, ("w:1:r", "w:c:o")),
    ("sub_one_hot", 16, ("h:c:r", "w:1:r", "h:c:o")),
    ("gate", 17, ("bhw:c:r", "bhw:c:o")),
    ("quant", 18, ("hw:c:x", "bh:c:o")),
    ("argmax", 19, ("bhw:c:r", "w:1:o")),
    ("outer_update", 20, ("bh:m:u", "h:r:r", "b:c:r")),
    ("vec_update", 21, ("bh:c:u", "bh:n:x")),
    ("affine_f32", 33, ("f:m:s", "f:c:r", "f:r:s", "f:r:o")),
    ("matvec_f32", 34, ("f:m:s", "f:c:r", "f:r:o")),
    ("matvec_t_f32", 35, ("f:m:s", "f:r:r", "f:c:o")),
    ("matvec_t_mask_f32", 36, ("f:m:s", "f:r:r", "f:c:r", "f:c:o")),
    ("add_f32", 37, ("f:v:x", "f:v:x", "f:c:o")),
    ("sub_f32", 38, ("f:v:x", "f:v:x", "f:c:o")),
    ("mul_f32", 39, ("f:v:x", "f:v:x", "f:c:o")),
    ("scale_f32", 40, ("f:c:x", "f:c:o")),
    ("relu_f32", 41, ("f:c:x", "f:c:o")),
    ("abs_f32", 42, ("f:c:x", "f:c:o")),
    ("sign_f32", 43, ("f:c:x", "f:c:o")),
    ("gt0_f32", 44, ("f:c:x", "f:c:o")),
    ("mask_f32", 45, ("f:v:x", "f:v:r", "f:c:o")),
    ("softmax_f32", 46, ("f:c:r", "f:c:o")),
    ("one_hot_f32", 47, ("w:1:r", "f:c:o")),
    ("sub_one_hot_f32", 48, ("f:c:r", "w:1:r", "f:c:o")),
    ("gate_f32", 49, ("f:c:r", "f:c:o")),
    ("argmax_f32", 51, ("f:c:r", "w:1:o")),
    ("outer_update_f32", 52, ("f:m:u", "f:r:r", "f:c:r")),
    ("vec_update_f32", 53, ("f:c:u", "f:n:x")),
    ("conv", 22, ("bh:k:s", "b:i:r", "bhw:o:o")),
    ("conv_affine", 23, ("bh:k:s", "b:i:r", "h:r:s", "bhw:o:o")),
    ("conv_t", 24, ("bh:k:s", "h:o:r", "bhw:i:o")),
    ("conv_t_mask", 25, ("bh:k:s", "h:o:r", "b:i:r", "bhw:i:o")),
    ("conv_update", 26, ("bh:k:u", "h:o:r", "b:i:r", "w:c:o")),
    ("depthwise", 27, ("bh:d:s", "b:i:r", "bhw:o:o")),
    ("depthwise_affine", 28, ("bh:d:s", "b:i:r", "h:c:s", "bhw:o:o")),
    ("depthwise_t", 29, ("bh:d:s", "h:o:r", "bhw:i:o")),
    ("depthwise_t_mask", 30, ("bh:d:s", "h:o:r", "b:i:r", "bhw:i:o")),
    ("depthwise_update", 31, ("bh:d:u", "h:o:r", "b:i:r", "w:r:o")),
    ("pool", 32, ("b:l:r", "bhw:p:o")),
    ("maxpool", 54, ("b:l:r", "b:p:o")),
    ("unpool", 55, ("bh:p:r", "bhw:l:o")),
    ("decay_update", 56, ("bh:m:u",)),
    ("conv_f32", 57, ("f:k:s", "f:i:r", "f:o:o")),
    ("conv_affine_f32", 58, ("f:k:s", "f:i:r", "f:r:s", "f:o:o")),
    ("conv_t_f32", 59, ("f:k:s", "f:o:r", "f:i:o")),
    ("conv_t_mask_f32", 60, ("f:k:s", "f:o:r", "f:i:r", "f:i:o")),
    ("conv_update_f32", 61, ("f:k:u", "f:o:r", "f:i:r")),
    ("depthwise_f32", 62, ("f:d:s", "f:i:r", "f:o:o")),
    ("depthwise_affine_f32", 63, ("f:d:s", "f:i:r", "f:c:s", "f:o:o")),
    ("depthwise_t_f32", 64, ("f:d:s", "f:o:r", "f:i:o")),
    ("depthwise_t_mask_f32", 65, ("f:d:s", "f:o:r", "f:i:r", "f:i:o")),
    ("depthwise_update_f32", 66, ("f:d:u", "f:o:r", "f:i:r")),
    ("pool_f32", 67, ("f:l:r", "f:p:o")),
    ("maxpool_f32", 68, ("f:l:r", "f:p:o")),
    ("unpool_f32", 69, ("f:p:r", "f:l:o")),
    ("decay_update_f32", 70, ("f:m:u",)),
    ("tanh", 71, ("bhw:c:x", "h:c:o")),
    ("sigmoid", 72, ("bhw:c:x", "h:c:o")),
    ("exp", 73, ("bhw:c:x", "h:c:o")),
    ("log", 74, ("bhw:c:x", "h:c:o")),
    ("sqrt", 75, ("bhw:c:x", "h:c:o")),
    ("rsqrt", 76, ("bhw:c:x", "h:c:o")),
    ("recip", 77, ("bhw:c:x", "h:c:o")),
    ("rms_norm", 78, ("b:c:x", "h:c:o")),
    ("sum", 79, ("bh:c:x", "bhw:1:o")),
    ("mean", 80, ("bh:c:x", "bhw:1:o")),
    ("max", 81, ("bhw:c:x", "bhw:1:o")),
    ("dot", 82, ("b:c:x", "b:c:x", "bhw:1:o")),
    ("const", 83, ("w:c:o",)),
    ("minimum", 84, ("bhw:v:x", "bhw:v:x", "w:c:o")),
    ("maximum", 85, ("bhw:v:x", "bhw:v:x", "w:c:o")),
    ("where", 86, ("bhw:v:x", "bhw:v:x", "bhw:v:x", "w:c:o")),
    ("clip", 87, ("bhw:c:x", "bhw:v:x", "bhw:v:x", "bhw:c:o")),
    ("leaky_relu", 88, ("bhw:c:x", "bhw:c:o")),
    ("overlay", 89, ("bhw:c:x", "bhw:r:x", "bhw:c:o")),
    ("slice", 90, ("bhw:r:x", "bhw:c:o")),
    ("noise", 91, ("h:c:o",)),
    ("sample", 92, ("bh:c:x", "w:1:o")),
    ("signs", 93, ("bh:r:x", "bhw:c:o")),
    ("tanh_f32", 94, ("f:c:x", "f:c:o")),
    ("sigmoid_f32", 95, ("f:c:x", "f:c:o")),
    ("exp_f32", 96, ("f:c:x", "f:c:o")),
    ("log_f32", 97, ("f:c:x", "f:c:o")),
    ("sqrt_f32", 98, ("f:c:x", "f:c:o")),
    ("rsqrt_f32", 99, ("f:c:x", "f:c:o")),
    ("recip_f32", 100, ("f:c:x", "f:c:o")),
    ("rms_norm_f32", 101, ("f:c:x", "f:c:o")),
    ("sum_f32", 102, ("f:c:x", "f:1:o")),
    ("mean_f32", 103, ("f:c:x", "f:1:o")),
    ("max_f32", 104, ("f:c:x", "f:1:o")),
    ("dot_f32", 105, ("f:c:x", "f:c:x", "f:1:o")),
    ("const_f32", 106, ("f:c:o",)),
    ("minimum_f32", 107, ("f:v:x", "f:v:x", "f:c:o")),
    ("maximum_f32", 108, ("f:v:x", "f:v:x", "f:c:o")),
    ("where_f32", 109, ("f:v:x", "f:v:x", "f:v:x", "f:c:o")),
    ("clip_f32", 110, ("f:c:x", "f:v:x", "f:v:x", "f:c:o")),
    ("leaky_relu_f32", 111, ("f:c:x", "f:c:o")),
    ("overlay_f32", 112, ("f:c:x", "f:r:x", "f:c:o")),
    ("slice_f32", 113, ("f:r:x", "f:c:o")),
    ("noise_f32", 114, ("f:c:o",)),
    ("sample_f32", 115, ("f:c:x", "w:1:o")),
    ("signs_f32", 116, ("f:r:x", "f:c:o")),
    ("conv_update_open", 117, ("bh:k:u", "h:r:r", "b:o:r", "b:i:r")),
    ("depthwise_update_open", 118, ("bh:d:u", "h:c:r", "b:o:r", "b:i:r")),
    ("vec_update_open", 119, ("bh:c:u", "h:c:r", "b:n:r")),
)  # fmt: skip
KERNEL_CODES = {name: code for name, code, _ in KERNELS}
KERNEL_ARGS = {name: args for name, _, args in KERNELS}

# Kernels that do more than most plans need have two C functions: el_k_NAME for these operands, el_k_NAME_any for all that KERNELS says.
# A compiled-in plan takes the first where it can: it is smaller.
COMMON_ARGS: dict[str, tuple[str, ...]] = {
    "affine": ("b:m:s", "b:c:r", "h:r:s", "bhw:r:o"),
    "matvec": ("b:m:s", "b:c:r", "bhw:r:o"),
    "matvec_t": ("b:m:s", "h:r:r", "bhw:c:o"),
    "matvec_t_mask": ("b:m:s", "h:r:r", "b:c:r", "bhw:c:o"),
    "outer_update": ("b:m:u", "h:r:r", "b:c:r"),
    "vec_update": ("bh:c:u", "bh:c:x"),
}


def c_function(name: str, common: bool = False) -> str:
    return f"el_k_{name}_any" if name in COMMON_ARGS and not common else f"el_k_{name}"


def signature(name: str, common: bool = False) -> str:
    """The row of the C table ``el_signatures`` that tells a board's verifier what the kernel's operands may be."""
    args = (COMMON_ARGS if common else KERNEL_ARGS)[name]
    return f"{{{KERNEL_CODES[name]}, {len(args)}, {{{', '.join(map(_packed, args))}}}}}"


def has_maps(name: str) -> bool:
    """Does the kernel move over a map? Then plan_shapes.c checks its operands."""
    return list(SHAPES).index(KERNEL_ARGS[name][0].split(":")[1]) >= list(SHAPES).index("k")


def _packed(arg: str) -> str:
    """An argument in C: a bit per dtype, then shape and access."""
    letters, shape, access = arg.split(":")
    bits = sum(1 << TENSOR_DTYPES[dtype] for dtype, letter in LETTERS.items() if letter in letters)
    return f"{bits} | EL_{SHAPES[shape]} | EL_{ACCESS[access]}"


def offsets(record: str) -> dict[str, int]:
    """Byte offset of each field of a record."""
    at, found = 0, {}
    for name, letter in RECORDS[record]:
        found[name] = at
        at += struct.calcsize("<" + letter)
    return found
