"""Virtual time of `supervisor.testing`, the same on both backends."""

from __future__ import annotations

import asyncio
import math
import socket
import subprocess
import sys
import threading
import time
import warnings
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from supervisor import Backoff, ChildSpec, Supervisor
from supervisor.testing import Fail, Ok, Scripted, Stop, run, settle, virtual_time
from tests.support import ROOT

BACKENDS = ["trio", "asyncio"]


@pytest.mark.anyio
async def test_time_begins_at_zero_and_passes_at_once() -> None:
    """A year of sleep is exact, and over before a deadline in real time."""
    assert anyio.current_time() == 0
    await anyio.sleep(365 * 86400.0)
    assert anyio.current_time() == 365 * 86400.0


@pytest.mark.anyio
async def test_deadlines_come_in_order() -> None:
    """Whoever wakes first is who asked for the earlier time, and timeouts are among them."""
    order: list[tuple[float, float]] = []

    async def sleeper(seconds: float) -> None:
        if seconds % 2:
            with anyio.move_on_after(seconds):
                await anyio.sleep_forever()
        else:
            await anyio.sleep(seconds)
        order.append((seconds, anyio.current_time()))

    async with anyio.create_task_group() as tasks:
        for seconds in (9, 2, 7, 4, 5, 6, 3, 8, 1):
            tasks.start_soon(sleeper, seconds)
    assert order == [(seconds, seconds) for seconds in range(1, 10)]


@pytest.mark.anyio
async def test_time_stands_still_while_somebody_runs() -> None:
    """A task that is never idle keeps the clock from jumping."""
    with anyio.move_on_after(1) as scope:
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
    assert not scope.cancelled_caught
    assert anyio.current_time() == 0


@pytest.mark.anyio
async def test_what_is_ready_comes_before_a_jump() -> None:
    """Bytes that are there are read within any timeout."""
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        for _ in range(20):
            other.send(b"x")
            with anyio.fail_after(0.001):
                await anyio.wait_readable(one)
            one.recv(1)
    assert anyio.current_time() == 0


@pytest.mark.anyio
async def test_a_wait_for_a_thread_alone_is_a_real_wait() -> None:
    """Where no deadline is left to jump to, the loop waits for whatever may come."""
    gate = threading.Event()

    async def in_thread() -> None:
        await anyio.to_thread.run_sync(gate.wait)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(in_thread)
        await settle()
        gate.set()
    assert anyio.current_time() == 0


@pytest.mark.anyio
async def test_settle_says_how_long_nothing_will_happen() -> None:
    """No time passes, everybody has run as far as it can, and what was cancelled is no deadline."""
    assert await settle() == math.inf
    steps = 0

    async def busy() -> None:
        nonlocal steps
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
            steps += 1
        await anyio.sleep(7)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(busy)
        assert await settle() == 7
        assert (steps, anyio.current_time()) == (50, 0)
        with anyio.CancelScope(deadline=3):
            assert await settle() == 3
        await anyio.sleep(2)
        assert await settle() == 5
        tasks.start_soon(anyio.sleep, 3 * 86400.0)
        tasks.cancel_scope.cancel()
    assert await settle() == math.inf
    assert anyio.current_time() == 2


@pytest.mark.anyio
async def test_settle_sees_deadlines_that_are_days_away() -> None:
    """Also those further away than asyncio looks at once."""
    with anyio.CancelScope(deadline=1e6):
        assert await settle() == 1e6


@pytest.mark.anyio
async def test_several_may_settle_and_each_may_leave() -> None:
    """They go on together; one that is cancelled is out."""
    told: list[float] = []

    async def one() -> None:
        told.append(await settle())

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await settle()
        assert scope.cancelled_caught
        tasks.start_soon(one)
        tasks.start_soon(one)
        await settle()
    assert told == [math.inf] * 2


@pytest.mark.anyio
async def test_small_steps_are_kept_far_in_the_future() -> None:
    """Where the clock's numbers are coarser than asyncio's resolution, a short sleep still ends."""
    await anyio.sleep(1e9 / 3)
    for _ in range(100):
        before = anyio.current_time()
        await anyio.sleep(1e-6)
        with anyio.move_on_after(0.001) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert 0.001 <= anyio.current_time() - before < 0.0011


async def story() -> tuple[list[str], float]:
    child = Scripted([Ok(lasts=0.002), Fail(), Fail(after=0.001), Ok(stop=Stop(after=0.003))])
    backoff = Backoff(initial=0.001, multiplier=2.0, maximum=1.0)
    begin = anyio.current_time()
    async with Supervisor("root", [ChildSpec("a", child)], intensity=10, backoff=backoff):
        await child.running(4)
    child.check()
    return child.lines, anyio.current_time() - begin


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tree_does_the_same_in_virtual_time_and_in_real_time(backend: str) -> None:
    """Crash, failed restarts, backoff and a slow stop: the same log, and no less time."""
    virtual, took = run(story, backend=backend)
    real, really_took = run(story, backend=backend, virtual=False)
    assert virtual == real
    assert math.isclose(took, 0.002 + 0.001 + 0.002 + 0.003)
    assert really_took >= took - 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_run_returns_what_its_function_returns(backend: str) -> None:
    """Arguments go in, the value and errors come out, and each run has a clock of its own."""

    async def main(*args: Any) -> Any:
        await anyio.sleep(5)
        return args, anyio.current_time()

    async def wrong() -> None:
        raise ZeroDivisionError

    assert run(main, 1, "a", backend=backend) == run(main, 1, "a", backend=backend) == ((1, "a"), 5)
    with pytest.raises(ZeroDivisionError):
        run(wrong, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_real_time_is_real(backend: str) -> None:
    """`virtual=False` waits."""
    before = time.monotonic()
    run(anyio.sleep, 0.01, backend=backend, virtual=False)
    assert time.monotonic() - before >= 0.01


def test_an_unknown_backend_is_refused() -> None:
    """By name, before anything runs."""
    with pytest.raises(ValueError, match="backend = 'twisted': expected 'trio' or 'asyncio'"):
        virtual_time("twisted")
    with pytest.raises(ValueError, match="twisted"):
        run(anyio.sleep, 0, backend="twisted")


def test_settle_in_real_time() -> None:
    """trio can tell there too, asyncio cannot and says so."""
    assert run(settle, backend="trio", virtual=False) == math.inf
    with pytest.raises(RuntimeError, match="needs virtual time"):
        run(settle, backend="asyncio", virtual=False)


def test_asyncios_own_threads_are_waited_for_at_the_end() -> None:
    """The loop's executor is shut down in real time: no jump past its timeout."""
    gate = threading.Event()
    waiting: list[object] = []

    async def main() -> None:
        waiting.append(asyncio.get_running_loop().run_in_executor(None, gate.wait))
        threading.Timer(0.05, gate.set).start()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main, backend="asyncio")
    assert gate.is_set()


def test_trio_is_not_imported_for_asyncio() -> None:
    """Nor asyncio for trio, by this package."""
    program = (
        "import sys\n"
        "from supervisor import ChildSpec, Supervisor\n"
        "from supervisor.testing import Scripted, run, settle\n"
        "assert not {'asyncio', 'trio'} & set(sys.modules)\n"
        "async def main():\n"
        "    async with Supervisor('root', [ChildSpec('a', Scripted())]): await settle()\n"
        "run(main, backend='asyncio')\n"
        "assert 'trio' not in sys.modules\n"
        "run(main, backend='trio')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
