"""What is known of a training, as text: the rows of a screen of any width, and single lines where there is no screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgelearn.live.watch import Status

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

NARROW = 64  # columns below which a remark goes under its value
TALL = 24  # rows below which a narrow screen has no remarks
SILENCE_S = 3.0  # after which it is worth saying
_BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_PLAIN = "_.-=*#"
Row = tuple[str, str, str]  # name, value, remark


def rows(status: Status) -> list[Row]:
    """Name, value and remark of all that is shown."""
    at, stats = status.progress, status.stats
    return [
        ("step", f"{at.step:,} of {at.steps:,}" if at.steps else "-", _left(status)),
        ("samples/s", f"{at.samples_per_s:,.0f}" if at.samples_per_s else "-", "learnt, over all so far"),
        ("accuracy", _percent(at.accuracy), "of guesses since the last checkpoint"),
        ("J/sample", joules(status), status.energy.reason or status.energy.source),
        ("RAM high water", _size(stats.state + stats.arena if stats else None), _ram(status)),
        ("stack", _size(stats.stack if stats and stats.stack_size else None), _stack(status)),
        ("link retries", "-" if status.retries is None else f"{status.retries:,}", _link(status)),
        ("checkpoint", "-" if status.kept is None else f"step {status.kept:,}", _kept(status)),
    ]  # fmt: skip


def joules(status: Status) -> str:
    """``3.2 mJ``; a dash where nothing was measured."""
    value = status.energy.joules
    if value is None:
        return "-"
    for unit, factor in (("J", 1), ("mJ", 1e3), ("uJ", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} nJ"


def line(status: Status) -> str:
    """One line for a log."""
    told = {name: value for name, value, _ in rows(status)}
    energy = f"{told['J/sample']} ({status.energy.reason or status.energy.source})"
    kept = "none" if status.kept is None else f"{status.kept:,}"
    return (
        f"step {told['step']}; {told['accuracy']} right; {told['samples/s']}/s; RAM {told['RAM high water']}; "
        f"retries {told['link retries']}; restarts {status.restarts}; checkpoint {kept}; J/sample {energy}"
    )


def spark(values: tuple[float, ...], width: int, ascii_only: bool) -> str:
    """The newest values as a row of columns, from the least to the largest of them."""
    signs = _PLAIN if ascii_only else _BLOCKS
    shown = values[-width:]
    low, high = min(shown), max(shown)
    scale = (len(signs) - 1) / (high - low) if high > low else 0.0
    return "".join(signs[round((value - low) * scale)] for value in shown)


def screen(title: str, status: Status, console: Console) -> RenderableType:
    """The whole screen, for as many columns as the console has right now."""
    from rich.console import Group
    from rich.text import Text

    width, height = console.size
    ascii_only = console.options.ascii_only
    head = Text(title, style="bold", no_wrap=True, overflow="ellipsis")
    parts: list[RenderableType] = [head, Text(status.phase, style="dim"), _bar(status, width, ascii_only)]
    parts += [Text(f"warning: {found.message} {found.hint}", style="bold yellow") for found in status.findings]
    parts += [_wide(status)] if width >= NARROW else list(_narrow(status, height >= TALL))
    if status.curve:
        parts.append(_curve(status, width, ascii_only))
    parts.append(Text("Ctrl-C stops; what was learnt is kept.", style="dim"))
    return Group(*parts)


def _bar(status: Status, width: int, ascii_only: bool) -> RenderableType:
    from rich.text import Text

    at, room = status.progress, max(width - 1, 1)
    full = room * at.step // max(at.steps, 1)
    signs = "#-" if ascii_only else "\u2588\u2591"
    return Text(signs[0] * full + signs[1] * (room - full), style="green")


def _wide(status: Status) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(justify="right", style="bold", no_wrap=True)
    made.add_column(overflow="ellipsis", max_width=200)
    for cells in rows(status):
        made.add_row(*(Text(cell) for cell in cells))
    return made


def _narrow(status: Status, remarks: bool) -> Iterator[RenderableType]:
    from rich.text import Text

    for name, value, remark in rows(status):
        yield Text.assemble((f"{name:15}", "dim"), (value, "bold"))
        if remark and remarks:
            yield Text(f"  {remark}", style="dim", no_wrap=True, overflow="ellipsis")


def _curve(status: Status, width: int, ascii_only: bool) -> RenderableType:
    from rich.text import Text

    shown = spark(status.curve, max(width - 1, 1), ascii_only)
    low, high = min(status.curve[-len(shown) :]), max(status.curve[-len(shown) :])
    return Text.assemble((shown, "cyan"), "\n", (f"at checkpoints: {_percent(low)} to {_percent(high)}", "dim"))


# --- remarks ------------------------------------------------------------------------------------------------------------------------


def _left(status: Status) -> str:
    at = status.progress
    if status.quiet_s > SILENCE_S:
        return f"nothing heard for {_duration(status.quiet_s)}"
    if not at.samples_per_s or at.step >= at.steps:
        return ""
    return f"{_duration((at.steps - at.step) / at.samples_per_s)} left"


def _ram(status: Status) -> str:
    if status.stats is None or status.planned is None:
        return status.reason
    if status.stats.engine:
        return f"what the agent's memory grew by, {status.stats.engine}"
    same = "as planned" if status.stats.state + status.stats.arena == status.planned else f"planned {status.planned:,}"
    return f"found by scanning, {same}"


def _stack(status: Status) -> str:
    if status.stats is None or not status.stats.stack_size:
        return ""
    return f"measured, of {status.stats.stack_size:,}"


def _link(status: Status) -> str:
    if status.retries is None:
        return "there is no link" if status.reason.startswith("torch") else ""
    stats = status.stats
    seen = f"damaged frames: {stats.bad_frames:,}, bytes lost: {stats.overruns:,}, " if stats else ""
    return f"{seen}restarts: {status.restarts:,}"


def _kept(status: Status) -> str:
    return "" if status.kept is None else f"{_duration(status.kept_s)} ago"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _size(nbytes: int | None) -> str:
    return "-" if nbytes is None else f"{nbytes:,} B"
