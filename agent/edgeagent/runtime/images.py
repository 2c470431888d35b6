"""Images on the engine (agent spec 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeagent.runtime.engine import Engine, image_part
from edgeagent.runtime.errors import EngineAnswerError, EngineError

REMOVE_DEADLINE_S = 300.0
"""Deleting layers takes minutes on a slow card."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image as the engine lists it.

    :param image_id: such as `sha256:...`.
    :param created_s: UTC since 1970.
    """

    image_id: str
    tags: tuple[str, ...] = ()
    size_bytes: int = 0
    created_s: int = 0


async def list_images(engine: Engine) -> list[Image]:
    """All images, those of others too."""
    rows = await engine.rows("/images/json")
    return [_image(row) for row in rows if isinstance(row.get("Id"), str)]


async def find_image(engine: Engine, reference: str) -> str | None:
    """Id of an image, None when the engine does not have it.

    :param reference: with tag or digest, or an id.
    """
    try:
        details = await engine.get(f"/images/{image_part(reference)}/json")
    except EngineError as fault:
        if fault.is_missing:
            return None
        raise
    image_id = details.get("Id") if isinstance(details, dict) else None
    if not isinstance(image_id, str) or not image_id:
        raise EngineAnswerError(f"the container engine did not say the id of the image {reference}")
    return image_id


async def remove_image(engine: Engine, reference: str) -> bool:
    """Deletes an image with all its names and the layers that nothing else needs.

    :returns: whether there was one.
    :raises EngineError: 409 when a running container is made of it.
    """
    query = {"force": True, "noprune": False}
    try:
        await engine.call("DELETE", f"/images/{image_part(reference)}", query, deadline_s=REMOVE_DEADLINE_S)
    except EngineError as fault:
        if fault.is_missing:
            return False
        raise
    return True


def _image(row: dict[str, Any]) -> Image:
    tags = row.get("RepoTags")
    return Image(
        image_id=row["Id"],
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        size_bytes=row["Size"] if isinstance(row.get("Size"), int) else 0,
        created_s=row["Created"] if isinstance(row.get("Created"), int) else 0,
    )
