"""The page of settings is what its table says."""

from __future__ import annotations

from pathlib import Path

from edgeagent.config.document import page

PAGE = Path(__file__).parents[4] / "docs" / "agent-settings.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run make settings"
