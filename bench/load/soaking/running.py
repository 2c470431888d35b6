"""One soak on a system that is up: load, cuts, samples, and the balance at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from comparison.resident import resident_kib

from edgehub.protocol.sas import build_token
from soaking.cpu import CpuMeter
from soaking.ledger import Ledger
from soaking.telemetry import Follower
from soaking.verdict import BYTES_PER_MB, KIB, Sample, bars_json, memory_slope

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from edgehub.demo.processes import Child
    from edgehub.demo.stack import Stack

BODY_BYTES = 256
WINDOW = 200
STEP_MS = 2
TOKEN_LIFE_S = 24 * 3600
DRAIN_MAX_S = 600.0
STILL_S = 60.0
"""After the load: when nothing has arrived for so long, what is missing is lost."""


class SoakError(Exception):
    """There is no result."""


def devices(options: argparse.Namespace) -> tuple[str, ...]:
    """The publishers."""
    return tuple(f"device{number}" for number in range(options.publishers))


def write_clients(stack: Stack, names: Sequence[str], path: Path) -> None:
    """The generator's client file."""
    expires_s = int(time.time()) + TOKEN_LIFE_S
    path.touch(mode=0o600)
    with path.open("w") as out:
        for name in names:
            token = build_token(
                f"{stack.iothub_name}/devices/{name}", expires_s, key=stack.identities[name].key
            )
            line = {
                "role": "pub",
                "clientId": name,
                "username": f"{stack.iothub_name}/{name}/?api-version=2021-04-12",
                "password": token,
                "topic": f"devices/{name}/messages/events/",
            }
            out.write(json.dumps(line) + "\n")


def generator_command(options: argparse.Namespace, stack: Stack, clients: Path, result: Path) -> list[str]:
    """Without subscribers: what arrives is counted at iothub."""
    arguments: dict[str, Any] = {
        "host": stack.places.hub_host,
        "port": stack.places.mqtt_port,
        "ca-file": stack.authority.file,
        "clients": clients,
        "subscribers": 0,
        "window": WINDOW,
        "payload-bytes": BODY_BYTES,
        "duration-s": options.seconds,
        "warm-up-s": 0,
        "drain-s": STILL_S,
        "drain-max-s": DRAIN_MAX_S,
        "rate": options.rate,
        "step-ms": STEP_MS,
        "json": result,
    }
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    return [str(options.generator), "run", "--tls", *words]


class Soak:
    """One run on a system that is up."""

    def __init__(self, options: argparse.Namespace, stack: Stack, work_dir: Path) -> None:
        self._options = options
        self._stack = stack
        self._result_file = work_dir / "load.json"
        self._clients_file = work_dir / "clients.jsonl"
        self._ledger = Ledger(options.publishers)
        log = stack.folder / "iothub" / "telemetry.db"
        self._follower = Follower(log, self._ledger, BODY_BYTES)
        self._samples: list[Sample] = []
        self._cuts = 0
        self._began = time.monotonic()
        self._load_ended_s = 0.0
        self._catch_up_s = 0.0

    async def run(self) -> dict[str, Any]:
        """Loads, cuts, counts; the result.

        Raises:
            SoakError: the generator failed.
        """
        write_clients(self._stack, devices(self._options), self._clients_file)
        command = generator_command(self._options, self._stack, self._clients_file, self._result_file)
        self._began = time.monotonic()
        generator = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        meter = CpuMeter(
            {"hub": self._pid(self._stack.hub), "iothub": self._pid(self._stack.iothub)}
            | {"relay and ledger": os.getpid()}
        )
        watching = asyncio.create_task(self._watch())
        cutting = asyncio.create_task(self._cut_again_and_again())
        try:
            told = await self._until_ended(generator, watching, cutting)
            self._load_ended_s = self._now_s()
            cpu = meter.shares()
            cutting.cancel()
            await self._stack.relay.restore()
            if not self._result_file.exists():
                raise SoakError(f"edgehub-load: {told.decode().strip()}")
            load = json.loads(self._result_file.read_text())
            cpu["generator"] = round(load["generator"]["busy"], 3)
            if self._options.probe:
                return self._capacity(load, cpu)
            await self._catch_up(load["after_drain"]["published"], watching)
        finally:
            for task in (watching, cutting):
                task.cancel()
            await asyncio.gather(watching, cutting, return_exceptions=True)
            with contextlib.suppress(ProcessLookupError):
                generator.kill()
            self._follower.close()
        return self._result(load, cpu)

    @staticmethod
    async def _until_ended(generator: asyncio.subprocess.Process, *beside: asyncio.Task[None]) -> bytes:
        """Waits for the generator; gives what it wrote to standard error.

        Raises:
            Exception: that of a task beside it, without which the rest of the run would tell nothing.
        """
        talking = asyncio.create_task(generator.communicate())
        try:
            await asyncio.wait({talking, *beside}, return_when=asyncio.FIRST_COMPLETED)
            for task in beside:
                if task.done():
                    task.result()
            return (await talking)[1]
        finally:
            talking.cancel()

    @staticmethod
    def _pid(child: Child) -> int:
        if child.pid is None:
            raise SoakError("a process has ended")
        return child.pid

    def _now_s(self) -> float:
        return time.monotonic() - self._began

    async def _cut_again_and_again(self) -> None:
        """Cuts for a while at the end of each period."""
        options = self._options
        if options.cut_every_s == 0:
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(options.cut_every_s - options.cut_for_s)
            await self._stack.relay.cut()
            self._cuts += 1
            await asyncio.sleep(options.cut_for_s)
            await self._stack.relay.restore()

    async def _watch(self) -> None:
        """A sample every second, on the second."""
        while True:
            await asyncio.to_thread(self._follower.read)
            kib = resident_kib(self._pid(self._stack.hub))
            up = not self._stack.relay.is_cut
            self._samples.append(Sample(round(self._now_s(), 2), kib, self._ledger.arrived, up))
            await asyncio.sleep(1.0 - self._now_s() % 1.0)

    async def _catch_up(self, published: int, watching: asyncio.Task[None]) -> None:
        """Waits for what is under way."""
        latest, since_s = self._ledger.arrived, self._now_s()
        while self._ledger.arrived < published:
            await asyncio.sleep(0.2)
            if watching.done():
                watching.result()
            if self._ledger.arrived != latest:
                latest, since_s = self._ledger.arrived, self._now_s()
            elif self._now_s() - since_s > STILL_S:
                break
        self._catch_up_s = since_s - self._load_ended_s

    def _result(self, load: dict[str, Any], cpu: dict[str, float]) -> dict[str, Any]:
        options = self._options
        account = self._ledger.account(load["after_drain"]["published"])
        slope = memory_slope(self._samples, options.warm_up_s, options.seconds)
        kept = [s.hub_kib for s in self._samples if options.warm_up_s <= s.at_s <= options.seconds]

        def mb(kib: int) -> float:
            return round(kib * KIB / BYTES_PER_MB, 2)

        return {
            "account": asdict(account),
            "load": {
                "rate_per_s": options.rate,
                "seconds": load["interval_s"],
                "published_per_s": load["published"] / load["interval_s"],
                "sent_late_us": load["send_lateness_us"],
            },
            "cuts": self._cuts,
            "catch_up_s": round(self._catch_up_s, 2),
            "memory_mb": {"first": mb(kept[0]), "last": mb(kept[-1]), "peak": mb(max(kept))},
            "slope_mb_per_h": asdict(slope),
            "cpu": cpu,
            "bars": bars_json(slope, account),
            "problems": load["problems"],
            "samples": [[s.at_s, s.hub_kib, s.arrived, int(s.link_is_up)] for s in self._samples],
        }

    def _capacity(self, load: dict[str, Any], cpu: dict[str, float]) -> dict[str, Any]:
        """Of a probe: what arrived each second after the warm-up, under more load than the way takes."""
        kept = [s for s in self._samples if self._options.warm_up_s <= s.at_s <= self._options.seconds]
        rate = (kept[-1].arrived - kept[0].arrived) / (kept[-1].at_s - kept[0].at_s)
        return {
            "asked_per_s": self._options.rate,
            "accepted_per_s": load["acked_per_s"],
            "arrived_per_s": rate,
            "cpu": cpu,
        }
