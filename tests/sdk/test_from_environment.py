"""Row W16: the unmodified Node SDK finds everything in its environment, and connects.

That of Python is in `tests/integration/test_workload_service.py`. The Node SDK is installed by
`make setup-node`; without it this is skipped, and says so.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from edgeagent.workload.settings import WorkloadSettings
from sdk.drivers import HERE, NODE_MODULES, PATIENCE_S
from testkit.hub_process import EDGE, HUB_HOST
from testkit.workload_process import hub_under_agent, import_paths, module_environment, running_service

if TYPE_CHECKING:
    from pathlib import Path

GATEWAY = "127.0.7.2"


@pytest.mark.skipif(
    not NODE_MODULES.exists() or shutil.which("node") is None,
    reason="the Node SDK is not installed: run make setup-node",
)
async def test_w16_node_sdk_connects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row W16: api-version 2018-06-28, content type and token as that SDK has them."""
    import_paths(monkeypatch)
    settings = WorkloadSettings(tmp_path / "h", HUB_HOST, EDGE)
    async with running_service(settings) as control:
        module = await control.register("camera")
        with await hub_under_agent(tmp_path, control, settings, module, GATEWAY):
            process = await asyncio.create_subprocess_exec(
                "node",
                str(HERE / "node" / "from_environment.js"),
                "hello",
                env={**os.environ, **module_environment(module, settings, GATEWAY)},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(PATIENCE_S):
                    printed, errors = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            assert printed.decode() == "in hello\n", errors.decode()
