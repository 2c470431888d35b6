"""Reads pages of metrics: over HTTP, and from their text (agent spec 6.4)."""

from __future__ import annotations

import io
import math
from itertools import islice
from typing import TYPE_CHECKING

import aiohttp

from edgeagent.quality.errors import ScrapeError
from edgeagent.quality.samples import SAMPLES_MAX, TELEMETRY_LABEL, Sample, anonymised, sorted_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric

PAGE_BYTES_MAX = 4 * 1024 * 1024
"""Longer pages are not read; 20,000 samples fit."""
SCRAPE_TIMEOUT_S = 30.0
HEADERS = {"Accept": "text/plain; version=0.0.4"}
KEPT_MAX = 5_000
"""Anonymous samples kept of one page; further ones are left out."""

_MARK = f'{TELEMETRY_LABEL}="True"'
_CHUNK_BYTES = 64 * 1024


async def fetch(address: str) -> bytes:
    """The page at an address; no proxy, no redirection.

    :raises ScrapeError: it cannot be had, or is too long.
    """
    timeout = aiohttp.ClientTimeout(total=SCRAPE_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=HEADERS) as session,
            session.get(address, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ScrapeError(f"{address}: status {response.status} in place of 200")
            return await _body(address, response.content)
    except TimeoutError:
        raise ScrapeError(f"{address}: no answer within {SCRAPE_TIMEOUT_S:.0f} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        raise ScrapeError(f"{address}: {fault}") from None


async def _body(address: str, content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > PAGE_BYTES_MAX:
            raise ScrapeError(f"{address}: more than {PAGE_BYTES_MAX} bytes")
    return bytes(body)


def read_page(page: bytes, at_ms: int) -> tuple[list[Sample], int]:
    """What may leave the device of a page, and how many samples beyond a limit were left out.

    Takes a second for a long page: call it in a thread.

    :param at_ms: when it was read, UTC since 1970; times in the page do not count.
    :raises ScrapeError: not a page of metrics.
    """
    from prometheus_client.parser import (  # noqa: PLC0415 - costs memory that not every agent needs
        text_fd_to_metric_families,
    )

    try:
        # The parser only iterates, whatever it says of its argument.
        samples = _samples(text_fd_to_metric_families(_chosen_lines(page)), at_ms)  # type: ignore[arg-type]
        kept = anonymised(islice(samples, SAMPLES_MAX))
        beyond = sum(1 for _ in samples)
    except (ValueError, LookupError, AttributeError, TypeError) as fault:
        # The parser has no error of its own, and stumbles over some texts.
        raise ScrapeError(f"not a page of metrics: {str(fault)[:200]}") from None
    return kept[:KEPT_MAX], beyond + max(len(kept) - KEPT_MAX, 0)


def _chosen_lines(page: bytes) -> Iterator[str]:
    """Lines of telemetry, and types. All others would only cost memory: a page may be long."""
    for line in io.TextIOWrapper(io.BytesIO(page), encoding="utf-8", newline="\n"):
        if _MARK in line or line.startswith("# TYPE"):
            yield line


def _samples(families: Iterable[Metric], at_ms: int) -> Iterator[Sample]:
    """Without values that are no numbers, which say nothing and would spoil sums."""
    for family in families:
        for sample in family.samples:
            if math.isfinite(sample.value):
                yield Sample(sample.name, sorted_labels(sample.labels), float(sample.value), at_ms)
