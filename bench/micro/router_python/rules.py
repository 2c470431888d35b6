"""The rules and the messages that all contenders get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

FAMILIES = ("properties", "body")
RULE_COUNTS = (1, 10, 100)
VARIETY = 100  # messages that differ; a batch is a multiple of it
NAMES = ("machine", "line", "site", "kind")

Message = dict[str, Any]
"""A message as `edgehub.router` takes it."""

Answer = list[tuple[str, ...]]
"""For each message the names of the rules that it matches, in the order of the rules."""

Contender = Callable[[Sequence["Rule"]], Callable[[Any], Answer]]
"""Prepares rules; what it returns is timed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A temperature above `above`, and a text at `place` that equals `text`.

    :param place: name of a property, or `machine.id` in the body.
    """

    name: str
    above: int
    place: str
    text: str
    in_body: bool

    def condition(self) -> str:
        """The rule in the route language."""
        place = f"$body.{self.place}" if self.in_body else self.place
        return f"as_number(temperature) > {self.above} AND {place} = '{self.text}'"


def rules(family: str, count: int) -> list[Rule]:
    """Rules with constants of their own."""
    in_body = family == "body"
    return [
        Rule(f"r{i}", i % 30, "machine.id" if in_body else NAMES[i % 4], f"x{i}", in_body)
        for i in range(count)
    ]


def messages(count: int = VARIETY) -> list[Message]:
    """Readings with five properties and a body of about 180 bytes."""
    return [_message(i % VARIETY) for i in range(count)]


def _message(i: int) -> Message:
    return {
        "source": "/messages/modules/press/outputs/readings",
        "systemProperties": {"contentType": "application/json", "contentEncoding": "utf-8"},
        "properties": {
            "machine": f"x{i}",
            "line": str(i % 4),
            "site": "north",
            "kind": f"k{i}",
            "temperature": f"{i % 40}.5",
        },
        "body": (
            f'{{"machine":{{"id":"x{i}","line":{{"no":{i % 4},"site":"north"}}}},"temperature":{i % 40}.5,'
            f'"pressure":1.02,"state":"ok","shift":"late","cycle":{120 + i},"alarms":[0,2],'
            '"tool":{"id":"t7","wear":0.25}}'
        ),
    }
