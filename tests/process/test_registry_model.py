"""A registry beside its model, whatever children and callers do."""

from __future__ import annotations

from typing import Any

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import (
    AlreadyRegistered,
    ChildExited,
    ChildSpec,
    Keys,
    NotRegistered,
    Record,
    Registry,
    Supervisor,
    registered,
)
from tests.play import Play, watched

IDS = ("a", "b", "c")
NAMED = "named"
"""A child whose lives are all registered from outside."""

ids, keys = st.sampled_from(IDS), st.sampled_from(("x", "y", NAMED))
steps = st.one_of(
    st.tuples(st.sampled_from(("register", "unregister", "update")), ids, keys),
    st.tuples(st.sampled_from(("crash", "return", "cycle", "terminate", "restart")), st.sampled_from((*IDS, NAMED)), st.none()),
)


@attrs.define
class Model:
    """Entries as (key, id, generation, value), the oldest first."""

    unique: bool
    entries: list[tuple[str, str, int, int]] = attrs.field(factory=list)

    def taken(self, key: str) -> bool:
        return self.unique and any(entry[0] == key for entry in self.entries)

    def drop(self, id: str, key: str | None = None) -> None:
        self.entries = [entry for entry in self.entries if not (entry[1] == id and key in (None, entry[0]))]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("kind", list(Keys))
@settings(max_examples=60)
@given(script=st.lists(steps, max_size=25))
def test_a_registry_holds_what_its_model_holds(backend: str, kind: Keys, script: list[tuple[str, str, str | None]]) -> None:
    """After every step, and at no moment an entry of a life whose end was reported."""
    anyio.run(perform, kind, script, backend=backend)


async def perform(kind: Keys, script: list[tuple[str, str, Any]]) -> None:
    registry: Registry[str, int] = Registry(kind)
    model = Model(kind is Keys.UNIQUE)
    stale: list[Record] = []
    play = Play()

    def sink(record: Record) -> None:
        event = record.event
        if isinstance(event, ChildExited) and any((e.path, e.generation) == (event.path, event.generation) for e in registry):
            stale.append(record)

    specs = [play.child(id) for id in IDS]
    # first, so that its first life finds the key free
    specs.insert(0, ChildSpec(NAMED, registered(play.child(NAMED).start, registry, NAMED, 0)))
    root = Supervisor("root", specs, intensity=1000, period=1.0)
    root.add_sink(sink)
    watched(root, play)
    async with root:
        model.entries.append((NAMED, NAMED, 1, 0))
        for number, (what, id, key) in enumerate(script, start=1):
            await step(registry, model, play, root, number, what, id, key)
            compare(registry, model)
    assert list(registry) == [] and registry._owned == {} and registry._entries == {} and stale == []


async def step(registry: Registry[str, int], model: Model, play: Play, root: Supervisor, number: int, what: str, id: str, key: Any) -> None:
    running = root.which_child(id).state == "running"
    if what == "restart":
        if not running and not (id == NAMED and model.taken(NAMED)):
            await reborn(model, root, id)
        return
    if not running:
        return
    generation = root.which_child(id).generation
    match what:
        case "register":
            if model.taken(key):
                with pytest.raises(AlreadyRegistered):
                    registry.register(key, number, child=root.child(id))
            else:
                registry.register(key, number, child=root.child(id))
                model.entries.append((key, id, generation, number))
        case "unregister":
            registry.unregister(key, child=root.child(id))
            model.drop(id, key)
        case "update" if model.unique:
            mine = [entry for entry in model.entries if entry[:2] == (key, id)]
            if mine:
                assert registry.update_value(key, lambda _old: number, child=root.child(id)) == (number, mine[0][3])
                model.entries[model.entries.index(mine[0])] = (key, id, generation, number)
            else:
                with pytest.raises(NotRegistered):
                    registry.update_value(key, lambda _old: number, child=root.child(id))
        case "crash" | "return":
            if what == "crash":
                play.crash(id)
            else:
                play.tell(id)
            await play.until(lambda: root.which_child(id).generation > generation and root.which_child(id).state == "running")
            born(model, root, id)
        case "cycle":
            await root.cycle_child(id)
            born(model, root, id)
        case "terminate":
            await root.terminate_child(id)
            model.drop(id)


async def reborn(model: Model, root: Supervisor, id: str) -> None:
    await root.restart_child(id)
    born(model, root, id)


def born(model: Model, root: Supervisor, id: str) -> None:
    """A new life has no entries but the one it was started with."""
    model.drop(id)
    if id == NAMED:
        model.entries.append((NAMED, NAMED, root.which_child(id).generation, 0))


def compare(registry: Registry[str, int], model: Model) -> None:
    for key in ("x", "y", NAMED):
        expected = [entry[1:] for entry in model.entries if entry[0] == key]
        assert [(e.path[-1], e.generation, e.value) for e in registry.lookup(key)] == expected
    for id in (*IDS, NAMED):
        children = {entry.child for entry in registry if entry.path[-1] == id}
        assert [registry.keys(child) for child in children] == [tuple(e[0] for e in model.entries if e[1] == id)] * len(children)
        assert len(children) == any(entry[1] == id for entry in model.entries)
    assert registry.count() == len(model.entries)
