"""An agent that kills itself after so many steps: `python -m testkit.dying_agent N run ...`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from edgeagent.cli import main
from edgeagent.executor.docker_runtime import DockerRuntime

STEPS = ("pull", "create", "start", "stop", "remove")


def die_after(count: int) -> None:
    """Lets `count` steps be carried out, and ends the process at once behind the last."""
    done = 0

    def dying(step: Any) -> Any:
        async def carry_out(*arguments: Any) -> Any:
            nonlocal done
            result = await step(*arguments)
            done += 1
            if done == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return carry_out

    for name in STEPS:
        setattr(DockerRuntime, name, dying(getattr(DockerRuntime, name)))


if __name__ == "__main__":
    die_after(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
