"""Publishing to a client whose topics may be spelled in several ways."""

from __future__ import annotations

import asyncio

import pytest

from edgehub.common.publishing import publish_to_first


@pytest.mark.parametrize(
    ("outcomes", "told", "tried"),
    [
        (["acked"], "acked", 1),
        (["too_old"], "too_old", 1),
        (["no_subscription", "acked"], "acked", 2),
        (["no_subscription", "no_subscription"], "no_subscription", 2),
        ([None], "closed", 1),
        (["no_subscription", None], "closed", 2),
    ],
)
async def test_the_first_that_has_a_subscription(outcomes: list[str | None], told: str, tried: int) -> None:
    topics: list[str] = []

    def publish(topic: str) -> asyncio.Future[str] | None:
        topics.append(topic)
        outcome = outcomes[len(topics) - 1]
        if outcome is None:
            return None
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        done.set_result(outcome)
        return done

    assert await publish_to_first(["a b", "a%20b"], publish) == told
    assert topics == ["a b", "a%20b"][:tried]
