"""The rulebook's tables are those of the code. ``python -m tests.cli.test_docs_rulebook`` puts the figures in anew."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import edgelearn as el
from edgelearn import boards
from edgelearn.backends import backend
from edgelearn.compiler import Compiled
from edgelearn.errors import ConfigError, DoesNotFitError
from edgelearn.ir.ops import OPS
from edgelearn.layers import from_item
from edgelearn.nets import Net
from edgelearn.passes import budget
from edgelearn.passes.memory import arena_types
from edgelearn.rules import find
from edgelearn.rules.registry import BUILT_IN
from edgelearn.tracing import trace_module
from tests.cli.documents import ROOT, text
from tests.factory import compiled

PAGE = "docs/rulebook.md"
ONE_BLOCK = ("noprop-ct", "noprop-fm")
HEADER = (
    "| rule | state | only to learn | arena | to infer | ten blocks | multiplications to infer | to learn | times |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)
# A head on none of them reads as many numbers as NoProp has hidden units (32 and 64): a matrix with s.out columns is a head.
STACKS: dict[str, list[Any]] = {
    "dense": [16],
    "conv": [{"conv": 3}],
    "depthwise": [{"depthwise": 3, "stride": 2}],
    "pool": [{"conv": 3}, {"pool": 2}],
    "max pool": [{"conv": 3}, {"pool": 2, "mode": "max"}],
    "recurrent": [{"recurrent": 8}],
}


@dataclass(frozen=True)
class Cost:
    """What a rule takes for one sample, in bytes and multiplications."""

    state: int
    only_learning: int
    arena: int
    arena_infer: int
    arena_deep: int | None
    infer: int
    learn: int

    def row(self, rule: str) -> str:
        deep = "" if self.arena_deep is None else f"{self.arena_deep:,}"
        numbers = (self.state, self.only_learning, self.arena, self.arena_infer)
        cells = (*(f"{n:,}" for n in numbers), deep, f"{self.infer:,}", f"{self.learn:,}")
        return f"| `{rule}` | {' | '.join(cells)} | {self.learn / self.infer:.1f} |\n"


@functools.cache
def cost(rule: str) -> Cost:
    """Figures of ``rule`` on 64-32-32-10, or with one block on 64-32-10, from the compiler."""
    module = compiled(rule, (32,) if rule in ONE_BLOCK else (32, 32)).module
    infer = module.entry("infer")
    types, read = arena_types(module, infer), {arg for op in infer.ops for arg in op.args}
    places = [p for p in module.places if p.entry == "infer"]
    return Cost(
        module.integer("state_bytes"),
        sum(s.type.nbytes for s in module.state if s.name not in read),
        module.integer("arena_bytes"),
        max(p.offset + types[p.value].nbytes for p in places),
        None if rule in ONE_BLOCK else compiled(rule, (32,) * 10).module.integer("arena_bytes"),
        _macs(module, "infer"),
        _macs(module, "learn"),
    )


def _macs(module: Any, name: str) -> int:
    entry = module.entry(name)
    types = module.types(entry)
    return sum(OPS[op.name].macs([types[a].shape for a in op.args], op) for op in entry.ops)


def with_figures(page: str) -> str:
    """The page with its table of costs made anew."""
    table = HEADER + "".join(cost(rule).row(rule) for rule in BUILT_IN)
    return re.sub(r"(?<=<!-- cost -->\n).*?(?=<!-- /cost -->)", table, page, flags=re.DOTALL)


def test_figures_are_those_of_the_compiler() -> None:
    page = text(PAGE)
    assert with_figures(page) == page, "run python -m tests.cli.test_docs_rulebook"


def test_what_the_page_makes_of_the_figures() -> None:
    costs = {rule: cost(rule) for rule in BUILT_IN}
    trained = {rule: c.state for rule, c in costs.items() if rule not in ("last-layer", "cascaded-forward", *ONE_BLOCK)}
    assert sorted(trained, key=lambda rule: trained[rule])[:2] == ["tpsgd", "drtp"]
    work = sorted(costs, key=lambda rule: costs[rule].learn)
    assert work[:2] == ["last-layer", "cascaded-forward"]
    assert all(costs[rule].learn < costs[rule].infer for rule in ONE_BLOCK)
    deeper = {rule for rule, c in costs.items() if c.arena_deep is not None and c.arena_deep > 1.5 * c.arena}
    assert deeper == {"backprop", "cascaded-forward-dfa"}


def test_every_rule_has_a_section_and_a_row() -> None:
    assert re.findall(r"^## (.+)$", text(PAGE), re.MULTILINE) == list(BUILT_IN)
    assert re.findall(r"^\| \[`([\w-]+)`\]\(#\1\)", text(PAGE), re.MULTILINE) == list(BUILT_IN)


@pytest.mark.parametrize("rule", BUILT_IN)
def test_parameters(rule: str) -> None:
    """Names and defaults are the fields of the rule's dataclass."""
    shown = re.findall(r"^\| `(\w+)` \| (\S+) \| .+ \|$", _section(rule), re.MULTILINE)
    fields = dataclasses.fields(type(find(rule).instance))
    assert shown == [(f.name, _written(f.default)) for f in fields]


def _section(rule: str) -> str:
    return re.split(rf"^## {rule}\n", text(PAGE), flags=re.MULTILINE)[1].partition("\n## ")[0]


def _written(default: Any) -> str:
    """A default as the page writes it: powers of two below 1/8 as such."""
    if isinstance(default, str):
        return f'"{default}"'
    exponents = [e for e in range(4, 20) if default == 2.0**-e]
    return f"2^-{exponents[0]}" if exponents else str(default)


@pytest.mark.parametrize("rule", BUILT_IN)
def test_sections_point_to_the_equations(rule: str) -> None:
    (file,) = re.findall(r"\]\(\.\./(edgelearn/rules/\w+\.py)\)", _section(rule))
    assert f'@rule("{rule}"' in (ROOT / file).read_text(encoding="utf-8")
    cite = find(rule).instance.rule_cite
    assert cite == "" or f"[{cite}](https://" in _section(rule)


def _taken(rule: str, stack: Sequence[Any]) -> bool:
    try:
        trace_module(find(rule), Net((8, 8), [from_item(item) for item in stack], 10), "net")
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("rule", BUILT_IN)
def test_layers(rule: str) -> None:
    (shown,) = re.findall(rf"^\| \[`{rule}`\].* \| ([\w, ]+) \|$", text(PAGE), re.MULTILINE)
    assert shown.split(", ") == [name for name, stack in STACKS.items() if _taken(rule, stack)]
    assert _taken(rule, [{"pool": 2, "mode": "max"}, 16]) == ("pool" in shown.split(", "))


@pytest.mark.parametrize("rule", BUILT_IN)
def test_notes_are_told(rule: str) -> None:
    notes = compiled(rule, (32,) if rule in ONE_BLOCK else (32, 32)).notes
    assert ("not watched" in _section(rule)) == any("step never computes" in note for note in notes)


@pytest.mark.parametrize(("moments", "fits"), [(20, False), (5, True)])
def test_continuous_noprop_on_the_microbit(moments: int, fits: bool) -> None:
    assert "20 moments 64-32-10 does not fit the micro:bit, with 5 it does" in " ".join(_section("noprop-ct").split())
    net = compiled("noprop-ct", (32,), moments=moments)
    if fits:
        _check_budget(net)
    else:
        with pytest.raises(DoesNotFitError):
            _check_budget(net)


def _check_budget(net: Compiled) -> None:
    budget.check(net.module, boards.load("microbit").target, len(backend("plan").export(net.module, "microbit")))


@pytest.mark.qemu
def test_continuous_noprop_learns_on_the_microbit(tmp_path: Path) -> None:
    """The same bytes as on the simulated board."""
    recipe = tmp_path / "ct.toml"
    recipe.write_text(
        "[model]\ninput = [8, 8]\nlayers = [32]\nclasses = 10\n"
        '[rule]\nname = "noprop-ct"\nmoments = 5\n[data]\nname = "digits"\n[train]\nsteps = 200\n'
    )
    hashes = set()
    for board_id, port in (("sim", "sim"), ("microbit", "qemu")):
        with el.connect(board_id, port) as board:
            hashes.add(board.train(recipe).data["state_sha256"])
    assert len(hashes) == 1


if __name__ == "__main__":
    (ROOT / PAGE).write_text(with_figures(text(PAGE)), encoding="utf-8")
