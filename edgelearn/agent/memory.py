"""How much memory this process has come to need since a given moment, as Linux counts its resident pages."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


class Growth:
    """Counts from when it is made. Where Linux lets us, the peak is set back first; else an earlier, higher peak hides the growth."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):  # not Linux, or not allowed
            _CLEAR.write_text("5")  # sets the peak back to what is resident now
        self._before = _now()

    @property
    def peak(self) -> int:
        """Bytes by which the resident memory was larger, at most, than when this was made."""
        return max(0, _peak() - self._before)


def _status(field: str) -> int | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _peak() -> int:
    found = _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT if found is None else found


def _now() -> int:
    found = _status("VmRSS")
    return _peak() if found is None else found
