"""What works in a deployment, but hardly as meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeagent.model.module import CONTAINER_NAME, EDGE_AGENT, EDGE_HUB, NAME_RULE, ImagePullPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeagent.model.module import Deployment, Module

RESERVED_LABELS = "net.azure-devices.edge."


def oddities(deployment: Deployment) -> Iterator[str]:
    """One line for each, with its place."""
    for name in (EDGE_AGENT, EDGE_HUB):
        if name not in deployment.modules:
            yield f"systemModules.{name}: missing, so {_without(name)}"
    for module in deployment.modules.values():
        yield from (f"{module.name}: {text}" for text in _of_module(module))


def _without(name: str) -> str:
    return "the agent stays as it is" if name == EDGE_AGENT else "edgeHub is removed where it runs"


def _of_module(module: Module) -> Iterator[str]:
    if not CONTAINER_NAME.fullmatch(module.name):
        yield f"not a name for a container: {NAME_RULE}; it will not run"
    options = module.create_options
    host = options.get("HostConfig") or {}
    if "Image" in options:
        yield "createOptions.Image is replaced by settings.image"
    if host.get("RestartPolicy"):
        yield "createOptions.HostConfig.RestartPolicy makes the engine restart it, beside restartPolicy"
    for label in options.get("Labels") or {}:
        if label.startswith(RESERVED_LABELS):
            yield f"the label {label} belongs to the agent and is overwritten"
    if module.image.endswith(":latest") and module.image_pull_policy is ImagePullPolicy.ON_CREATE:
        yield "the tag latest moves: the image is renewed only when something else changes"
