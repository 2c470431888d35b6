"""A container engine in memory, as the executor of the agent sees one, and a clock to go with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edgeagent.executor.ports import StepError
from edgeagent.model.current import CurrentModule, RuntimeStatus
from edgeagent.reconcile.progress import Remembered

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from edgeagent.model.module import Deployment, Module, RegistryCredentials
    from edgeagent.reconcile.ports import Snapshot
    from edgeagent.source.desired import Desired

START_MS = 1_700_000_000_000


@dataclass(slots=True)
class FakeClock:
    """Wall clock that stands still until it is moved."""

    ms: int = START_MS

    def __call__(self) -> int:
        return self.ms

    def advance(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@dataclass(slots=True)
class FakeRuntime:
    """Containers in a dict.

    :ivar faults: operation and module ("start m") -> text of the error that it gives.
    :ivar gates: operation and module -> event that it waits for.
    :ivar calls: everything that was asked, in order.
    :ivar away: the engine does not answer at all.
    :ivar generation: of the identities that containers are made with.
    """

    clock: FakeClock
    containers: dict[str, CurrentModule] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    faults: dict[str, str] = field(default_factory=dict)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    away: bool = False
    generation: str = "1"

    async def _asked(self, operation: str, name: str) -> None:
        key = f"{operation} {name}"
        self.calls.append(key)
        if key in self.gates:
            await self.gates[key].wait()
        if self.away:
            raise StepError("connection refused")
        if key in self.faults:
            raise StepError(self.faults[key])

    async def modules(self) -> Mapping[str, CurrentModule]:
        if self.away:
            raise StepError("connection refused")
        return dict(self.containers)

    async def pull(self, module: Module, credentials: Mapping[str, RegistryCredentials]) -> None:
        await self._asked("pull", module.name)
        self.images.add(module.image)

    async def create(self, module: Module) -> None:
        await self._asked("create", module.name)
        if module.name in self.containers:
            raise StepError(f"Conflict. The container name {module.name} is already in use")
        if module.image not in self.images:
            raise StepError(f"No such image: {module.image}", image_is_gone=True)
        self.containers[module.name] = CurrentModule(
            module.name,
            module.image,
            RuntimeStatus.STOPPED,
            spec_hash=module.spec_hash,
            generation_id=self.generation,
        )

    async def start(self, name: str) -> None:
        await self._asked("start", name)
        container = self._container(name)
        if container.status is not RuntimeStatus.RUNNING:
            self.containers[name] = replace(
                container, status=RuntimeStatus.RUNNING, started_at_ms=self.clock(), finished_at_ms=None
            )

    async def stop(self, name: str) -> None:
        await self._asked("stop", name)
        if name in self.containers:
            self.end(name, 0)

    async def remove(self, name: str) -> None:
        await self._asked("remove", name)
        self.containers.pop(name, None)

    async def replace_agent(self, module: Module) -> None:
        await self._asked("replace", module.name)
        self.containers[module.name] = replace(
            self._container(module.name), image=module.image, spec_hash=module.spec_hash
        )

    def _container(self, name: str) -> CurrentModule:
        if name not in self.containers:
            raise StepError(f"No such container: {name}", container_is_gone=True)
        return self.containers[name]

    def end(self, name: str, exit_code: int) -> None:
        """The process of a container ends."""
        container = self._container(name)
        if container.status not in (RuntimeStatus.RUNNING, RuntimeStatus.UNHEALTHY):
            return
        status = RuntimeStatus.FAILED if exit_code else RuntimeStatus.STOPPED
        self.containers[name] = replace(
            container, status=status, exit_code=exit_code, finished_at_ms=self.clock()
        )


@dataclass(slots=True)
class FakeSource:
    """A source whose document tests set."""

    desired: Desired | None = None

    fault: Exception | None = None

    def latest(self) -> Desired | None:
        return self.desired


@dataclass(slots=True)
class FakeIdentities:
    """:ivar missing: module ids that the hub does not give."""

    missing: set[str] = field(default_factory=set)
    generation: str = "1"
    _known: frozenset[str] = frozenset()

    def known(self) -> frozenset[str]:
        return self._known - self.missing

    def generation_id(self, module_id: str) -> str | None:
        return self.generation

    def want(self, deployment: Deployment, current: Mapping[str, CurrentModule]) -> None:
        self._known = frozenset(module.identity for module in deployment.modules.values())


@dataclass(slots=True)
class FakeReports:
    """All that was reported."""

    snapshots: list[Snapshot] = field(default_factory=list)

    def publish(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    @property
    def last(self) -> Snapshot:
        return self.snapshots[-1]


@dataclass(slots=True)
class FakeMemory:
    """What outlives the agent, in memory."""

    remembered: Remembered = field(default_factory=Remembered)
    saves: int = 0

    def load(self) -> Remembered:
        kept = self.remembered
        return Remembered(
            dict(kept.restarts), dict(kept.applied), dict(kept.ends_seen), set(kept.stopped_with_agent)
        )

    def save(self, remembered: Remembered) -> None:
        self.saves += 1
        self.remembered = Remembered(
            dict(remembered.restarts),
            dict(remembered.applied),
            dict(remembered.ends_seen),
            set(remembered.stopped_with_agent),
        )


@dataclass(slots=True)
class FakeDeployments:
    """Every deployment that was kept."""

    kept: list[Desired] = field(default_factory=list)

    def keep(self, desired: Desired) -> None:
        self.kept.append(desired)
