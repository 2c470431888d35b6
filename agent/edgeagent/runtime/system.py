"""What the engine says of the machine (agent spec 3.1, 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeagent.runtime.errors import EngineAnswerError

if TYPE_CHECKING:
    from edgeagent.runtime.engine import Engine


@dataclass(frozen=True, slots=True)
class SystemInfo:
    """Of the machine that the engine runs on; blank and 0 for what it does not say."""

    kernel: str = ""
    kernel_version: str = ""
    operating_system: str = ""
    architecture: str = ""
    server_version: str = ""
    processors: int = 0
    memory_bytes: int = 0
    logging_driver: str = ""


async def system_info(engine: Engine) -> SystemInfo:
    """:raises EngineUnreachable: no engine."""
    answer = await engine.get("/info")
    if not isinstance(answer, dict):
        raise EngineAnswerError("the container engine did not answer /info with an object")

    def text(name: str) -> str:
        value = answer.get(name)
        return value if isinstance(value, str) else ""

    def number(name: str) -> int:
        value = answer.get(name)
        return value if isinstance(value, int) and value >= 0 else 0

    return SystemInfo(
        kernel=text("OSType"),
        kernel_version=text("KernelVersion"),
        operating_system=text("OperatingSystem"),
        architecture=text("Architecture"),
        server_version=text("ServerVersion"),
        processors=number("NCPU"),
        memory_bytes=number("MemTotal"),
        logging_driver=text("LoggingDriver"),
    )
