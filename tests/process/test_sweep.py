"""Sweeps, and whoever sweeps at the same time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from supervisor.host import sweep as sweeping
from supervisor.host.identity import ProcessId, is_alive
from supervisor.host.marker import SENTRY
from supervisor.host.procstat import read_stat
from supervisor.host.sweep import kill_all, sweep
from tests.process.host_support import identified
from tests.support import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


@contextmanager
def cat(**more: str) -> Iterator[tuple[subprocess.Popen[bytes], ProcessId]]:
    """A process that ends when its input is closed."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, **more}) as process:
        try:
            yield process, identified(process.pid)
        finally:
            process.kill()


async def test_a_sentry_is_let_do_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep kills everybody else, waits for the sentry among them, and neither stops nor kills it."""
    monkeypatch.setattr(sweeping, "SENTRY_TIME", 50.0)
    with cat(**{SENTRY: "1"}) as (sentry, its_id), cat() as (other, other_id):
        both = (its_id, other_id)
        result = []

        async def run() -> None:
            result.append(await sweep(lambda: [process for process in both if is_alive(process)], bound=60.0))

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await eventually(lambda: not is_alive(other_id))
            stat = read_stat(sentry.pid)
            assert stat is not None and stat.state == b"S"
            assert sentry.stdin is not None
            sentry.stdin.close()
        assert sentry.wait() == 0 and other.wait() == -signal.SIGKILL
        assert result[0].killed == (other_id,) and result[0].left == ()


async def test_a_sentry_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says that he is one has so long and no longer."""
    monkeypatch.setattr(sweeping, "SENTRY_TIME", 0.1)
    with cat(**{SENTRY: "1"}) as (sentry, its_id):
        result = await sweep(lambda: [its_id] if is_alive(its_id) else [])
        assert result.killed == (its_id,) and sentry.wait() == -signal.SIGKILL


def test_nobody_is_left_stopped_when_nobody_can_look_any_more() -> None:
    """Descriptors run out between the stops and the kills: who was stopped is killed."""
    with cat() as (process, its_id):
        looks = iter([[its_id]])

        def members() -> list[ProcessId]:
            try:
                return next(looks)
            except StopIteration:
                raise OSError(24, "no descriptors") from None

        with pytest.raises(OSError, match="no descriptors"):
            kill_all(members)
        assert process.wait() == -signal.SIGKILL
