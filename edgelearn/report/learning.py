"""What a run has learnt: its curve, and which classes it takes for others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgelearn.report import blocks, charts
from edgelearn.report.again import Again
from edgelearn.report.charts import Line
from edgelearn.report.markup import Markup, join, tag
from edgelearn.report.stored import Stored
from edgelearn.report.words import figure, note, percent, section, table
from edgelearn.results import Evaluation
from edgelearn.runs import RIGHT

CURVE = "train_accuracy"
MIN_STEPS = 2000  # that give a line: the mean of a few ones and zeros is noise
MAX_CLASSES = 20  # of which a matrix can be read
MAX_PAIRS = 15
SHADES = 8  # of the style sheet
_BEFORE = (
    "Of each interval between two checkpoints, the share of samples that the net guessed right before it learnt them; "
    "measured on the training samples as they came."
)


def curves(runs: Sequence[Stored], names: Sequence[str]) -> Markup | None:
    """The curves of one run or of several, over each other; None if there are none."""
    drawn = _steps(runs[0]) if len(runs) == 1 else []
    drawn += [
        Line(name, curve, i % charts.COLOURS, end=accuracy(stored))
        for i, (stored, name) in enumerate(zip(runs, names, strict=True))
        if (curve := shares(stored.metrics.get(CURVE, ())))
    ]
    if not drawn:
        return None
    caption = [_BEFORE]
    if drawn[0].pale:
        caption.append(f" The thin line: the same, step by step{_width(runs[0])}.")
    if any(line.end is not None for line in drawn):
        caption.append(" The dot at the end is the accuracy on unseen test samples, after the last step.")
    if (width := max(charts.thinned(line.points)[1] for line in drawn)) > 1:
        caption.append(f" Drawn are means of up to {width:,} neighbouring readings.")
    return figure(join(caption), charts.lines(drawn, "Share of guesses that were right", percent_axis, 1.0))


def _steps(stored: Stored) -> list[Line]:
    """Whether the guess at each sample was right: ones and zeros, of which the chart takes means."""
    curve = shares(stored.metrics.get(RIGHT, ()))
    return [Line("step by step", curve, pale=True)] if len(curve) >= MIN_STEPS else []


def _width(stored: Stored) -> str:
    width = stored.widths.get(RIGHT)
    return f" (of older steps, means of up to {width:,} were kept)" if width else ""


def percent_axis(value: float) -> str:
    return f"{100 * value:.3g} %"


def shares(curve: charts.Curve) -> charts.Curve:
    """What of a curve can be a share: anything else is no reading."""
    return tuple((step, value) for step, value in curve if 0 <= value <= 1)


def accuracy(stored: Stored) -> float | None:
    """On the test set, if it is a share."""
    found = stored.number("accuracy")
    return found if found is not None and 0 <= found <= 1 else None


def learning(stored: Stored, again: Again | str) -> Markup:
    """How it learnt, and what it takes for what."""
    drawn = curves([stored], ["between checkpoints"])
    parts: list[Markup | None] = [drawn or note("The run has kept no learning curve.")]
    if (before := stored.number("accuracy_before")) is not None:
        parts.append(note(f"Accuracy on the test set before the first step: {percent(before)}."))
    return join(
        section("Learning", *parts, *blocks.answers(stored)),
        section("What it takes for what", *_confusion(stored, again)),
    )


# --- confusion --------------------------------------------------------------------------------------------------------------------


def _confusion(stored: Stored, again: Again | str) -> Iterator[Markup]:
    kept = stored.confusion
    if kept is not None:
        yield from _matrix(
            kept, f"Counted by {_who(stored)}, on all {kept.n:,} samples of the test set, after the last step."
        )
    elif isinstance(again, str):
        yield note(f"There is no confusion matrix, for the run cannot be compiled again: {again}")
    elif again.evaluation is None:
        yield note(f"There is no confusion matrix: {again.reason}.")
    else:
        yield from _matrix(again.evaluation, _source(stored, again, again.evaluation))


def _who(stored: Stored) -> str:
    return "the board" if stored.text("device") is None else "this computer"


def _source(stored: Stored, again: Again, found: Evaluation) -> str:
    """Where a matrix comes from, and whether it is what the board has measured."""
    which = (
        f"all {found.n:,} samples" if found.n == again.tested else f"the first {found.n:,} of {again.tested:,} samples"
    )
    told = f"Computed for this report by the C core on this computer, from the newest checkpoint, on {which} of the test set."
    measured, step = accuracy(stored), stored.checkpoint.step if stored.checkpoint else None
    if found.n != again.tested or measured is None or step != stored.count("steps"):
        return told
    if abs(found.accuracy - measured) < 0.5 / found.n:
        return f"{told} Its accuracy is the one that the run has recorded, {percent(measured)}."
    return f"{told} Its accuracy is {percent(found.accuracy)}; the run has recorded {percent(measured)}."


def _matrix(found: Evaluation, source: str) -> Iterator[Markup]:
    if len(found.confusion) <= MAX_CLASSES:
        meaning = "A row is a class, a column what it was taken for. Cells are shaded by their share of the row. "
        yield figure(meaning + source, _cells(found.confusion))
        source = ""
    pairs = _pairs(found.confusion)
    if not pairs:
        yield note(f"Nothing was taken for anything else. {source}")
        return
    rows = [(str(true), str(guess), f"{n:,}", percent(n / total)) for n, true, guess, total in pairs[:MAX_PAIRS]]
    heads = ("class", "taken for", "samples", "of the class")
    left = f"The {len(rows)} commonest of {len(pairs):,} confusions. " if len(pairs) > len(rows) else ""
    yield tag(
        "details", tag("summary", "The commonest confusions"), figure(left + source, table(heads, rows, (1, 2, 3)))
    )


def _pairs(confusion: list[list[int]]) -> list[tuple[int, int, int, int]]:
    """(samples, class, taken for, samples of the class), the commonest first."""
    found = [
        (n, true, guess, sum(row))
        for true, row in enumerate(confusion)
        for guess, n in enumerate(row)
        if n and guess != true
    ]
    return sorted(found, key=lambda pair: (-pair[0], pair[1:]))


def _cells(confusion: list[list[int]]) -> Markup:
    classes = range(len(confusion))
    head = tag("tr", tag("td"), (tag("th", str(i), scope="col") for i in classes), tag("th", "right", scope="col"))
    body = [
        tag("tr", tag("th", str(i), scope="row"), (_cell(n, sum(row), i == j) for j, n in enumerate(row)),
            tag("td", percent(row[i] / sum(row)) if sum(row) else "-", class_="num"))
        for i, row in enumerate(confusion)
    ]  # fmt: skip
    return tag(
        "div", tag("table", tag("thead", head), tag("tbody", body), class_="matrix"), class_="scroll", tabindex=0
    )


def _cell(n: int, total: int, right: bool) -> Markup:
    if not n:
        return tag("td", "0", class_="none")
    part = n / total if right else (n / total) ** 0.5  # errors are few: their shades spread where they lie
    level = min(1 + int(part * SHADES), SHADES)
    return tag("td", f"{n:,}", class_=f"{'right' if right else 'wrong'} q{level}")
