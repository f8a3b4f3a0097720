"""A tree that can be asked over its control socket, in this process, and a client in the same event loop."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs

from supervisor import Control, ControlExtension, Event, Record, Redactor, Supervisor
from supervisor.edge.control.place import reachable, unix_socket
from supervisor.edge.signals import StopRequest

RUN = "0123456789abcdef0123456789abcdef"


@attrs.define(eq=False)
class Controlled:
    """A tree and its control."""

    tree: Supervisor
    control: Control
    stop: StopRequest
    records: list[Record] = attrs.field(factory=list)

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of a type so far."""
        return [record.event for record in self.records if type(record.event) is kind]

    @property
    def connections(self) -> int:
        """How many clients are served now."""
        server = self.control._server
        return 0 if server is None else len(server.connections)


@asynccontextmanager
async def controlled(
    tree: Supervisor,
    folder: Path,
    extension: Callable[[], ControlExtension] | None = None,
    *,
    tcp: bool = False,
    redactor: Redactor | None = None,
) -> AsyncIterator[Controlled]:
    """Run a tree with its control; the place of the socket is below `folder`."""
    with Control(RUN, "app", "test", environ={"XDG_RUNTIME_DIR": str(folder)}, tcp=tcp, redactor=redactor or Redactor()) as control:
        told = Controlled(tree, control, StopRequest())
        tree.run_id = RUN
        tree.add_sink(told.records.append)
        tree.add_sink(control.keep)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(control.serve, tree, told.stop, extension)
            async with tree:
                control.began()
                await control.opened.wait()
                yield told
            await control.flushed()
            tasks.cancel_scope.cancel()


def dial(control: Control) -> socket.socket:
    """A connection to it."""
    assert control.listener is not None
    place = control.listener.place
    if not place.is_socket:
        return socket.create_connection(("127.0.0.1", control.listener.socket.getsockname()[1]))
    connection = unix_socket()
    try:
        with reachable(place.directory, place.name) as path:
            connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


class Asker:
    """A client in the event loop; a context manager."""

    def __init__(self, control: Control) -> None:
        self.socket = dial(control)
        self.socket.setblocking(False)
        self._rest = b""
        self._ids = 0

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                await anyio.wait_writable(self.socket)

    async def line(self) -> Any:
        """The next line as JSON; None when it was hung up."""
        while b"\n" not in self._rest:
            await anyio.wait_readable(self.socket)
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    async def answer(self, method: str, params: Mapping[str, Any] | list[Any] | None = None) -> Any:
        """Call a method and return the whole answer."""
        self._ids += 1
        await self.send(json.dumps({"jsonrpc": "2.0", "id": self._ids, "method": method, "params": params or {}}).encode() + b"\n")
        while (message := await self.line()) is not None and message.get("id") != self._ids:
            pass
        return message

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method and return its result."""
        answer = await self.answer(method, params)
        assert answer is not None and "result" in answer, answer
        return answer["result"]

    async def error(self, method: str, **params: Any) -> tuple[int, str]:
        """Call a method that is refused."""
        answer = await self.answer(method, params)
        assert answer is not None and "error" in answer, answer
        return answer["error"]["code"], answer["error"]["message"]


def resident_bytes(pid: int) -> int:
    """The private memory of a process."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def sockets_below(folder: Path) -> list[str]:
    """What is in the places below a folder."""
    return sorted(path.name for path in folder.rglob("*") if path.is_socket() or path.suffix == ".port")
