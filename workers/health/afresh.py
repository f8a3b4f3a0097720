"""A look at the parts of a leaf's tree for the moment at which something is decided on them: all of it is read anew, at once."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor import RunningCommand

from ..policy import decide
from ..policy.pressure import MemoryState
from ..probe.choice import open_reader
from ..probe.host import available_bytes
from ..probe.reader import NoReader

if TYPE_CHECKING:
    from ..ledger import Leaf, Ledger
    from ..probe.reader import MemorySample


def looked_afresh(ledger: Ledger, leaf: Leaf, now: float) -> decide.Sampled:
    """The answer to `effects.Look`: what the tree holds at `now`, part by part. Blocks for about 0.1 ms for each process of the tree.

    Where it cannot be read, or is over by now, it is what is known already, and the parts are unknown. It is read here, whoever takes the
    samples: between this and what is decided on it nothing else happens.
    """
    guard, attribution = leaf.guard, None
    total, generation = guard.pressure.total_bytes, guard.generation
    assert total is not None and generation is not None
    command, child = ledger.command(leaf), ledger.child(leaf)
    with suppress(OSError, NoReader):  # no descriptors, or nobody may look
        if command is not None and child is not None and child.generation == generation and leaf.parts is not None:
            taken = read_once(command, now)
            if taken is not None:
                total = taken.total_bytes
                attribution = leaf.parts.look(command, now, sample=taken, earlier=leaf.sample, exact=True)
    paused = leaf.hold is not None and leaf.hold.is_paused
    emergency = total >= leaf.thresholds.emergency_bytes or leaf.level is MemoryState.EMERGENCY
    available = available_bytes() if emergency else None
    return decide.Sampled(total, generation, paused, available, attribution, exact=True)


def read_once(command: RunningCommand, now: float) -> MemorySample | None:
    """Read the memory of a tree, all of whose members are looked for; None when its root is gone.

    Raises:
        OSError: It cannot be read now.
        NoReader: This host offers no way to.
    """
    memory = None if command.group is None else command.group.memory
    reader = open_reader(command.process_id, lambda: [one.pid for one in command.adopted()], memory)
    try:
        return reader.read(now)
    finally:
        reader.close()
