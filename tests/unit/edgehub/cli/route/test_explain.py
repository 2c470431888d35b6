"""`edgehub route explain`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Any]
    Write = Callable[..., str]

ROUTES = {
    "hot": 'FROM /messages/* WHERE as_number(temp) > 30 INTO BrokeredEndpoint("/modules/alarm/inputs/hot")',
    "up": "FROM /messages/* INTO $upstream",
}
MESSAGE = {"properties": {"temp": "31"}}


def test_text_and_json_are_the_router_s_own(run: Run, write: Write) -> None:
    routes, message = write(ROUTES), write(MESSAGE, "message.json")
    own = Router(ROUTES, edge_device_id="gw").explain(MESSAGE)
    shown = run("explain", routes, "--message", message, "--device", "gw")
    assert (shown.exit_code, shown.stdout) == (0, own.text.rstrip("\n") + "\n")
    shown = run("explain", routes, "--message", message, "--device", "gw", "--json")
    assert json.loads(shown.stdout) == json.loads(own.json)


def test_the_message_may_come_from_standard_input(run: Run, write: Write) -> None:
    result = run("explain", write(ROUTES), "--message", "-", stdin=json.dumps(MESSAGE))
    assert result.exit_code == 0
    assert "hot" in result.stdout


def test_a_bad_route_is_told_and_left_out(run: Run, write: Write) -> None:
    path = write({**ROUTES, "bad": "FROM nowhere"})
    result = run("explain", path, "--message", write(MESSAGE, "message.json"))
    assert result.exit_code == 1
    assert "route 'bad' left out: 1:6: Syntax error." in result.stderr
    assert "hot" in result.stdout
    assert "bad" not in result.stdout


@pytest.mark.parametrize(
    "message", ["", "[]", '{"body": 5}', '{"nonsense": 1}', '{"properties": {"a": "1", "A": "2"}}']
)
def test_a_bad_message(run: Run, write: Write, message: str) -> None:
    result = run("explain", write(ROUTES), "--message", write(message, "message.json"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "message.json: " in result.stderr


def test_a_message_that_is_not_there(run: Run, write: Write) -> None:
    result = run("explain", write(ROUTES), "--message", "/nonexistent/message.json")
    assert result.exit_code == 1
    assert "/nonexistent/message.json: No such file" in result.stderr


def test_a_message_is_required(run: Run, write: Write) -> None:
    assert run("explain", write(ROUTES)).exit_code == 2
