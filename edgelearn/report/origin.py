"""Where a run comes from: its recipe, the commands that make it again, versions and hashes."""

from __future__ import annotations

import hashlib
import re
import shlex

from edgelearn.report.again import Again
from edgelearn.report.markup import Markup, tag
from edgelearn.report.stored import Stored
from edgelearn.report.words import NONE, block, facts, note, section, warning

_RUN = re.compile(r"run ([\w-]+), step [\d,]+")


def origin(stored: Stored, again: Again | str) -> Markup:
    """How to get the same run."""
    run = stored.run
    parts: list[Markup | None] = [
        block(commands(stored), "commands"),
        note(
            "recipe.toml is this, saved under that name; for the same seed, data and versions the state comes out with the same hash."
        ),
        block(run.recipe, "recipe"),
        _start(stored),
        warning("For this page it was not compiled again: ", again) if isinstance(again, str) else None,
        _rule_text(stored),
        facts(_facts(stored)),
    ]
    return section("Recipe, and how to make it again", *parts)


def commands(stored: Stored) -> str:
    """What to type."""
    run = stored.run
    board = ["--board", run.board]
    words = ["edgelearn", "train", "recipe.toml", *_from(stored), *board]
    words += ["--port", run.port] if run.port else []
    lines = [words, ["edgelearn", "eval", run.id], ["edgelearn", "export", run.id]]
    return "\n".join(shlex.join(line) for line in lines)


def _from(stored: Stored) -> list[str]:
    given = stored.text("from")
    if given is None:
        return []
    found = _RUN.fullmatch(given)
    return ["--from", found[1] if found else given]


def _start(stored: Stored) -> Markup | None:
    given = stored.text("from")
    if given is None:
        return None
    return note(f"It went on from the weights of {given}, not from those that its seed gives.")


def _rule_text(stored: Stored) -> Markup | None:
    if not stored.run.rule_text:
        return None
    title = tag("summary", f"The text of the rule {stored.rule}")
    return tag("details", title, block(stored.run.rule_text, "rule"))


def _facts(stored: Stored) -> list[tuple[str, Markup | str]]:
    run = stored.run
    rows: list[tuple[str, Markup | str]] = [
        ("run", run.id),
        ("begun", run.created),
        ("seed", str(run.seed)),
        ("state SHA-256", _hash(stored.text("state_sha256"))),
        ("plan SHA-256", _hash(hashlib.sha256(run.plan).hexdigest() if run.plan else None)),
        ("training data SHA-256", _hash(run.versions.get("data"))),
        ("rule SHA-256", _hash(run.rule_hash) if run.rule_text else "a rule of the package"),
    ]
    return rows + [(f"version of {name}", value) for name, value in run.versions.items() if name != "data"]


def _hash(value: str | None) -> Markup:
    return tag("code", value or NONE)
