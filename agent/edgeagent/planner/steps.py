"""Typed steps: plain data, so that they can be logged, counted, compared and tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from edgeagent.model.module import Module


@dataclass(frozen=True, slots=True)
class Pull:
    """Fetch the image of a module."""

    module: Module

    @property
    def name(self) -> str:
        return self.module.name


@dataclass(frozen=True, slots=True)
class Create:
    """Make a container; a container of this name that is ours is taken away first."""

    module: Module

    @property
    def name(self) -> str:
        return self.module.name


@dataclass(frozen=True, slots=True)
class UpdateAgent:
    """Put another container in the place of the one that this program may run in."""

    module: Module

    @property
    def name(self) -> str:
        return self.module.name


@dataclass(frozen=True, slots=True)
class Start:
    """Start a container.

    :param counts: a restart after an end, which counts towards the limit.
    """

    name: str
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    name: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Take a container away; its volumes stay."""

    name: str


@dataclass(frozen=True, slots=True)
class ForgetRestarts:
    """The restart count begins at nought again."""

    name: str


Step: TypeAlias = Pull | Create | UpdateAgent | Start | Stop | Remove | ForgetRestarts
