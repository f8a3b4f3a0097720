"""What a guardian knows of a leaf when it has it captured, as a value."""

from __future__ import annotations

import attrs

from supervisor import ProcessId, Value


@attrs.frozen(repr=False, eq=False)
class Subject(Value):
    """What a guardian knows of a leaf without asking the system; what it does not know is None.

    Attributes:
        agent: The agent's name.
        argv: The command as it was started.
        working_directory: Where it was started.
        path: Its path in the tree.
        run: The run it belongs to.
        process: Its root process.
        processes: Its tree, the root first, as far as it is known.
        environment: What it was started with; None: what /proc tells.
        generation: The number of its life.
        uptime: Seconds since that life was up.
        samples: The last totals as (seconds before the capture, bytes), oldest first.
        peak_bytes: The highest total of all lives.
        level: The memory level.
        last_exit: How the life before ended.
        session: The conversation, where whoever started the leaf knows it; None: it is looked for.
        transcript: The file of its transcript, likewise.
    """

    agent: str
    argv: tuple[str, ...]
    working_directory: str
    path: tuple[str, ...] = ()
    run: str | None = None
    process: ProcessId | None = None
    environment: dict[str, str] | None = None
    generation: int | None = None
    uptime: float | None = None
    samples: tuple[tuple[float, int], ...] = ()
    peak_bytes: int | None = None
    level: str | None = None
    processes: tuple[ProcessId, ...] = ()
    last_exit: str | None = None
    session: str | None = None
    transcript: str | None = None
