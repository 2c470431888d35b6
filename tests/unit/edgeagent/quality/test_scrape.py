"""Pages of metrics, read and made anonymous (rows X18, X19)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.metrics.agent_metrics import AgentMetrics, MetricsSettings
from edgeagent.model.module import Deployment, Module
from edgeagent.quality import scrape as module
from edgeagent.quality.errors import ScrapeError
from edgeagent.quality.samples import SAMPLES_MAX, Sample, hashed
from edgeagent.quality.scrape import KEPT_MAX, fetch, read_page
from edgeagent.reconcile.ports import Snapshot
from edgeagent.report.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PAGE = b"""# HELP edgehub_messages_sent_total Messages
# TYPE edgehub_messages_sent_total counter
edgehub_messages_sent_total{iothub="h",edge_device="d1",from="d1/a",to="b",priority="1",ms_telemetry="True"} 3
edgehub_messages_sent_total{iothub="h",edge_device="d1",from="d1/c",to="b",priority="1",ms_telemetry="True"} 4
# TYPE edgehub_x_seconds summary
edgehub_x_seconds{id="d1/a",ms_telemetry="True",quantile="0.5"} 1
edgehub_x_seconds{id="d1/a",ms_telemetry="True",quantile="0.9"} 2
edgehub_x_seconds{id="d1/b",ms_telemetry="True",quantile="0.9"} NaN
edgehub_x_seconds_sum{id="d1/a",ms_telemetry="True"} 2.5 1395066363000
edgehub_private{id="d1/a"} 9
"""


def test_x19_only_what_may_leave_is_read() -> None:
    hidden = ("id", f"device/{hashed('a')}")
    assert read_page(PAGE, 77) == (
        [
            Sample("edgehub_messages_sent_total", (("priority", "1"),), 7.0, 77),
            Sample("edgehub_x_seconds", (hidden, ("quantile", "0.9")), 2.0, 77),
            Sample("edgehub_x_seconds_sum", (hidden,), 2.5, 77),
        ],
        0,
    )


def test_x18_of_the_agents_own_page_no_user_module_leaves() -> None:
    seconds = iter(range(1000))
    metrics = AgentMetrics(MetricsSettings("hub1.example.net", "d1"), lambda: float(next(seconds)))
    modules = {name: Module(name, "i:1") for name in ("sensor", "edgeHub")}
    for _ in range(2):
        metrics.publish(Snapshot(Outcome(200), 1, Deployment(modules), {}))
    samples, _ = read_page(metrics.render(), 0)
    names = {dict(sample.labels).get("module_name") for sample in samples} - {None}
    assert names == {hashed("edgeAgent"), hashed("edgeHub")}
    texts = {value for sample in samples for _, value in sample.labels}
    assert not texts & {"hub1.example.net", "d1", "sensor"}


def test_limits_of_one_page() -> None:
    lines = "".join(f'm{{n="{number}",ms_telemetry="True"}} 1\n' for number in range(SAMPLES_MAX + 5))
    samples, beyond = read_page(lines.encode(), 0)
    assert (len(samples), beyond) == (KEPT_MAX, SAMPLES_MAX - KEPT_MAX + 5)


@pytest.mark.parametrize("page", [b"\xff\xfe", b"m{a=b,MARK} 1\n", b"m{MARK} x\n"])
def test_what_is_no_page(page: bytes) -> None:
    with pytest.raises(ScrapeError, match="not a page of metrics"):
        read_page(page.replace(b"MARK", b'ms_telemetry="True"'), 0)


@given(st.integers(0, len(PAGE)), st.integers(0, len(PAGE)), st.binary(max_size=8))
def test_no_page_breaks_it(start: int, end: int, middle: bytes) -> None:
    with contextlib.suppress(ScrapeError):
        read_page(PAGE[:start] + middle + PAGE[end:], 0)


@given(st.text(alphabet='m{}="\\, \n#1eE+-NaInf_TYPEHL\x00\t', max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    with contextlib.suppress(ScrapeError):
        read_page(text.encode(), 0)


@contextlib.asynccontextmanager
async def _page(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    finally:
        await runner.cleanup()


async def _fails(answer: web.Response, why: str) -> None:
    async def give(_request: web.BaseRequest) -> web.StreamResponse:
        return answer

    async with _page(give) as address:
        with pytest.raises(ScrapeError, match=why):
            await fetch(address)


async def test_a_page_is_fetched() -> None:
    async def give(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=request.path.encode())

    async with _page(give) as address:
        assert await fetch(address) == b"/metrics"


async def test_other_answers_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    await _fails(web.Response(status=503), "status 503")
    await _fails(web.Response(status=302, headers={"Location": "/"}), "status 302")
    monkeypatch.setattr(module, "PAGE_BYTES_MAX", 10)
    await _fails(web.Response(body=b"x" * 11), "more than 10 bytes")


async def test_nobody_there() -> None:
    with pytest.raises(ScrapeError, match=r"127\.0\.0\.1:1/metrics"):
        await fetch("http://127.0.0.1:1/metrics")
    with pytest.raises(ScrapeError):
        await fetch("no address")


async def test_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCRAPE_TIMEOUT_S", 0.05)
    gate = asyncio.Event()

    async def give(_request: web.BaseRequest) -> web.StreamResponse:
        await gate.wait()
        return web.Response()

    async with _page(give) as address:
        with pytest.raises(ScrapeError, match="no answer within"):
            await fetch(address)
        gate.set()
