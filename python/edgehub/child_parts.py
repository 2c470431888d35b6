"""What serves child edge devices over HTTPS. Imported only with the HTTP head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgehub.heads.child_access import ChildAccess
from edgehub.heads.registry_routes import ParentRegistry, RegistryRoutes
from edgehub.heads.scope_routes import ScopeRoutes
from edgehub.identity.scope_answers import ScopeAnswers

if TYPE_CHECKING:
    from aiohttp.web import RouteDef

    from edgehub.common.clock import Clock
    from edgehub.heads.forwarded import ForwardedCertificates
    from edgehub.identity.authenticator import Authenticator
    from edgehub.identity.refresher import ScopeRefresher
    from edgehub.identity.scope import ScopeCache


def child_routes(
    cache: ScopeCache,
    refresher: ScopeRefresher,
    authenticator: Authenticator,
    registry: ParentRegistry | None,
    clock: Clock,
    forwarded: ForwardedCertificates | None,
) -> list[RouteDef]:
    """The device scope and the modules of devices below, for `HttpHead.add_routes`.

    :param registry: None without a parent hub.
    :param forwarded: reads the certificates that a proxy passes on; None: they are not looked at.
    """
    access = ChildAccess(authenticator, clock, forwarded)
    answers = ScopeAnswers(cache, refresher)
    return [
        *ScopeRoutes(access, answers).routes(),
        *RegistryRoutes(access, answers, registry).routes(),
    ]
