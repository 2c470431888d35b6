"""The error tree in the text of `edgehub.errors` is complete."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import edgehub
from edgehub import errors
from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(edgehub.__file__).parent
PACKAGES = ("common", "config", "heads", "hub", "identity", "metrics", "protocol", "upstream")


def modules() -> Iterator[str]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ".".join(("edgehub", *path.relative_to(ROOT).with_suffix("").parts))
    yield from ("edgehub.services", "edgehub.app")


def subclasses(root: type[Exception]) -> Iterator[type[Exception]]:
    for item in root.__subclasses__():
        yield item
        yield from subclasses(item)


def test_every_error_is_in_the_tree() -> None:
    for name in modules():
        importlib.import_module(name)
    tree = errors.__doc__ or ""
    found = {item.__name__ for item in subclasses(EdgehubError) if item.__module__ in set(modules())}
    assert {name for name in found if f" {name} " not in tree and not name.startswith("_")} == set()
    assert len(found) > 20
