"""Files with routes: which form is which."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.cli.route.routes_file import RoutesFileError, read_routes_file
from edgehub.hub.desired_files import FILE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[..., str]

UP = "FROM /* INTO $upstream"
ROUTES = {"a": UP, "b": {"route": UP, "priority": 1}}
DESIRED = {"schemaVersion": "1.1", "routes": ROUTES, "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}


def read(path: str) -> dict[str, Any]:
    return dict(read_routes_file(Path(path)).routes)


@pytest.mark.parametrize(
    "document",
    [
        ROUTES,
        DESIRED,
        {"routes": ROUTES},
        {"modulesContent": {"$edgeHub": {"properties.desired": DESIRED}}},
        {"content": {"modulesContent": {"$edgeAgent": {}, "$edgeHub": {"properties.desired": DESIRED}}}},
        {"modulesContent": {"$edgeHub": {"properties": {"desired": DESIRED}}}},
    ],
)
def test_all_forms_hold_the_same_routes(write: Write, document: Any) -> None:
    assert read(write(document)) == ROUTES


@pytest.mark.parametrize(
    "routes",
    [
        {},
        {"routes": UP},
        {"routes": {"route": UP, "priority": 1}},
        {"routes": {"route": UP}, "storeAndForwardConfiguration": UP, "other": UP},
        {"routes": {"a": UP}, "other": UP},
        {"routes": None},
        {"properties.desired": UP, "a": UP},
        {"properties.desired": {"route": UP}, "a": UP},
        {"properties": {"route": UP}, "modulesContent": {"route": UP}, "content": {"route": UP}},
        {"modulesContent": UP, "content": UP, "$edgeHub": UP},
        {"schemaVersion": UP, "routes": UP},
        {"schemaVersion": {"route": UP}},
    ],
)
def test_routes_may_have_the_names_of_keys(write: Write, routes: Any) -> None:
    assert read(write(routes)) == routes


def test_a_document_is_judged_as_the_hub_does_but_for_its_routes(write: Write) -> None:
    file = read_routes_file(Path(write({**DESIRED, "routes": {"bad": 5}})))
    assert (file.routes, file.schema, file.problem) == ({"bad": 5}, "1.1", "")
    file = read_routes_file(Path(write({**DESIRED, "schemaVersion": "1.9"})))
    assert "1.9" in file.warnings[0]
    file = read_routes_file(Path(write({**DESIRED, "schemaVersion": "1.0"})))
    assert file.schema == "1.0"
    file = read_routes_file(Path(write({"schemaVersion": "1.1", "Routes": ROUTES})))
    assert file.routes == ROUTES
    assert "storeAndForwardConfiguration" in file.problem
    file = read_routes_file(Path(write({**DESIRED, "routes": [1]})))
    assert (file.routes, file.problem) == ({}, "'routes' must be an object, found an array")
    file = read_routes_file(Path(write({**DESIRED, "routes": dict.fromkeys(map(str, range(1001)), UP)})))
    assert "at most 1000" in file.problem
    file = read_routes_file(Path(write({"schemaVersion": "1.1"})))
    assert file.problem == "Required property 'routes' is missing"


def test_names_that_stand_twice_around_the_routes_refuse_the_file(write: Write) -> None:
    path = write('{"schemaVersion": "1.1", "routes": {}, "routes": {}, "storeAndForwardConfiguration": {}}')
    with pytest.raises(RoutesFileError, match="'routes' stands twice"):
        read_routes_file(Path(path))


def test_a_manifest_without_the_hub(write: Write) -> None:
    with pytest.raises(RoutesFileError, match=r"without modulesContent\.\$edgeHub"):
        read_routes_file(Path(write({"modulesContent": {"$edgeAgent": {}}})))


def test_a_file_that_is_too_large(write: Write) -> None:
    at_the_limit = b" " * (FILE_BYTES_MAX - 2) + b"{}"
    assert read(write(at_the_limit)) == {}
    with pytest.raises(RoutesFileError, match="larger than"):
        read(write(b" " + at_the_limit))


def test_a_byte_order_mark_is_no_harm(write: Write) -> None:
    assert read(write(b'\xef\xbb\xbf{"a": ""}')) == {"a": ""}
