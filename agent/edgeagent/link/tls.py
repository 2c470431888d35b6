"""Whom the agent trusts upstream."""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path

from edgeagent.link.errors import LinkSettingsError


def upstream_context(trust_pem: str = "") -> ssl.SSLContext:
    """A context for connections to the hub. It takes megabytes and milliseconds: make it once.

    :param trust_pem: certificates trusted beside the roots of the system, intermediate ones, too.
    :raises LinkSettingsError: they cannot be read.
    """
    context = _with_system_roots()
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


def _with_system_roots() -> ssl.SSLContext:
    """From a folder of roots they are read one by one as they are needed; the file with all of them takes
    two megabytes.
    """
    paths = ssl.get_default_verify_paths()
    if paths.capath is None or paths.openssl_cafile_env in os.environ or not _has_hashes(Path(paths.capath)):
        return ssl.create_default_context()
    return ssl.create_default_context(capath=paths.capath)


def _has_hashes(folder: Path) -> bool:
    """Whether OpenSSL finds certificates in a folder, by links such as `ca6e4ad9.0`."""
    return any(re.fullmatch(r"[0-9a-f]{8}\.\d+", name) for name in os.listdir(folder))
