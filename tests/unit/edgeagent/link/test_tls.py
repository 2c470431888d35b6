"""Whom the agent trusts."""

from __future__ import annotations

import ssl

import pytest

from edgeagent.link.errors import LinkSettingsError
from edgeagent.link.tls import upstream_context


def test_names_and_chains_are_checked() -> None:
    context = upstream_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN


@pytest.mark.parametrize(
    "text", ["nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_bundle_that_cannot_be_read(text: str) -> None:
    with pytest.raises(LinkSettingsError, match="trust bundle"):
        upstream_context(text)
