"""What the MQTT head asks of the hub behind it: a gateway and IoT Hub speak the same protocol, each with
rules, identities and twins of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from edgehub._core import PublishEvent
    from edgehub.common.ids import IdentityId
    from edgehub.common.method_calls import MethodAnswer
    from edgehub.heads.base import Step
    from edgehub.heads.connections import Client
    from edgehub.identity.authenticator import AuthRequest, Verdict

AUTH_WAITS_MAX: Final = 64
"""Clients of a gateway that may wait for the parent hub's answer at once."""


@dataclass(frozen=True, slots=True)
class MqttRules:
    """Rules of one hub; the defaults are those of a gateway (heads spec 1).

    :ivar auth_waits_max: clients whose identity is looked up at once; further ones get code 3 and try again.
    :ivar bare_usernames: whether a user name may be host and client id alone.
    :ivar may_subscribe: whether a client may have a filter; else it gets 0x80.
    :ivar method_qos: quality of service of method calls, capped by the client's subscription.
    """

    auth_waits_max: int = AUTH_WAITS_MAX
    bare_usernames: bool = False
    may_subscribe: Callable[[IdentityId, str], bool] = lambda identity, topic_filter: True
    method_qos: int = 1


GATEWAY_RULES: Final = MqttRules()


class ClientAuthenticator(Protocol):
    """Decides who a client is; `edgehub.identity.authenticator` for a gateway."""

    def check(self, request: AuthRequest) -> Verdict:
        """Answers from what is at hand."""
        ...

    def may_refresh(self, verdict: Verdict) -> bool:
        """Whether `authenticate` could come to another verdict."""
        ...

    async def authenticate(self, request: AuthRequest) -> Verdict:
        """Answers after a look where that is written down.

        :raises ConnectRefusedError: nobody can say now; with the code that the client gets.
        """
        ...


class ControlRequests(Protocol):
    """Answers publishes to `$iothub/...`; `edgehub.heads.control_topics`."""

    def publish(self, client: Client, event: PublishEvent) -> Step: ...
    def reads_of(self, conn: int) -> frozenset[asyncio.Task[None]]:
        """Reads of one connection that are under way."""
        ...

    async def drain(self) -> None: ...


class TwinAnswer(NamedTuple):
    """What a client is told about its twin.

    :ivar body: JSON, or nothing.
    :ivar version: of the reported properties after a patch, where it is told.
    """

    status: int
    body: bytes = b""
    version: int | None = None


class TwinRequests(Protocol):
    """The twins of clients. What fails is answered, not raised."""

    async def get(self, identity: IdentityId) -> TwinAnswer: ...
    async def report(self, identity: IdentityId, payload: bytes, version: str | None) -> TwinAnswer:
        """A patch of the reported properties.

        :param version: the version that the client says the patch is for, as it stands in the topic.
        """
        ...


class MethodAnswers(Protocol):
    """The method calls that wait for clients."""

    def answered(self, target: IdentityId, request_id: str, answer: MethodAnswer) -> bool: ...
