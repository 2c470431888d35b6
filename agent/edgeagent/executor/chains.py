"""Chains of steps at work, at most one for each module."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edgeagent.executor.ports import ModuleRuntime, NoObserver, StepError, StepObserver
from edgeagent.planner.steps import Create, ForgetRestarts, Pull, Remove, Start, Step, Stop, UpdateAgent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edgeagent.model.module import RegistryCredentials
    from edgeagent.reconcile.progress import Progress

PULLS_AT_ONCE_MAX = 3
"""Images fetched beside each other; further ones wait, while other steps go on."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Chain:
    task: asyncio.Task[None]
    steps: tuple[Step, ...]
    at: Step


class ChainRunner:
    """Runs chains as tasks. A step that fails ends its chain; the planner says when it is tried again.

    :param on_end: called after each chain, however it ended, to plan anew.
    :param observer: is told how long steps take.
    """

    def __init__(
        self,
        runtime: ModuleRuntime,
        progress: Progress,
        on_end: Callable[[], None],
        observer: StepObserver | None = None,
    ) -> None:
        self._runtime = runtime
        self._progress = progress
        self._on_end = on_end
        self._observer = observer or NoObserver()
        self._began_s = 0.0
        self._chains: dict[str, _Chain] = {}
        self._pulls = asyncio.Semaphore(PULLS_AT_ONCE_MAX)
        self.credentials: Mapping[str, RegistryCredentials] = {}

    @property
    def busy(self) -> frozenset[str]:
        """Modules whose steps run."""
        return frozenset(self._chains)

    def launch(self, chains: Mapping[str, tuple[Step, ...]]) -> None:
        """Begins chains; none of their modules may be busy."""
        if not self._chains:
            self._began_s = asyncio.get_running_loop().time()
        for name, steps in chains.items():
            _log.info("%s: %s", name, ", ".join(map(describe, steps)))
            task = asyncio.get_running_loop().create_task(self._run(name, steps), name=f"steps of {name}")
            self._chains[name] = _Chain(task, steps, steps[0])
            task.add_done_callback(partial(self._ended, name))

    def give_up_pulls(self, wanted: Callable[[Pull], bool]) -> None:
        """Ends pulls that a new deployment no longer wants; all other steps are finished."""
        for chain in self._chains.values():
            if isinstance(chain.at, Pull) and not wanted(chain.at):
                chain.task.cancel()

    async def finish(self, timeout_s: float) -> None:
        """Waits for what runs, then ends it."""
        tasks = [chain.task for chain in self._chains.values()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _run(self, name: str, steps: tuple[Step, ...]) -> None:
        for step in steps:
            self._chains[name].at = step
            try:
                await self._observed(step)
            except StepError as fault:
                if fault.container_is_gone:
                    _log.info("%s: its container is gone", name)
                    return
                _log.warning("%s: cannot %s: %s", name, describe(step), fault)
                text = f"cannot {describe(step)}: {fault}"
                self._progress.step_failed(name, text, in_pull=isinstance(step, Pull))
                if fault.image_is_gone:
                    self._progress.image_is_gone(name)
                return
            self._progress.step_done(step)
        self._progress.chain_done(name)

    async def _observed(self, step: Step) -> None:
        clock_s = asyncio.get_running_loop().time
        began_s = clock_s()
        try:
            await self._carry_out(step)
        except StepError:
            self._observer.step_ended(step, clock_s() - began_s, failed=True)
            raise
        self._observer.step_ended(step, clock_s() - began_s, failed=False)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._chains[name]
        if not task.cancelled() and (fault := task.exception()) is not None:
            _log.error("%s: %r", name, fault, exc_info=fault)
            self._progress.step_failed(name, repr(fault))
        if not self._chains:
            self._observer.work_ended(task.get_loop().time() - self._began_s)
        self._on_end()

    def _carry_out(self, step: Step) -> Awaitable[None]:
        match step:
            case Pull(module):
                return self._pull(step)
            case Create(module):
                return self._runtime.create(module)
            case UpdateAgent(module):
                return self._runtime.replace_agent(module)
            case Start(name):
                return self._runtime.start(name)
            case Stop(name):
                return self._runtime.stop(name)
            case Remove(name):
                return self._runtime.remove(name)
            case ForgetRestarts():
                return _nothing()

    async def _pull(self, step: Pull) -> None:
        async with self._pulls:
            await self._runtime.pull(step.module, self.credentials)


async def _nothing() -> None:
    """For steps that only change what is remembered."""


def describe(step: Step) -> str:
    """A step in words."""
    match step:
        case Pull(module):
            return f"pull {module.image}"
        case Create(module):
            return f"create a container of {module.image}"
        case UpdateAgent(module):
            return f"replace the agent by {module.image}"
        case Start(_, counts):
            return "restart" if counts else "start"
        case Stop():
            return "stop"
        case Remove():
            return "remove"
        case ForgetRestarts():
            return "forget restarts"
