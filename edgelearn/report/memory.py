"""Where the bytes of a run lie: RAM and flash, as planned and as the board has found them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgelearn.boards import Board
from edgelearn.report import charts
from edgelearn.report.again import Again, Place, board_of
from edgelearn.report.charts import Part
from edgelearn.report.markup import Markup, tag
from edgelearn.report.stored import Stored
from edgelearn.report.words import NONE, figure, percent, section, size, table

ROOMY = 20  # a board with more RAM than this many times what is used: it would be all gap
MAX_PLACES = 200
_MEANING = {
    "state": "weights, exponents, counters",
    "arena": "one sample, and what is computed of it",
    "plan": "the list of kernel calls",
    "link": "ring, frames, control block",
    "variables": "all else that the runtime keeps",
    "stack": "reserved; pale: not touched",
}
_COLOURS = {"state": "s0", "arena": "s1", "plan": "s2", "link": "s3", "variables": "s4", "stack": "s5"}


def memory(stored: Stored, again: Again | str) -> Markup:
    """RAM, planned against measured; flash; and what lies where in state and arena."""
    planned, measured = _planned(stored, again), _measured(stored)
    board = again.board if isinstance(again, Again) else board_of(stored)
    return section("Memory", _ram(planned, measured, board, stored, again), *_flash(again), *_map(again), *_work(again))


def _planned(stored: Stored, again: Again | str) -> dict[str, float | None]:
    """Bytes by part: of the compiler and the image, or what the run's result says of the plan."""
    if isinstance(again, str):
        return dict.fromkeys(_MEANING) | {"plan": float(len(stored.run.plan)) or None}
    found = again.footprint
    return {name: getattr(found, name) for name in _MEANING}


def _measured(stored: Stored) -> dict[str, float | None]:
    found: dict[str, float | None] = {name: stored.number("ram", name) for name in _MEANING}
    if stored.number("ram", "measured") is None:  # of the host the sizes are what a board would need
        return dict.fromkeys(_MEANING)
    return found


def _ram(
    planned: dict[str, float | None], measured: dict[str, float | None], board: Board | None, stored: Stored, again: Again | str
) -> Markup:  # fmt: skip
    heads = ("RAM", "planned", "measured", "what")
    rows = [
        (name, _size(planned[name]), _size(measured[name]), _MEANING[name])
        for name in _MEANING
        if (planned[name], measured[name]) != (None, None)
    ]
    both = (stored.number("ram", "planned"), stored.number("ram", "measured"))
    rows.append(("state and arena", _size(both[0]), _size(both[1]), _agree(*both)))
    return figure(
        _ram_caption(stored, again, board), *_bars(planned, measured, stored, board), table(heads, rows, (1, 2))
    )


def _size(nbytes: float | None) -> str:
    return "-" if nbytes is None else size(nbytes)


def _agree(planned: float | None, measured: float | None) -> str:
    if planned is None or measured is None:
        return NONE
    if planned == measured:
        return "as planned, byte for byte"
    return f"{abs(measured - planned):,.0f} B {'more' if measured > planned else 'less'} than planned"


def _bars(
    planned: dict[str, float | None], measured: dict[str, float | None], stored: Stored, board: Board | None
) -> Iterator[Markup]:
    """One bar for each column of which something is known, in the same scale."""
    columns = [("planned", _parts(planned, None)), ("measured", _parts(measured, stored.count("ram", "stack_size")))]
    used = max((sum(p.of or p.nbytes for p in parts) for _, parts in columns), default=0)
    if not used:
        return
    whole = board.ram if board and board.ram <= ROOMY * used else used
    for name, parts in columns:
        if parts:
            yield tag("p", name, class_="barname")
            yield charts.bar(parts, whole, f"RAM, {name}")
    seen = {part.name: part.colour for _, parts in columns for part in parts}
    yield charts.legend([(colour, name) for name, colour in seen.items()])


def _parts(sizes: dict[str, float | None], stack_size: int | None) -> list[Part]:
    return [
        Part(
            name,
            int(nbytes),
            _COLOURS[name],
            stack_size if name == "stack" and stack_size and stack_size >= nbytes else None,
        )
        for name in _MEANING
        if (nbytes := sizes[name])
    ]


def _ram_caption(stored: Stored, again: Again | str, board: Board | None) -> str:
    """What is planned and what is measured."""
    if isinstance(again, str):
        told = "What was planned for stack and link is not known, for the run cannot be compiled again. "
    else:
        image = again.footprint.reason or "what the runtime takes is read from the board's image as it is now"
        told = f"Planned: by the compiler; {image}. "
    if (reason := stored.text("ram", "reason")) is not None:
        told += f"Not found by scanning: {reason}. "
    elif stored.number("ram", "measured") is not None:
        told += "Measured: found by the board, scanning painted memory for what was touched. "
    else:
        told += "The board has measured nothing. "
    if board is not None:
        told += f"The board has {board.ram:,} B."
    return told


def _flash(again: Again | str) -> Iterator[Markup]:
    if isinstance(again, str) or again.footprint.runtime is None:
        return
    found = again.footprint
    runtime = found.runtime or 0
    plan = " The plan is compiled in, and part of it." if again.board.has_plan else ""
    caption = (
        f"Flash, read from the image: the runtime with every kernel that the board has takes {runtime:,} B of "
        f"{found.flash_size:,} ({percent(runtime / found.flash_size)}).{plan} Flash cannot be measured by scanning."
    )
    yield figure(
        caption,
        tag("p", "flash", class_="barname"),
        charts.bar([Part("runtime", runtime, "s6")], found.flash_size, "Flash"),
    )


# --- what lies where ----------------------------------------------------------------------------------------------------------------


def _map(again: Again | str) -> Iterator[Markup]:
    if isinstance(again, str):
        return
    for region, entry, title in (
        ("state", None, "State"),
        ("arena", "learn", "Arena while it learns"),
        ("arena", "infer", "Arena while it infers"),
    ):
        places = sorted(
            (p for p in again.places if (p.region, p.entry) == (region, entry)), key=lambda p: (p.offset, p.name)
        )
        if places:
            yield tag("details", tag("summary", f"{title}: {len(places)} tensors"), _places(places, region))


def _places(places: Sequence[Place], region: str) -> Markup:
    more = len(places) - MAX_PLACES
    rows = [(p.name, f"{p.offset:,}", f"{p.nbytes:,}", p.type) for p in places[:MAX_PLACES]]
    alike = "" if region == "state" else " Values that do not live at the same time share their bytes."
    caption = f"As planned; offsets in bytes from the start of the {region}.{alike}"
    caption += f" {more:,} more are not shown." if more > 0 else ""
    return figure(caption, table(("name", "offset", "bytes", "type"), rows, (1, 2), "map"))


def _work(again: Again | str) -> Iterator[Markup]:
    """Where the multiplications go."""
    if isinstance(again, str) or not again.macs:
        return
    infer, learn = sum(row[1] for row in again.macs), sum(row[2] for row in again.macs)
    rows = [(name, f"{i:,}", f"{n:,}", percent(n / learn) if learn else "-") for name, i, n in again.macs]
    rows.append(("all", f"{infer:,}", f"{learn:,}", "100.0 %"))
    caption = "Multiplications with weights for one sample, counted from the plan, skipped updates too: neither instructions nor time."
    shown = figure(caption, table(("operation", "to infer", "to learn", "of learning"), rows, (1, 2, 3)))
    yield tag("details", tag("summary", "Where the multiplications go"), shown)
