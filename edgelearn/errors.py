"""Every failure a user can meet: one sentence, one remedy, one exit code.

The exit codes are part of the public contract (docs/cli.md): scripts rely on them.
"""

from __future__ import annotations

import re

LONGEST = 2000  # characters of a message, or a hint
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _plain(text: str) -> str:
    """What a terminal may be sent: parts of a message may come from a file, or a board, that somebody else made."""
    return _CONTROL.sub("?", text if len(text) <= LONGEST else f"{text[:LONGEST]} ...")


class EdgeLearnError(Exception):
    """A failure explained to the user: ``message`` says what happened, ``hint`` what to do next.

    Both are cut to ``LONGEST`` characters, and lose the ones that control a terminal.
    """

    exit_code = 1
    kind = "bug"

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = _plain(message), _plain(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.hint}" if self.hint else self.message


class UsageError(EdgeLearnError):
    """The command line makes no sense."""

    exit_code, kind = 2, "usage"


class ConfigError(EdgeLearnError):
    """A recipe, rule, board file or data set is wrong."""

    exit_code, kind = 3, "config"


class NoBoardError(EdgeLearnError):
    """No such board, or none found on any port."""

    exit_code, kind = 4, "no-board"


class AmbiguousBoardError(EdgeLearnError):
    """More than one board could be meant."""

    exit_code, kind = 5, "ambiguous"


class WrongBoardError(EdgeLearnError):
    """The board on the port is not the one the plan was made for."""

    exit_code, kind = 6, "wrong-board"


class VersionError(EdgeLearnError):
    """Host and firmware, or host and file, speak different versions."""

    exit_code, kind = 7, "version"


class LinkLostError(EdgeLearnError):
    """The board stopped answering."""

    exit_code, kind = 8, "link-lost"


class DoesNotFitError(EdgeLearnError):
    """The plan needs more memory than the board has."""

    exit_code, kind = 9, "does-not-fit"


class MismatchError(EdgeLearnError):
    """A result differs from the reference interpreter."""

    exit_code, kind = 10, "mismatch"


class NotAuthorisedError(EdgeLearnError):
    """The board or host refuses this caller."""

    exit_code, kind = 11, "not-authorised"


class PortBusyError(EdgeLearnError):
    """Somebody else holds the port."""

    exit_code, kind = 12, "port-busy"


class StorageFullError(EdgeLearnError):
    """There is no room to store a run, an image or a checkpoint."""

    exit_code, kind = 13, "storage-full"


class MissingToolError(EdgeLearnError):
    """A compiler, emulator, programmer or optional extra is not installed."""

    exit_code, kind = 14, "missing-tool"


class Interrupted(EdgeLearnError):  # noqa: N818 (it is no error: the user wanted it)
    """The user pressed Ctrl-C; what was learnt so far is kept."""

    exit_code, kind = 130, "interrupted"
