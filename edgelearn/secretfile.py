"""Files with a secret in them: read whole, and only where nobody else can."""

from __future__ import annotations

import os
from pathlib import Path

from edgelearn.errors import ConfigError


def read(file: Path, what: str, make: str, most: int) -> bytes:
    """The bytes of a secret file, at most ``most`` and one more.

    Args:
        what: what it is called in messages: "the token file". make: how one is made.

    Raises:
        ConfigError: it cannot be read, or others can read it too.
    """
    try:
        with file.expanduser().open("rb") as opened:
            raw, mode = opened.read(most + 1), os.fstat(opened.fileno()).st_mode
    except OSError as error:
        raise ConfigError(f"Cannot read {what} {file}: {error.strerror}.", make) from error
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(f"Others may read {what} {file}.", f"chmod 600 {file}")
    return raw
