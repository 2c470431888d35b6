"""What the agent counts while it works (agent spec 6.2). Time comes from a clock that is passed in."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edgeagent.metrics.summary import Summary
from edgeagent.model.module import EDGE_AGENT
from edgeagent.planner.steps import Create, ForgetRestarts, Pull, Remove, Start, Step, Stop, UpdateAgent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edgeagent.model.module import Deployment

SERIES_MAX = 1000
"""Distinct labels of one counter; what comes later is counted together as `other`. Module versions are free
text, and a device may see many of them in its life."""
OTHER = "other"

COMMANDS = ("create", "prepareUpdate", "update", "remove", "start", "stop", "restart")


class LabelCounter:
    """A counter for each set of labels, with bounded memory."""

    def __init__(self, series_max: int = SERIES_MAX) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._series_max = series_max

    def add(self, *labels: str) -> None:
        """One more."""
        if labels not in self._counts and len(self._counts) >= self._series_max:
            labels = (OTHER,) * len(labels)
        self._counts[labels] += 1

    def rows(self) -> list[tuple[tuple[str, ...], int]]:
        """Labels and counts, sorted by labels."""
        return sorted(self._counts.items())


def command_of(step: Step) -> str | None:
    """A step as label `command`; None for one that is no command to the engine."""
    match step:
        case Pull():
            return "prepareUpdate"
        case Create():
            return "create"
        case UpdateAgent():
            return "update"
        case Start(_, counts):
            return "restart" if counts else "start"
        case Stop():
            return "stop"
        case Remove():
            return "remove"
        case ForgetRestarts():
            return None


class AgentTotals:
    """Counters and times since the start of the process.

    A :class:`~edgeagent.executor.ports.StepObserver`. Steps are counted when they end, whether or not they
    went well, as a failed one was tried, too.

    :param window_s: `MetricsHistogramMaxAge`.
    :param now_s: a clock that only goes forward.
    :ivar starts: create and start steps by module and version; restarts after an end are not among them.
    :ivar stops: stop and remove steps, under the version that was running.
    :ivar pulls: pull steps.
    :ivar restarts: restarts after an end, by module.
    :ivar methods: direct methods by name.
    :ivar latency: duration of steps by command.
    :ivar deployment_s: from the first of the steps until nothing is at work any more.
    :ivar syncs: reads of the whole twin and reports that were sent.
    """

    def __init__(self, window_s: float, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._wanted_versions: dict[str, str] = {}
        self._running_versions: dict[str, str] = {}
        self.starts, self.stops, self.pulls = LabelCounter(), LabelCounter(), LabelCounter()
        self.restarts, self.methods = LabelCounter(), LabelCounter()
        self.latency = {command: Summary(window_s) for command in COMMANDS}
        self.deployment_s = Summary(window_s)
        self.syncs = 0
        self.syncs_failed = 0

    def deployment(self, deployment: Deployment | None) -> None:
        """This one is in force; its versions are those of what starts from now on."""
        modules = deployment.modules if deployment else {}
        self._wanted_versions = {name: module.version for name, module in modules.items()}

    def step_ended(self, step: Step, took_s: float, *, failed: bool) -> None:
        """A step was carried out, or tried."""
        command = command_of(step)
        if command is None:
            return
        self.latency[command].observe(took_s, self._now_s())
        match step:
            case Pull(module):
                self.pulls.add(module.name, module.version)
            case Create(module):
                self._running_versions[module.name] = module.version
                self.starts.add(module.name, module.version)
            case UpdateAgent(module):
                self.stops.add(EDGE_AGENT, self._version(EDGE_AGENT))
                self.starts.add(EDGE_AGENT, module.version)
            case Start(name, True):
                self.restarts.add(name)
            case Start(name):
                self.starts.add(name, self._version(name))
            case Stop(name):
                self.stops.add(name, self._version(name))
            case Remove(name):
                self.stops.add(name, self._version(name))
                if not failed:
                    self._running_versions.pop(name, None)

    def _version(self, name: str) -> str:
        """Of the container that is there; after a start of the agent the deployment's is the best guess."""
        return self._running_versions.get(name, self._wanted_versions.get(name, ""))

    def work_ended(self, took_s: float) -> None:
        """Nothing is at work any more."""
        self.deployment_s.observe(took_s, self._now_s())

    def synced(self, *, failed: bool) -> None:
        """The twin was read, or a report was sent, or it was tried."""
        self.syncs += 1
        self.syncs_failed += failed

    def method_called(self, name: str) -> None:
        """A direct method that there is was called."""
        self.methods.add(name)

    def counting_methods(
        self, handlers: Mapping[str, Callable[[Any], Awaitable[Any]]]
    ) -> dict[str, Callable[[Any], Awaitable[Any]]]:
        """The same handlers, with their calls counted; calls of other names are not, as anybody may invent
        them."""
        return {name: self._counting(name, handler) for name, handler in handlers.items()}

    def _counting(
        self, name: str, handler: Callable[[Any], Awaitable[Any]]
    ) -> Callable[[Any], Awaitable[Any]]:
        async def counted(payload: Any) -> Any:
            self.method_called(name)
            return await handler(payload)

        return counted
