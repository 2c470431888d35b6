"""Whom the agent trusts upstream."""

from __future__ import annotations

import ssl

from edgeagent.link.errors import LinkSettingsError


def upstream_context(trust_pem: str = "") -> ssl.SSLContext:
    """A context for connections to the hub. It takes megabytes and milliseconds: make it once.

    :param trust_pem: certificates trusted beside the roots of the system, intermediate ones, too.
    :raises LinkSettingsError: they cannot be read.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Trust bundles hold issuing authorities as well as roots, and such of private authorities often lack the
    # extensions that newer Pythons insist on.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if trust_pem.strip():
        try:
            context.load_verify_locations(cadata=trust_pem)
        except (ssl.SSLError, ValueError) as fault:
            raise LinkSettingsError(f"the trust bundle cannot be read as PEM certificates: {fault}") from None
    return context
