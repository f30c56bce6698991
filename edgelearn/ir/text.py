"""The exact text form of a module: ``parse(print_module(m)) == m``.

module digits {classes=10, dtype="int8"}
slot b0.W weight 0
state @b0.W: i8[32,64]*2^(b0.W) = normal(std=0.17677669529663687, stream=1)
entry learn(%x: i8[64]*2^(-7), %y: i32[1]*2^(0)) {
  %2 = affine(@b0.W, %x, @b0.b) {relu=1}: i8[32]*2^(q2)
  outer_update(@b0.M, %7, %2) {id=3, rate=0.0625}
  return %9
}
place learn %x arena 0
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Attr, Attrs, Entry, Init, Module, Op, Place, Slot, State
from edgelearn.ir.types import Type

_NAME = r"[@%][\w.]+"
_PLAIN_NAME = re.compile(r'(?:[^\s"{]\S*)?')  # what needs no quotes


_ENDS_LINE = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + _ENDS_LINE.sub(lambda end: f"\\u{ord(end[0]):04x}", escaped) + '"'


def _unquoted(text: str) -> str:
    return re.sub(r"\\(u[0-9a-f]{4}|.)", lambda m: chr(int(m[1][1:], 16)) if len(m[1]) > 1 else m[1], text[1:-1])


def _attr_text(value: Attr) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _attrs_text(attrs: Attrs, brackets: str = "{}") -> str:
    if not attrs:
        return ""
    return " " + brackets[0] + ", ".join(f"{k}={_attr_text(v)}" for k, v in attrs) + brackets[1]


def print_op(op: Op) -> str:
    text = f"{op.name}({', '.join(op.args)}){_attrs_text(op.attrs)}"
    return text if op.result is None else f"{op.result} = {text}: {op.type}"


def _entry_lines(entry: Entry) -> Iterator[str]:
    params = ", ".join(f"{n}: {t}" for n, t in entry.params)
    yield f"entry {entry.name}({params}) {{"
    yield from (f"  {print_op(op)}" for op in entry.ops)
    if entry.result is not None:
        yield f"  return {entry.result}"
    yield "}"


def print_module(module: Module) -> str:
    """The module as text, one line each, that ``parse`` reads back exactly."""
    name = module.name if _PLAIN_NAME.fullmatch(module.name) else _quoted(module.name)
    lines = [f"module {name}{_attrs_text(module.attrs)}"]
    lines += [f"slot {s.name} {s.kind} {s.start} {s.bits} {s.elems}" for s in module.slots]
    for s in module.state:
        init = (("std", s.init.std), ("stream", s.init.stream))
        lines.append(f"state {s.name}: {s.type} = {s.init.kind}{_attrs_text(init, '()').strip()}")
    for entry in module.entries:
        lines += _entry_lines(entry)
    lines += [f"place {p.entry} {p.value} {p.region} {p.offset}" for p in module.places]
    return "\n".join(lines) + "\n"


_ATTR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,]+)(?:, )?')


def _parse_attrs(text: str) -> Attrs:
    return tuple((m[1], _parse_attr(m[2])) for m in _ATTR.finditer(text))


def _parse_attr(text: str) -> Attr:
    if text.startswith('"'):
        return _unquoted(text)
    try:
        return int(text)
    except ValueError:
        return float(text)


_OP = re.compile(rf"(?:({_NAME}) = )?(\w+)\(([^)]*)\)(?: \{{(.*)\}})?(?:: (\S+))?")
_STATE = re.compile(rf"state ({_NAME}): (\S+) = (\w+)\((.*)\)")
_ENTRY = re.compile(r"entry (\w+)\((.*)\) \{")
_MODULE = re.compile(r'module(?: ("(?:[^"\\]|\\.)*"|\S*))?(?: \{(.*)\})?')


def _match(pattern: re.Pattern[str], line: str, number: int) -> re.Match[str]:
    match = pattern.fullmatch(line)
    if match is None:
        raise ConfigError(
            f"Line {number} of the module's text makes no sense: {line!r}",
            "Print the module again with `edgelearn show`.",
        )
    return match


def _parse_op(line: str, number: int) -> Op:
    result, name, args, attrs, kind = _match(_OP, line, number).groups()
    names = tuple(a for a in args.split(", ") if a)
    return Op(name, names, _parse_attrs(attrs or ""), result, Type.parse(kind) if kind else None)


def _parse_state(line: str, number: int) -> State:
    name, kind, init, args = _match(_STATE, line, number).groups()
    attrs = dict(_parse_attrs(args))
    return State(name, Type.parse(kind), Init(init, float(attrs["std"]), int(attrs["stream"])))


def _parse_entry(header: str, number: int, rest: Iterator[tuple[int, str]]) -> Entry:
    name, params = _match(_ENTRY, header, number).groups()
    pairs = re.findall(rf"({_NAME}): ([^ ]+?)(?:, (?=%)|$)", params)
    ops: list[Op] = []
    result = None
    for n, line in rest:
        if line == "}":
            return Entry(name, tuple((p, Type.parse(t)) for p, t in pairs), tuple(ops), result)
        if line.startswith("return "):
            result = line[7:]
        else:
            ops.append(_parse_op(line, n))
    raise ConfigError(f"Entry {name} has no end.", "Its last line must be a closing brace.")


def _parse_module(line: str, number: int) -> tuple[str, Attrs]:
    name, attrs = _match(_MODULE, line, number).groups()
    return _unquoted(name) if name and name.startswith('"') else name or "", _parse_attrs(attrs or "")


def parse(text: str) -> Module:
    """Reads what ``print_module`` wrote.

    Raises:
        ConfigError: naming the first line that makes no sense.
    """
    lines = iter([(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()])
    number, first = next(lines, (1, ""))
    state: list[State] = []
    entries: list[Entry] = []
    slots: list[Slot] = []
    places: list[Place] = []
    try:
        name, attrs = _parse_module(first, number)
        for number, line in lines:
            keyword, _, rest = line.partition(" ")
            if keyword == "slot":
                label, kind, *numbers = rest.split()
                slots.append(Slot(label, kind, *map(int, numbers)))
            elif keyword == "state":
                state.append(_parse_state(line, number))
            elif keyword == "place":
                entry, value, region, offset = rest.split()
                places.append(Place(entry, value, region, int(offset)))
            else:
                entries.append(_parse_entry(line, number, lines))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"Line {number} of the module's text makes no sense: {error}", "Print the module again."
        ) from error
    return Module(name, attrs, tuple(state), tuple(entries), tuple(slots), tuple(places))
