"""What a fork server's rehearsals import and run, from its file each time: what importing any module takes is in memory then."""

from __future__ import annotations

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus


async def play(*, task_status: TaskStatus[None]) -> None:
    """Be up, wait for a moment, and end."""
    task_status.started()
    await anyio.lowlevel.checkpoint()
