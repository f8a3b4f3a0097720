"""Names for running children: a registry leads from a key to the lives that registered it, and forgets each with its life."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from enum import Enum
from typing import Any, Generic, TypeVar, overload

import attrs

from ..core.errors import ChildNotRunning, InvalidField, is_name
from ..core.extra_errors import AlreadyRegistered, KeysNotUnique, NotRegistered
from ..core.launch import ChildType, Launch
from ..core.ports import Handle, Ticket
from ..core.value import Value
from .current import ChildRef, life_of
from .node import Life

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Keys(Enum):
    """How many entries a key may have: one, or any number."""

    UNIQUE = "unique"
    DUPLICATE = "duplicate"


@attrs.frozen(repr=False, eq=False)
class Entry(Value, Generic[K, V]):
    """One registration.

    Attributes:
        child: The life that is registered; it was running when the entry was looked up.
        value: What it was registered with.
    """

    key: K
    child: ChildRef
    value: V

    @property
    def path(self) -> tuple[str, ...]:
        """The child's path."""
        return self.child.path

    @property
    def generation(self) -> int:
        """The number of the child's life."""
        return self.child.generation


class Registry(Generic[K, V]):
    """Keys of running children, with a value each: Elixir's ``Registry``.

    An entry belongs to one life of a child and is gone when that ends in any way, before anybody hears of the end and before the
    next life starts. Keys are compared as those of a dictionary. One registry may serve several trees of one event loop.

    Args:
        keys: Whether a key has at most one entry.
        name: For errors.

    Raises:
        InvalidField: An argument has an illegal value.

    All calls return at once; they belong on the event loop's thread.
    """

    def __init__(self, keys: Keys = Keys.UNIQUE, name: str = "registry") -> None:
        if not isinstance(keys, Keys):
            raise InvalidField("keys", keys, "a member of Keys", where="registry")
        if not is_name(name):
            raise InvalidField("name", name, "a non-empty string", where="registry")
        self.kind, self.name = keys, name
        self._serial = 0
        # by serial number, so that an entry is taken out in one step however many its key has
        self._entries: dict[K, dict[int, Entry[K, V]]] = {}
        self._owned: dict[Life, dict[int, K]] = {}

    def __repr__(self) -> str:
        return f"Registry({self.kind}, {self.name!r}, {self.count()} entries)"

    # ------------------------------------------------------------ for a child

    @overload
    def register(self: Registry[K, None], key: K, value: None = None, *, child: ChildRef | None = None) -> Entry[K, None]: ...
    @overload
    def register(self, key: K, value: V, *, child: ChildRef | None = None) -> Entry[K, V]: ...
    def register(self, key: K, value: Any = None, *, child: ChildRef | None = None) -> Entry[K, Any]:
        """Register a child under a key.

        Args:
            key: Of a registry of duplicate keys a child may register the same one several times.
            value: To be found with it.
            child: The calling one by default; see `SupervisorRef.child`. For one that cannot call see `registered`.

        Raises:
            AlreadyRegistered: The key is unique and taken.
            ChildNotRunning: That life is over.
            NotAChild: No child was named, and the caller is none.
        """
        return self.enter(life_of(child), key, value)

    def unregister(self, key: K, *, child: ChildRef | None = None) -> None:
        """Take all entries of a child, by default the calling one, under a key out; there may be none.

        Raises:
            NotAChild: No child was named, and the caller is none.
        """
        life = life_of(child)
        for serial in self._serials(life, key):
            self._remove(life, serial)

    def update_value(self, key: K, change: Callable[[V], V], *, child: ChildRef | None = None) -> tuple[V, V]:
        """Replace the value that a child, by default the calling one, has registered under a unique key.

        Returns:
            The new value and the old one.

        Raises:
            NotRegistered: That child has not registered the key.
            KeysNotUnique: The registry's keys are duplicate ones.
            NotAChild: No child was named, and the caller is none.
        """
        self._require_unique(key)
        life = life_of(child)
        for serial in self._serials(life, key):
            entry = self._entries[key][serial]
            new = change(entry.value)
            if serial in self._entries.get(key, ()):  # unless `change` ended the child
                self._entries[key][serial] = attrs.evolve(entry, value=new)
            return new, entry.value
        raise NotRegistered(self.name, key, life.path)

    def keys(self, child: ChildRef | None = None) -> tuple[K, ...]:
        """The keys of a child, by default the calling one, as often and in the order as it has registered them.

        Raises:
            NotAChild: No child was named, and the caller is none.
        """
        return tuple(self._owned.get(life_of(child), {}).values())

    # ------------------------------------------------------------ for everybody

    def lookup(self, key: K) -> tuple[Entry[K, V], ...]:
        """All entries of a key, the oldest first."""
        return tuple(self._entries.get(key, {}).values())

    def whereis(self, key: K) -> Entry[K, V] | None:
        """The entry of a unique key, None when it is not registered.

        Raises:
            KeysNotUnique: The registry's keys are duplicate ones.
        """
        self._require_unique(key)
        return next(iter(self._entries.get(key, {}).values()), None)

    def dispatch(self, key: K, function: Callable[[tuple[Entry[K, V], ...]], object]) -> None:
        """Call `function` with all entries of a key, unless there are none."""
        entries = self.lookup(key)
        if entries:
            function(entries)

    def count(self) -> int:
        """How many entries there are."""
        return sum(map(len, self._entries.values()))

    def __iter__(self) -> Iterator[Entry[K, V]]:
        """All entries of this moment, key by key."""
        return iter([entry for bucket in self._entries.values() for entry in bucket.values()])

    # ------------------------------------------------------------ inside

    def enter(self, life: Life, key: K, value: V) -> Entry[K, V]:
        """See `register`."""
        if life.over:
            raise ChildNotRunning(life.node.path, life.id)
        bucket = self._entries.get(key)
        if bucket and self.kind is Keys.UNIQUE:
            (taken,) = bucket.values()
            raise AlreadyRegistered(self.name, key, taken.path, taken.generation)
        entry = Entry(key, ChildRef(life), value)
        self._serial += 1
        if bucket is None:
            bucket = self._entries[key] = {}
        bucket[self._serial] = entry
        if life not in self._owned:
            self._owned[life] = {}
            life.monitor(lambda _exit: self._forget(life))
        self._owned[life][self._serial] = key
        return entry

    def _forget(self, life: Life) -> None:
        for serial in tuple(self._owned[life]):
            self._remove(life, serial)
        del self._owned[life]

    def _serials(self, life: Life, key: K) -> list[int]:
        return [serial for serial, own in self._owned.get(life, {}).items() if own == key]

    def _remove(self, life: Life, serial: int) -> None:
        key = self._owned[life].pop(serial)
        bucket = self._entries[key]
        del bucket[serial]
        if not bucket:
            del self._entries[key]

    def _require_unique(self, key: K) -> None:
        if self.kind is not Keys.UNIQUE:
            raise KeysNotUnique(self.name, key)


@attrs.frozen(repr=False, eq=False)
class Registered(Value):
    """Starts what `start` does, registered from before its start; see `registered`."""

    start: Launch
    registry: Registry[Any, Any]
    key: Any
    value: Any = None

    @property
    def type(self) -> ChildType:
        """That of `start`."""
        return self.start.type

    @property
    def kill_timeout(self) -> float:
        """That of `start`."""
        return self.start.kill_timeout

    def launch(self, ticket: Ticket) -> Handle:
        """Register this life, then start it.

        Raises:
            AlreadyRegistered: The key is unique and taken.
        """
        assert isinstance(ticket, Life)
        self.registry.enter(ticket, self.key, self.value)
        return self.start.launch(ticket)

    def describe(self) -> dict[str, Any]:
        """What is started, and the registry's name."""
        return {**self.start.describe(), "registry": self.registry.name}


@overload
def registered(start: Launch, registry: Registry[K, None], key: K, value: None = None) -> Registered: ...
@overload
def registered(start: Launch, registry: Registry[K, V], key: K, value: V) -> Registered: ...
def registered(start: Launch, registry: Registry[K, Any], key: K, value: Any = None) -> Registered:
    """A child whose lives are all registered as part of their start: what a ``via`` name is in Elixir, also for commands and supervisors.

    A start whose unique key is taken fails with `AlreadyRegistered` as its cause; as a restart it is tried again like any that fails.

    Args:
        start: What is started: `task(...)`, `command(...)`, `subtree(...)`.
        registry: Where each life is registered.
        key: Under which key.
        value: To be found with it.

    Raises:
        InvalidField: `start` or `registry` is none.
    """
    if not isinstance(start, Launch):
        raise InvalidField("start", start, "task(...), command(...) or subtree(...)", where="registered")
    if not isinstance(registry, Registry):
        raise InvalidField("registry", registry, "a Registry", where="registered")
    return Registered(start, registry, key, value)
