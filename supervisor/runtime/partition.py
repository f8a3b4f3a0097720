"""Several copies of one child, and the way from a key to one of them: Elixir's ``PartitionSupervisor``."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from typing import TypedDict, Unpack, cast
from weakref import WeakKeyDictionary

import anyio
import attrs

from ..core.backoff import Backoff
from ..core.breaker import Breaker
from ..core.errors import ChildRestarting, ChildRunning, InvalidField, is_count
from ..core.extra_errors import NoPartitions, NotPartitioned
from ..core.spec import ChildSpec, GiveUp, Strategy, SupervisorFlags
from .current import ChildRef
from .node import Node
from .ref import Flags, SupervisorRef
from .subtree import Subtree
from .supervisor import Supervisor

Key = int | str | bytes | tuple["Key", ...]
"""What can be routed."""

Copies = ChildSpec | Callable[[int], ChildSpec]
"""The child that is copied; a function makes the copy of each number: Elixir's ``with_arguments``."""


class PartitionFlags(TypedDict, total=False):
    """The keyword arguments of `PartitionSupervisor` and `partitions`: the fields of `SupervisorFlags` that apply to them."""

    strategy: Strategy
    intensity: int
    period: float
    backoff: Backoff | None
    breaker: Breaker | None
    on_give_up: GiveUp
    stability: float


@attrs.define(eq=False)
class _Size:
    """How many partitions one running supervisor leads to now, and how many it began with."""

    now: int
    most: int
    lock: anyio.Lock = attrs.field(factory=anyio.Lock)


_SIZES: WeakKeyDictionary[Node, _Size] = WeakKeyDictionary()


class PartitionSupervisorRef(SupervisorRef):
    """A partition supervisor in a running tree, addressed by its path: a `SupervisorRef` that knows the way from a key to a partition.

    The ids of its children are ``"0"``, ``"1"`` and so on. A restart of the supervisor itself undoes `resize`. Every call raises
    `NotPartitioned` where the supervisor at the path is another kind.
    """

    @property
    def partitions(self) -> int:
        """How many partitions keys are led to; those that wait for a restart included."""
        return self._size().now

    def route(self, key: Key) -> str:
        """The id of the partition for a key.

        An integer leads to its absolute value modulo the number of partitions, anything else to its BLAKE2b hash modulo that,
        which is the same in every process and on every machine.

        Raises:
            NoPartitions: There are none now.
            InvalidField: A key of another type.
        """
        now = self._size().now
        if not now:
            raise NoPartitions(self.path)
        return str(slot(key, now))

    def whereis(self, key: Key) -> ChildRef:
        """The present life of the partition for a key.

        Raises:
            NoPartitions: There are none now.
            ChildNotRunning: It has no life now.
        """
        return self.child(self.route(key))

    def via(self, key: Key) -> SupervisorRef:
        """The supervisor that is the partition for a key; for one of tasks: ``ref.task_supervisor(ref.route(key))``.

        Raises:
            NoPartitions: There are none now.
        """
        return self.supervisor(self.route(key))

    async def resize(self, partitions: int) -> int:
        """Lead keys to fewer or more partitions, between none and as many as there were at first.

        Partitions above the new number are terminated and keep their specification; missing ones are restarted. Nothing is moved from
        one partition to another: keys lead elsewhere from now on.

        Args:
            partitions: The new number.

        Returns:
            The old number.

        Raises:
            InvalidField: It is not between 0 and the first number.
            StartFailed: A partition did not come up; those before it are in use.

        **Cancellation:** leaves the change unfinished; keys lead to running partitions only, and the same call finishes it.
        """
        size = self._size()
        if not is_count(partitions) or partitions > size.most:
            raise InvalidField("partitions", partitions, f"an integer from 0 to {size.most}", where="/".join(self.path))
        async with size.lock:
            before = size.now
            while size.now < partitions:
                try:
                    await self.restart_child(str(size.now))
                except (ChildRunning, ChildRestarting):
                    pass  # a change that was cancelled had come this far, or a group restart has taken it along
                size.now += 1
            size.now = partitions
            for number in range(partitions, size.most):
                await self.terminate_child(str(number))
        return before

    def _size(self) -> _Size:
        node = self._node_here()
        size = _SIZES.get(node)
        if size is None:
            if node.partitions is None:
                raise NotPartitioned(self.path)
            size = _SIZES[node] = _Size(node.partitions, node.partitions)
        return size


class PartitionSupervisor(PartitionSupervisorRef, Supervisor):
    """A `Supervisor` of several copies of one child, among which keys are divided. As a child of another supervisor: `partitions`.

    Args:
        id: The first element of every path in the tree.
        child: What is copied; its own id does not matter. A function is called with each partition's number from 0 on.
        partitions: How many; as many as there are processors by default.
        flags: The fields of `SupervisorFlags` but `auto_shutdown` and `max_children`, with Elixir's defaults: `ONE_FOR_ONE`, 3 restarts
            in 5 seconds.

    Raises:
        SpecError: On construction; nothing was started.
        StartFailed: As from a `Supervisor`.
        RestartIntensityExceeded: As from a `Supervisor`.
    """

    def __init__(self, id: str, child: Copies, partitions: int | None = None, **flags: Unpack[PartitionFlags]) -> None:
        super().__init__(id, copies(child, partitions), **checked(flags))
        self._block.partitions = len(self.specs)


def partitions(child: Copies, partitions: int | None = None, **flags: Unpack[PartitionFlags]) -> Subtree:
    """A partition supervisor as a child: see `PartitionSupervisor`, and `SupervisorRef.partition_supervisor` for its calls.

    Args:
        child: What is copied.
        partitions: How many; as many as there are processors by default.
        flags: Those of `SupervisorFlags` that a partition supervisor has.

    Raises:
        SpecError: Also for anything wrong in the copies.
    """
    known = SupervisorFlags(**checked(flags))
    specs = known.check(copies(child, partitions), where="partitions")
    return Subtree(specs, known, partitions=len(specs))


def checked(flags: PartitionFlags) -> Flags:
    """The flags with their defaults.

    Raises:
        InvalidField: A flag that a partition supervisor has not.
    """
    for name, value in flags.items():
        if name not in PartitionFlags.__annotations__:
            raise InvalidField(name, value, "a flag of a partition supervisor", where="partitions")
    if flags.get("strategy") is Strategy.SIMPLE_ONE_FOR_ONE:
        raise InvalidField("strategy", Strategy.SIMPLE_ONE_FOR_ONE, "a strategy for children that are known", where="partitions")
    return {"intensity": 3, "period": 5.0, **cast(Flags, flags)}


def copies(child: Copies, partitions: int | None) -> list[ChildSpec]:
    """The specifications of all partitions.

    Raises:
        SpecError: `partitions` is no number >= 1, or `child` none that can be copied.
    """
    if partitions is None:
        partitions = os.cpu_count() or 1
    if not is_count(partitions, least=1):
        raise InvalidField("partitions", partitions, "an integer >= 1", where="partitions")
    specs = []
    for number in range(partitions):
        spec = child(number) if callable(child) else child
        if not isinstance(spec, ChildSpec):
            raise InvalidField("child", spec, "a ChildSpec, or a function that makes one of a number", where="partitions")
        specs.append(attrs.evolve(spec, id=str(number)))
    return specs


def slot(key: Key, partitions: int) -> int:
    """The number of the partition for a key.

    Raises:
        InvalidField: A key that is neither an integer, text, bytes nor a tuple of those.
    """
    if isinstance(key, int) and not isinstance(key, bool):
        return abs(key) % partitions
    digest = blake2b(_encoded(key), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


def _encoded(key: Key) -> bytes:
    """The key as bytes; no two keys have the same."""
    match key:
        case bool():
            pass
        case int():
            return b"i%d;" % key
        case str():
            text = key.encode("utf-8", "surrogatepass")
            return b"s%d:" % len(text) + text
        case bytes():
            return b"b%d:" % len(key) + key
        case tuple():
            return b"t%d:" % len(key) + b"".join(map(_encoded, key))
    raise InvalidField("key", key, "an integer, text, bytes, or a tuple of those", where="partitions")
