"""What the workers of the benchmark run."""

from __future__ import annotations

import anyio
from anyio.abc import TaskStatus


async def main(*, task_status: TaskStatus[None]) -> None:
    task_status.started()
    await anyio.sleep_forever()
