"""Fenced blocks of the project's documents, with the comment that stands before each."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """One block: ``line`` is where its fence stands, ``note`` the HTML comment on the line before, or empty."""

    document: str
    line: int
    note: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def text(document: str) -> str:
    """A document, named relative to the checkout."""
    return (ROOT / document).read_text(encoding="utf-8")


def section(document: str, title: str) -> str:
    """From a heading that begins with ``title`` to the next one."""
    found = re.search(rf"^(#+) {re.escape(title)}\b.*?(?=^#|\Z)", text(document), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{document} has no section '{title}'"
    return found[0]


def blocks(document: str, language: str) -> list[Block]:
    """The blocks in ``language`` of a document, named relative to the checkout."""
    whole = text(document)
    return [
        Block(document, whole.count("\n", 0, m.start("language")) + 1, m["note"] or "", language, m["text"])
        for m in _BLOCK.finditer(whole)
        if m["language"] == language
    ]


def write_files(document: str, folder: Path) -> None:
    """Writes each block that is noted as ``file: NAME`` to ``folder``."""
    for language in ("python", "toml", "c"):
        for block in blocks(document, language):
            if block.note.startswith("file: "):
                (folder / block.note.removeprefix("file: ")).write_text(block.text, encoding="utf-8")


def run_shell(script: str, folder: Path, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs ``script`` in ``folder`` as a user would who has entered the virtual environment that runs the tests."""
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    env = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "export")))}
    return subprocess.run(
        ["sh", "-e", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=timeout_s, check=False
    )
