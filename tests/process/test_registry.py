"""Names for running children: who is registered under a key, and that nobody is who is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import attrs
import pytest
from anyio.abc import TaskStatus

from supervisor import (
    BRUTAL_KILL,
    AlreadyRegistered,
    ChildExited,
    ChildNotFound,
    ChildNotRunning,
    ChildRef,
    ChildSpec,
    ChildStartFailed,
    ChildUnresponsive,
    DynamicSupervisor,
    Ignore,
    InvalidField,
    Keys,
    KeysNotUnique,
    NotAChild,
    NotRegistered,
    Record,
    Registry,
    Restart,
    StartFailed,
    Strategy,
    Supervisor,
    command,
    current_child,
    registered,
    subtree,
    task,
)
from tests.play import Play, watched

pytestmark = pytest.mark.anyio


def names(registry: Registry[Any, Any]) -> list[tuple[Any, str, int]]:
    """All entries as key, id and generation."""
    return [(entry.key, entry.path[-1], entry.generation) for entry in registry]


# ---------------------------------------------------------------- who am I


async def test_a_child_knows_itself() -> None:
    """Path, generation and supervisor, in its own task and in those that it starts; each life anew."""
    seen: list[ChildRef] = []
    play = Play()

    async def child() -> None:
        async def inner() -> None:
            seen.append(current_child())

        seen.append(current_child())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inner)
        play.wake()
        await play.rest()

    async with Supervisor("root", [ChildSpec("mid", subtree([ChildSpec("a", task(child))]))]) as root:
        await play.until(lambda: len(seen) == 2)
        own, inner = seen
        assert own == inner == root.supervisor("mid").child("a") and hash(own) == hash(inner)
        assert (own.id, own.path, own.generation, own.alive) == ("a", ("root", "mid", "a"), 1, True)
        assert repr(own) == "ChildRef(root/mid/a, generation=1)"
        assert own.supervisor.path == ("root", "mid")
        await own.supervisor.cycle_child("a")
        await play.until(lambda: len(seen) == 4)
        assert not own.alive
        assert seen[2] != own and seen[2].generation == 2
    assert not seen[2].alive


async def test_a_child_that_is_started_by_another_is_not_that_other() -> None:
    """Who brought the news of a start is not the child that starts."""
    seen: list[tuple[str, ...]] = []
    play = Play()

    async def low() -> None:
        seen.append(current_child().path)
        play.wake()

    async def high() -> None:
        await current_child().supervisor.supervisor("low").start_child(ChildSpec("x", task(low), restart=Restart.TEMPORARY))
        seen.append(current_child().path)
        play.wake()
        await play.rest()

    async with Supervisor("root", [ChildSpec("low", subtree([])), ChildSpec("high", task(high))]):
        await play.until(lambda: len(seen) == 2)
    assert sorted(seen) == [("root", "high"), ("root", "low", "x")]


async def test_code_outside_of_children_is_none() -> None:
    """The body of the block is no child: it has to name one."""
    registry: Registry[str, None] = Registry()
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        with pytest.raises(NotAChild):
            current_child()
        with pytest.raises(NotAChild):
            registry.register("k")
        with pytest.raises(NotAChild):
            registry.keys()
        registry.register("k", child=root.child("a"))
        assert names(registry) == [("k", "a", 1)]


async def test_only_a_child_with_a_life_can_be_named() -> None:
    """Unknown and stopped ones are errors, and so is a life that is over."""
    registry: Registry[str, None] = Registry()
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        with pytest.raises(ChildNotFound):
            root.child("b")
        gone = root.child("a")
        await root.terminate_child("a")
        with pytest.raises(ChildNotRunning):
            root.child("a")
        with pytest.raises(ChildNotRunning) as caught:
            registry.register("k", child=gone)
        assert (caught.value.path, caught.value.id) == (("root",), "a")
    assert registry.count() == 0


# ---------------------------------------------------------------- keys


async def test_unique_keys() -> None:
    """One entry a key; who is in the way is named, also when it is the one that asks."""
    registry: Registry[str, int] = Registry(Keys.UNIQUE, "names")
    play = Play()
    async with Supervisor("root", [play.child("a"), play.child("b")]) as root:
        a, b = root.child("a"), root.child("b")
        entry = registry.register("k", 1, child=a)
        assert (entry.key, entry.path, entry.generation, entry.value, entry.child) == ("k", ("root", "a"), 1, 1, a)
        for child in (a, b):
            with pytest.raises(AlreadyRegistered, match="registry names: 'k' is registered by root/a already") as caught:
                registry.register("k", 2, child=child)
            assert (caught.value.registry, caught.value.key) == ("names", "k")
            assert (caught.value.path, caught.value.generation) == (("root", "a"), 1)
        registry.register("other", 3, child=a)
        assert registry.whereis("k") == entry
        assert registry.whereis("nobody") is None
        assert registry.lookup("k") == (entry,)
        assert registry.lookup("nobody") == ()
        assert registry.keys(a) == ("k", "other") and registry.keys(b) == ()
        assert registry.count() == 2
        assert repr(registry) == "Registry(Keys.UNIQUE, 'names', 2 entries)"


async def test_duplicate_keys() -> None:
    """Any number of entries a key, in the order of their registration, also several of one child."""
    registry: Registry[str, str] = Registry(Keys.DUPLICATE)
    play = Play()
    async with Supervisor("root", [play.child("a"), play.child("b")]) as root:
        a, b = root.child("a"), root.child("b")
        for child, value in ((a, "1"), (b, "2"), (a, "3")):
            registry.register("k", value, child=child)
        assert [(entry.path[-1], entry.value) for entry in registry.lookup("k")] == [("a", "1"), ("b", "2"), ("a", "3")]
        assert registry.keys(a) == ("k", "k")
        with pytest.raises(KeysNotUnique):
            registry.whereis("k")
        with pytest.raises(KeysNotUnique):
            registry.update_value("k", str.upper, child=a)
        registry.unregister("k", child=a)
        assert names(registry) == [("k", "b", 1)]


async def test_a_child_takes_its_own_entries_out_and_no_others() -> None:
    """`unregister` is about one child; what is not there is no error."""
    registry: Registry[str, None] = Registry()
    play = Play()
    async with Supervisor("root", [play.child("a"), play.child("b")]) as root:
        a, b = root.child("a"), root.child("b")
        registry.register("k", child=a)
        registry.unregister("k", child=b)
        registry.unregister("nobody", child=a)
        assert names(registry) == [("k", "a", 1)]
        registry.unregister("k", child=a)
        assert names(registry) == [] and registry.keys(a) == ()
        registry.register("k", child=b)
        assert names(registry) == [("k", "b", 1)]


async def test_a_value_can_be_replaced_by_its_child() -> None:
    """The answer is the new one and the old one; the place of the entry stays."""
    registry: Registry[str, int] = Registry()
    play = Play()
    async with Supervisor("root", [play.child("a"), play.child("b")]) as root:
        a, b = root.child("a"), root.child("b")
        registry.register("k", 1, child=a)
        assert registry.update_value("k", lambda old: old + 1, child=a) == (2, 1)
        assert [entry.value for entry in registry.lookup("k")] == [2]
        for key, child in (("k", b), ("nobody", a)):
            with pytest.raises(NotRegistered) as caught:
                registry.update_value(key, lambda old: old, child=child)
            assert (caught.value.key, caught.value.path) == (key, child.path)

        def leave(old: int) -> int:
            registry.unregister("k", child=a)
            return old

        assert registry.update_value("k", leave, child=a) == (2, 2)
        assert registry.count() == 0


async def test_dispatch_calls_for_entries_only() -> None:
    """The function gets all entries of a key, and is not called without any."""
    registry: Registry[str, int] = Registry(Keys.DUPLICATE)
    told: list[list[int]] = []
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        registry.dispatch("k", lambda entries: told.append([entry.value for entry in entries]))
        registry.register("k", 1, child=root.child("a"))
        registry.register("k", 2, child=root.child("a"))
        registry.dispatch("k", lambda entries: told.append([entry.value for entry in entries]))
    assert told == [[1, 2]]


def test_illegal_arguments_are_named() -> None:
    """Kind, name, what is started and where it is registered."""
    registry: Registry[str, None] = Registry()
    wrong: Any = "unique"
    attempts: list[Callable[[], object]] = [
        lambda: Registry(wrong),
        lambda: Registry(Keys.UNIQUE, ""),
        lambda: registered(wrong, registry, "k"),
        lambda: registered(task(anyio.sleep_forever), wrong, "k"),
    ]
    for make in attempts:
        with pytest.raises(InvalidField):
            make()


# ---------------------------------------------------------------- the end of a life


async def test_whoever_hears_of_an_end_finds_no_entry() -> None:
    """Crash, return, stop: the entry is gone when the event comes, and the next life can have the key at once."""
    registry: Registry[str, None] = Registry()
    found: list[str] = []
    play = Play()

    def sink(record: Record) -> None:
        event = record.event
        if isinstance(event, ChildExited | ChildStartFailed | ChildUnresponsive):
            found.extend(key for key, id, generation in names(registry) if (id, generation) == (event.path[-1], event.generation))

    async def child(id: str, *, task_status: TaskStatus[int]) -> None:
        registry.register(f"name of {id}")
        await play._run(id, gate=False, takes=0.0, stubborn=False, task_status=task_status)

    root = Supervisor("root", [ChildSpec(id, task(child, id)) for id in "abc"], strategy=Strategy.ONE_FOR_ALL, intensity=5)
    root.add_sink(sink)
    watched(root, play)
    async with root:
        play.crash("b")
        await play.until(lambda: play.lives["c"] == 2)
        assert names(registry) == [(f"name of {id}", id, 2) for id in "abc"]
        play.tell("a")
        await play.until(lambda: play.lives["c"] == 3)
        await root.cycle_child("a")
        await root.terminate_child("b")
        assert names(registry) == [("name of a", "a", 4), ("name of c", "c", 4)]
    assert found == [] and names(registry) == []


async def test_a_start_that_fails_or_is_declined_leaves_no_entry() -> None:
    """Registered before the acknowledgement, gone without one."""
    registry: Registry[str, None] = Registry()
    play = Play()

    async def child(error: Exception, *, task_status: TaskStatus[None]) -> None:
        registry.register("k")
        assert registry.whereis("k") is not None
        raise error

    async with DynamicSupervisor("root") as root:
        with pytest.raises(StartFailed):
            await root.start_child(ChildSpec("a", task(child, OSError("no"))))
        assert registry.count() == 0
        await root.start_child(ChildSpec("a", task(child, Ignore())))
        assert registry.count() == 0
        info = await root.start_child(play.child("a"))
        registry.register("k", child=root.child(info.id))


async def test_a_child_that_is_given_up_has_no_name_and_gets_none() -> None:
    """A task that ignores its cancellation loses its entries when it is reported, and cannot register again."""
    registry: Registry[str, None] = Registry()
    refused: list[Exception] = []
    found: list[int] = []
    play = Play()

    async def child() -> None:
        registry.register("k")
        play.note("up")
        with anyio.CancelScope(shield=True):
            await play.saw("end it")
            try:
                registry.register("k")
            except ChildNotRunning as error:
                refused.append(error)
            play.note("over")

    spec = ChildSpec("a", attrs.evolve(task(child), kill_timeout=0.05), shutdown=BRUTAL_KILL, restart=Restart.TEMPORARY)
    root = Supervisor("root", [spec])
    root.add_sink(lambda record: found.append(registry.count()) if isinstance(record.event, ChildUnresponsive) else None)
    async with root:
        await play.saw("up")
        await root.terminate_child("a")
        assert registry.count() == 0
        play.note("end it")
        await play.saw("over")
    assert found == [0] and len(refused) == 1


async def test_one_registry_for_two_trees() -> None:
    """The end of a tree takes its own entries along, and no others."""
    registry: Registry[str, None] = Registry(Keys.DUPLICATE)
    play = Play()
    async with Supervisor("one", [play.child("a")]) as one:
        registry.register("k", child=one.child("a"))
        async with Supervisor("two", [play.child("b")]) as two:
            registry.register("k", child=two.child("b"))
            assert [entry.path for entry in registry.lookup("k")] == [("one", "a"), ("two", "b")]
        assert [entry.path for entry in registry.lookup("k")] == [("one", "a")]
    assert registry.count() == 0


# ---------------------------------------------------------------- registered from outside


async def test_every_life_of_a_command_is_registered() -> None:
    """What cannot call is registered as a part of its start, again after each restart."""
    registry: Registry[str, str] = Registry(Keys.UNIQUE, "agents")
    start = registered(command("sleep", "60"), registry, "agent", "value")
    async with Supervisor("root", [ChildSpec("a", start)]) as root:
        entry = registry.whereis("agent")
        assert entry is not None and (entry.generation, entry.value) == (1, "value")
        assert root.which_child("a").pid is not None
        await root.cycle_child("a")
        entry = registry.whereis("agent")
        assert entry is not None and entry.generation == 2
        assert start.describe() == {**command("sleep", "60").describe(), "registry": "agents"}
        assert (start.type, start.kill_timeout) == (start.start.type, start.start.kill_timeout)
    assert registry.count() == 0


async def test_a_taken_key_fails_the_start() -> None:
    """OTP's ``already_started``: nothing of it runs; the one that has the name goes on."""
    registry: Registry[str, None] = Registry()
    play = Play()

    def named(id: str) -> ChildSpec:
        spec = play.child(id)
        return attrs.evolve(spec, start=registered(spec.start, registry, "k"))

    async with Supervisor("root", [named("a")]) as root:
        with pytest.raises(StartFailed) as caught:
            await root.start_child(named("b"))
        assert isinstance(caught.value.__cause__, AlreadyRegistered)
        assert caught.value.__cause__.path == ("root", "a")
        assert play.lives == {"a": 1}
        await root.terminate_child("a")
        await root.start_child(named("b"))
        assert names(registry) == [("k", "b", 2)]


async def test_a_supervisor_can_be_registered() -> None:
    """The name leads to it, and goes with it."""
    registry: Registry[str, None] = Registry()
    play = Play()
    async with Supervisor("root", [ChildSpec("mid", registered(subtree([play.child("a")]), registry, "mid"))]) as root:
        entry = registry.whereis("mid")
        assert entry is not None
        ref = entry.child.supervisor.supervisor(entry.child.id)
        assert [info.id for info in ref.which_children()] == ["a"]
        await root.terminate_child("mid")
        assert registry.whereis("mid") is None
