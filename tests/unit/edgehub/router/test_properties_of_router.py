"""Routes and messages made at random: all ways to ask give one answer, and it follows from the rules."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgehub.router import Condition, Delivery, Router, encode, encode_many
from testkit.routing_strategies import conditions, messages, routes

PRIORITY_DEFAULT = 2_000_000_000


def matches(pattern: str, source: str) -> bool:
    """Routing section 1.2: a prefix of whole segments, without regard to case."""
    prefix = pattern.rstrip("*").rstrip("/") + "/"
    return (source.rstrip("/") + "/").lower().startswith(prefix.lower())


def split(text: str) -> tuple[str, str, str]:
    """Source, condition and sink of a route."""
    head, _, sink = text.rpartition(" INTO ")
    source, _, condition = head.removeprefix("FROM ").partition(" WHERE ")
    return source, condition or "true", sink


def expected_verdicts(declared: dict[str, Any], message: dict[str, Any]) -> dict[str, str]:
    """Each condition alone, on the routes whose source matches."""
    parts = {name: split(value["route"]) for name, value in declared.items()}
    source = message.get("source", "/messages/")
    return {
        name: Condition(condition).evaluate(message)
        for name, (pattern, condition, _) in parts.items()
        if matches(pattern, source)
    }


def expected_deliveries(declared: dict[str, Any], verdicts: dict[str, str]) -> tuple[Delivery, ...]:
    """Routing section 10.4: each endpoint once, by the best of the routes that match."""
    ranked = []
    for index, (name, value) in enumerate(declared.items()):
        if verdicts.get(name) != "true":
            continue
        priority = PRIORITY_DEFAULT if value["priority"] is None else value["priority"]
        endpoint = "iothub" if split(value["route"])[2].lower() == "$upstream" else "edge/m/i"
        ranked.append((priority, index, Delivery(endpoint, name, priority, value["timeToLiveSecs"] or 0)))
    chosen: dict[str, Delivery] = {}
    for _, _, delivery in sorted(ranked, key=lambda row: row[:2]):
        chosen.setdefault(delivery.endpoint, delivery)
    return tuple(chosen.values())


@given(routes(), st.lists(messages(), max_size=4))
def test_every_way_to_ask_gives_the_answer_of_the_rules(
    declared: dict[str, Any], batch: list[dict[str, Any]]
) -> None:
    router = Router(declared, edge_device_id="edge")
    verdicts = [expected_verdicts(declared, message) for message in batch]
    deliveries = [expected_deliveries(declared, found) for found in verdicts]
    encoded = [encode(message) for message in batch]
    assert [router.match(message) for message in batch] == deliveries
    assert router.match_many(batch) == deliveries
    assert router.match_many(encoded) == deliveries
    assert router.match_encoded(encode_many(batch)) == deliveries
    assert router.match_encoded(b"".join(encoded)) == deliveries
    assert [router.verdicts(message) for message in batch] == verdicts
    assert router.verdicts_many(batch) == verdicts
    assert router.verdicts_many(tuple(encoded)) == verdicts
    for message, chosen, found in zip(batch, deliveries, verdicts, strict=True):
        told = router.explain(message).data
        assert {row["name"]: row["verdict"] for row in told["routes"] if row["sourceMatches"]} == found
        assert [Delivery(*row.values()) for row in told["deliveries"]] == list(chosen)


@given(conditions(), messages())
def test_a_condition_is_a_route_of_its_own(condition: str, message: dict[str, Any]) -> None:
    router = Router({"r": f"FROM /* WHERE {condition} INTO $upstream"})
    verdict = Condition(condition).evaluate(message)
    assert router.verdicts(message) == {"r": verdict}
    assert bool(router.match(message)) == (verdict == "true")


@given(st.dictionaries(st.text(), st.none() | st.text()), st.binary())
def test_any_message_is_taken_or_refused(properties: dict[str, Any], body: bytes) -> None:
    router = Router({"r": "FROM /* WHERE $body.a = 1 OR x = 'y' INTO $upstream"})
    message = {"properties": properties, "body": body}
    try:
        encoded = encode(message)
    except ValueError as error:
        assert str(error).startswith("key 'properties': ")  # noqa: PT017 - most messages are taken
    else:
        assert router.match_encoded(encoded * 2) == [router.match(message)] * 2


@given(st.binary(max_size=80), st.integers(0, 60), st.binary(max_size=3))
def test_any_bytes_are_taken_or_refused(data: bytes, at: int, patch: bytes) -> None:
    router = Router({"r": "FROM /* WHERE a = 'x' INTO $upstream"})
    good = encode({"systemProperties": {"cid": "7"}, "properties": {"a": "x", "é": None}, "body": "{}"})
    for bad in (data, good[:at] + patch + good[at + len(patch) :]):
        try:
            results = router.match_encoded(bad)
        except ValueError as error:
            assert str(error).startswith("messages[")  # noqa: PT017 - some of them are taken
        else:
            assert len(results) <= 1 + len(bad) // 16
