"""Explanations as Python has them."""

from __future__ import annotations

import json
from typing import Any

from edgehub.router import Router

ROUTES: dict[str, Any] = {
    "hot": {
        "route": "FROM /messages/* WHERE as_number(temp) > 30 AND kind = 'a' INTO $upstream",
        "priority": 1,
        "timeToLiveSecs": 60,
    },
    "all": "FROM /messages/* INTO $upstream",
    "twin": "FROM /twinChangeNotifications INTO $upstream",
}


def test_the_three_forms_say_the_same() -> None:
    message = {"source": "/messages/modules/m1", "properties": {"temp": "31", "kind": "a"}}
    why = Router(ROUTES).explain(message)
    assert json.loads(why.json) == why.data
    assert "\n" not in why.json
    assert str(why) == why.text
    assert repr(why) == "<Explanation of a message from /messages/modules/m1/: 3 routes, 1 endpoints>"
    assert why.data["deliveries"] == [{"endpoint": "iothub", "route": "hot", "priority": 1, "ttlSecs": 60}]
    outcomes = {route["name"]: (route["outcome"], route["outrankedBy"]) for route in why.data["routes"]}
    assert outcomes == {"hot": ("chosen", None), "all": ("outranked", "hot"), "twin": ("otherSource", None)}
    assert "route 'hot': chosen" in why.text


def test_the_deciding_part_is_named() -> None:
    why = Router(ROUTES).explain({"properties": {"temp": "31", "kind": "b"}})
    hot = why.data["routes"][0]
    deciding = hot["parts"][hot["deciding"]]
    assert (deciding["text"], deciding["value"], deciding["depth"]) == ("kind = 'a'", False, 1)
    (line,) = [line for line in why.text.splitlines() if "<-- decides" in line]
    assert line.split() == ["kind", "=", "'a'", "false", "<--", "decides"]


def test_a_message_cannot_move_the_cursor() -> None:
    why = Router(ROUTES).explain({"properties": {"temp": "\x1b[2J", "kind": "a\u202eb"}})
    assert r'"\u{1b}[2J"' in why.text
    assert "\x1b" not in why.text
    assert "\u202e" not in why.text
    temp = next(part for part in why.data["routes"][0]["parts"] if part["text"] == "temp")
    assert temp["value"] == "\x1b[2J"
