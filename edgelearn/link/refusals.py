"""What a board's error codes (firmware/include/edgelearn.h) mean to the user."""

from __future__ import annotations

from edgelearn.errors import (
    ConfigError,
    DoesNotFitError,
    EdgeLearnError,
    LinkLostError,
    NotAuthorisedError,
    PortBusyError,
    VersionError,
    WrongBoardError,
)
from edgelearn.link.messages import PROTOCOL, version

OK = 0
ERR_VERSION, ERR_LABEL, ERR_PHASE, ERR_STEP, ERR_UNKNOWN = -3, -11, -12, -13, -16
ERR_TOKEN, ERR_BUSY = -18, -19  # of agents alone: the C runtime has neither
ERR_LOCKED, ERR_SIGNATURE, ERR_ROLLBACK = -20, -21, -22  # of paired boards alone

WRITE_IMAGE = "Write the current firmware image to the board; docs/boards.md says how."
_EXPORT = "Export the plan again for this board."

_TABLE: dict[int, tuple[type[EdgeLearnError], str, str]] = {
    -1: (ConfigError, "a value is impossible", _EXPORT),
    -2: (ConfigError, "this is no plan", _EXPORT),
    ERR_VERSION: (VersionError, "the plan or message is of another version", WRITE_IMAGE),
    -4: (ConfigError, "the data are damaged", _EXPORT),
    -5: (ConfigError, "a length or offset does not fit", _EXPORT),
    -6: (WrongBoardError, "the plan was made for another board", "Name the connected board with --board."),
    -7: (DoesNotFitError, "its memory is too small for state and arena", "Use narrower layers, or a larger board."),
    -8: (VersionError, "the plan needs a kernel that this firmware does not have", WRITE_IMAGE),
    -9: (ConfigError, "a tensor of the plan has a wrong type, shape or region", _EXPORT),
    -10: (ConfigError, "an exponent slot of the plan is wrong", _EXPORT),
    ERR_LABEL: (ConfigError, "a label is not below the number of classes", "Correct the data, or [model] classes."),
    ERR_PHASE: (ConfigError, "it has no plan, or no state yet", "Train it first: edgelearn train"),
    ERR_STEP: (ConfigError, "a sample came for another step", "Resume from a checkpoint: edgelearn resume"),
    -14: (ConfigError, "it has no non-volatile memory", "Keep the state on this computer: every run does."),
    -15: (ConfigError, "its non-volatile memory failed, or holds no state for this plan", "Train and save first."),
    ERR_UNKNOWN: (VersionError, "its firmware does not know this message", WRITE_IMAGE),
    -17: (
        WrongBoardError,
        "its plan is compiled in and differs from this one",
        "Write the image with this recipe's plan to the board: edgelearn flash.",
    ),
    ERR_TOKEN: (NotAuthorisedError, "the token is another one", "Use the file that the agent has, with --token-file."),
    ERR_LOCKED: (NotAuthorisedError, "it takes orders only with its key", "Name the key file: --key FILE"),
    ERR_SIGNATURE: (
        NotAuthorisedError,
        "the plan is not signed with its key",
        "Use the key file that its image was built with.",
    ),
    ERR_ROLLBACK: (
        NotAuthorisedError,
        "it has taken plans with a higher counter",
        "Use the newest key file, or raise its counter.",
    ),
    ERR_BUSY: (PortBusyError, "it is in use by another client", "Wait until that one ends, or end it."),
}


def refusal(code: int, what: str) -> EdgeLearnError:
    """The error to raise when a board answered ``what`` (a message's name) with the negative ``code``."""
    kind, why, hint = _TABLE.get(
        code, (VersionError, f"code {code}, unknown to this edgelearn", "pip install -U edgelearn")
    )
    return kind(f"The board refuses '{what}': {why}.", hint)


def other_version(theirs: int) -> VersionError:
    """The error to raise when board and host speak different major versions of the link; 0: the board does not say which."""
    newer = theirs == 0 or theirs > PROTOCOL
    said = version(theirs) if theirs else "a newer version"
    return VersionError(
        f"The board speaks {said} of the link; this edgelearn speaks {version(PROTOCOL)}.",
        "Update edgelearn on this computer: pip install -U edgelearn" if newer else WRITE_IMAGE,
    )


def silence(name: str, seconds: float) -> LinkLostError:
    """The error to raise when nothing has moved for so long."""
    return LinkLostError(
        f"The board at {name} has not answered for {seconds:.0f} s.",
        "Check cable and power, and that edgelearn's firmware is on it (docs/boards.md); then run the command again.",
    )


def noise(name: str, seconds: float) -> LinkLostError:
    """The error to raise when bytes come, and for so long none that help."""
    return LinkLostError(
        f"What comes from {name} has made no sense for {seconds:.0f} s.",
        "Check its baud rate, and that edgelearn's firmware is on the board (docs/boards.md); use a shorter cable.",
    )
