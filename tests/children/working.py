"""Functions that tests run in workers: imported there by name, and by the tests for their events."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import attrs
from anyio.abc import TaskStatus

from supervisor import ChildSpec, ChildStatus, Event, Ignore, call, current_child, emit, extend_timeout, serve, task
from supervisor.runtime.tree import CURRENT

BORN_IN = Path("/proc/self/cgroup").read_text() if sys.platform == "linux" else ""
"""The cgroup in which this module was imported: of a worker it is the first that is run."""


@attrs.frozen(repr=False, eq=False)
class Said(Event):
    """What a worker has to say."""

    name: ClassVar[str] = "said"
    word: Any = None


def say(word: Any) -> None:
    """Publish a word as the running child."""
    child = current_child()
    emit(Said(child.path, generation=child.generation, word=word))


def descriptor() -> int:
    """The number of the worker's socket."""
    life: Any = CURRENT.get()
    number: int = life.process.connection.fileno()
    return number


def write_raw(data: bytes) -> None:
    """Write past the library."""
    while data:
        data = data[os.write(descriptor(), data) :]


async def up(value: Any = None, *, task_status: TaskStatus[Any]) -> None:
    """Be up until stopped, and serve some functions."""
    serve("pid", os.getpid)
    serve("who", lambda: (current_child().path, current_child().generation))
    serve("add", lambda left, right: left + right)
    serve("double", double)
    serve("fail", fail)
    serve("opaque", object)
    serve("sleep", anyio.sleep)
    serve("call", call)
    serve("say", say)
    serve("log", log)
    serve("write_raw", write_raw)
    serve("write_message", write_message)
    serve("say_odd", say_odd)
    serve("write_below", write_below)
    serve("goes_too_far", goes_too_far)
    serve("start_sibling", start_sibling)
    serve("busy", time.sleep)
    serve("exit", os._exit)
    serve("surroundings", surroundings)
    serve("spawn", spawn)
    serve("spawn_hidden", lambda: subprocess.Popen(["sleep", "60"], start_new_session=True, env={}).pid)
    serve("fork", fork)
    serve("loop", library)
    task_status.started(value)
    await anyio.sleep_forever()


def write_below(data: bytes) -> None:
    """Write past the library, in the process of a supervisor."""
    life: Any = CURRENT.get()
    life.tree._ticket.process.connection._socket.sendall(data)


def nested(levels: int) -> list[Any]:
    """Lists within each other."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def goes_too_far(how: str) -> Any:
    """Say what cannot cross."""
    if how == "deep":
        return nested(300)
    if how == "many":
        return [0] * 100_000
    say_as(("root", "other") if how == "of_another" else current_child().path, 5 if how == "misfit" else "x")
    return None


def say_as(path: tuple[str, ...], status: Any) -> None:
    """Publish the state of a command."""
    emit(ChildStatus(path, status))


async def acknowledges_deep(*, task_status: TaskStatus[Any]) -> None:
    """Acknowledge past the library, with what nobody can take in."""
    data = b'{"m":"ready","value":%s%s}' % (b"[" * 1200, b"]" * 1200)
    write_raw(struct.pack(">I", len(data)) + data)
    await anyio.sleep_forever()


async def last_words(*, task_status: TaskStatus[Any]) -> None:
    """Say something that nobody can take in, and be dead before it is read."""
    task_status.started()
    data = b'{"m":"emitted","event":%s%s}' % (b"[" * 1200, b"]" * 1200)
    write_raw(struct.pack(">I", len(data)) + data)
    os._exit(3)


async def extends_beyond(*, task_status: TaskStatus[Any]) -> None:
    """Ask for more time than there is a number for."""
    extend_timeout(10**400)
    task_status.started()


async def writes_forever(data: str, *, task_status: TaskStatus[Any]) -> None:
    """Write past the library without end."""
    task_status.started()
    end = descriptor()

    def write() -> None:
        with suppress(OSError):
            while True:
                rest = data.encode("latin-1")
                while rest:
                    rest = rest[os.write(end, rest) :]

    await anyio.to_thread.run_sync(write, abandon_on_cancel=True)


async def up_with_an_object(*, task_status: TaskStatus[Any]) -> None:
    """Acknowledge with what cannot leave this process."""
    task_status.started(object())
    await anyio.sleep_forever()


async def asks_its_supervisor(*, task_status: TaskStatus[Any]) -> None:
    """Look up the tree from within."""
    task_status.started()
    child = current_child()
    while child.supervisor.which_child(child.id).state != "running":
        await anyio.lowlevel.checkpoint()
    say([child.path, child.generation, child.supervisor.path, [info.id for info in child.supervisor.which_children()]])
    await anyio.sleep_forever()


async def raises_early(text: str, *, task_status: TaskStatus[Any]) -> None:
    """Fail to start."""
    raise LookupError(text)


def init_children() -> list[ChildSpec]:
    """The children of a supervisor, named for the process that it is in."""
    return [ChildSpec(f"child of {os.getpid()}", task(up))]


def init_declines() -> list[ChildSpec]:
    """Decline the start of a supervisor."""
    raise Ignore


def init_explodes() -> list[ChildSpec]:
    """Fail to name the children of a supervisor."""
    raise LookupError("the sun")


def init_nonsense() -> list[Any]:
    """Name something else."""
    return ["no specification"]


async def start_sibling(length: int) -> None:
    """Start another child of the same supervisor, with an id of that length."""
    with anyio.CancelScope(shield=True), suppress(Exception):
        await current_child().supervisor.start_child(ChildSpec("x" * length, task(anyio.sleep_forever)))


def say_odd() -> None:
    """Publish what cannot leave this process."""
    say(object())


def write_message(message: dict[str, Any]) -> None:
    """Send what the library would not."""
    life: Any = CURRENT.get()
    process = life.process if hasattr(life, "process") else life.tree._ticket.process
    data = json.dumps(message).encode()
    process.connection.send_frame(struct.pack(">I", len(data)) + data)


def library() -> str:
    """The event loop."""
    return "trio" if "trio" in sys.modules and sys.modules["trio"].lowlevel.in_trio_run() else "asyncio"


async def double(number: int) -> int:
    await anyio.lowlevel.checkpoint()
    return 2 * number


def fail(text: str) -> None:
    raise LookupError(text)


def log(name: str, text: str, wrong: bool) -> None:
    logger = logging.getLogger(name)
    try:
        1 / (not wrong)
    except ZeroDivisionError:
        logger.exception("%s!", text)
    else:
        logger.warning("%s!", text)


def surroundings() -> dict[str, Any]:
    """What a process inherits."""
    variables = {"variable": os.environ.get("A_VARIABLE"), "manager": os.environ.get("NOTIFY_SOCKET")}
    return {"cwd": os.getcwd(), "path": sys.path, "parent": os.getppid(), "session": os.getsid(0), **variables}


def spawn() -> int:
    """A grandchild in a session of its own; its pid."""
    return subprocess.Popen(["sleep", "60"], start_new_session=True).pid


def fork() -> int:
    """A grandchild that is a fork and holds the socket; its pid."""
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    return pid


async def returns() -> None:
    """End at once."""


async def raises(text: str) -> None:
    raise LookupError(text)


async def raises_long(length: int) -> None:
    """Fail with a text that fits into no message."""
    raise LookupError("y" * length)


async def declines(*, task_status: TaskStatus[None]) -> None:
    raise Ignore


async def silent(*, task_status: TaskStatus[None]) -> None:
    """Return without an acknowledgement."""


async def hangs(*, task_status: TaskStatus[None]) -> None:
    """Never acknowledge, and never listen."""
    time.sleep(60)  # noqa: ASYNC251


async def stubborn(*, task_status: TaskStatus[None]) -> None:
    """Refuse to be cancelled."""
    task_status.started()
    with anyio.CancelScope(shield=True):
        await anyio.sleep_forever()


async def hider(report: str, *, task_status: TaskStatus[str]) -> None:
    """Say where it was born, and leave a daemon that nobody could know by its looks."""
    daemon = f'trap "" TERM HUP; echo daemon $$ >> {report}; exec sleep 60'
    hiding = ["env", "-i", f"PATH={os.environ['PATH']}", "setsid", "--fork", "sh", "-c", daemon]
    await anyio.run_process(hiding, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    task_status.started(BORN_IN)
    await anyio.sleep_forever()


async def leaves(code: int) -> None:
    """End without a word."""
    os._exit(code)


async def lingers() -> None:
    """Return, and leave a thread that does not end."""
    import threading

    threading.Thread(target=time.sleep, args=(60,)).start()


async def floods(*, task_status: TaskStatus[None]) -> None:
    """Publish and log without end, and without listening."""
    task_status.started()
    while True:
        say("more" * 100)
        logging.getLogger("flood").warning("more")


async def calls_without_reading(path: list[str], *, task_status: TaskStatus[None]) -> None:
    """Call without end, and read no answer."""
    task_status.started()
    frame = f'{{"m":"called","number":1,"path":["{path[0]}","{path[1]}"],"name":"large","args":[]}}'.encode()
    while True:
        write_raw(struct.pack(">I", len(frame)) + frame)


async def tears(*, task_status: TaskStatus[None]) -> None:
    """Be killed in the middle of a message."""
    task_status.started()
    write_raw(struct.pack(">I", 1000) + b'{"m":"emitted"')
    os.kill(os.getpid(), 9)


async def closes(*, task_status: TaskStatus[None]) -> None:
    """Close the socket, and go on."""
    task_status.started()
    with socket.socket(fileno=os.dup(descriptor())) as mine:
        mine.shutdown(socket.SHUT_RDWR)
    time.sleep(60)  # noqa: ASYNC251


async def sticks(*, task_status: TaskStatus[None]) -> None:
    """Be stuck when asked to."""

    def stick() -> None:
        time.sleep(60)

    serve("add", lambda one, other: one + other)
    serve("stick", stick)
    task_status.started()
    await anyio.sleep_forever()


async def slow(*, task_status: TaskStatus[None]) -> None:
    """Be stuck before the acknowledgement, and when asked to end."""
    time.sleep(0.8)  # noqa: ASYNC251
    task_status.started()
    try:
        await anyio.sleep_forever()
    finally:
        time.sleep(0.8)  # noqa: ASYNC251


async def chatters() -> None:
    """Be stuck, and log from a thread without end."""
    import threading

    def chat() -> None:
        while True:
            logging.getLogger("chatter").warning("more")

    threading.Thread(target=chat, daemon=True).start()
    time.sleep(60)  # noqa: ASYNC251


async def patient(moment: float = 1.0, *, task_status: TaskStatus[None]) -> None:
    """Ask for the time that it takes to start, and to end."""
    extend_timeout(60.0)
    await anyio.sleep(moment)
    task_status.started()
    try:
        await anyio.sleep_forever()
    finally:
        extend_timeout(math.inf)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(moment)


async def absorbed(*, task_status: TaskStatus[None]) -> None:
    """Ask for time, and be stuck for some of it."""
    task_status.started()
    extend_timeout(60.0)
    time.sleep(1.2)  # noqa: ASYNC251
