"""docs/configuration.md is what the settings table says."""

from __future__ import annotations

from pathlib import Path

from edgehub.config.document import configuration_page, main
from edgehub.config.inactive import INACTIVE
from edgehub.config.rows import rows_of
from edgehub.config.settings import SECTIONS

PAGE = Path(__file__).parents[4] / "docs/configuration.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == configuration_page(), "run python -m edgehub.config.document"


def test_the_page_names_every_setting() -> None:
    page = configuration_page()
    for section in SECTIONS.values():
        for _, row in rows_of(section):
            assert f"| `{row.env}` |" in page
    for entry in INACTIVE:
        assert f"| `{entry.env}` |" in page


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    target = tmp_path / "page.md"
    assert main([str(target)]) == 0
    assert target.read_text(encoding="utf-8") == configuration_page()
