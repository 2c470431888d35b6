"""What a fake engine holds: images, containers, networks, and what happened to them. No I/O."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = "0001-01-01T00:00:00Z"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


class Refusal(Exception):
    """A request that the engine refuses."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def image_id(text: str) -> str:
    """An id that looks like one, the same for the same text."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass
class Pullable:
    """What the registry has under a reference.

    :param credentials: user and password that it wants; None for anybody.
    :param error: what it says in place of giving it.
    :param gate: the pull goes on half-way only when this is set; None for at once.
    """

    content: str
    credentials: tuple[str, str] | None = None
    error: str | None = None
    gate: asyncio.Event | None = None


@dataclass
class LogLine:
    stream: int
    data: bytes
    time_ms: int


@dataclass
class FakeContainer:
    """One container; `state` is the engine's word."""

    container_id: str
    name: str
    body: dict[str, Any]
    image: str
    created_ms: int
    state: str = "created"
    exit_code: int = 0
    health: str = ""
    oom_killed: bool = False
    error: str = ""
    started_ms: int | None = None
    finished_ms: int | None = None
    starts: int = 0
    log: list[LogLine] = field(default_factory=list)
    grew: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.body.get("Labels") or {})

    @property
    def runs(self) -> bool:
        return self.state in ("running", "paused", "restarting")

    def details(self) -> dict[str, Any]:
        """As `GET /containers/{id}/json` has it."""
        state: dict[str, Any] = {
            "Status": self.state,
            "Running": self.runs,
            "ExitCode": self.exit_code,
            "OOMKilled": self.oom_killed,
            "Error": self.error,
            "StartedAt": time_text(self.started_ms),
            "FinishedAt": time_text(self.finished_ms),
        }
        if self.health:
            state["Health"] = {"Status": self.health, "FailingStreak": 3, "Log": []}
        config = {
            key: value for key, value in self.body.items() if key not in ("HostConfig", "NetworkingConfig")
        }
        return {
            "Id": self.container_id,
            "Name": f"/{self.name}",
            "Created": time_text(self.created_ms),
            "Image": self.image,
            "State": state,
            "Config": config,
            "HostConfig": self.body.get("HostConfig") or {},
            "NetworkSettings": {
                "Networks": (self.body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
            },
        }

    def row(self) -> dict[str, Any]:
        """As `GET /containers/json` has it."""
        ended = f"Exited ({self.exit_code}) 3 minutes ago"
        up = "Up 2 minutes" + (f" ({self.health})" if self.health else "")
        return {
            "Id": self.container_id,
            "Names": [f"/{self.name}"],
            "Image": self.body.get("Image"),
            "ImageID": self.image,
            "Labels": self.labels,
            "State": self.state,
            "Status": {"running": up, "exited": ended}.get(self.state, self.state.capitalize()),
        }


class EngineState:
    """Images, containers and networks, with the rules of the engine for them.

    :ivar images: reference to id, of what is on the engine; one without name has its id for it.
    :ivar registry: reference to what can be pulled.
    :ivar ends: image to the code with which its containers end as soon as they are started.
    :ivar events: all that happened, in the engine's form.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._numbers = itertools.count(1)
        self.images: dict[str, str] = {}
        self.registry: dict[str, Pullable] = {}
        self.containers: dict[str, FakeContainer] = {}
        self.networks: dict[str, dict[str, Any]] = {
            name: {"Name": name} for name in ("bridge", "host", "none")
        }
        self.ends: dict[str, int] = {}
        self.events: list[dict[str, Any]] = []
        self.happened = asyncio.Event()

    # What tests do to it

    def add_image(self, reference: str, content: str | None = None) -> str:
        """An image that is there already; one that had the name before stays, without it."""
        before = self.images.pop(reference, None)
        self.images[reference] = image_id(content or reference)
        self._keep_nameless(before)
        return self.images[reference]

    def _keep_nameless(self, found: str | None) -> None:
        if found is not None and found not in self.images.values():
            self.images[found] = found

    def add_foreign(self, name: str, image: str = "foreign:1", state: str = "running") -> FakeContainer:
        """A container that somebody else made."""
        self.images.setdefault(image, image_id(image))
        container = self.create(name, {"Image": image, "Labels": {"owner": "somebody"}})
        container.state = state
        container.started_ms = self._now_ms()
        return container

    def by_name(self, name: str) -> FakeContainer:
        """The container of that name."""
        return next(container for container in self.containers.values() if container.name == name)

    def names(self) -> set[str]:
        return {container.name for container in self.containers.values()}

    def exit(self, name: str, code: int = 0, *, oom_killed: bool = False) -> None:
        """It ends by itself."""
        container = self.by_name(name)
        container.oom_killed = oom_killed
        self._end(container, code)

    def set_health(self, name: str, health: str) -> None:
        """Outcome of its health check."""
        container = self.by_name(name)
        container.health = health
        self._emit(container, f"health_status: {health}")

    def write(self, name: str, data: bytes, stream: int = 1) -> None:
        """It writes to its log."""
        container = self.by_name(name)
        container.log.append(LogLine(stream, data, self._now_ms()))
        _ring(container)

    # What requests do to it

    def find(self, name: str) -> FakeContainer:
        """By name, id, or the beginning of an id."""
        for container in self.containers.values():
            if name == container.name or (len(name) >= 12 and container.container_id.startswith(name)):
                return container
        raise Refusal(404, f"No such container: {name}")

    def image(self, reference: str) -> str:
        """Id of an image that is there."""
        if reference in self.images:
            return self.images[reference]
        if reference in self.images.values():
            return reference
        raise Refusal(404, f"No such image: {reference}")

    def create(self, name: str, body: dict[str, Any]) -> FakeContainer:
        _check_name(name)
        image = self.image(str(body.get("Image")))
        self._check_free(name)
        number = next(self._numbers)
        container = FakeContainer(f"{number:064x}", name, body, image, self._now_ms())
        self.containers[container.container_id] = container
        self._emit(container, "create")
        return container

    def rename(self, container: FakeContainer, name: str) -> None:
        if name == container.name:
            raise Refusal(400, "Renaming a container with the same name as its current name")
        _check_name(name)
        self._check_free(name)
        container.name = name
        self._emit(container, "rename")

    def _check_free(self, name: str) -> None:
        if name in self.names():
            raise Refusal(409, f'Conflict. The container name "/{name}" is already in use by container "..."')

    def start(self, container: FakeContainer) -> bool:
        """Whether there was something to do."""
        if container.runs:
            return False
        for network in (container.body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}:
            if network not in self.networks:
                raise Refusal(404, f"network {network} not found")
        container.state, container.exit_code = "running", 0
        container.started_ms = self._now_ms()
        container.oom_killed, container.error = False, ""
        container.starts += 1
        self._emit(container, "start")
        code = self.ends.get(str(container.body.get("Image")))
        if code is not None:
            self._end(container, code)
        return True

    def stop(self, container: FakeContainer) -> bool:
        """Whether there was something to do; it ends as if by SIGKILL."""
        if not container.runs:
            return False
        self._end(container, 137)
        self._emit(container, "stop")
        return True

    def restart(self, container: FakeContainer) -> None:
        self.stop(container)
        self.start(container)
        self._emit(container, "restart")

    def remove(self, container: FakeContainer, *, force: bool) -> None:
        if container.runs and not force:
            raise Refusal(409, "You cannot remove a running container. Stop the container before")
        if container.runs:
            self._end(container, 137)
        del self.containers[container.container_id]
        self._emit(container, "destroy")
        _ring(container)

    def remove_image(self, reference: str) -> list[dict[str, str]]:
        found = self.image(reference)
        if any(container.image == found and container.runs for container in self.containers.values()):
            if reference == found:
                raise Refusal(409, "conflict: unable to delete (cannot be forced) - image is being used")
            del self.images[reference]
            self._keep_nameless(found)
            return [{"Untagged": reference}]
        gone = [name for name, value in self.images.items() if value == found]
        for name in gone:
            del self.images[name]
        return [*({"Untagged": name} for name in gone), {"Deleted": found}]

    def create_network(self, body: dict[str, Any]) -> str:
        name = str(body.get("Name"))
        if name in self.networks:
            raise Refusal(409, f"network with name {name} already exists")
        self.networks[name] = body
        return image_id(name)[7:]

    def _end(self, container: FakeContainer, code: int) -> None:
        container.state, container.exit_code = "exited", code
        container.finished_ms = self._now_ms()
        self._emit(container, "die", exitCode=str(code))
        _ring(container)

    def _emit(self, container: FakeContainer, action: str, **attributes: str) -> None:
        now_ms = self._now_ms()
        given = {"name": container.name, "image": str(container.body.get("Image"))}
        actor = {"ID": container.container_id, "Attributes": container.labels | given | attributes}
        self.events.append(
            {"Type": "container", "Action": action, "Actor": actor, "timeNano": now_ms * 1_000_000}
        )
        self.happened.set()
        self.happened = asyncio.Event()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Refusal(400, f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def matches(event: dict[str, Any], filters_text: str) -> bool:
    """The engine's filter of events."""
    wanted = json.loads(filters_text or "{}")
    verb = event["Action"].partition(":")[0]
    attributes = event["Actor"]["Attributes"]
    return (
        event["Type"] in wanted.get("type", [event["Type"]])
        and verb in wanted.get("event", [verb])
        and has_labels(attributes, wanted.get("label", []))
    )


def has_labels(given: dict[str, str], wanted: list[str]) -> bool:
    """Each wanted one is `name` or `name=value`."""
    for label in wanted:
        name, has_value, value = label.partition("=")
        if name not in given or (has_value and given[name] != value):
            return False
    return True


def time_text(time_ms: int | None) -> str:
    """As the engine writes times."""
    if time_ms is None:
        return NEVER
    return (
        datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _ring(container: FakeContainer) -> None:
    container.grew.set()
    container.grew = asyncio.Event()
