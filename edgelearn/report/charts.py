"""Charts as SVG, drawn here. They take the width that there is; their text does not shrink with it.

What is measured in percent of the drawing stretches, what is measured in pixels does not: so lines lie in a drawing within the drawing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgelearn.report.markup import Markup, join, tag
from edgelearn.report.stored import Curve

MAX_POINTS = 400  # of a line: more cannot be told apart
HEIGHT = 220
COLOURS = 8  # of the style sheet
_GRID = 1000  # units of the drawing within the drawing


@dataclass(frozen=True)
class Line:
    """One curve: its name, and which colour of the style sheet it has."""

    name: str
    points: Curve
    colour: int = 0
    end: float | None = None  # a value that was measured when all was done, drawn as a dot
    pale: bool = False


def thinned(points: Curve) -> tuple[Curve, int]:
    """At most MAX_POINTS points, each the mean of as many neighbours as the second value says."""
    width = -(-len(points) // MAX_POINTS)
    if width <= 1:
        return points, 1
    groups = [points[i : i + width] for i in range(0, len(points), width)]
    return tuple((group[-1][0], sum(v for _, v in group) / len(group)) for group in groups), width


def lines(curves: Sequence[Line], label: str, show: Callable[[float], str], top: float | None = None) -> Markup:
    """Curves over steps, from zero to ``top`` (or what is largest), with a legend where there are several."""
    high = top if top is not None else ceiling(max((v for c in curves for v in values(c)), default=0.0))
    last = max((step for c in curves for step, _ in c.points), default=1) or 1
    body = join(
        (_rule(at / 4, show(high * at / 4)) for at in range(5)),
        (_tick(step / last, f"{step:,}") for step in ticks(last)),
        tag("svg", (_path(c, last, high) for c in curves), viewBox=f"0 0 {_GRID} {_GRID}",
            preserveAspectRatio="none", width="100%", height="100%"),
        (_end(c, last, high, show) for c in curves if c.end is not None and c.points),
    )  # fmt: skip
    drawn = tag("svg", tag("title", label), body, class_="chart", width="100%", height=HEIGHT, role="img")
    keys = [(f"s{c.colour} pale" if c.pale else f"s{c.colour}", c.name) for c in curves]
    return join(
        tag("div", drawn, class_="plot"),
        tag("p", "samples learnt", class_="axis"),
        legend(keys) if len(keys) > 1 else None,
    )


def values(line: Line) -> list[float]:
    return [v for _, v in line.points] + ([] if line.end is None else [line.end])


def ceiling(value: float) -> float:
    """The next larger of 1, 2, 4, 10 times a power of ten: four equal parts of it are round."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * n for n in (1, 2, 4, 10, 20) if value <= power * n)


def ticks(last: int) -> list[int]:
    """Four or so round steps from 0 to ``last``."""
    rough = max(last / 4, 1)
    power = 10 ** math.floor(math.log10(rough))
    width = next(power * n for n in (1, 2, 5, 10) if rough <= power * n)
    return list(range(0, last + 1, width))


def legend(keys: Sequence[tuple[str, str]]) -> Markup:
    """Colours and what they stand for."""
    swatch = [tag("svg", tag("rect", width=12, height=12, rx=2, class_=f"fill {key}"), width=12, height=12,
                  aria_hidden="true") for key, _ in keys]  # fmt: skip
    items = (tag("li", mark, tag("span", name)) for mark, (_, name) in zip(swatch, keys, strict=True))
    return tag("ul", items, class_="legend")


def _rule(at: float, name: str) -> Markup:
    y = f"{100 - 100 * at:.2f}%"
    line = tag("line", x1=0, x2="100%", y1=y, y2=y, class_="grid" if at else "base")
    return join(line, tag("text", name, x=-8, y=y, dy="0.35em", text_anchor="end"))


def _tick(at: float, name: str) -> Markup:
    return tag("text", name, x=f"{100 * at:.2f}%", y="100%", dy="1.6em", text_anchor="start" if at == 0 else "middle")


def _path(line: Line, last: int, high: float) -> Markup:
    points = thinned(line.points)[0]
    if len(points) == 1:
        points = (*points, (points[0][0] + max(last // 200, 1), points[0][1]))  # a line of one point is not seen
    xy = " ".join(f"{_GRID * x / last:.1f},{_GRID * (1 - min(v / high, 1)):.1f}" for x, v in points)
    return tag(
        "polyline",
        tag("title", line.name),
        points=xy,
        class_=f"line s{line.colour} pale" if line.pale else f"line s{line.colour}",
        vector_effect="non-scaling-stroke",
    )


def _end(line: Line, last: int, high: float, show: Callable[[float], str]) -> Markup:
    assert line.end is not None
    x, y = 100 * line.points[-1][0] / last, 100 - 100 * min(line.end / high, 1)
    about = tag("title", f"{line.name}: {show(line.end)}")
    return tag("circle", about, cx=f"{x:.2f}%", cy=f"{y:.2f}%", r=5, class_=f"dot s{line.colour}")


# --- memory -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A piece of memory: its name, bytes and colour; ``of`` a larger piece in which it lies, so that the rest of that is drawn pale."""

    name: str
    nbytes: int
    colour: str
    of: int | None = None


def bar(parts: Sequence[Part], whole: int, label: str, unit: str = " B") -> Markup:
    """Pieces of memory, or of another ``unit``, beside each other, in proportion to ``whole``."""
    drawn: list[Markup] = []
    at = 0.0
    scale = 100 / max(whole, sum(part.of or part.nbytes for part in parts), 1)
    for part in parts:
        room = (part.of or part.nbytes) * scale
        about = tag("title", f"{part.name}: {part.nbytes:,}{unit}" + (f" of {part.of:,}{unit}" if part.of else ""))
        if part.of:
            drawn.append(_piece(at, room, f"fill pale {part.colour}", about))
        drawn.append(_piece(at, part.nbytes * scale, f"fill {part.colour}", about))
        at += room
    box = tag("rect", width="100%", height="100%", class_="room")
    return tag("svg", tag("title", label), box, drawn, class_="bar", width="100%", height=28, role="img")


def _piece(at: float, width: float, class_: str, about: Markup) -> Markup:
    return tag("rect", about, x=f"{at:.3f}%", width=f"{width:.3f}%", y=0, height="100%", class_=class_)


def strip(cells: Sequence[tuple[int, int, float]], last: int, label: str) -> Markup:
    """Pieces of a run from a step to a step, the darker the larger the third value, from 0 to 1."""
    drawn = [
        tag("rect", x=f"{100 * a / last:.2f}%", width=f"{100 * max(b - a, 0) / last:.2f}%", y=0, height="100%", class_="fill s0",
            fill_opacity=f"{shade:.2f}")
        for a, b, shade in cells
        if shade >= 0.005
    ]  # fmt: skip
    box = tag("rect", width="100%", height="100%", class_="room")
    return tag(
        "svg",
        tag("title", label),
        box,
        drawn,
        class_="strip",
        width="100%",
        height=18,
        role="img",
        shape_rendering="crispEdges",
    )


# --- phases -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Phase:
    """A piece of time, and the mean power in it; None: not measured."""

    name: str
    seconds: float
    watts: float | None


def phases(pieces: Sequence[Phase], label: str) -> Markup:
    """Power over time: the area of a piece is its energy. What was not measured is a pale strip on the ground."""
    total = sum(piece.seconds for piece in pieces)
    high = ceiling(max((piece.watts or 0 for piece in pieces), default=0.0))
    drawn: list[Markup] = []
    at = 0.0
    for i, piece in enumerate(pieces):
        width, tall = 100 * piece.seconds / total, 6 if piece.watts is None else 100 * max(piece.watts, 0) / high
        power = "not measured" if piece.watts is None else f"{piece.watts:.4g} W"
        about = tag("title", f"{piece.name}: {piece.seconds:.4g} s, {power}")
        pale = " pale" if piece.watts is None else ""
        drawn.append(
            tag("rect", about, x=f"{at:.3f}%", y=f"{100 - tall:.3f}%", width=f"{width:.3f}%", height=f"{tall:.3f}%",
                class_=f"fill{pale} s{i % COLOURS}")
        )  # fmt: skip
        at += width
    rules = (
        [_rule(k / 4, f"{high * k / 4:.3g} W") for k in range(5)] if any(p.watts is not None for p in pieces) else []
    )
    marks = [_tick(k / 2, f"{total * k / 2:.3g} s") for k in range(3)]
    body = tag(
        "svg",
        tag("title", label),
        rules,
        drawn,
        marks,
        class_="chart",
        width="100%",
        height=HEIGHT if rules else 60,
        role="img",
    )
    keys = [(f"s{i % COLOURS}", piece.name) for i, piece in enumerate(pieces)]
    return join(tag("div", body, class_="plot"), legend(keys))


@dataclass(frozen=True)
class Span:
    """A phase in a chart over time, in seconds."""

    name: str
    begin: float
    end: float


def trace(points: Sequence[tuple[float, float]], spans: Sequence[Span], label: str) -> Markup:
    """Power over time, each phase on a ground of its colour."""
    begin = min([points[0][0], *(span.begin for span in spans)])
    seconds = max([points[-1][0], *(span.end for span in spans)]) - begin or 1.0
    high = ceiling(max(w for _, w in points))
    grounds = [
        tag("rect", tag("title", f"{span.name}: {span.end - span.begin:.4g} s"), x=f"{100 * (span.begin - begin) / seconds:.3f}%",
            y=0, width=f"{100 * (span.end - span.begin) / seconds:.3f}%", height="100%", class_=f"fill ground s{i % COLOURS}")
        for i, span in enumerate(spans)
    ]  # fmt: skip
    xy = " ".join(f"{_GRID * (t - begin) / seconds:.1f},{_GRID * (1 - max(w, 0) / high):.1f}" for t, w in points)
    curve = tag("polyline", tag("title", label), points=xy, class_="line ink", vector_effect="non-scaling-stroke")
    box = f"0 0 {_GRID} {_GRID}"
    inner = tag("svg", curve, viewBox=box, preserveAspectRatio="none", width="100%", height="100%")
    rules = [_rule(k / 4, f"{high * k / 4:.3g} W") for k in range(5)]
    marks = [_tick(k / 2, f"{seconds * k / 2:.3g} s") for k in range(3)]
    body = tag(
        "svg",
        tag("title", label),
        grounds,
        rules,
        marks,
        inner,
        class_="chart",
        width="100%",
        height=HEIGHT,
        role="img",
    )
    keys = [("ink", "power"), *((f"ground s{i % COLOURS}", span.name) for i, span in enumerate(spans))]
    return join(tag("div", body, class_="plot"), legend(keys))
