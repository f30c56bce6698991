"""Small changes to a source, each of which a test should notice: conditions turned round, constants off by one, statements left out.

By tokens for C, by the syntax tree for Python. Not every mutant of C compiles: whoever builds it finds out.
"""

from __future__ import annotations

import ast
import copy
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

TOKEN = re.compile(
    r"(?P<skip>/\*.*?\*/|//[^\n]*|\s+)|(?P<text>\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])+')|(?P<directive>^\#[^\n]*)"
    r"|(?P<number>0[xX][0-9a-fA-F]+[uUlL]*|\d+[uUlL]*)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<mark><<=|>>=|\+\+|--|->|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+*/%&|^~!<>=?:;,.(){}\[\]])",
    re.DOTALL | re.MULTILINE,
)
SWAPS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&", "+": "-", "-": "+", "*": "/",
    "/": "*", "%": "*", "&": "|", "|": "&", "^": "|", "<<": ">>", ">>": "<<", "+=": "-=", "-=": "+=", "^=": "|=", "++": "--",
    "--": "++", "!": "", "~": "",
}  # fmt: skip
UNARY = ("!", "~", "++", "--")
KEYWORDS = ("return", "case", "sizeof", "else")  # names that a value cannot end with
NO_STATEMENT = (
    "return",
    "case",
    "default",
    "for",
    "if",
    "while",
    "do",
    "switch",
    "else",
    "goto",
    "typedef",
    "static",
    "const",
)


@dataclass(frozen=True)
class Mutant:
    """``where``: line and how manyeth of its kind in it, so that it keeps its name when other lines come and go."""

    file: str
    line: int
    text: str  # of the line
    change: str  # "a -> b"
    number: int
    source: str  # the whole file, changed

    @property
    def key(self) -> str:
        return f"{self.file}: {self.text}: {self.change} #{self.number}"


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    spaced: bool  # does a space follow?

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def is_pointer(self) -> bool:
        """Of a declaration: `type *name`, and not `a * b`."""
        return self.text == "*" and not self.spaced

    @property
    def is_value(self) -> bool:
        """Could an operator between two operands follow?"""
        return self.kind == "number" or (self.kind == "name" and self.text not in KEYWORDS) or self.text in (")", "]")


Change = tuple[int, int, str]  # from, to, what stands there instead


def of_c(file: str, source: str) -> list[Mutant]:
    tokens = [
        _Token(m.lastgroup or "", m[0], m.start(), source[m.end() : m.end() + 1] == " ")
        for m in TOKEN.finditer(source)
        if m.lastgroup != "skip"
    ]
    changes = {
        *_operators(tokens),
        *_numbers(tokens),
        *_conditions(tokens, source),
        *_returns(tokens),
        *_statements(tokens),
    }
    return _named(file, source, sorted(changes))


def _named(file: str, source: str, changes: list[Change]) -> list[Mutant]:
    found: list[Mutant] = []
    seen: dict[tuple[str, str], int] = {}
    sources = {source}
    for start, end, new in changes:
        changed = source[:start] + new + source[end:]
        if changed in sources:
            continue
        sources.add(changed)
        line = source.count("\n", 0, start)
        text, change = source.split("\n")[line].strip(), f"{_short(source[start:end])} -> {_short(new)}"
        number = seen[text, change] = seen.get((text, change), 0) + 1
        found.append(Mutant(file, line + 1, text, change, number, changed))
    return found


def _short(text: str) -> str:
    return re.sub(r"\s+", " ", text) or "nothing"


def _operators(tokens: list[_Token]) -> Iterator[Change]:
    for before, token in itertools.pairwise(tokens):
        operand = token.text in UNARY or before.is_value
        if token.kind == "mark" and token.text in SWAPS and operand and not token.is_pointer:
            yield token.start, token.end, SWAPS[token.text]


def _numbers(tokens: list[_Token]) -> Iterator[Change]:
    for token in tokens:
        within = (
            re.finditer(r"(?<!\w)(?:0[xX][0-9a-fA-F]+|\d+)", token.text)
            if token.kind in ("directive", "number")
            else ()
        )
        if token.kind == "directive" and not token.text.startswith("#define"):
            continue
        for digits in within:
            value, start = int(digits[0], 0), token.start + digits.start()
            yield start, start + len(digits[0]), str(value + 1)
            if value:
                yield start, start + len(digits[0]), str(value - 1)


def _closing(tokens: list[_Token], opening: int) -> int:
    depth = 0
    for i in range(opening, len(tokens)):
        depth += (tokens[i].text == "(") - (tokens[i].text == ")")
        if depth == 0:
            return i
    raise ValueError("a bracket stays open")


def _conditions(tokens: list[_Token], source: str) -> Iterator[Change]:
    for i, token in enumerate(tokens):
        if token.text in ("if", "while") and token.kind == "name":
            start, end = tokens[i + 1].end, tokens[_closing(tokens, i + 1)].start
            yield start, end, "0" if token.text == "while" else f"!({source[start:end]})"


def _returns(tokens: list[_Token]) -> Iterator[Change]:
    for i, token in enumerate(tokens):
        if token.text != "return" or token.kind != "name":
            continue
        end = next(each.start for each in tokens[i:] if each.text == ";")
        start, value = tokens[i + 1].start, tokens[i + 1].text
        yield start, end, "-1" if end == start or (value == "EL_OK" and tokens[i + 2].text == ";") else "0"


def _statements(tokens: list[_Token]) -> Iterator[Change]:
    """Calls and assignments that stand alone, `break` and `continue`."""
    heads = [
        i for i, token in enumerate(tokens) if token.kind == "name" and token.text in ("if", "for", "while", "switch")
    ]
    ends = {_closing(tokens, i + 1) for i in heads}
    for i, token in enumerate(tokens[:-2]):
        if not (token.text in (";", "{", "}", "else", ":") or i in ends):
            continue
        first, second = tokens[i + 1], tokens[i + 2]
        if first.kind not in ("name", "mark") or first.text in (*NO_STATEMENT, ";", "{", "}", ")"):
            continue
        if second.kind == "name" or second.is_pointer:  # a declaration
            continue
        end = next((each for each in tokens[i + 1 :] if each.text in (";", "{", "}")), None)
        if end is not None and end.text == ";":
            yield first.start, end.start, ""


# --- Python


def of_python(file: str, source: str) -> list[Mutant]:
    tree = ast.parse(source)
    found: list[Mutant] = []
    seen: dict[tuple[str, str], int] = {}
    for number, node in enumerate(ast.walk(tree)):
        for change, make in _changes(node):
            changed = copy.deepcopy(tree)
            make(next(each for i, each in enumerate(ast.walk(changed)) if i == number))
            line = getattr(node, "lineno", 1)
            text = source.split("\n")[line - 1].strip()
            count = seen[text, change] = seen.get((text, change), 0) + 1
            found.append(Mutant(file, line, text, change, count, ast.unparse(ast.fix_missing_locations(changed))))
    return found


COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv}
Make = Callable[[ast.AST], None]


def _changes(node: ast.AST) -> Iterator[tuple[str, Make]]:
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if new := COMPARISONS.get(type(op)):
                yield f"{type(op).__name__} -> {new.__name__}", _setter("ops", i, new())
    elif isinstance(node, ast.BinOp | ast.AugAssign) and (other := ARITHMETIC.get(type(node.op))):
        yield f"{type(node.op).__name__} -> {other.__name__}", _setter("op", None, other())
    elif isinstance(node, ast.BoolOp):
        joined = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        yield f"{type(node.op).__name__} -> {type(joined).__name__}", _setter("op", None, joined)
    elif isinstance(node, ast.Constant) and not isinstance(node.value, str):
        yield from _constants(node)
    elif isinstance(node, ast.If | ast.IfExp):
        yield "condition -> not condition", _setter("test", None, ast.UnaryOp(ast.Not(), node.test))
    elif (
        isinstance(node, ast.Return)
        and node.value is not None
        and not (isinstance(node.value, ast.Constant) and node.value.value is None)
    ):
        yield "return value -> return None", _setter("value", None, ast.Constant(None))
    if isinstance(node, ast.FunctionDef | ast.If | ast.Try):
        yield from _left_out(node)


def _constants(node: ast.Constant) -> Iterator[tuple[str, Make]]:
    value = node.value
    if isinstance(value, bool):
        yield f"{value} -> {not value}", _setter("value", None, not value)
    elif isinstance(value, int):
        for new in (value + 1, value - 1):
            yield f"{value} -> {new}", _setter("value", None, new)
    elif isinstance(value, bytes) and value:
        yield f"{value!r} -> b''", _setter("value", None, b"")


def _left_out(node: ast.FunctionDef | ast.If | ast.Try) -> Iterator[tuple[str, Make]]:
    for i, statement in enumerate(node.body):
        if isinstance(statement, ast.Assign | ast.AugAssign | ast.Expr | ast.Delete) and not _is_docstring(statement):
            yield f"{_short(ast.unparse(statement))} -> nothing", _setter("body", i, ast.Pass())


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _setter(field: str, index: int | None, new: object) -> Make:
    def make(node: ast.AST) -> None:
        if index is None:
            setattr(node, field, new)
        else:
            getattr(node, field)[index] = new

    return make
