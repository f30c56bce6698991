"""Where the bytes of a run lie: RAM and flash, as planned and as the board has found them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgelearn.boards import Board
from edgelearn.report import charts
from edgelearn.report.again import Again, Place, board_of
from edgelearn.report.charts import Part
from edgelearn.report.markup import Markup, tag
from edgelearn.report.stored import Stored
from edgelearn.report.words import NONE, figure, note, percent, section, size, table

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
    return section(
        "Memory", _ram(planned, measured, board, stored, again), *_flash(again, len(stored.run.plan)), *_map(again)
    )


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
    free = [("room", "free")] if whole > used else []
    yield charts.legend([(colour, name) for name, colour in seen.items()] + free)


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


def _flash(again: Again | str, stored_plan: int) -> Iterator[Markup]:
    if isinstance(again, str):
        return
    if again.footprint.runtime is None:
        if again.board.toolchain:
            yield note(
                f"Flash: not known before the board's image is built: edgelearn flash {again.board.id} builds it."
            )
        return
    found = again.footprint
    runtime, plan = found.runtime or 0, stored_plan if again.board.has_plan else 0
    compiled_in = f" The plan, {plan:,} B of it, is compiled in." if plan else ""
    caption = (
        f"Flash, read from the board's image: the runtime with every kernel that the board has takes {runtime:,} B of "
        f"{found.flash_size:,} ({percent(runtime / found.flash_size)}).{compiled_in} What an image takes is known, and not to be measured."
    )
    parts = [Part("runtime", runtime - plan, "s6"), *([Part("plan", plan, "s2")] if plan else ())]
    yield figure(
        caption,
        tag("p", "flash", class_="barname"),
        charts.bar(parts, found.flash_size, "Flash"),
        charts.legend([(part.colour, part.name) for part in parts] + [("room", "free")]),
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
            picture = _state_bar(places) if region == "state" else ()
            yield tag("details", tag("summary", f"{title}: {len(places)} tensors"), *picture, _places(places, region))


def _state_bar(places: Sequence[Place]) -> Iterator[Markup]:
    """The state as it lies in RAM, each block in its colour."""
    blocks = {p.name: p.name.partition(".")[0] if "." in p.name else "counters" for p in places}
    colour = {block: f"s{i % charts.COLOURS}" for i, block in enumerate(dict.fromkeys(blocks.values()))}
    parts = [Part(p.name, p.nbytes, colour[blocks[p.name]]) for p in places]
    yield charts.bar(parts, sum(p.nbytes for p in places), "State, in order of addresses")
    yield charts.legend([(key, name) for name, key in list(colour.items())[: charts.COLOURS]])


def _places(places: Sequence[Place], region: str) -> Markup:
    more = len(places) - MAX_PLACES
    rows = [(p.name, f"{p.offset:,}", f"{p.nbytes:,}", p.type) for p in places[:MAX_PLACES]]
    alike = "" if region == "state" else " Values that do not live at the same time share their bytes."
    caption = f"As planned; offsets in bytes from the start of the {region}.{alike}"
    caption += f" {more:,} more are not shown." if more > 0 else ""
    return figure(caption, table(("name", "offset", "bytes", "type"), rows, (1, 2), "map"))
