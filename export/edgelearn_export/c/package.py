"""A net as source files: the runtime that its plan needs, the plan, what a run has learnt, and one call that opens it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files as packaged

from edgelearn import __version__
from edgelearn.backends import Source
from edgelearn.errors import MissingToolError
from edgelearn.ir.core import Module
from edgelearn.paths import resource
from edgelearn_export.c.sizes import Size
from edgelearn_export.plan import encode
from edgelearn_export.plan.carray import START, c_header, c_source, identifier, kernels, pool_bytes
from edgelearn_export.plan.core import files_for
from edgelearn_export.plan.source import learnt

# Headers of the user's; edgelearn.h includes the last under Arduino's cores.
SHARED = ("include/edgelearn.h", "hal/el_hal.h", START, "core/el_order.h", "arduino/src/el_arduino.h")
GUARD = b"#define EDGELEARN_H\n"
INTEGERS = b"\n#ifndef EL_NO_F32\n#define EL_NO_F32 /* this network computes in integers */\n#endif\n"
# Of an AVR's RAM, what is neither pool nor sample, in a dense int8 net: 271 bytes of variables of the example and the Arduino core, 243 of
# stack, measured in the emulator with gcc 5.4 and arduino-core-avr, and some to spare.
AVR_REST = 560
OPEN = "  return el_open(el, hal, el_app_plan, el_app_plan_bytes, pool, pool_bytes, EL_APP_SEED);"
OPEN_LEARNT = """  int code = el_open(el, hal, el_app_plan, el_app_plan_bytes, pool, pool_bytes, EL_APP_SEED);
  return code ? code : el_start(el, el_app_state, el_app_state_bytes);"""
VALUES = {
    "int8": "typedef int8_t el_app_value; /* a real value times 2^-EL_APP_INPUT_EXP, within +-127 */",
    "f32": "#define EL_APP_IS_FLOAT\ntypedef float el_app_value;",
}
AVR_CHECKS = {
    "int8": """_Static_assert((uint32_t)EL_APP_POOL_BYTES + EL_APP_INPUTS + {rest} <= (uint32_t)RAMEND - RAMSTART + 1,
               "{stem} needs {ram} bytes of RAM, {rest} of them for sketch and stack: more than this chip has");""",
    "f32": '#error "{stem} computes in floats: on AVR export it with --dtype int8"',
}


@dataclass(frozen=True)
class Net:
    """What a package is made of. Its plan is for any board: a package's HAL is the user's."""

    source: Source

    @property
    def module(self) -> Module:
        return self.source.module

    @cached_property
    def plan(self) -> bytes:
        return encode(self.module)

    @cached_property
    def state(self) -> bytes | None:
        return learnt(self.source)

    @property
    def stem(self) -> str:
        """Its name in names of files and of C."""
        return identifier(self.source.name)

    @property
    def inputs(self) -> int:
        return dict(self.module.entry("infer").params)["%x"].size

    @property
    def pool(self) -> int:
        return pool_bytes(self.module.integer("state_bytes"), self.module.integer("arena_bytes"))

    @property
    def avr_ram(self) -> int:
        """What an AVR needs that runs the example."""
        return self.pool + self.inputs + AVR_REST

    def fill(self, template: str, **more: str) -> bytes:
        """A file of ``templates`` with this net's names and numbers."""
        text = packaged("edgelearn_export.c").joinpath("templates", template).read_text()
        words = {
            "STEM": self.stem, "MACRO": self.stem.upper(), "LIBRARY": library_name(self.stem), "VERSION": __version__,
            "SEED": str(self.source.seed), "INPUTS": str(self.inputs), "CLASSES": str(self.module.integer("classes")),
            "DTYPE": self.module.dtype, "POOL": str(self.pool), **more,
        }  # fmt: skip
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        return text.encode()


def library_name(stem: str) -> str:
    """A name as PlatformIO wants it: small letters, digits and single dashes, 50 at most."""
    return "-".join(part for part in ("edgelearn", *stem.lower().split("_")) if part)[:50].rstrip("-")


def sources(net: Net, public: str) -> dict[str, bytes]:
    """Core, kernels, plan and what opens it. Headers for users go into ``public``, the rest into ``src``."""
    found = {f"{public}/{path.split('/')[-1]}": _firmware(path, net) for path in SHARED}
    needed = files_for(kernels(net.plan).items())
    found |= {f"src/{path}": _firmware(path, net) for path in needed if path not in SHARED}
    header = c_header(net.plan, net.module, net.stem, net.state is not None)
    found[f"{public}/{net.stem}_plan.h"] = header.encode()
    found[f"src/core/{net.stem}_plan.c"] = c_source(net.plan, net.module, net.state).encode()
    start = "what the seed makes" if net.state is None else "what a run has learnt"
    found[f"{public}/{net.stem}_net.h"] = net.fill("net.h", VALUE=VALUES[net.module.dtype], START=start)
    avr = AVR_CHECKS[net.module.dtype].format(stem=net.stem, rest=AVR_REST, ram=net.avr_ram)
    found[f"src/core/{net.stem}_net.c"] = net.fill("net.c", AVR=avr, OPEN=OPEN if net.state is None else OPEN_LEARNT)
    return dict(sorted(found.items()))


def _firmware(path: str, net: Net) -> bytes:
    """A file of the runtime. The one that all include says whether there are floats: a library has no flags of its own."""
    raw = (resource("firmware") / path).read_bytes()
    if path != SHARED[0] or net.module.dtype == "f32":
        return raw
    assert GUARD in raw, f"{path} has another guard"
    return raw.replace(GUARD, GUARD + INTEGERS, 1)


def units(files: Mapping[str, bytes]) -> list[str]:
    return [path for path in files if path.endswith(".c")]


def licence() -> bytes:
    """The text of the licence, from the checkout or as it was installed.

    Raises:
        MissingToolError: the installation is incomplete.
    """
    file = resource("firmware").parent / "LICENSE"
    if file.is_file():
        return file.read_bytes()
    try:
        text = distribution("edgelearn").read_text("licenses/LICENSE")
    except PackageNotFoundError:
        text = None
    if text is None:
        raise MissingToolError("This installation of edgelearn lacks its licence.", "Reinstall with: pip install .")
    return text.encode()


def readme(net: Net, kind: str, sizes: list[Size], compiler: str, use: str) -> bytes:
    """What it is, what memory it takes, how to build it."""
    module = net.module
    learnt_bytes = len(net.state or b"")
    rows = [
        f"| RAM, the pool | {net.pool:,} | state {module.integer('state_bytes'):,}, arena {module.integer('arena_bytes'):,} |",
        f"| flash, plan and learnt state | {len(net.plan) + learnt_bytes:,} | {len(net.plan):,} + {learnt_bytes:,} |",
        *(_row(size) for size in sizes),
    ]
    how = (
        f"Linked with {compiler}, -Os: open, infer and learn, no startup code. Not run."
        if sizes
        else "Code: not measured."
    )
    about = f"{net.inputs} values a sample, {module.integer('classes')} classes, {module.dtype}, rule {module.attr('rule', '?')}"
    return "\n".join(
        (
            f"# {net.source.name} {kind}", "", f"A network that learns on the device, made by edgelearn {__version__}: {about}.", "",
            "| bytes | | |", "|---|---|---|", *rows, "", how, "", use.strip("\n"), "",
        )
    ).encode()  # fmt: skip


def _row(size: Size) -> str:
    stack = "unknown" if size.stack is None else f"at most {size.stack:,}"
    return f"| flash, all, {size.core} | {size.flash:,} | static RAM {size.ram:,}, stack {stack} |"
