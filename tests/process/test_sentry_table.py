"""The table that a sentry reads: what fits into it, and what it does without."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from supervisor import BRUTAL_KILL, ChildSpec, ProcessId, SentryLost, Supervisor, command
from supervisor.host import sentry
from supervisor.host.sentry_table import LINE
from supervisor.host.terminal import MODES_RESET, Terminal

from .sentry_support import LINUX_ONLY, now

pytestmark = LINUX_ONLY


def test_the_table_holds_a_terminal() -> None:
    """All that a terminal can be given back with fits, and what resets its screen goes to the end of the line."""
    post = sentry.watch_over("marker")
    try:
        modes: list[Any] = [2**32 - 1] * 4 + [15, 15, [b"\xff"] * 32]
        post.lend(Terminal(-1, 2**22, True, modes), ProcessId(2**22, 2**63))
        assert sentry._sentry is not None
        line = os.pread(sentry._sentry.table.fd, LINE, 0).decode()
        assert line.startswith("T group=4194304 ") and len(line) == LINE
        assert line.rpartition(" reset=")[2].rstrip(" \n") == MODES_RESET
    finally:
        post.close()


@pytest.mark.anyio
async def test_a_table_that_cannot_grow(tmp_path: Path) -> None:
    """A full disk, where there is no file in memory: the life starts without, an event says so, and no sentry is left behind."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    lost: list[SentryLost] = []
    root = Supervisor("root")
    root.add_sink(lambda record: lost.append(record.event) if isinstance(record.event, SentryLost) else None)
    async with root:
        for room in (0, LINE):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
            try:
                await root.start_child(ChildSpec(f"leaf{room}", command("sleep", "60"), shutdown=BRUTAL_KILL))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert now() is None
        await root.start_child(ChildSpec("next", command("sleep", "60"), shutdown=BRUTAL_KILL))
        assert now() is not None
    assert [event.reason for event in lost] == ["no sentry: File too large"] * 2 and now() is None


def test_the_table_holds_whatever_is_noted() -> None:
    """The longest marker with every field fits; a control group whose path does not is left out."""
    post = sentry.watch_over(f"{'f' * 16}:{10**9}:{'x' * 120}:{10**9}")
    try:
        assert sentry._sentry is not None
        me, table = ProcessId(2**22, 2**63), sentry._sentry.table

        def line() -> bytes:
            return os.pread(table.fd, LINE, LINE)

        post.runs(me, own_session=True, cgroup="/" + "c" * 254)
        assert b" cgroup=/c" in line()
        post.root_reaped(2.0**63)
        assert b" cgroup=/c" in line() and line().split()[-1] == b"until=9223372036854775808"
        for path in ("/" + "c" * 300, "/a b"):
            post.runs(me, own_session=True, cgroup=path)
            assert b" cgroup=" not in line() and line().startswith(b"+ pid=4194304 ") and line().endswith(b" \n")
            before = line()
            post.root_reaped(2.0**63)
            assert line().split() == [*before.split(), b"until=9223372036854775808"]
    finally:
        post.close()
