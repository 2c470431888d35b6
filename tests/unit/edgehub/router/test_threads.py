"""Many threads match while one replaces the routes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

from edgehub.router import Router, encode_many

INPUTS = 6
WORKERS = 3
REPLACEMENTS = 120


def generation(number: int) -> dict[str, Any]:
    """Routes to the same inputs, all with the time to live `number`."""
    return {
        f"r{i}": {
            "route": f"FROM /* WHERE kind = 'a' INTO BrokeredEndpoint('/modules/m/inputs/{i}')",
            "timeToLiveSecs": number,
        }
        for i in range(INPUTS)
    }


def test_every_batch_sees_one_whole_set() -> None:
    router = Router(generation(1))
    batch = [{"properties": {"kind": "a"}} for _ in range(50)]
    encoded = encode_many(batch)
    done = Event()

    def work() -> set[int]:
        seen: set[int] = set()
        before = 0
        while not done.is_set() or before < REPLACEMENTS:
            for results in (router.match_many(batch), router.match_encoded(encoded)):
                numbers = {delivery.ttl_secs for deliveries in results for delivery in deliveries}
                assert {len(deliveries) for deliveries in results} == {INPUTS}
                assert len(numbers) == 1, "a mix of two sets"
                assert before <= max(numbers), "an older set came back"
                before = max(numbers)
            seen |= numbers
        return seen

    with ThreadPoolExecutor(WORKERS) as pool:
        workers = [pool.submit(work) for _ in range(WORKERS)]
        for number in range(2, REPLACEMENTS + 1):
            router.replace(generation(number))
        done.set()
        for worker in workers:
            assert REPLACEMENTS in worker.result(timeout=50)


def test_one_router_answers_many_threads_at_once() -> None:
    router = Router({"r": "FROM /* WHERE as_number(n) % 2 = 0 INTO $upstream"})
    batch = [{"properties": {"n": str(n)}} for n in range(200)]
    expected = router.match_many(batch)
    assert [len(deliveries) for deliveries in expected] == [1, 0] * 100

    def work(_: int) -> bool:
        verdicts = router.verdicts_many(batch)
        return router.match_many(batch) == expected and [v["r"] for v in verdicts] == ["true", "false"] * 100

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(100)))
