# ruff: noqa: PT012 (what leaves a block is the claim, and the block is the test)
"""The scripted child of `supervisor.testing`: what its script says happens, what is done to it is told, and overlap is caught."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import anyio
import pytest

from supervisor import (
    BRUTAL_KILL,
    AutoShutdown,
    Backoff,
    ChildExited,
    ChildSpec,
    ChildStarted,
    ChildType,
    ChildUnresponsive,
    Exit,
    ExitKind,
    InvalidField,
    NoProc,
    Record,
    Restart,
    RestartIntensityExceeded,
    StartFailed,
    Strategy,
    Supervisor,
    subtree,
)
from supervisor.testing import (
    AT_ONCE,
    DEAF,
    NEVER,
    Crash,
    Decline,
    Entry,
    Fail,
    Hang,
    NotAlive,
    Ok,
    Overlap,
    Scripted,
    Start,
    Stop,
    settle,
    together,
)
from tests.support_ticket import LifeTicket

pytestmark = pytest.mark.anyio

EXITS = [Exit.normal(), Exit.shutdown(), Exit.shutdown("term"), Exit.killed(), Exit(ExitKind.ABNORMAL, "exit code 3", code=3)]


async def test_an_hour_of_backoff_passes() -> None:
    """Nine failed starts in a row, each waited for twice as long, in the time that computing takes."""
    child = Scripted({number: Fail() for number in range(2, 11)})
    flags: Any = {"intensity": 20, "period": 36_000.0, "backoff": Backoff(initial=10.0, multiplier=2.0, maximum=3600.0)}
    async with Supervisor("root", [ChildSpec("a", child)], **flags):
        child.crash()
        await child.running(11)
        assert anyio.current_time() == 10 * (2**9 - 1) > 3600
    assert [entry.time for entry in child.log if entry.what == "start"] == [0, 0, 10, 30, 70, 150, 310, 630, 1270, 2550, 5110]
    child.check()


async def test_starts_happen_in_order_or_by_number() -> None:
    """A sequence is about the first starts, a mapping about those it names; the others do what the default says."""
    scripts: list[Any] = [[Ok(), Fail(), Ok()], {2: Fail()}, {1: Ok(), 2: Fail(), 900: Hang()}]
    for script in scripts:
        child = Scripted(script)
        async with Supervisor("root", [ChildSpec("a", child)], intensity=5):
            child.crash()
            await child.running(3)
            child.crash()
            assert child.up and child.starts == 4
        assert [number for number, exit in child.exits.items() if exit.kind is ExitKind.SHUTDOWN] == [4]

    child = Scripted({1: Ok()}, default=Fail(OSError("gone")))
    with pytest.raises(RestartIntensityExceeded) as caught:
        async with Supervisor("root", [ChildSpec("a", child)], intensity=2):
            child.crash()
            await anyio.sleep_forever()
    assert [exit.reason for _, exit in caught.value.exits] == ["Crash: root/a 1", "OSError: gone", "OSError: gone"]


async def test_a_start_that_succeeds() -> None:
    """It acknowledges with its value after its time, and ends by itself after its time, as it is told."""
    child = Scripted([Ok("here", after=2.0, lasts=3.0, exit=Exit.shutdown("done"))])
    async with Supervisor("root") as root:
        info = await root.start_child(ChildSpec("a", child, restart=Restart.TRANSIENT))
        assert (info.value, anyio.current_time(), child.up) == ("here", 2, True)
        assert await child.ended(1) == Exit.shutdown("done")
        assert (anyio.current_time(), child.alive) == (5, False)
    assert child.lines == ["start root/a 1", "up root/a 1", "ended root/a 1: shutdown: done"]


async def test_a_start_that_fails() -> None:
    """Before it acknowledges, with an exception, an exit of any kind or a `Crash`, at once or later."""
    reasons: list[BaseException | Exit | None] = [OSError("no"), Exit.normal(), None]
    child = Scripted([Fail(reason, after=number) for number, reason in enumerate(reasons)])
    told: list[Exit] = []
    async with Supervisor("root") as root:
        for _ in reasons:
            with pytest.raises(StartFailed) as caught:
                await root.start_child(ChildSpec("a", child))
            told.append(caught.value.exit)
        assert anyio.current_time() == 0 + 1 + 2
    assert told == list(child.exits.values())
    assert [exit.exception for exit in told[:2]] == [reasons[0], None]
    assert isinstance(told[2].exception, Crash)
    assert child.lines[-2:] == ["start root/a 3", "failed root/a 3: Crash: root/a 3"]


async def test_a_start_that_is_declined() -> None:
    """OTP's ignore: nothing runs, and the child keeps its place."""
    child = Scripted([Decline(), Decline(after=1.0)])
    async with Supervisor("root", [ChildSpec("a", child)]) as root:
        assert root.which_child("a").state == "undefined"
        assert (await root.restart_child("a")).state == "undefined"
        assert (anyio.current_time(), child.alive, child.starts) == (1, False, 2)
    assert child.lines == ["start root/a 1", "declined root/a 1", "start root/a 2", "declined root/a 2"]


async def test_a_start_that_hangs_is_let_go() -> None:
    """It stays silent until the test lets it acknowledge."""
    child = Scripted([Hang()])
    async with anyio.create_task_group() as tasks:

        async def tree() -> None:
            async with Supervisor("root", [ChildSpec("a", child, start_timeout=10.0)]) as root:
                assert root.which_child("a").uptime == 0
                assert anyio.current_time() == 7

        tasks.start_soon(tree)
        await child.started()
        assert (child.alive, child.up) == (True, False)
        await anyio.sleep(7)
        child.acknowledge("finally")
        assert child.up


async def test_a_start_that_hangs_runs_into_its_timeout_or_is_ended() -> None:
    """The supervisor kills it after `start_timeout`; the test can end it before."""
    child = Scripted(default=Hang())
    with pytest.raises(StartFailed, match=r"no acknowledgement within 2\.5 s"):
        async with Supervisor("root", [ChildSpec("a", child, start_timeout=2.5)]):
            pytest.fail("it started")
    assert child.lines == ["start root/a 1", "killed root/a 1", "failed root/a 1: killed"]

    async with Supervisor("root") as root, anyio.create_task_group() as tasks:

        async def crash() -> None:
            await child.started(2)
            child.crash(OSError("no"))

        tasks.start_soon(crash)
        with pytest.raises(StartFailed, match="no"):
            await root.start_child(ChildSpec("a", child))


@pytest.mark.parametrize(
    ("stop", "lines", "took"),
    [
        (AT_ONCE, ["asked", "ended: shutdown"], 0),
        (Stop(2.0), ["asked", "ended: shutdown"], 2),
        (Stop(2.0, EXITS[4]), ["asked", "ended: exit code 3"], 2),
        (Stop(5.0), ["asked", "killed", "ended: killed"], 4),
        (NEVER, ["asked", "killed", "ended: killed"], 4),
        (Stop(math.inf, kill_after=0.5), ["asked", "killed", "ended: killed"], 4.5),
        (DEAF, ["asked", "killed"], 5),
    ],
)
async def test_a_stop_takes_what_the_script_says(stop: Stop, lines: list[str], took: float) -> None:
    """Each rung of the ladder can be tried: at once, after its time, with any exit, only when killed, not even then."""
    for child in (Scripted(stop=stop), Scripted(default=Ok(stop=stop))):
        begin = anyio.current_time()
        async with Supervisor("root", [ChildSpec("a", child, shutdown=4.0)]) as root:
            await root.terminate_child("a")
            assert anyio.current_time() - begin == took
            assert root.abandoned == (stop is DEAF)
        assert [line.replace(" root/a 1", "") for line in child.lines] == ["start", "up", *lines]


async def test_a_life_may_end_by_itself_while_it_ignores_its_stop() -> None:
    """What the script says about its own end still holds when it was asked to stop."""
    child = Scripted([Ok(lasts=3.0, stop=NEVER)])
    async with Supervisor("root", [ChildSpec("a", child, shutdown=10.0)]) as root:
        await root.terminate_child("a")
        assert anyio.current_time() == 3
    assert child.exits == {1: Exit.normal()}


@pytest.mark.parametrize("exit", EXITS, ids=lambda exit: exit.reason)
async def test_a_life_ends_in_any_way_the_test_wants(exit: Exit) -> None:
    """What the tree hears is the exit that was given, and it has happened when the call returns."""
    child, told = Scripted(), list[Record]()
    root = Supervisor("root", [ChildSpec("a", child, restart=Restart.TRANSIENT)])
    root.add_sink(told.append)
    async with root:
        child.end(exit)
        assert child.exits == {1: exit}
        assert child.up is not exit.is_clean
    assert next(record.event for record in told if isinstance(record.event, ChildExited)).exit == exit


async def test_a_dead_child_cannot_be_told_anything() -> None:
    """A test that means a life which is not there has made a mistake, and hears the log."""
    child = Scripted()
    for act in (child.crash, child.end, child.acknowledge):
        with pytest.raises(NotAlive, match="no life"):
            act()
    async with Supervisor("root", [ChildSpec("a", child, restart=Restart.TEMPORARY)]):
        with pytest.raises(NotAlive, match="no start of it is under way"):
            child.acknowledge()
        child.end()
        with pytest.raises(NotAlive, match="ended root/a 1: normal"):
            child.crash()


async def test_starts_are_counted_for_each_path() -> None:
    """One launch under two paths is two children, each by its own script, also when the supervisor above is restarted."""
    child = Scripted([Ok(), Ok(), Fail(Exit.normal())])
    mid = subtree([ChildSpec("a", child)], intensity=2)
    specs = [ChildSpec("one", mid), ChildSpec("two", mid), ChildSpec("three", Scripted())]
    async with Supervisor("root", specs, intensity=9, strategy=Strategy.ONE_FOR_ONE):
        one, two = child.at("root", "one", "a"), child.at("root", "two", "a")
        with pytest.raises(AssertionError, match="several paths"):
            child.crash()
        one.crash(OSError("first"))
        assert (one.starts, two.starts) == (2, 1)
        one.crash()
        await one.running(4)
        assert (one.starts, two.starts) == (4, 1), "a third start failed, the budget below was spent, and the subtree came back"
        await two.running()
        assert [str(entry) for entry in child.log if entry.path == two.path] == ["start root/two/a 1", "up root/two/a 1"]
        assert [exit.reason for exit in one.exits.values()] == ["OSError: first", "Crash: root/one/a 2", "normal"]
    child.check()


async def test_a_place_can_be_named_before_it_is_used() -> None:
    """A test may wait for a child that nobody has started yet."""
    child = Scripted()
    place = child.at("root", "a")
    assert (place.starts, place.alive, place.up, place.exits) == (0, False, False, {})
    assert (child.starts, child.alive, child.up, child.exits) == (0, False, False, {})
    async with anyio.create_task_group() as tasks:

        async def tree() -> None:
            async with Supervisor("root", [ChildSpec("a", child)]):
                await anyio.sleep(1)

        tasks.start_soon(tree)
        await place.running()
        assert (await place.ended(), child.exits) == (Exit.shutdown(), {1: Exit.shutdown()})


async def test_a_log_of_several_children_keeps_their_order() -> None:
    """With one `watch` for all, what they did is in one list."""
    log: list[Entry] = []
    a, b, c = (Scripted(default=Ok(after=1.0), watch=log.append) for _ in range(3))
    specs = [ChildSpec("a", a), ChildSpec("b", b), ChildSpec("c", c)]
    async with Supervisor("root", specs, strategy=Strategy.REST_FOR_ONE):
        log.clear()
        b.crash()
        await c.running(2)
    assert [f"{entry.what} {entry.path[-1]} {entry.number}" for entry in log] == [
        *("ended b 1", "asked c 1", "ended c 1", "start b 2", "up b 2", "start c 2", "up c 2"),
        *("asked c 2", "ended c 2", "asked b 2", "ended b 2", "asked a 1", "ended a 1"),
    ]


async def test_children_can_die_together() -> None:
    """Within `together` the supervisor sees nothing; afterwards all of it: two deaths under one_for_all are one restart."""
    a, b = Scripted(), Scripted()
    async with Supervisor("root", [ChildSpec("a", a), ChildSpec("b", b)], strategy=Strategy.ONE_FOR_ALL, intensity=1) as root:
        with together(root):
            a.crash()
            b.crash()
            assert (a.alive, b.alive, a.starts, b.starts) == (False, False, 1, 1)
        assert (a.up, b.up, a.starts, b.starts) == (True, True, 2, 2)
    a.check()
    b.check()

    with pytest.raises(RestartIntensityExceeded):
        async with Supervisor("root", [ChildSpec("a", a), ChildSpec("b", b)], strategy=Strategy.ONE_FOR_ALL, intensity=1):
            a.crash()
            b.crash()
            await anyio.sleep_forever()


async def test_together_means_running_supervisors() -> None:
    """It nests, serves at its end also when the block fails, and refuses what is not running."""
    child = Scripted()
    async with Supervisor("root", [ChildSpec("mid", subtree([ChildSpec("a", child)]))]) as root:
        mid = root.supervisor("mid")
        with pytest.raises(ZeroDivisionError), together(root, mid), together(mid):
            child.crash()
            raise ZeroDivisionError
        assert (child.up, child.starts) == (True, 2)
        with pytest.raises(NoProc), together(root, root.supervisor("other")):
            pytest.fail("it was entered")
        child.crash()
    assert not child.alive


async def test_significant_children_in_any_order() -> None:
    """A scripted child's own end is an end by itself: it shuts its supervisor down."""
    child = Scripted([Ok(lasts=60.0)])
    spec = ChildSpec("a", child, restart=Restart.TRANSIENT, significant=True)
    async with Supervisor("root", [spec], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT) as root:
        await anyio.sleep_forever()
    assert root.exit == Exit.shutdown()
    assert anyio.current_time() == 60


async def test_waits_tell_what_has_not_happened() -> None:
    """A wait for what never comes fails with the log, as soon as time has passed."""
    child = Scripted()
    waits: dict[str, Callable[..., Awaitable[object]]] = {
        "start 2": partial(child.started, 2),
        "up 2": partial(child.running, 2),
        "asked 1": child.asked,
        "ended 1": child.ended,
    }
    async with Supervisor("root", [ChildSpec("a", child)]):
        for what, wait in waits.items():
            with pytest.raises(AssertionError, match=rf"never within 5 s: {what}; the log: \['start root/a 1', 'up root/a 1'\]"):
                await wait(within=5.0)
        assert anyio.current_time() == 20
        with pytest.raises(AssertionError, match="never within 86400 s"):
            await child.ended()
        child.end()
        await child.running()
        assert await child.ended() == Exit.normal()


async def test_a_wait_for_a_number_is_over_when_a_later_one_has_come() -> None:
    """A test that waits for the second start does not hang because it was the third that came up; a kill is the last way of asking."""
    child = Scripted([Ok(), Fail()])
    async with Supervisor("root", [ChildSpec("a", child, shutdown=BRUTAL_KILL)], intensity=9) as root:
        child.crash()
        await child.running(2)
        assert child.starts == 3
        await child.started(2)
        await root.terminate_child("a")
        await child.asked(2)
    assert child.lines[-2:] == ["killed root/a 3", "ended root/a 3: killed"]


async def test_waits_can_be_left() -> None:
    """A cancelled wait is over, and those of others go on."""
    child = Scripted()
    async with Supervisor("root", [ChildSpec("a", child)]):
        with anyio.move_on_after(1) as scope:
            await child.running(2)
        assert scope.cancelled_caught
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(child.running, 2)
            await settle()
            child.crash()


async def test_a_second_life_at_once_is_caught() -> None:
    """The launch refuses it, so that the start fails, and `check` fails the test in the end."""
    child = Scripted()
    async with Supervisor("root", [ChildSpec("a", child)]) as root:
        child.check()
        with pytest.raises(StartFailed) as caught:
            async with Supervisor("root", [ChildSpec("a", child)]):
                pytest.fail("it started")
        assert isinstance(caught.value.__cause__, Overlap)
        assert root.which_child("a").state == "running"
        with pytest.raises(Overlap, match="two lives at once: start root/a 2; the log:"):
            child.check()
    assert [str(entry) for entry in child.overlaps] == ["start root/a 2"]


async def test_a_launch_by_hand_is_held_to_one_life() -> None:
    """Whoever calls the launch: a life that is over makes room for the next, one that is there does not."""
    child = Scripted(stop=DEAF)
    async with anyio.create_task_group() as tasks:
        ticket = LifeTicket(tasks)
        handle = child.launch(ticket)
        handle.terminate()
        handle.terminate()
        handle.kill()
        with pytest.raises(Overlap):
            child.launch(LifeTicket(tasks))
        child.end(EXITS[4])
        assert ticket.exit == EXITS[4]
        handle.terminate()
        handle.kill()
        assert [entry.what for entry in child.log] == ["start", "up", "asked", "killed", "start", "ended"]
        child.launch(LifeTicket(tasks))


async def test_a_life_that_was_given_up_is_no_overlap() -> None:
    """A supervisor may start the next life of a child that survived its kill; when the old one ends at last, the new one goes on."""
    child = Scripted([Ok(stop=Stop(math.inf, kill_after=60.0))], kill_timeout=2.0)
    told: list[Record] = []
    root = Supervisor("root", [ChildSpec("a", child, shutdown=3.0)])
    root.add_sink(told.append)
    async with root:
        await root.terminate_child("a")
        assert [record.monotonic for record in told if isinstance(record.event, ChildUnresponsive)] == [5]
        await root.restart_child("a")
        assert (child.up, child.starts, root.abandoned) == (True, 2, 1)
        await child.ended(1)
        assert (anyio.current_time(), child.up, child.exits) == (63, True, {1: Exit.killed()})
    child.check()


async def test_what_is_due_at_one_moment_happens_once() -> None:
    """A child that is ended at the very moment at which its script goes on has ended, once, whichever came first."""
    scripts: list[tuple[Start, list[list[str]]]] = [
        (Ok(after=1.0, stop=NEVER), [["start", "failed"], ["start", "up", "ended"]]),
        (Fail(after=1.0), [["start", "failed"]]),
        (Decline(after=1.0), [["start", "failed"], ["start", "declined"]]),
        (Ok(lasts=1.0), [["start", "up", "ended"]]),
    ]
    for script, possible in scripts:
        for sooner in (True, False):
            child = Scripted([script])

            async def end(child: Scripted = child) -> None:
                await anyio.sleep(1.0)
                if child.alive:
                    child.end()

            async with anyio.create_task_group() as tasks:
                if sooner:
                    tasks.start_soon(end)
                    await settle()
                child.launch(LifeTicket(tasks, declines=True))
                if not sooner:
                    await settle()
                    tasks.start_soon(end)
            assert [entry.what for entry in child.log] in possible


async def test_the_time_of_what_is_over_is_cut_short() -> None:
    """A life that ends leaves no task behind that would wait for a later line of its script."""
    child = Scripted(default=Ok(lasts=500.0, stop=Stop(100.0)))
    async with Supervisor("root", [ChildSpec("a", child, restart=Restart.TEMPORARY)], intensity=9):
        child.crash()
        assert await settle() == math.inf
    assert anyio.current_time() == 0

    child = Scripted([Ok(after=1.0, lasts=500.0)])
    root = Supervisor("root")
    root.add_sink(lambda record: child.crash() if isinstance(record.event, ChildStarted) else None)
    async with root:
        await root.start_child(ChildSpec("a", child, restart=Restart.TEMPORARY))
        assert await settle() == math.inf
        assert child.lines[-1] == "ended root/a 1: Crash: root/a 1"


async def test_ten_thousand_starts_need_no_task() -> None:
    """A script without times runs on nobody's task but its caller's."""
    child = Scripted()
    async with Supervisor("root", [ChildSpec("a", child)], intensity=100_000):
        before = len(anyio.get_running_tasks())
        for _ in range(10_000):
            child.crash()
        assert len(anyio.get_running_tasks()) == before
        assert child.starts == 10_001
    child.check()


async def test_a_supervisor_by_its_type() -> None:
    """It counts as one, and gets a supervisor's time to stop."""
    spec = ChildSpec("a", Scripted(type=ChildType.SUPERVISOR, stop=Stop(5000.0)))
    async with Supervisor("root", [spec]) as root:
        assert (root.count_children().supervisors, root.count_children().workers) == (1, 0)
    assert anyio.current_time() == 5000
    assert spec.shutdown == math.inf


async def test_a_script_describes_itself() -> None:
    """Events carry it as JSON."""
    assert json.dumps(Scripted({3: Hang(), 5: Fail(OSError())}).describe()) == '{"scripted": {"3": "Hang", "5": "Fail"}}'


async def test_an_illegal_script_is_refused() -> None:
    """When it is written, not when it is played."""
    scripts: list[Any] = [5, Ok(), {0: Ok()}, {"1": Ok()}, {True: Ok()}, [Ok], [Exit.normal()]]
    for script in scripts:
        with pytest.raises(InvalidField, match="Scripted: starts"):
            Scripted(script)
    steps: list[Any] = [Ok, Fail, Decline, Stop]
    for step in steps:
        for after in (-1.0, math.nan, "1", True):
            with pytest.raises(InvalidField, match=f"{step.__name__}: after"):
                step(after=after)
    with pytest.raises(InvalidField, match="Ok: lasts"):
        Ok(lasts=-1.0)
    with pytest.raises(InvalidField, match="Stop: kill_after"):
        Stop(kill_after=-1.0)
    wrong: Any = "x"
    slips: list[tuple[Any, str]] = [(Ok, "exit"), (Stop, "exit"), (Fail, "reason")]
    slips += [(step, "stop") for step in (Ok, Fail, Decline, Hang)]
    slips += [(Scripted, name) for name in ("stop", "default", "type", "kill_timeout", "watch")]
    for make, name in slips:
        for value in (wrong, ValueError):
            if (name, value) != ("watch", ValueError):  # a class can be called
                with pytest.raises(InvalidField, match=f"^{make.__name__}: {name} = "):
                    make(**{name: value})


async def test_a_child_is_told_only_what_can_be() -> None:
    """The test hears of its mistake, the child lives on."""
    child, wrong = Scripted(), cast(Any, "x")
    async with Supervisor("root", [ChildSpec("a", child)]):
        with pytest.raises(InvalidField, match="end: exit"):
            child.end(wrong)
        with pytest.raises(InvalidField, match="crash: error"):
            child.crash(wrong)
        assert child.up
