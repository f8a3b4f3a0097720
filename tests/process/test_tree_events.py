"""What a tree tells: numbered without gaps, to sinks at once, to bounded subscriptions that never stall it."""

from __future__ import annotations

import time

import anyio
import attrs
import pytest

from supervisor import (
    ChildExited,
    ChildSpec,
    ChildStarted,
    ChildTerminated,
    Event,
    EventsLost,
    InvalidField,
    Record,
    Restart,
    Strategy,
    Subscription,
    Supervisor,
    subtree,
)
from tests.play import Play, watched

pytestmark = pytest.mark.anyio


@attrs.frozen
class Told(Event):
    name = "told"
    number: int = 0


async def drained(subscription: Subscription) -> list[Record]:
    return [record async for record in subscription]


async def test_a_sink_added_before_the_block_sees_everything() -> None:
    """From the first start to the last exit, numbered from 1 without gaps, dated, under one run."""
    play = Play()
    root = Supervisor("root", [play.child("a"), ChildSpec("mid", subtree([play.child("b")]))])
    root.run_id = "this-run"
    watch = watched(root, play)
    before = time.time()
    async with root:
        await root.terminate_child("a")
    assert watch.lines == [
        *("child_started a", "child_started b", "child_started mid"),
        *("child_exited a", "child_terminated a", "child_exited b", "child_exited mid"),
    ]
    assert [record.seq for record in watch.records] == list(range(1, 8))
    assert {record.run for record in watch.records} == {"this-run"}
    assert all(before - 1 <= record.time <= time.time() + 1 for record in watch.records)
    monotonic = [record.monotonic for record in watch.records]
    assert monotonic == sorted(monotonic) and 0 <= monotonic[0] < 60
    assert [type(record.event) for record in watch.records][3:5] == [ChildExited, ChildTerminated]


async def test_a_run_has_a_name_of_its_own() -> None:
    """Where none is given each block makes one, before its first child starts."""
    seen: list[str | None] = []
    play = Play()
    for _ in range(2):
        root = Supervisor("root", [play.child("a")])

        def sink(record: Record, root: Supervisor = root) -> None:
            seen.extend([root.run_id, record.run])

        root.add_sink(sink)
        async with root:
            pass
    assert None not in seen and len(set(seen)) == 2 and len(seen) == 8


async def test_a_subscription_gets_what_comes_after_it() -> None:
    """Records in order, without gaps, until the tree has ended; then the iteration ends."""
    play = Play()
    got: list[Record] = []
    async with anyio.create_task_group() as tasks, Supervisor("root", [play.child("a")], intensity=10) as root:

        async def read() -> None:
            async with root.subscribe() as events:
                play.note("reading")
                got.extend([record async for record in events])

        tasks.start_soon(read)
        await play.saw("reading")
        play.crash("a")
        await play.saw("up a", 2)
    assert [record.event.name for record in got] == ["child_exited", "child_started", "child_restarted", "child_exited"]
    assert [record.seq for record in got] == [2, 3, 4, 5]


async def test_what_was_published_before_the_end_is_still_read() -> None:
    """A reader that comes late finds everything, as far as its capacity goes."""
    play = Play()
    async with Supervisor("root", [play.child("a"), play.child("b")]) as root:
        events = root.subscribe()
    assert [record.seq for record in await drained(events)] == [3, 4]
    assert events.lost == 0


async def test_a_slow_reader_loses_the_oldest_and_is_told_which() -> None:
    """Before the first record after a gap comes one `EventsLost` that covers the gap exactly."""
    async with Supervisor("root") as root, root.subscribe(capacity=3) as events:
        for number in range(1, 11):
            root.emit(Told(("root",), number=number))
        first = await anext(events)
        assert first.event == EventsLost((), first=1, last=7)
        assert (first.seq, first.event.as_data()) == (7, {"from": 1, "to": 7})
        assert (await anext(events)).seq == 8
        for number in range(11, 15):
            root.emit(Told(("root",), number=number))
        second = await anext(events)
        assert second.event == EventsLost((), first=9, last=11)
        assert [(await anext(events)).seq for _ in range(3)] == [12, 13, 14]
        assert events.lost == 10


@pytest.mark.parametrize("reads", [1, 2, 3, 5, 8])
async def test_nothing_is_ever_missing_without_being_told(reads: int) -> None:
    """Whatever the pace of the reader, records and gaps together are the whole sequence, in order, once."""
    records: list[Record] = []
    async with Supervisor("root") as root:
        events = root.subscribe(capacity=4)
        for burst in range(reads, reads + 8):
            for _ in range(burst):
                root.emit(Told(("root",)))
            records.extend([await anext(events) for _ in range(min(reads, 4))])
    records.extend(await drained(events))
    seen: list[int] = []
    for record in records:
        if isinstance(record.event, EventsLost):
            assert record.event.first <= record.event.last == record.seq
            seen.extend(range(record.event.first, record.event.last + 1))
        else:
            seen.append(record.seq)
    assert seen == list(range(1, sum(range(reads, reads + 8)) + 1))
    assert events.lost == len(seen) - sum(isinstance(record.event, Told) for record in records)


async def test_a_reader_that_never_reads_stalls_nothing() -> None:
    """Restarts go on at full speed, and the subscription keeps no more than its capacity."""
    play = Play()
    async with Supervisor("root", [play.child("a")], intensity=10_000) as root:
        events = root.subscribe(capacity=1)
        for number in range(2, 52):
            play.crash("a")
            await play.saw("up a", number)
        assert events.lost >= 140
    records = await drained(events)
    assert [type(record.event) for record in records] == [EventsLost, ChildExited]


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, None])
async def test_a_capacity_is_a_number_of_records(capacity: object) -> None:
    """At least one record must fit."""
    async with Supervisor("root") as root:
        with pytest.raises(InvalidField):
            root.subscribe(capacity)  # type: ignore[arg-type]


async def test_leaving_a_subscription_ends_it() -> None:
    """After its block it gets nothing, and an iteration over it ends."""
    async with Supervisor("root") as root:
        async with root.subscribe() as events:
            root.emit(Told(("root",), number=1))
        root.emit(Told(("root",), number=2))
        assert [record.seq for record in await drained(events)] == [1]


async def test_a_cancelled_reader_loses_nothing() -> None:
    """A wait that is cancelled can be taken up again."""
    async with Supervisor("root") as root, root.subscribe() as events:
        with anyio.move_on_after(0.01):
            await anext(events)
        root.emit(Told(("root",), number=1))
        assert (await anext(events)).seq == 1


async def test_two_readers_of_one_subscription_share_it() -> None:
    """Each record goes to one of them, and both end with the tree."""
    got: list[int] = []
    async with anyio.create_task_group() as tasks, Supervisor("root") as root:
        events = root.subscribe()

        async def read() -> None:
            got.extend([record.seq for record in await drained(events)])

        tasks.start_soon(read)
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        for number in range(4):
            root.emit(Told(("root",), number=number))
            await anyio.wait_all_tasks_blocked()
    assert sorted(got) == [1, 2, 3, 4]


async def test_subscriptions_are_independent() -> None:
    """A slow one costs the others nothing."""
    async with Supervisor("root") as root:
        slow, quick = root.subscribe(capacity=1), root.subscribe(capacity=10)
        for number in range(5):
            root.emit(Told(("root",), number=number))
    assert [record.seq for record in await drained(quick)] == [1, 2, 3, 4, 5]
    assert [record.event.name for record in await drained(slow)] == ["events_lost", "told"]


async def test_a_child_publishes_events_of_its_own() -> None:
    """`emit` from anywhere: numbered with the tree's own events, as an application's events are."""
    root = Supervisor("root")
    records: list[Record] = []
    root.add_sink(records.append)
    async with root:
        root.emit(Told(("root", "x"), number=7))
    assert [(record.seq, record.event.as_data()) for record in records] == [(1, {"number": 7})]


async def test_a_sink_may_call_the_tree() -> None:
    """A sink that stops the tree, or asks something of it, is served when the present step is done."""
    play = Play()
    root = Supervisor("root", [play.child("a"), play.child("b")], strategy=Strategy.ONE_FOR_ALL, intensity=5)

    def sink(record: Record) -> None:
        if isinstance(record.event, ChildExited) and not record.event.expected:
            assert len(root.which_children()) == 2
            root.stop()

    root.add_sink(sink)
    async with root:
        play.take()
        play.crash("a")
        await play.rest()
    assert play.log == ["end a", "asked b", "end b"]


async def test_the_order_of_events_is_the_order_of_facts() -> None:
    """A group restart is told step by step, in the order in which it happens."""
    play = Play()
    specs = [play.child("a"), play.child("b", restart=Restart.TEMPORARY), play.child("c")]
    root = Supervisor("root", specs, strategy=Strategy.ONE_FOR_ALL)
    watch = watched(root, play)
    async with root:
        watch.take()
        play.crash("a")
        await play.saw("up c", 2)
        await play.until(lambda: len(watch.of(ChildStarted)) == 2)
        assert watch.lines[:6] == [
            *("child_exited a", "child_exited c", "child_exited b"),
            *("child_started a", "child_restarted a", "child_started c"),
        ]
        assert [event.expected for event in watch.of(ChildExited)] == [False, True, True]
