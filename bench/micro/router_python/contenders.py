"""Each contender: prepares rules, then answers for a batch of messages which of them match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import celpy
import orjson
import rule_engine
from celpy import celtypes

from edgehub.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rules import Answer, Contender, Message, Rule


def by_rule_engine(rules: Sequence[Rule]) -> Callable[[Sequence[Message]], Answer]:
    """`rule-engine`: rules compiled before, the body parsed once per message."""
    context = rule_engine.Context(default_value=None)

    def compiled(rule: Rule) -> rule_engine.Rule:
        # Subscripts: attributes of nested mappings take it five times as long.
        outer, _, inner = rule.place.partition(".")
        place = f'body["{outer}"]["{inner}"]' if rule.in_body else rule.place
        text = f'$parse_float(temperature) > {rule.above} and {place} == "{rule.text}"'
        return rule_engine.Rule(text, context=context)

    prepared = [(rule.name, compiled(rule)) for rule in rules]
    wants_body = any(rule.in_body for rule in rules)

    def match(messages: Sequence[Message]) -> Answer:
        answers = []
        for message in messages:
            thing = dict(message["properties"])
            if wants_body:
                thing["body"] = orjson.loads(message["body"])
            answers.append(tuple(name for name, rule in prepared if rule.matches(thing)))
        return answers

    return match


def by_cel(rules: Sequence[Rule]) -> Callable[[Sequence[Message]], Answer]:
    """`cel-python`: programs made before by its faster runner, values converted once per message."""
    environment = celpy.Environment(runner_class=celpy.CompiledRunner)

    def compiled(rule: Rule) -> celpy.Runner:
        place = f"body.{rule.place}" if rule.in_body else rule.place
        text = f'double(temperature) > {rule.above}.0 && {place} == "{rule.text}"'
        return environment.program(environment.compile(text))

    prepared = [(rule.name, compiled(rule)) for rule in rules]
    wants_body = any(rule.in_body for rule in rules)

    def match(messages: Sequence[Message]) -> Answer:
        answers = []
        for message in messages:
            values: dict[str, Any] = {
                name: celtypes.StringType(text) for name, text in message["properties"].items()
            }
            if wants_body:
                values["body"] = celpy.json_to_cel(orjson.loads(message["body"]))
            answers.append(tuple(name for name, program in prepared if program.evaluate(values)))
        return answers

    return match


def by_closures(rules: Sequence[Rule]) -> Callable[[Sequence[Message]], Answer]:
    """Plain Python: a closure per rule; number and body are parsed once per message."""

    def on_properties(rule: Rule) -> Callable[[float, dict[str, str], Any], bool]:
        above, name, text = rule.above, rule.place, rule.text
        return lambda number, properties, _body: number > above and properties.get(name) == text

    def on_body(rule: Rule) -> Callable[[float, dict[str, str], Any], bool]:
        above, text = rule.above, rule.text
        outer, inner = rule.place.split(".")

        def holds(number: float, _properties: dict[str, str], body: Any) -> bool:
            if number <= above:
                return False
            found = body.get(outer)
            return isinstance(found, dict) and found.get(inner) == text

        return holds

    prepared = [(rule.name, on_body(rule) if rule.in_body else on_properties(rule)) for rule in rules]
    wants_body = any(rule.in_body for rule in rules)

    def match(messages: Sequence[Message]) -> Answer:
        answers = []
        for message in messages:
            properties = message["properties"]
            body = orjson.loads(message["body"]) if wants_body else None
            number = float(properties["temperature"])
            answers.append(tuple(name for name, holds in prepared if holds(number, properties, body)))
        return answers

    return match


def router_of(rules: Sequence[Rule]) -> Router:
    """The router with these rules, each to an endpoint of its own."""
    return Router(
        {
            rule.name: f"FROM /messages/* WHERE {rule.condition()} "
            f'INTO BrokeredEndpoint("/modules/{rule.name}/inputs/in")'
            for rule in rules
        }
    )


def by_match_many(rules: Sequence[Rule]) -> Callable[[Sequence[Message]], list[Any]]:
    """`edgehub.router` with messages as dicts."""
    return router_of(rules).match_many


def by_match_encoded(rules: Sequence[Rule]) -> Callable[[bytes], list[Any]]:
    """`edgehub.router` with messages that their sender encoded."""
    return router_of(rules).match_encoded


OTHERS: dict[str, Contender] = {
    "rule-engine": by_rule_engine,
    "cel-python": by_cel,
    "closures + orjson": by_closures,
}
OURS: dict[str, Callable[[Sequence[Rule]], Callable[[Any], list[Any]]]] = {
    "match_many": by_match_many,
    "match_encoded": by_match_encoded,
}
