"""A worker that has lost its way, or means ill: it ends, with a protocol error, and its supervisor, its siblings and its sinks go on."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from typing import Any

import pytest

from supervisor import (
    ChildExited,
    ChildSpec,
    ExitKind,
    InvalidField,
    NoProc,
    Restart,
    StartFailed,
    WorkerFailed,
    log_reports,
    subtree,
    task,
    worker,
)
from supervisor.core.wire import MAX_FRAME, MAX_VALUES
from supervisor.leaf import link
from tests.children import working
from tests.process.test_worker_faults import framed
from tests.process.worker_support import child, exits, methods, tree
from tests.support import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")]

OWN = ["root", "child"]


def deep(head: bytes, opening: bytes, closing: bytes) -> bytes:
    """A message with a value of 1,200 levels: JSON can be read so far, and nothing else."""
    return framed(b"{%s%s1%s}" % (head, opening * 1200, closing * 1200))


def said(**message: Any) -> bytes:
    return framed(json.dumps(message).encode())


def event(kind: str, **fields: Any) -> bytes:
    return said(m="emitted", event={"!": f"supervisor.core.event:{kind}", "v": fields})


def path(*ids: str) -> Any:
    return {"!": "tuple", "v": ids}


def record(**fields: Any) -> bytes:
    return said(**{"m": "logged", "logger": "", "level": 50, "text": "x", "created": 1.0, "pathname": "/a", "line": 1, **fields})


FAULTS = {
    "deep call": deep(b'"m":"called","number":1,"path":["root"],"name":"n","args":', b"[", b"]"),
    "deep event": deep(b'"m":"emitted","event":', b'{"a":', b"}"),
    "deep answer": deep(b'"m":"replied","number":1,"value":', b"[", b"]"),
    "deep last word": deep(b'"m":"exited","kind":"abnormal","reason":"","exception":', b"[", b"]"),
    "no float": framed(b'{"m":"extended","seconds":%s}' % (b"9" * 400)),
    "no number": said(m="extended", seconds=math.nan),
    "no path": event("ChildExited", path=5, exit="x"),
    "no exit": event("ChildExited", path=path(*OWN), exit="x"),
    "no specification": event("ChildTerminated", path=path(*OWN), spec=5),
    "no status": event("ChildStatus", path=path(*OWN), status=7),
    "no word": said(m="emitted", event={"!": "tests.children.working:Said", "v": {"path": path(*OWN), "generation": "1"}}),
    "of its parent": event("ChildStatus", path=path("root"), status="x"),
    "of a sibling": event("ChildStatus", path=path("root", "other"), status="x"),
    "no error": said(m="exited", kind="abnormal", reason="r", exception={"!": "exception", "of": "supervisor.core.errors:StartFailed"}),
    "no level": record(level=10**30),
    "no date": record(created=math.inf),
    "a supervisor": said(m="mirrored", path=OWN, ahead=0.0, rows=[], fields={}, fresh=True),
    "many values": framed(b'{"m":"emitted","event":[%s]}' % b",".join([b"{}"] * 60_000)),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_it_says_ends_it_and_nobody_else(fault: str) -> None:
    """Whatever is wrong with a message: one crash of one child."""
    async with tree(child("up"), ChildSpec("other", task(working.up))) as watched:
        watched.root.add_sink(log_reports())
        with pytest.raises(NoProc):
            await watched.root.call("child", "write_raw", FAULTS[fault])
        (exit,) = await eventually(lambda: exits(watched))
        assert exit.kind is ExitKind.ABNORMAL and exit.reason.startswith("protocol error: ")
        assert await watched.root.call("other", "add", 1, 2) == 3
    assert len(exits(watched)) == 2


async def test_an_acknowledgement_that_cannot_be_read_is_a_failed_start() -> None:
    """The first thing that it says may be wrong already."""
    async with tree(ChildSpec("other", task(working.up))) as watched:
        with pytest.raises(StartFailed, match="protocol error"):
            await watched.root.start_child(child("acknowledges_deep"))
        assert await watched.root.call("other", "add", 1, 2) == 3


async def test_the_last_words_of_the_dead_hurt_nobody() -> None:
    """What is read after its death is no less wrong; its end is that of its process."""
    async with tree(child("last_words"), ChildSpec("other", task(working.up))) as watched:
        (exit,) = await eventually(lambda: exits(watched))
        assert exit.code == 3 or exit.reason.startswith("protocol error")
        assert await watched.root.call("other", "add", 1, 2) == 3


def mirrored(at: list[str], **fields: Any) -> bytes:
    return said(m="mirrored", path=at, ahead=0.0, rows=[], fields=fields, fresh=False)


CIRCUIT = {"!": "supervisor.core.breaker:Circuit", "v": {}}
MISTOLD = {
    "a budget of nothing": mirrored(OWN, crash=[[], 10**15, 0, 0.0, CIRCUIT, {}]),
    "no circuit": mirrored(OWN, crash=[[0.0], 10**15, 0, 0.0, {**CIRCUIT, "v": "x"}, {}]),
    "no state": mirrored(OWN, lifecycle=5),
    "no retry": mirrored(OWN, retries={"!": "tuple", "v": [["a", "b"]]}),
    "a stranger": mirrored(["root", "other"]),
    "deep": deep(b'"m":"mirrored","path":["root","child"],"ahead":0.0,"rows":[],"fields":{},"more":', b"[", b"]"),
    "no path": event("ChildStatus", path=None, status="x"),
}


@pytest.mark.parametrize("fault", MISTOLD)
async def test_a_supervisor_that_mistells_its_state_is_ended(fault: str) -> None:
    """A supervisor in a process of its own, too."""
    inner = subtree([ChildSpec("up", task(working.up))])
    async with tree(ChildSpec("child", worker(inner), restart=Restart.TEMPORARY), ChildSpec("other", task(working.up))) as watched:
        with pytest.raises(NoProc):
            await watched.root.supervisor("child").call("up", "write_below", MISTOLD[fault])
        exit = (await eventually(lambda: [event for event in watched.events(ChildExited) if event.path == ("root", "child")]))[0].exit
        assert exit.reason.startswith("protocol error: ")
        assert await watched.root.call("other", "add", 1, 2) == 3


async def test_a_window_of_any_size_is_no_list() -> None:
    """The attempts that a supervisor there claims to have made take no memory here."""
    inner = subtree([ChildSpec("up", task(working.up))])
    async with tree(ChildSpec("child", worker(inner))) as watched:
        below = watched.root.supervisor("child")
        await below.call("up", "write_below", mirrored(OWN, crash=[[time.monotonic()], 10**15, 0, 0.0, CIRCUIT, {}]))
        await eventually(lambda: below.state.crash.window.size == 10**15)
        assert watched.root.tree() is not None


@methods
async def test_one_that_floods_with_large_messages_leaves_turns_to_others(method: str) -> None:
    """Messages of as many values as may be, without end: others are served between any two of them."""
    data = framed(b'{"m":"replied","number":1,"value":[%s]}' % b",".join([b"{}"] * (MAX_VALUES // 2 - 10)))
    assert len(data) < MAX_FRAME
    async with tree(child("writes_forever", data.decode("latin-1"), method=method, shutdown=0.1), child("up", id="other")) as watched:
        for number in range(50):
            assert await watched.root.call("other", "add", number, 1, timeout=20) == number + 1
        await watched.root.terminate_child("child")
        assert exits(watched) == [] or exits(watched)[0].reason != "protocol error"


async def test_levels_of_records_are_not_remembered() -> None:
    """A worker that invents levels fills no cache of the standard logging."""
    logger = logging.getLogger()
    before = len(logger._cache)  # type: ignore[attr-defined]
    async with tree(child("up")) as watched:
        for first in range(0, 1000, 100):
            frames = b"".join(record(level=first + number) for number in range(100))
            await watched.root.call("child", "write_raw", frames)
        await watched.root.call("child", "pid")
        assert len(logger._cache) - before < 10  # type: ignore[attr-defined]


# ---------------------------------------------------------------- the honest


@pytest.mark.parametrize("place", ["task", "worker"])
async def test_no_such_time_is_an_error_of_who_asks_for_it(place: str) -> None:
    """More seconds than a float can say, asked for in a child: it is told so, wherever it runs."""
    start = task(working.extends_beyond) if place == "task" else worker("tests.children.working:extends_beyond")
    async with tree() as watched:
        with pytest.raises(StartFailed) as failed:
            await watched.root.start_child(ChildSpec("child", start, restart=Restart.TEMPORARY))
        cause = failed.value.__cause__
        assert (
            isinstance(cause, InvalidField) or (isinstance(cause, WorkerFailed) and cause.type == "InvalidField") or "seconds" in str(cause)
        )


async def test_values_that_cannot_cross_are_an_error_of_who_sends_them() -> None:
    """Too deep, too many, an event of somebody else or one that holds what it does not declare: the worker is told, and lives."""
    async with tree(child("up")) as watched:
        for faulty in ("deep", "many", "of_another", "misfit"):
            with pytest.raises((WorkerFailed, InvalidField), match=r"levels|values|speaks for no others|does not declare|contains itself"):
                await watched.root.call("child", "goes_too_far", faulty)
        assert await watched.root.call("child", "add", 1, 2) == 3


def test_a_turn_is_short() -> None:
    """The time after which others have their turn."""
    assert link.TURN <= 0.005
