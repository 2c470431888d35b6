"""Puts blobs over HTTPS, for uploads of logs and bundles."""

from __future__ import annotations

from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from edgeagent.methods.errors import MethodError

PUT_S = 300.0


async def put_blob(url: str, body: bytes, headers: dict[str, str]) -> None:
    """One attempt.

    :raises MethodError: with the host and why, never with the query, which is a secret.
    """
    host = urlsplit(url).hostname
    timeout = aiohttp.ClientTimeout(total=PUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.put(URL(url, encoded=True), data=body, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status >= 300:
                raise MethodError(f"{host} answered with {answer.status}")
    except (aiohttp.ClientError, TimeoutError, OSError) as fault:
        text = str(fault).replace(url, host or "") or type(fault).__name__
        raise MethodError(f"{host} cannot be reached: {text}") from None
