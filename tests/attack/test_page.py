"""The table about the host in docs/reliability.md says what its file says, and that file says that nothing was found."""

from __future__ import annotations

import json

from tests.attack import page


def test_the_page_has_the_figures_of_the_soak() -> None:
    figures = json.loads(page.FIGURES.read_text(encoding="utf-8"))
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text, figures) == text, "python -m tests.attack.page"
    assert "reliability-host" in text
    for part in ("kills", "room", "files", "modules", "noise"):
        assert figures[part]["found"] == 0
        assert figures[part]["command"].startswith("python -m tests.attack.")
    assert figures["kills"]["kills"] >= 200
    assert figures["modules"]["modules"] >= 10_000
