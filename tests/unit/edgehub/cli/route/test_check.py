"""`edgehub route check`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.cli.route.report import Note, RouteNotes, notes_as_lines, route_text, summary
from edgehub.cli.route.routes_file import RoutesFile

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Any]
    Write = Callable[..., str]

UP = "FROM /messages/* INTO $upstream"
WRONG = "FROM /messages/* WHERE 3 + '4' = 7 INTO $upstream"


def errors_of(output: str, route: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output)["routes"][route]["errors"]
    return found


def test_good_routes(run: Run, write: Write) -> None:
    result = run("check", write({"a": UP, "b": {"route": UP, "priority": 0, "timeToLiveSecs": 60}}))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].startswith("2 routes")


def test_json_lists_every_declared_route(run: Run, write: Write) -> None:
    result = run("check", "--json", write({"b": UP, "a": "FROM /*"}))
    shown = json.loads(result.stdout)["routes"]
    assert result.exit_code == 1
    assert list(shown) == ["b", "a"]
    assert shown["b"] == {"errors": [], "warnings": []}


def test_json_of_errors_has_place_and_message(run: Run, write: Write) -> None:
    found = errors_of(run("check", "--json", write({"a": WRONG})).stdout, "a")
    assert [(e["line"], e["column"], e["endLine"], e["endColumn"], e["message"]) for e in found] == [
        (
            1,
            26,
            1,
            27,
            "Invalid operands to binary operator '+': have 'number' and 'string', "
            "expected 'number' and 'number'",
        ),
        (
            1,
            32,
            1,
            33,
            "Invalid operands to binary operator '=': have 'undefined' and 'number', "
            "expected 'undefined' and 'undefined'",
        ),
    ]
    assert all(e["code"] for e in found)


def test_json_of_warnings(run: Run, write: Write) -> None:
    result = run("check", "--json", write({"a": f"{UP} junk"}))
    assert result.exit_code == 0
    (warning,) = json.loads(result.stdout)["routes"]["a"]["warnings"]
    assert {"line", "column", "endLine", "endColumn", "message", "code"} <= set(warning)
    assert (warning["line"], warning["column"]) == (1, len(UP) + 2)


@pytest.mark.parametrize(
    "declaration",
    [
        5,
        None,
        [],
        True,
        {},
        {"priority": 1},
        {"route": 5},
        {"route": UP, "priority": 10},
        {"route": UP, "priority": "high"},
        {"route": UP, "timeToLiveSecs": -1},
        {"route": UP, "timeToLiveSecs": 2**32},
        "",
    ],
)
def test_a_wrong_declaration_is_an_error_of_that_route(run: Run, write: Write, declaration: Any) -> None:
    result = run("check", "--json", write({"bad": declaration, "good": UP}))
    (error,) = errors_of(result.stdout, "bad")
    assert result.exit_code == 1
    assert [error[key] for key in ("line", "column", "endLine", "endColumn")] == [1, 1, 1, 1]
    assert errors_of(result.stdout, "good") == []


def test_names_that_stand_twice(run: Run, write: Write) -> None:
    path = write(f'{{"a": "{UP}", "b": {{"route": "{UP}", "route": "{UP}"}}, "a": "{UP}", "c": "{UP}"}}')
    result = run("check", "--json", path)
    assert result.exit_code == 1
    assert [e["message"] for e in errors_of(result.stdout, "a")] == ["Two routes have this name."]
    assert [e["message"] for e in errors_of(result.stdout, "b")] == ["The key 'route' stands in it twice."]
    assert errors_of(result.stdout, "c") == []


def test_text_underlines_the_place(run: Run, write: Write) -> None:
    result = run("check", write({"bad": f"FROM /messages/*\n\tWHERE {'ä'} = 3 INTO $upstream", "good": UP}))
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert lines[0].startswith("bad:2:10: error [")
    assert lines[1:3] == ["    \tWHERE ä = 3 INTO $upstream", "    \t        ^"]
    assert lines[-1].startswith("2 routes, 1 with errors")


def test_the_device_id_is_an_option_or_the_environment_s(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def check(routes: Any, *, edge_device_id: str, schema: str) -> Any:
        seen.append(edge_device_id)
        raise RuntimeError

    monkeypatch.setattr("edgehub.router.check", check)
    path = write({"a": UP})
    run("check", path)
    monkeypatch.setenv("IOTEDGE_DEVICEID", "edge7")
    run("check", path)
    run("check", path, "--device", "edge8")
    assert seen == ["device", "edge7", "edge8"]


def test_a_document_whose_other_parts_are_wrong(run: Run, write: Write) -> None:
    document = {"schemaVersion": "2.0", "routes": {"a": UP}, "storeAndForwardConfiguration": {}}
    result = run("check", "--json", write(document))
    assert result.exit_code == 1
    assert "unsupported SchemaVersion: 2.0" in result.stderr
    assert errors_of(result.stdout, "a") == []


def test_an_old_schema_takes_text_only_and_skips_blanks(run: Run, write: Write) -> None:
    routes = {"a": UP, "skipped": "", "object": {"route": UP}}
    document = {"schemaVersion": "1.0", "routes": routes, "storeAndForwardConfiguration": {}}
    result = run("check", "--json", write(document))
    assert result.exit_code == 1
    assert len(errors_of(result.stdout, "object")) == 1
    assert errors_of(result.stdout, "a") == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "5",
        "{",
        '{"a": NaN}',
        b"\xff\xfe",
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        '{"\\ud800": 1}',
    ],
)
def test_files_that_hold_no_routes(run: Run, write: Write, content: str | bytes) -> None:
    result = run("check", write(content, "x.json"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("edgehub: ")
    assert "x.json: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_not_there(run: Run, write: Write) -> None:
    result = run("check", write({}) + ".none")
    assert result.exit_code == 1
    assert "No such file" in result.stderr


def test_places_outside_of_the_text_are_not_marked() -> None:
    file = RoutesFile({"a": "ab cd\nef"})
    notes = {
        "a": RouteNotes(
            [Note("x", "m1", None, 9, 1, 9, 2), Note("x", "m2", "do this", 1, 4, 2, 1), Note("x", "m3")]
        ),
        "": RouteNotes([Note("y", "all")]),
    }
    plain = [line.replace("\x1b[0m", "") for line in notes_as_lines(file, notes)]
    shown = [line for line in plain if line]
    assert [line for line in shown if line.startswith("    ")][0::3] == [
        "    ab cd",
    ]
    assert "    hint: do this" in shown
    assert shown[-1] == "1 route, 2 with errors"


def test_columns_count_utf16_units() -> None:
    file = RoutesFile({"a": "a\U0001f600b"})
    lines = list(notes_as_lines(file, {"a": RouteNotes([Note("x", "m", None, 1, 4, 1, 5)])}))
    # the emoji is two columns wide on a terminal
    assert lines[2].replace("\x1b[31m\x1b[1m", "").replace("\x1b[0m", "") == "       ^"


def test_summary() -> None:
    assert summary({}) == "0 routes, all right"
    both = RouteNotes([Note("x", "m")], [Note("y", "n")])
    assert summary({"a": both, "b": RouteNotes()}) == "2 routes, 1 with errors, 1 with warnings"


def test_the_text_of_a_declaration() -> None:
    assert route_text({"route": "x"}) == route_text("x") == "x"
    assert route_text({"route": 5}) == route_text(None) == ""
