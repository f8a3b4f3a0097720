"""Carries out that a runaway tool is ended, and the session with it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from supervisor import ProcessId, end_processes, walk

from ..event import ToolEnded
from ..policy import decide
from ..probe.parts import private_bytes

if TYPE_CHECKING:
    from ..ledger import Leaf, Ledger
    from ..policy.attribution import Part
    from ..policy.effects import EndTools


async def end_tools(ledger: Ledger, leaf: Leaf, wanted: EndTools) -> None:
    """End parts of a leaf's tree, all at the same time, and have the leaf looked at when they are gone. Never raises.

    **Cancellation:** what was not signalled yet stays alive, and the decision is not told.
    """
    generation = leaf.guard.generation
    grace = 0.0 if wanted.urgent else leaf.agent.restart_policy.tool_timeout
    async with anyio.create_task_group() as tasks:
        for part in wanted.parts:
            tasks.start_soon(end_tool, ledger, leaf, part, grace, wanted.reason, generation)
    ledger.tell(leaf, decide.ToolsEnded())
    ledger.look(leaf, anyio.current_time())


async def end_tool(ledger: Ledger, leaf: Leaf, part: Part, grace: float, reason: str, generation: int | None) -> None:
    """End one of them, and say so.

    The process that it began with gets no signal before the others are gone: as a rule it is the shell that tells the program how the
    command ended.
    """
    family = Family(part)
    how, why = "terminated", reason
    try:
        swept = await end_processes(family.living, grace=grace, last=(part.head,))
        how = "left" if swept.left else "killed" if swept.killed else how
    except OSError as error:  # the boundary where a failure becomes part of the event
        how, why = "left", f"{reason}; {error.strerror or error}"
    held = part.held_bytes
    left = sum(private_bytes(process.pid) or 0 for process in family.living()) if how == "left" else 0
    who = part.role.kind.value, part.role.name, part.head.pid
    ledger.emit(ToolEnded(leaf.path, *who, held, max(0, held - left), how, why, generation=generation))


class Family:
    """The processes of one part of a tree, with what they start while they are being ended."""

    def __init__(self, part: Part) -> None:
        self._known = dict.fromkeys(part.processes)

    def living(self) -> list[ProcessId]:
        """Those that live, and what descends from them now.

        Raises:
            OSError: Out of descriptors.
        """
        found: dict[ProcessId, None] = {}
        for process in tuple(self._known):
            below = walk(process.pid)
            if below[:1] == [process]:  # else its number is another's by now
                found.update(dict.fromkeys(below))
        self._known |= found
        return list(found)
