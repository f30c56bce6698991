"""What the README tells people to type works, from the checkout, as it stands there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import edgelearn as el
from tests.cli.documents import ROOT, Block, blocks, run_shell, write_files

NOT_RUN, NEEDS_QEMU, NEEDS_ONNX = "not run", "needs qemu", "needs onnx"
EXTRAS = ("onnxruntime", "ai_edge_litert")
SLOW = ("make demo", "make test")  # they run these tests, or install first


def _marks(block: Block) -> list[pytest.MarkDecorator]:
    missing = [name for name in EXTRAS if find_spec(name) is None]
    if block.note == NEEDS_ONNX:
        return [pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")]
    return [pytest.mark.qemu] if block.note == NEEDS_QEMU else []


SHELL = [pytest.param(b, id=str(b), marks=_marks(b)) for b in blocks("README.md", "sh") if b.note != NOT_RUN]


def test_the_first_block_names_the_two_commands() -> None:
    first = blocks("README.md", "sh")[0]
    assert tuple(line.split("#")[0].strip() for line in first.text.splitlines()) == SLOW


@pytest.mark.parametrize("block", SHELL)
def test_shell_block(block: Block) -> None:
    lines = [line for line in block.text.splitlines() if not line.startswith(SLOW)]
    done = run_shell("\n".join(lines), ROOT)
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


def test_python_block(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [b for b in blocks("README.md", "python") if b.note == "run"]
    exec(compile(block.text, str(block), "exec"), {})
    assert float(capsys.readouterr().out.split()[0]) > 0.8


def test_the_rule_shown_is_mono_forward(tmp_path: Path) -> None:
    """Down to the last bit of the state that a board ends in."""
    write_files("README.md", tmp_path)
    shipped = el.compile("digits", steps=700)
    text = shipped.recipe.text.replace('"mono-forward"', '"my_rule.py:MyRule"')
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    mine = el.compile(tmp_path / "mine.toml", steps=700)
    with el.connect("sim") as board:
        assert board.train(mine).data["state_sha256"] == board.train(shipped).data["state_sha256"]


def test_links_lead_somewhere() -> None:
    """Files that the documents link to exist."""
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
