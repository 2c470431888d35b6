"""Kill -9 of the hub under load: every acknowledged message reaches iothub, in order per device.

Duplicates are allowed and counted: a message whose acknowledgement was lost is sent again by its device, one
whose checkpoint was lost by the hub.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import sys
from pathlib import Path

import pytest

from edgehub.demo.stack import Stack
from edgehub.demo.topology import StackOptions
from edgehub.protocol.sas import build_token, device_audience

DEVICES = tuple(f"leaf{n}" for n in range(5))
EXPIRES_AT = 4_000_000_000
RUN_S = (0.3, 1.5)
"""Shortest and longest time between two kills."""
NEWS_WAIT_S = 60.0
LOOK_S = 0.2
"""Between two looks at what is missing, which takes a while with many messages."""
HERE = Path(__file__).resolve().parent


def _logins(stack: Stack) -> list[dict[str, str]]:
    def login(name: str) -> dict[str, str]:
        audience = device_audience(stack.iothub_name, name)
        password = build_token(audience, EXPIRES_AT, key=stack.identities[name].key)
        return {
            "identity": name,
            "username": f"{stack.iothub_name}/{name}/?api-version=2021-04-12",
            "password": password,
        }

    return [login(name) for name in DEVICES]


def _acked(folder: Path) -> dict[str, set[int]]:
    return {name: {int(line) for line in (folder / name).read_text().split()} for name in DEVICES}


class Arrivals:
    """What iothub has, by device, in the order of arrival."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.first: dict[str, list[int]] = {name: [] for name in DEVICES}
        self._seen: dict[str, set[int]] = {name: set() for name in DEVICES}
        self.duplicates = 0

    def add(self, device: str, number: int) -> None:
        """One event."""
        self.news.set()
        if number in self._seen[device]:
            self.duplicates += 1
            return
        self._seen[device].add(number)
        self.first[device].append(number)

    def missing(self, acked: dict[str, set[int]]) -> dict[str, str]:
        """Acknowledged and not there: how many of each device, and the first."""
        missing = {name: numbers - self._seen[name] for name, numbers in acked.items()}
        return {name: f"{len(lost)} from {min(lost)} on" for name, lost in missing.items() if lost}

    def reordered(self) -> dict[str, list[int]]:
        """Numbers that came before a smaller one came for the first time."""
        found = {
            name: [a for a, b in itertools.pairwise(numbers) if a > b] for name, numbers in self.first.items()
        }
        return {name: numbers for name, numbers in found.items() if numbers}


async def _all_arrive(arrivals: Arrivals, acked: dict[str, set[int]], collector: asyncio.Task[None]) -> None:
    """Waits until nothing is missing, as long as something arrives: a fast machine leaves a million waiting.

    An error of the collector is the test's.

    :raises TimeoutError: nothing came for a while.
    """
    while arrivals.missing(acked):
        arrivals.news.clear()
        news = asyncio.create_task(arrivals.news.wait())
        waiting = (news, collector)
        done, _ = await asyncio.wait(waiting, timeout=NEWS_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
        if collector.done():
            collector.result()
        if not done:
            raise TimeoutError
        await asyncio.sleep(LOOK_S)


async def _collect(stack: Stack, arrivals: Arrivals) -> None:
    async for event in stack.telemetry():
        arrivals.add(event.device_id, json.loads(event.body)["number"])


async def _kill_in_turn(stack: Stack, rounds: int, seed: int) -> None:
    timing = random.Random(seed)
    for _ in range(rounds):
        await asyncio.sleep(timing.uniform(*RUN_S))
        await stack.hub.kill()
        await stack.hub.start()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sync", ["group", "none"])
async def test_every_acknowledged_message_arrives_in_order(
    tmp_path: Path, crash_rounds: int, sync: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = StackOptions(
        devices=DEVICES,
        hub_settings={"StoreSync": sync, "mqttSettings__plain_port": "18873"},
        mqtt_port=0,
    )
    async with Stack(options) as stack:
        (tmp_path / "ledgers").mkdir()
        (tmp_path / "logins.json").write_text(json.dumps(_logins(stack)))
        argv = ["127.0.0.1", "18873", str(tmp_path / "logins.json"), str(tmp_path / "ledgers")]
        paths = os.pathsep.join([str(HERE.parent), str(HERE.parents[1] / "python")])
        senders = await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / "senders.py"), *argv, env={**os.environ, "PYTHONPATH": paths}
        )
        arrivals = Arrivals()
        collector = asyncio.create_task(_collect(stack, arrivals))
        try:
            await _kill_in_turn(stack, crash_rounds, seed=crash_rounds)
            await asyncio.sleep(RUN_S[0])
            senders.terminate()
            assert await senders.wait() == 0
            acked = _acked(tmp_path / "ledgers")
            await _all_arrive(arrivals, acked, collector)
        except TimeoutError:
            pytest.fail(f"acknowledged and lost: {arrivals.missing(acked)}")
        finally:
            collector.cancel()
            if senders.returncode is None:
                senders.kill()
        total = sum(map(len, acked.values()))
        result = f"{crash_rounds} kills, {total} acknowledged, 0 lost, {arrivals.duplicates} duplicates"
        with capsys.disabled():
            sys.stdout.write(f"\nStoreSync={sync}: {result}\n")
        assert total > 0
        assert not arrivals.reordered()
