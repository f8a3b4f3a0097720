# ruff: noqa: PT012 (what leaves a block is the claim, and the block is the test)
"""Partition supervisors: copies of one child, and the way from a key to one of them."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import attrs
import pytest
from anyio.abc import TaskStatus

from supervisor import (
    AutoShutdown,
    BadCombination,
    ChildNotRunning,
    ChildSpec,
    InvalidField,
    NoPartitions,
    NoProc,
    NotPartitioned,
    PartitionSupervisor,
    Restart,
    RestartIntensityExceeded,
    StartFailed,
    Strategy,
    Supervisor,
    dynamic,
    partitions,
    subtree,
    task,
)
from tests.play import Crash, Play, watched
from tests.support import ROOT

pytestmark = pytest.mark.anyio


def copy(play: Play) -> Callable[[int], ChildSpec]:
    return lambda number: play.child(str(number))


async def test_copies_start_in_order_under_their_numbers() -> None:
    """Ids are numbers from 0 on, whatever the copied child is called; as many as there are processors."""
    play = Play()
    async with PartitionSupervisor("root", copy(play), 3) as root:
        assert play.take() == [f"{word} {number}" for number in "012" for word in ("start", "up")]
        assert [info.id for info in root.which_children()] == ["2", "1", "0"]
        assert (root.partitions, root.count_children().active) == (3, 3)
    async with PartitionSupervisor("root", ChildSpec("any", task(anyio.sleep_forever))) as root:
        assert root.partitions == root.count_children().active == os.cpu_count()


def lives_its(root: Supervisor, life: int) -> bool:
    info = root.which_child("1")
    return (info.generation, info.state) == (life, "running")


async def test_three_restarts_in_five_seconds_alone() -> None:
    """Elixir's defaults: a crash takes no sibling along, the fourth within the period ends it."""
    play = Play()
    root = PartitionSupervisor("root", copy(play), 2)
    watched(root, play)
    flags = root._block._flags
    assert (flags.strategy, flags.intensity, flags.period) == (Strategy.ONE_FOR_ONE, 3, 5.0)
    with pytest.raises(RestartIntensityExceeded):
        async with root:
            for life in (1, 2, 3, 4):
                await play.until(functools.partial(lives_its, root, life))
                play.crash("1")
            await play.rest()
    assert play.lives == {"0": 1, "1": 4}


async def test_keys_are_routed() -> None:
    """Integers by their absolute value, other keys by a hash; each partition gets its share."""
    play = Play()
    async with PartitionSupervisor("root", copy(play), 4) as root:
        assert [root.route(key) for key in (0, 1, 5, -5, 7, 2**70)] == ["0", "1", "1", "1", "3", "0"]
        share = Counter(root.route(f"user:{number}") for number in range(1000))
        assert set(share) == set("0123") and min(share.values()) > 200
        assert root.whereis(6) == root.child("2")
        for wrong in (None, 1.5, True, ["a"], ("a", None)):
            key: Any = wrong
            with pytest.raises(InvalidField) as caught:
                root.route(key)
            assert caught.value.field == "key"


def test_routes_are_the_same_everywhere() -> None:
    """Known answers; another process, whose own hashes differ, gives the same."""
    program = (
        "from supervisor.runtime.partition import slot\n"
        "print([slot(key, 1000) for key in ('', 'a', b'a', ('a', 1), ('a', '1'), ('a1',), (), ((),), 'é', '\\ud800', (-1,), (1,))])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {KNOWN}


KNOWN = "[580, 969, 371, 235, 816, 51, 878, 129, 292, 114, 846, 119]\n"


async def test_a_key_leads_to_a_supervisor_that_starts_children() -> None:
    """Dynamic supervisors are the usual partitions: `via` is where to start the child of a key."""
    play = Play()
    shards = partitions(ChildSpec("any", dynamic()), 3)
    async with Supervisor("root", [ChildSpec("shards", shards)]) as root:
        ref = root.partition_supervisor("shards")
        for key in ("x", "y", "z"):
            info = await ref.via(key).start_child(play.child(key))
            assert info.path == ("root", "shards", ref.route(key), key)
        assert ref.partitions == 3
        assert root.supervisor().partition_supervisor("shards").path == ref.path


async def test_resizing_terminates_and_restarts_the_tail() -> None:
    """The answer is the old number; specifications are kept, and a partition that stays is not touched."""
    play = Play()
    async with PartitionSupervisor("root", copy(play), 4) as root:
        play.take()
        assert await root.resize(2) == 4
        assert play.take() == ["asked 2", "end 2", "asked 3", "end 3"]
        assert root.partitions == 2 and {root.route(number) for number in range(10)} == {"0", "1"}
        counts = root.count_children()
        assert (counts.specs, counts.active) == (4, 2)
        assert await root.resize(2) == 2
        assert await root.resize(3) == 2
        assert play.take() == ["start 2", "up 2"]
        assert await root.resize(4) == 3
        assert root.partitions == 4 and play.lives == {"0": 1, "1": 1, "2": 2, "3": 2}


async def test_without_partitions_no_key_leads_anywhere() -> None:
    """Resized to none, looking up is an error, until it is resized again."""
    play = Play()
    async with PartitionSupervisor("root", copy(play), 2) as root:
        await root.resize(0)
        for ask in (root.route, root.whereis, root.via):
            with pytest.raises(NoPartitions) as caught:
                ask("key")
            assert caught.value.path == ("root",)
        assert root.partitions == root.count_children().active == 0
        await root.resize(1)
        assert root.route("key") == "0"


@pytest.mark.parametrize("number", [-1, 3, True, 1.0, "1", None])
async def test_only_as_many_as_there_were_at_first(number: Any) -> None:
    """Another number is refused, with the most there can be."""
    play = Play()
    async with PartitionSupervisor("root", copy(play), 2) as root:
        with pytest.raises(InvalidField, match="from 0 to 2"):
            await root.resize(number)
        assert root.partitions == 2


async def test_a_partition_that_does_not_come_up_is_not_led_to() -> None:
    """Growing stops there; those before it are in use, and the next attempt goes on."""
    play = Play()
    async with PartitionSupervisor("root", copy(play), 3) as root:
        await root.resize(0)
        play.refuse("1", Crash("no"))
        with pytest.raises(StartFailed):
            await root.resize(3)
        assert root.partitions == 1 and root.route(7) == "0"
        assert await root.resize(3) == 1
        assert root.count_children().active == 3


async def test_a_cancelled_change_is_finished_by_the_same_call() -> None:
    """Whoever asked left in the middle of a start; keys do not lead there, and asking again is no error."""
    play = Play()

    async def child(number: int, *, task_status: TaskStatus[None]) -> None:
        play.note(f"start {number}")
        if play.log.count("start 1") == 2:
            await play.saw("open")
        task_status.started()
        await play.rest()

    async with PartitionSupervisor("root", lambda number: ChildSpec("any", task(child, number)), 2) as root:
        watched(root, play)
        await root.resize(0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(root.resize, 2)
            await play.saw("start 1", 2)
            tasks.cancel_scope.cancel()
        assert root.partitions == 1 and root.route(1) == "0"
        play.note("open")
        await play.until(lambda: root.which_child("1").state == "running")
        assert root.partitions == 1
        assert await root.resize(2) == 1
        assert root.count_children().active == root.partitions == 2


async def test_two_changes_at_once_are_made_one_after_the_other() -> None:
    """The last one counts, and nothing is half done."""
    play = Play()
    async with PartitionSupervisor("root", copy(play), 4) as root:
        async with anyio.create_task_group() as tasks:
            for number in (0, 4, 1, 3):
                tasks.start_soon(root.resize, number)
        assert root.count_children().active == root.partitions


async def test_a_restart_of_the_supervisor_itself_begins_anew() -> None:
    """All partitions are back; a reference to one that is not running says so."""
    play = Play()
    async with Supervisor("root", [ChildSpec("shards", partitions(copy(play), 2))]) as root:
        ref = root.partition_supervisor("shards")
        await ref.resize(1)
        await root.terminate_child("shards")
        with pytest.raises(NoProc):
            ref.route("key")
        await root.restart_child("shards")
        assert ref.partitions == 2


async def test_a_partition_without_a_life_is_no_answer() -> None:
    """A key leads to it all the same: partitions do not take over from each other."""
    play = Play()
    async with PartitionSupervisor("root", lambda number: play.child(str(number), restart=Restart.TRANSIENT), 2) as root:
        await root.terminate_child("1")
        assert root.route(1) == "1" and root.partitions == 2
        with pytest.raises(ChildNotRunning):
            root.whereis(1)


@pytest.mark.parametrize("make", [lambda *args, **flags: PartitionSupervisor("root", *args, **flags), partitions])
def test_what_cannot_be_is_refused_before_anything_starts(make: Callable[..., object]) -> None:
    """Numbers, children and flags; significant children have no supervisor that shuts itself down."""
    spec = ChildSpec("a", task(anyio.sleep_forever))
    for number in (0, -1, 1.5, True):
        with pytest.raises(InvalidField):
            make(spec, number)
    for child in (None, task(anyio.sleep_forever), lambda _number: None):
        with pytest.raises(InvalidField):
            make(child, 2)
    for flag in ({"auto_shutdown": AutoShutdown.ANY_SIGNIFICANT}, {"strategy": Strategy.SIMPLE_ONE_FOR_ONE}, {"max_children": 1}):
        with pytest.raises(InvalidField):
            make(spec, 2, **flag)
    with pytest.raises(BadCombination):
        make(attrs.evolve(spec, restart=Restart.TRANSIENT, significant=True), 2)


async def test_how_many_there_are_is_what_it_was_started_with() -> None:
    """Whatever was added or deleted before the first key was routed, at the root and below it."""
    play = Play()
    pool = partitions(copy(play), 3)
    async with PartitionSupervisor("root", copy(play), 3) as root, Supervisor("other", [ChildSpec("p", pool)]) as other:
        for ref in (root, other.partition_supervisor("p")):
            await ref.start_child(play.child("3"))
            await ref.terminate_child("1")
            await ref.delete_child("1")
            assert ref.partitions == 3
            assert ref.route(5) == "2"


async def test_another_supervisor_is_not_called_as_one_of_partitions() -> None:
    """With an error that says so."""
    async with Supervisor("root", [ChildSpec("s", subtree([]))]) as root:
        ref = root.partition_supervisor("s")
        with pytest.raises(NotPartitioned, match=r"^root/s: is no partition supervisor$"):
            ref.route(1)
        with pytest.raises(NotPartitioned):
            await ref.resize(1)
