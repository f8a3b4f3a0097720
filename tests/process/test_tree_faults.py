# ruff: noqa: PT012 (what leaves a block is the claim, and the block is the test)
"""What must not happen and is survived: stuck tasks, interrupts, faulty adapters, sinks and machines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from supervisor import (
    ChildExited,
    ChildRestarted,
    ChildSpec,
    ChildStarted,
    ChildType,
    ChildUnresponsive,
    Event,
    Exit,
    Handle,
    NoProc,
    Record,
    Supervisor,
    Ticket,
    subtree,
    task,
)
from supervisor.core.machine import step
from supervisor.core.message import Call, Effect, Hurry, Input, Stop
from supervisor.core.state import State
from tests.play import PATIENCE, Crash, Play, watched
from tests.support import running

pytestmark = pytest.mark.anyio

IN_ORDER = ["asked c", "end c", "asked b", "end b", "asked a", "end a"]


def three(play: Play) -> list[ChildSpec]:
    return [play.child(id) for id in "abc"]


async def test_a_child_that_ignores_its_cancellation_is_reported_and_counted() -> None:
    """It is given up after its `shutdown` and `kill_timeout`, the other children are stopped, and the block waits for it alone."""
    play = Play()
    specs = [play.child("a"), play.child("stuck", stubborn=True, shutdown=0.01, kill_timeout=0.01), play.child("c")]
    root = Supervisor("root", specs)
    watch = watched(root, play)
    async with anyio.create_task_group() as tasks:

        async def release() -> None:
            await play.until(lambda: root.exit)
            assert root.abandoned == 1
            assert play.take() == ["asked c", "end c", "asked stuck", "asked a", "end a"]
            play.tell("stuck")

        async with root:
            play.take()
            tasks.start_soon(release)
    assert play.log == ["end stuck"]
    stuck = watch.of(ChildUnresponsive)
    assert [(event.path, event.generation) for event in stuck] == [(("root", "stuck"), 1)]
    assert 0.02 <= stuck[0].waited < PATIENCE
    assert [event.path[-1] for event in watch.of(ChildExited)] == ["c", "a"]
    assert root.abandoned == 1


async def test_a_child_given_up_on_request_can_be_started_again() -> None:
    """`terminate_child` of a stuck task answers, and what the old life says later is not taken for the new one's news."""
    play = Play()

    async def stuck_once() -> None:
        play.note("start")
        if play.log.count("start") == 1:
            with anyio.CancelScope(shield=True):
                await play.saw("let go")
                play.note("first life over")
                raise Crash
        await play.saw("crash")
        if play.log.count("start") == 2:
            raise Crash
        await play.rest()

    root = Supervisor("root", [ChildSpec("a", attrs.evolve(task(stuck_once), kill_timeout=0.01), shutdown=0.01)])
    watch = watched(root, play)
    async with root:
        await play.saw("start")
        await root.terminate_child("a")
        assert (root.which_child("a").state, root.abandoned) == ("undefined", 1)
        assert (await root.restart_child("a")).generation == 2
        await play.saw("start", 2)
        watch.take()
        play.note("let go")
        await play.saw("first life over")
        await anyio.wait_all_tasks_blocked()
        assert watch.lines == []
        play.note("crash")
        await play.until(lambda: watch.of(ChildRestarted))
        assert watch.lines == ["child_exited a", "child_started a", "child_restarted a"]
        assert root.which_child("a").generation == 3


async def test_waiting_for_a_child_that_was_given_up_can_be_cancelled_without_losing_the_error() -> None:
    """The block cannot be left before the stuck task ends; the error that leaves then is still the body's."""
    play = Play()
    with pytest.RaisesGroup(pytest.RaisesExc(Crash, match="body")), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            root = Supervisor("root", [play.child("a", stubborn=True, shutdown=0.01, kill_timeout=0.01)])
            watched(root, play)

            async def release() -> None:
                await play.until(lambda: root.exit)
                scope.cancel()
                play.tell("a")

            try:
                async with root:
                    tasks.start_soon(release)
                    raise Crash("body")
            except Crash:
                play.note("left bare")
                raise
    assert play.log[-1] == "left bare"


async def test_an_interrupt_in_a_child_is_meant_for_the_program() -> None:
    """KeyboardInterrupt that happens to hit a child stops the tree in order and leaves the block bare."""
    play = Play()
    root = Supervisor("root", three(play), intensity=5)
    watch = watched(root, play)
    with pytest.raises(KeyboardInterrupt):
        async with root:
            play.take()
            watch.take()
            play.crash("b", KeyboardInterrupt())
            await play.rest()
    assert play.log == ["end b", "asked c", "end c", "asked a", "end a"]
    assert watch.of(ChildStarted) == []


@attrs.frozen
class Faulty:
    """A launch whose adapter code is broken: in its own task, or in its handle."""

    where: str
    type = ChildType.WORKER
    kill_timeout = 0.01

    def launch(self, ticket: Ticket) -> Handle:
        async def run() -> None:
            await anyio.lowlevel.checkpoint()
            raise Crash("adapter")

        ticket.started()
        if self.where == "task":
            ticket.spawn(run, "faulty")
        return FaultyHandle(ticket, dead=self.where == "task")

    def describe(self) -> dict[str, Any]:
        return {}


@attrs.frozen
class FaultyHandle:
    ticket: Ticket
    dead: bool
    pid = None

    def terminate(self) -> None:
        raise Crash("adapter")

    def kill(self) -> None:
        if not self.dead:
            self.ticket.exited(Exit.killed())


@pytest.mark.parametrize("where", ["task", "handle"])
async def test_a_fault_of_an_adapter_stops_the_tree_in_order(where: str) -> None:
    """An error in code that must not raise is not lost and strands nobody: the tree is stopped and the error leaves bare."""
    play = Play()
    root = Supervisor("root", [play.child("a"), ChildSpec("faulty", Faulty(where), shutdown=0.01), play.child("c")])
    watch = watched(root, play)
    with pytest.raises(Crash, match="adapter"):
        async with root:
            if where == "handle":
                await root.terminate_child("faulty")
            await play.rest()
    assert play.log[-2:] == ["asked a", "end a"]
    assert "asked c" in play.log
    assert watch.of(ChildUnresponsive) == []  # a task that is gone is not waited for


INTERRUPTED = """
import signal, sys
import anyio, trio
from supervisor import ChildSpec, ChildType, Exit, Supervisor, task

class Adapter:
    type, kill_timeout, pid = ChildType.WORKER, 1.0, None
    def describe(self): return {}
    def terminate(self): self.scope.cancel()
    kill = terminate
    def launch(self, ticket):
        async def run():
            try:
                signal.raise_signal(signal.SIGINT)
                print("not cut", flush=True)
                await anyio.sleep_forever()
            finally:
                ticket.exited(Exit.shutdown())
        ticket.started()
        self.scope = ticket.spawn(run, "adapter")
        return self

async def user():
    try:
        signal.raise_signal(signal.SIGINT)
        print("cut late", flush=True)
    except KeyboardInterrupt:
        print("cut", flush=True)
        raise

async def main():
    child = Adapter() if sys.argv[1] == "adapter" else task(user)
    async with Supervisor("root", [ChildSpec("child", child)]):
        await anyio.sleep(30)

try:
    trio.run(main)
except KeyboardInterrupt:
    print("bare", flush=True)
"""


@pytest.mark.parametrize(("where", "said"), [("adapter", "not cut"), ("user", "cut")])
def test_under_trio_an_interrupt_strikes_in_the_users_code_and_waits_in_ours(where: str, said: str) -> None:
    """A Ctrl-C never cuts what keeps the books of the tree; in a child's own code it strikes at once, as trio's users know it."""
    with running(sys.executable, "-c", INTERRUPTED, where, cwd=Path(__file__).parents[2]) as program:
        finished = program.wait(20)
    assert finished.stdout.splitlines() == [said, "bare"]


async def test_a_sink_that_raises_costs_the_tree_nothing() -> None:
    """It is taken off, the tree and the other sinks go on, and its error leaves the block at the end."""
    play = Play()
    seen: list[Event] = []
    calls: list[Record] = []

    def broken(record: Record) -> None:
        calls.append(record)
        raise Crash("sink")

    root = Supervisor("root", three(play))
    root.add_sink(broken)
    root.add_sink(lambda record: seen.append(record.event))
    with pytest.raises(Crash, match="sink"):
        async with root:
            play.crash("a")
            await play.saw("up a", 2)
    assert len(calls) == 1
    assert len(seen) == 3 + 3 + 3
    assert play.log[-6:] == IN_ORDER


@pytest.mark.parametrize("stops", [True, False], ids=["can still stop", "cannot even stop"])
async def test_a_fault_of_the_machine_ends_the_tree(monkeypatch: pytest.MonkeyPatch, stops: bool) -> None:
    """Should the interpreter's own machine fail, children are stopped, at the least killed, and the fault leaves bare; nothing hangs."""

    def faulty(state: State, event: Input, now: float) -> tuple[State, tuple[Effect, ...]]:
        if isinstance(event, Call) or (isinstance(event, Stop | Hurry) and not stops):
            raise Crash("machine")
        return step(state, event, now)

    monkeypatch.setattr("supervisor.runtime.node.step", faulty)
    play = Play()
    mid = ChildSpec("mid", subtree([play.child("b"), play.child("c")]))
    root = Supervisor("root", [play.child("a"), mid, play.child("d")])
    answers: list[type[BaseException]] = []

    async def call() -> None:
        try:
            await root.start_child(play.child("e"))
        except NoProc as error:
            answers.append(type(error))

    async with anyio.create_task_group() as tasks:
        with pytest.raises(Crash, match="machine"):
            async with root:
                play.take()
                tasks.start_soon(call)
                await play.rest()
    assert answers == [NoProc]
    asked = [line for line in play.log if line.startswith("asked")]
    assert asked == [f"asked {id}" for id in "dcba"] if stops else sorted(asked) == [f"asked {id}" for id in "abcd"]
