"""Who acts for others: the `$edgeHub` of an edge device, and the auth chain it presents (section 1.7.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgehub.protocol.authchain import EDGE_HUB_MODULE, AuthChain
from iothub.auth import Principal, access_denied, read_chain
from iothub.errors import argument_invalid

if TYPE_CHECKING:
    from iothub.registry.model import Device
    from iothub.rest.app import RestServices
    from iothub.rest.routing import Call


async def edge_actor(services: RestServices, call: Call) -> Device:
    """The edge device whose `$edgeHub` asks: the first two ids of the path, and the token.

    :raises HubError: 401002.
    """
    device_id, module_id = call.ids
    principal = await services.device_principal(call.request, device_id)
    if module_id != EDGE_HUB_MODULE or not _is_edge_hub(principal, device_id):
        raise access_denied(f"{principal.label} may not act as the edge device {device_id}.")
    identity = await services.registry.identity(device_id, None)
    if identity is None or not identity.device.iot_edge:
        raise access_denied(f"{device_id} is not an edge device.")
    return identity.device


async def chain_of(services: RestServices, document: dict[str, Any], edge: Device) -> AuthChain:
    """The chain of a request, which leads from its first device to the edge device that asks.

    :raises HubError: 400004; 401002 when it does not.
    """
    text = document.get("authChain")
    if not isinstance(text, str):
        raise argument_invalid("authChain must be text.")
    chain = read_chain(text)
    if chain.actor != edge.device_id:
        raise access_denied("The auth chain must end with the edge device that asks.")
    await services.authorizer.verify_chain(chain)
    return chain


def _is_edge_hub(principal: Principal, device_id: str) -> bool:
    if principal.policy is not None:
        return False
    return principal.device_id == device_id and principal.module_id in (None, EDGE_HUB_MODULE)
