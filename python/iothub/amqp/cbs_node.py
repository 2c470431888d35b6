"""The node `$cbs` of one connection: tokens are put and deleted, in order (section 1.4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgehub.protocol.cbs import DELETE_TOKEN, CbsError, CbsRequest, encode_response, parse_request
from edgehub.protocol.sas import SasError, parse_audience, parse_token
from iothub.amqp.nodes import CbsRequests, NodeHandler, Outbox
from iothub.auth import access_denied
from iothub.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_errors import AmqpFault
    from edgehub.protocol.amqp_handles import AmqpLink
    from edgehub.protocol.amqp_types import Value
    from iothub.amqp.nodes import Enqueue
    from iothub.amqp.tokens import TokenKey, TokenRing
    from iothub.auth import Authorizer

_QUEUE_MAX: Final = 256


class CbsNode:
    """Answers go to the newest link that takes them.

    :param detach: ends the links that live by a token.
    """

    def __init__(
        self,
        authorizer: Authorizer,
        tokens: TokenRing,
        enqueue: Enqueue,
        detach: Callable[[TokenKey, AmqpFault], None],
    ) -> None:
        self._authorizer = authorizer
        self._tokens = tokens
        self._enqueue = enqueue
        self._detach = detach
        self._outbox: Outbox | None = None

    def handler(self, link: AmqpLink) -> NodeHandler:
        """Handler of a link to or from this node."""
        if not link.is_sender:
            return CbsRequests(link, self._enqueue, self._serve)
        self._outbox = Outbox(link, _QUEUE_MAX, self._closed)
        return self._outbox

    def _closed(self, outbox: Outbox) -> None:
        if outbox is self._outbox:
            self._outbox = None

    async def _serve(self, payload: bytes) -> None:
        try:
            request = parse_request(payload)
        except CbsError as error:
            self._answer(error.message_id, error.status, str(error))
            return
        if request.operation == DELETE_TOKEN:
            self._delete(request.name)
            self._answer(request.message_id, 200, "OK")
        else:
            self._answer(request.message_id, *await self._put(request))

    async def _put(self, request: CbsRequest) -> tuple[int, str]:
        """Status and description."""
        try:
            parse_token(request.token)
            principal = await self._authorizer.principal(request.token, request.name)
        except SasError as error:
            return 400, str(error)
        except HubError as error:
            return error.code.http_status, error.message
        if not self._tokens.put(principal):
            return 403, "too many tokens on this connection"
        return 200, "OK"

    def _delete(self, name: str) -> None:
        try:
            identities = parse_audience(name).identities()
        except SasError:
            return
        for device_id, module_id in identities:
            token = ("identity", device_id, module_id or "")
            self._tokens.remove(token)
            self._detach(token, access_denied("The token was deleted.").fault())

    def _answer(self, message_id: Value, status: int, description: str) -> None:
        if self._outbox is not None:
            self._outbox.send(encode_response(message_id, status, description))
