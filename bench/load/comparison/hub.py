"""Start our hub for a comparison.

What a hub needs before it can serve (identities, certificates, an upstream) is not known here. It comes from
outside in a `HubRecipe`, whose texts may contain `{work_dir}`: an empty folder, another one for each start.

The hook for what a command line cannot say is `prepare`: it is called before each start with the recipe, its
`{work_dir}` already filled in, and that folder. It may write files there (identities, client file,
certificates) and returns the recipe to start, for example with further environment variables. Without it the
recipe is started as it is.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from comparison.processes import Endpoint, RunningBroker, broker_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True)
class HubRecipe:
    """How to start a hub and how to reach it."""

    command: Sequence[str]
    """Program and arguments. It must stay in the foreground: its process id is the one observed."""
    ready_url: str
    """Answers 200 to GET when the hub serves."""
    clients_file: str
    """JSON lines as `edgehub-load --help` describes them, with 100 publishers for the largest scenario."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of this process."""
    host: str = "127.0.0.1"
    plain_port: int | None = None
    """Port of an MQTT listener without TLS, if there is one."""
    tls_port: int | None = None
    """Port of the MQTT listener with TLS, if there is one."""
    ca_file: str | None = None
    """PEM file of the certificates that the hub's descends from; needed with `tls_port`."""
    control: str | None = None
    """How its control plane is kept busy, see busy.py; None when it is left alone."""

    def at(self, work_dir: Path) -> HubRecipe:
        """The recipe with `{work_dir}` filled in."""

        def fill(text: str) -> str:
            return text.replace("{work_dir}", str(work_dir))

        return replace(
            self,
            command=[fill(part) for part in self.command],
            ready_url=fill(self.ready_url),
            clients_file=fill(self.clients_file),
            environment={name: fill(value) for name, value in self.environment.items()},
            ca_file=None if self.ca_file is None else fill(self.ca_file),
        )

    def with_environment(self, more: Mapping[str, str]) -> HubRecipe:
        """The recipe with further environment variables, which win."""
        return replace(self, environment={**self.environment, **more})

    def endpoints(self) -> dict[str, Endpoint]:
        """The listeners by transport.

        Raises:
            ValueError: no port at all, or TLS without certificates to trust.
        """
        found: dict[str, Endpoint] = {}
        if self.plain_port is not None:
            found["plain"] = Endpoint(self.host, self.plain_port, None)
        if self.tls_port is not None:
            if self.ca_file is None:
                raise ValueError("a hub with a TLS port needs the file of the certificates to trust")
            found["tls"] = Endpoint(self.host, self.tls_port, Path(self.ca_file))
        if not found:
            raise ValueError("a hub needs a plain port, a TLS port, or both")
        return found


Prepare = Callable[[HubRecipe, Path], HubRecipe]


def answers_200(url: str) -> bool:
    """Whether GET is answered with 200."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2.0) as answer:
        return bool(answer.status == 200)
    return False


@contextlib.contextmanager
def start_hub(
    recipe: HubRecipe, work_dir: Path, *, core: int | None, prepare: Prepare | None = None
) -> Iterator[RunningBroker]:
    """Run a hub while the context is open; `work_dir` is empty and its own.

    Raises:
        processes.StartError: it ended or its ready URL did not answer 200 in time.
        ValueError: the recipe names no listener.
    """
    recipe = recipe.at(work_dir)
    if prepare is not None:
        recipe = prepare(recipe, work_dir)
    endpoints = recipe.endpoints()
    env = {**os.environ, **recipe.environment}
    log = work_dir / "hub.log"
    with broker_process(
        recipe.command, core=core, env=env, log=log, ready=lambda: answers_200(recipe.ready_url)
    ) as pid:
        control = None if recipe.control is None else Path(recipe.control)
        yield RunningBroker(pid, Path(recipe.clients_file), endpoints, control)


def split_command(text: str) -> list[str]:
    """A command line as a shell would split it."""
    return shlex.split(text)
