"""What a worker in a process of its own is told first: what it runs, and what it becomes for that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ..core.launch import ChildType
from ..core.ports import Ticket
from ..core.term import encode, modules
from ..core.wire import Start
from ..host.fork_server import ForkServer, module_path
from ..host.marker import VARIABLE, chained
from ..host.settings import Settings
from .inherited import event_loop, log_level, working_directory

if TYPE_CHECKING:
    from .worker import WorkerLaunch

_SIGKILL: Final = 9


def first_message(
    launch: WorkerLaunch, ticket: Ticket, marker: str = "", server: ForkServer | None = None, settings: Settings | None = None
) -> Start:
    """The message.

    Args:
        launch: What is run.
        ticket: Of the life.
        marker: The life's mark.
        server: Who forks it, None for nobody. A fork is also told what the server has from another time.
        settings: What a fork has still to take.
    """
    paths = None if server is None else module_path()
    placed = getattr(launch, "start", None)
    return Start(
        launch.function,
        encode(launch.args),
        encode(dict(launch.kwargs)),
        ticket.path,
        ticket.generation,
        event_loop() if launch.backend == "auto" else launch.backend,
        os.getpid(),
        0 if launch.type is ChildType.SUPERVISOR else _SIGKILL,  # one that can clean up is not killed
        None if server is None else chained(marker, os.environ.get(VARIABLE)),
        {} if server is None else server.differences(),
        None if server is None else working_directory(),
        None if server is None or paths == server.paths else paths,
        log_level(),
        None if placed is None else encode(placed),
        launch.watchdog,
        None if settings is None else settings._asdict(),
    )


def modules_of(start: Start) -> tuple[str, ...]:
    """The modules that a worker imports for what it runs."""
    return (start.function.partition(":")[0],) if start.launch is None else tuple(dict.fromkeys(modules(start.launch)))
