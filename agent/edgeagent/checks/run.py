"""Runs checks one after the other."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edgeagent.checks.model import Check, Finding, Result, error, error_of
from edgeagent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from edgeagent.checks.situation import Situation

CHECK_S = 60.0

_log = logging.getLogger(__name__)


async def run_checks(
    checks: Sequence[Check], situation: Situation, without: Collection[str] = (), deadline_s: float = CHECK_S
) -> AsyncIterator[tuple[Check, Finding]]:
    """Each check with what it found, as soon as it is known; none after a fatal one.

    :param without: ids of checks that are not run.
    """
    for check in checks:
        if check.id in without:
            yield check, Finding(Result.IGNORED)
            continue
        finding = await _run(check, situation, deadline_s)
        yield check, finding
        if finding.result is Result.FATAL:
            return


async def _run(check: Check, situation: Situation, deadline_s: float) -> Finding:
    try:
        async with asyncio.timeout(deadline_s):
            return await check.run(situation)
    except TimeoutError:
        return error(f"the check took longer than {deadline_s:g} s")
    except AgentError as fault:
        return error_of(fault)
    except Exception as fault:  # a check that is wrong must not take the others with it
        _log.debug("the check %s failed", check.id, exc_info=True)
        return error(f"the check itself failed: {type(fault).__name__}: {fault}")
