"""Method calls to clients (heads spec 6; T-001 to T-003, DEV-17, DEV-26)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edgehub.common import method_calls
from edgehub.common.ids import IdentityId
from edgehub.common.method_calls import Failure, MethodAnswer, MethodCall, MethodCalls, MethodError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

A, B = IdentityId("edge1", "a"), IdentityId("leaf")
CALL = MethodCall("reset", b'{"x":1}', 30.0)


class Rig:
    """Methods with a sender that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[tuple[IdentityId, str, MethodCall]] = []
        self.outcomes: list[asyncio.Future[str]] = []
        self.gone: set[IdentityId] = set()
        self.methods: MethodCalls[IdentityId] = MethodCalls(self.send)

    def send(self, target: IdentityId, request_id: str, call: MethodCall) -> asyncio.Future[str] | None:
        if target in self.gone:
            return None
        self.sent.append((target, request_id, call))
        self.outcomes.append(asyncio.get_running_loop().create_future())
        return self.outcomes[-1]

    def listen(self, *targets: IdentityId) -> None:
        for target in targets:
            self.methods.gone(target)
            self.methods.listens(target)

    async def start(self, target: IdentityId, call: MethodCall = CALL) -> asyncio.Task[MethodAnswer]:
        task = asyncio.create_task(self.methods.call(target, call))
        await settle()
        return task

    def answer(self, index: int, status: int = 200, payload: bytes = b"1") -> bool:
        target, request_id, _ = self.sent[index]
        return self.methods.answered(target, request_id, MethodAnswer(status, payload))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def error_of(call: Coroutine[Any, Any, Any] | asyncio.Task[Any]) -> tuple[Failure, str]:
    with pytest.raises(MethodError) as caught:
        await call
    return caught.value.failure, str(caught.value)


async def test_a_call_reaches_its_target_and_the_answer_its_caller() -> None:
    rig = Rig()
    rig.listen(B)
    task = await rig.start(B)
    ((target, request_id, call),) = rig.sent
    assert (target, call) == (B, CALL)
    assert rig.methods.answered(B, request_id.upper(), MethodAnswer(202, b"{}")), "ids in any case"
    assert await task == MethodAnswer(202, b"{}")
    assert rig.methods.count == 0


async def test_t_001_answers_may_come_in_any_order() -> None:
    rig = Rig()
    rig.listen(B)
    first, second = await rig.start(B), await rig.start(B)
    assert rig.answer(1, 2)
    assert rig.answer(0, 1)
    assert ((await first).status, (await second).status) == (1, 2)


async def test_t_003_late_unknown_and_foreign_answers_are_ignored() -> None:
    rig = Rig()
    rig.listen(A, B)
    task = await rig.start(B)
    _, request_id, _ = rig.sent[0]
    assert not rig.methods.answered(A, request_id, MethodAnswer(200, b"")), "of another client"
    assert not rig.methods.answered(B, "unknown", MethodAnswer(200, b""))
    assert rig.answer(0)
    assert not rig.answer(0), "a second one"
    assert (await task).status == 200
    assert not rig.answer(0), "too late"


async def test_who_is_not_there_or_does_not_listen_is_not_found() -> None:
    rig = Rig()
    assert await error_of(rig.methods.call(B, CALL)) == (Failure.ABSENT, "Client leaf not found")
    rig.methods.gone(B)
    assert (await error_of(rig.methods.call(B, CALL)))[0] is Failure.ABSENT
    rig.listen(B)
    rig.methods.ignores(B)
    assert (await error_of(rig.methods.call(B, CALL)))[0] is Failure.ABSENT
    rig.listen(B)
    rig.gone.add(B)
    assert (await error_of(rig.methods.call(B, CALL)))[0] is Failure.ABSENT


async def test_t_002_a_call_waits_for_its_target_to_subscribe() -> None:
    rig = Rig()
    waiting = MethodCall("reset", b"1", 30.0, connect_timeout_s=60.0)
    task = await rig.start(B, waiting)
    assert rig.sent == []
    rig.methods.gone(B)
    await settle()
    assert rig.sent == []
    rig.listen(B)
    await settle()
    assert rig.answer(0)
    assert (await task).status == 200
    short = MethodCall("reset", b"1", 30.0, connect_timeout_s=0.01)
    assert (await error_of(rig.methods.call(A, short)))[0] is Failure.ABSENT


async def test_without_an_answer_a_call_times_out() -> None:
    rig = Rig()
    rig.listen(B)
    failure, message = await error_of(rig.methods.call(B, MethodCall("reset", b"1", 0.01)))
    assert failure is Failure.NO_ANSWER
    assert message == f"Timed out waiting for device to respond to method request {rig.sent[0][1]}"


async def test_dev_26_a_wait_ends_with_the_client() -> None:
    rig = Rig()
    rig.listen(A, B)
    task, other = await rig.start(B), await rig.start(A)
    rig.methods.gone(B)
    assert (await error_of(task))[0] is Failure.LEFT
    assert rig.answer(1)
    assert (await other).status == 200


@pytest.mark.parametrize(
    ("outcome", "failure"),
    [
        ("no_subscription", Failure.ABSENT),
        ("too_old", Failure.ABSENT),
        ("overflow", Failure.LEFT),
        ("not_encodable", Failure.LEFT),
        ("closed", Failure.LEFT),
    ],
)
async def test_a_request_that_does_not_reach_the_client_ends_the_wait(outcome: str, failure: Failure) -> None:
    rig = Rig()
    rig.listen(B)
    task = await rig.start(B)
    rig.outcomes[0].set_result(outcome)
    assert (await error_of(task))[0] is failure


@pytest.mark.parametrize("outcome", ["acked", "sent"])
async def test_one_that_does_keeps_waiting(outcome: str) -> None:
    rig = Rig()
    rig.listen(B)
    task = await rig.start(B)
    rig.outcomes[0].set_result(outcome)
    await settle()
    assert not task.done()
    assert rig.answer(0)
    await task


async def test_calls_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_calls, "CALLS_MAX", 3)
    monkeypatch.setattr(method_calls, "CALLS_OF_TARGET_MAX", 2)
    rig = Rig()
    rig.listen(A, B)
    tasks = [await rig.start(B), await rig.start(B)]
    assert (await error_of(rig.methods.call(B, CALL)))[0] is Failure.TOO_MANY
    tasks.append(await rig.start(A))
    assert (await error_of(rig.methods.call(A, CALL)))[0] is Failure.TOO_MANY
    for index in range(3):
        rig.answer(index)
    await asyncio.gather(*tasks)
    assert rig.methods.count == 0
    late = await rig.start(A)
    rig.answer(3)
    await late


async def test_a_caller_that_gives_up_leaves_nothing() -> None:
    rig = Rig()
    rig.listen(B)
    task = await rig.start(B)
    task.cancel()
    await settle()
    assert rig.methods.count == 0
    assert not rig.answer(0)
