"""The router of Python against rule engines of Python: same rules, same messages, same answers.

`make bench-router` runs it and computes the ratios; it needs requirements/bench.lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from contenders import OTHERS, OURS
from rules import FAMILIES, RULE_COUNTS, VARIETY, messages, rules

from edgehub.router import encode_many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_benchmark.fixture import BenchmarkFixture
    from rules import Answer, Message, Rule

BATCH_MSGS = 10 * VARIETY
# The rule engines take milliseconds per message: a tenth of the batch tells their rate as well.
SLOW = ("rule-engine", "cel-python")
ROUNDS_SLOW = 3
ROUNDS = 30

sets = pytest.mark.parametrize("family", FAMILIES)
sizes = pytest.mark.parametrize("count", RULE_COUNTS)


def by_definition(given: Sequence[Rule], batch: Sequence[Message]) -> Answer:
    """What the rules mean, without any engine: text and number are known from how messages are made."""

    def holds(rule: Rule, message: Message) -> bool:
        properties = message["properties"]
        text = properties["machine"] if rule.in_body else properties[rule.place]
        return float(properties["temperature"]) > rule.above and text == rule.text

    return [tuple(rule.name for rule in given if holds(rule, message)) for message in batch]


def names(deliveries: list[Any]) -> Answer:
    """The router's answer in the form of the others."""
    return [tuple(delivery.route for delivery in found) for found in deliveries]


def batch_for(contender: str, count: int = VARIETY) -> Any:
    """The messages in the form that a contender takes."""
    batch = messages(count)
    return encode_many(batch) if contender == "match_encoded" else batch


@sets
@sizes
def test_all_give_the_same_answers(family: str, count: int) -> None:
    given = rules(family, count)
    expected = by_definition(given, messages())
    assert any(expected)
    assert not all(expected)
    for prepare in OTHERS.values():
        assert prepare(given)(messages()) == expected
    for name, prepare_ours in OURS.items():
        assert names(prepare_ours(given)(batch_for(name))) == expected


@sets
@sizes
@pytest.mark.parametrize("contender", [*OTHERS, *OURS])
def test_speed(benchmark: BenchmarkFixture, family: str, count: int, contender: str) -> None:
    prepare = OTHERS.get(contender) or OURS[contender]
    run = prepare(rules(family, count))
    slow = contender in SLOW
    batch_msgs = VARIETY if slow else BATCH_MSGS
    benchmark.extra_info.update(
        {"family": family, "rules": count, "contender": contender, "messages": batch_msgs}
    )
    batch = batch_for(contender, batch_msgs)
    benchmark.pedantic(run, args=(batch,), rounds=ROUNDS_SLOW if slow else ROUNDS, warmup_rounds=1)
