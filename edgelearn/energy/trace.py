"""Power over time, of the meters that know it: for those who draw it. What was used is never taken from here."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from edgelearn.energy.meter import Mark, Meter, Mute

MOST = 2000  # values that are told; where there are more, means of neighbours

Points = list[tuple[float, float]]  # (seconds, watts)


@runtime_checkable
class Traced(Protocol):
    """A meter that keeps single values."""

    def trace(self, begin: Mark, end: Mark) -> Points:
        """Its values from ``begin`` to ``end``, in seconds since ``begin``; empty where their times are not known here."""
        ...


def told(meter: Meter, begin: Mark, end: Mark, period_s: float | None) -> dict[str, Any]:
    """The keys ``trace`` and ``trace_reason`` of a profile. Ask after the meter's windows."""
    if isinstance(meter, Mute):
        return {"trace": None, "trace_reason": meter.reason}
    if not isinstance(meter, Traced):
        return {"trace": None, "trace_reason": f"{meter.name} tells sums, and no single values"}
    points = meter.trace(begin, end)
    if not points:
        return {"trace": None, "trace_reason": f"{meter.name} has no values whose times are known here"}
    found = {"source": meter.source, "period_s": period_s, "points": [list(point) for point in thinned(points)]}
    return {"trace": found, "trace_reason": ""}


def thinned(points: Points) -> Points:
    """At most ``MOST`` of them, each the mean of equally many neighbours."""
    width = -(-len(points) // MOST)
    if width <= 1:
        return points
    groups = [np.asarray(points[i : i + width]).mean(axis=0) for i in range(0, len(points), width)]
    return [(float(at), float(watts)) for at, watts in groups]
