"""Block by block: what each says by itself while it learns, and what changes in its tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from edgelearn.changes import CHANGED, LIMIT, MOST, MOVED
from edgelearn.probes import NAME, SHARE
from edgelearn.report import charts
from edgelearn.report.charts import Curve, Line
from edgelearn.report.markup import Markup, tag
from edgelearn.report.stored import Stored
from edgelearn.report.words import figure, note, percent, section, share, table

PREFIXES = tuple(f"{name}/" for name in (NAME, CHANGED, MOVED, LIMIT))
MAX_REASONS = 12
_STRIPS = {
    CHANGED: (
        "Update sparsity",
        "The share of a tensor's elements that are no longer what they were at the checkpoint before: full colour is all of them. "
        "The rest was not updated, or came back.",
    ),
    MOVED: (
        "How far it moved",
        "The sum of all changes since the checkpoint before, as a share of the sum of all magnitudes: full colour is as much as there is, "
        "or more.",
    ),
    LIMIT: (
        "Saturation",
        "The share of a tensor's elements that are as large as their integers can be. Shades begin at 1 in 1,000.",
    ),
}


def answers(stored: Stored) -> Iterator[Markup]:
    """The learning curves of the blocks; nothing for runs that know nothing of them."""
    drawn = _lines(stored)
    asked, of = stored.count("blocks", "samples"), stored.count("blocks", "of")
    if drawn:
        which = (
            f"{asked:,} of the {of:,} samples of the training split"
            if asked and of
            else "samples of the training split"
        )
        yield figure(
            f"Accuracy of each block by itself: of predict on the net that ends with it, with the weights of that checkpoint, on {which}. "
            "They are the same ones each time, and among those that are learnt. Worked out on this computer.",
            charts.lines(drawn, "Accuracy of each block by itself", lambda v: f"{100 * v:.3g} %", 1.0),
        )
    yield from _reasons(stored, bool(drawn))


def _lines(stored: Stored) -> list[Line]:
    found = [
        (int(name.removeprefix(f"{NAME}/b")), curve)
        for name, curve in stored.metrics.items()
        if name.startswith(f"{NAME}/b") and name.removeprefix(f"{NAME}/b").isascii() and name[len(NAME) + 2 :].isdigit()
    ]
    shares = [
        (block, tuple((s, v) for s, v in curve if 0 <= v <= 1)) for block, curve in sorted(found)[: charts.COLOURS]
    ]
    return [Line(f"block {block}", curve, i) for i, (block, curve) in enumerate(shares) if curve]


def _reasons(stored: Stored, drawn: bool) -> Iterator[Markup]:
    """Why a block has no answer of its own, each reason once."""
    found = stored.at("blocks", "reasons")
    named: dict[str, list[str]] = {}
    for block, reason in list(found.items())[:MAX_REASONS] if isinstance(found, dict) else ():
        if isinstance(reason, str):
            named.setdefault(reason, []).append(block)
    for reason, blocks in named.items():
        if blocks == ["all"]:
            yield note(
                f"The blocks were not asked one by one, which may take {100 * SHARE:.0f} % of a run at most: {reason}."
            )
        else:
            which = ", ".join(name.removeprefix("b") for name in blocks)
            yield note(f"No curve of block {which} by {'themselves' if len(blocks) > 1 else 'itself'}: {reason}.")
    if not drawn and not isinstance(found, dict):
        yield note("The run has not recorded what its blocks would say by themselves.")


# --- tensors ------------------------------------------------------------------------------------------------------------------------


def tensors(stored: Stored) -> Markup | None:
    """Update sparsity and saturation of each tensor over the run; None where nothing of them was recorded."""
    parts = [part for kind in _STRIPS for part in _kind(stored, kind)]
    return section("Updates, tensor by tensor", *parts) if parts else None


def _kind(stored: Stored, kind: str) -> Iterator[Markup]:
    found = [
        (name.removeprefix(f"{kind}/"), curve) for name, curve in stored.metrics.items() if name.startswith(f"{kind}/")
    ]
    found = sorted(found, key=lambda pair: _order(pair[0]))[:MOST]
    if not found:
        return
    title, caption = _STRIPS[kind]
    if kind == LIMIT and not any(value for _, curve in found for _, value in curve):
        yield note("Saturation: at no checkpoint was any element of a weight at its limit.")
        return
    last = max(step for _, curve in found for step, _ in curve)
    rows = [(name, _strip(name, curve, last, kind), *_told(curve)) for name, curve in found]
    yield tag("h4", title)
    yield figure(caption, table(("tensor", f"step 0 to {last:,}", "first", "last", "most"), rows, (2, 3, 4), "strips"))


def _order(name: str) -> tuple[int, str]:
    block = name.partition(".")[0].removeprefix("b")
    return (int(block) if block.isascii() and block.isdigit() else 1 << 30, name)


def _told(curve: Curve) -> Sequence[str]:
    values = [value for _, value in curve]
    return _value(values[0]), _value(values[-1]), _value(max(values))


def _value(value: float) -> str:
    return percent(value) if value >= 0.1 else share(value)


def _strip(name: str, curve: Curve, last: int, kind: str) -> Markup:
    """A cell for each checkpoint, as wide as its steps."""
    thin, _ = charts.thinned(curve)
    starts = [0, *(step for step, _ in thin)]
    cells = [(a, b, _shade(value, kind)) for a, (b, value) in zip(starts, thin, strict=False)]
    return charts.strip(cells, last, f"{name}: {_value(curve[0][1])} at first, {_value(curve[-1][1])} in the end")


def _shade(value: float, kind: str) -> float:
    """From 0 to 1; shares at the limit are small, and shown by their logarithm."""
    if kind == LIMIT:
        return 0.0 if value < 1e-3 else 1 + math.log10(min(value, 1.0)) / 3
    return min(max(value, 0.0), 1.0)
