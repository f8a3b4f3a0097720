"""The other end: a client without an event loop, for the command line and for scripts."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Final

import attrs

from ...core.value import Value
from ...host.identity import ProcessId
from ..usage import UsageError, did_you_mean, quote
from .finding import found
from .place import Place, reachable, unix_socket

PATIENCE: Final = 5.0
"""Seconds within which a guardian that lives answers what it need not wait for."""
_QUEUED: Final = 0.01


class ControlError(Exception):
    """A guardian said no, or nothing that can be understood.

    Attributes:
        code: JSON-RPC's, or one of `wire`'s; 0 where there was no answer.
        data: What it said for programs.
    """

    def __init__(self, message: str, code: int = 0, data: Any = None) -> None:
        self.code, self.data = code, data
        super().__init__(message)


class Client:
    """A connection to one guardian; a context manager.

    Args:
        place: Where it listens.
        patience: Seconds to wait for it to take the connection.

    Raises:
        ControlError: Nobody listens there, or not to us.
    """

    def __init__(self, place: Place, patience: float = PATIENCE) -> None:
        self.place = place
        self._ids = 0
        self._rest = b""
        with ExitStack() as undo:
            try:
                self._socket = undo.enter_context(connected(place, patience))
            except (OSError, ValueError) as error:
                raise ControlError(f"{place.file}: {getattr(error, 'strerror', None) or error}") from error
            if not place.is_socket:
                self.call("authenticate", token=_ticket(place)["token"])
            undo.pop_all()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def call(self, method: str, *, timeout: float | None = PATIENCE, **params: Any) -> Any:
        """Call a method and wait for its answer.

        Args:
            method: Its name.
            timeout: Seconds; None for no limit.
            params: By name.

        Raises:
            ControlError: It was refused, there was no answer in time, or the guardian ended.
        """
        self._ids += 1
        request = {"jsonrpc": "2.0", "id": self._ids, "method": method, "params": params}
        self._socket.settimeout(timeout)
        # who is hung up on still finds the reason in what was sent before
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        for answer in self._messages():
            if "error" in answer and answer.get("id") in (self._ids, None):
                about = answer["error"]
                raise ControlError(str(about.get("message")), int(about.get("code", 0)), about.get("data"))
            if answer.get("id") == self._ids:
                return answer["result"]
        raise ControlError("the guardian has hung up without an answer: it has ended")

    def events(self) -> Iterator[dict[str, Any]]:
        """The events that come after a call of ``events`` with ``follow``, until the run is over.

        Raises:
            ControlError: What came is no event.
        """
        self._socket.settimeout(None)
        for message in self._messages():
            if message.get("method") == "event":
                yield message["params"]
            elif "error" in message:
                raise ControlError(str(message["error"].get("message")))

    def wait(self) -> None:
        """Wait until the run is over."""
        for _ in self.events():
            pass

    def _messages(self) -> Iterator[dict[str, Any]]:
        try:
            while True:
                while b"\n" not in self._rest:
                    data = self._socket.recv(1 << 16)
                    if not data:
                        return
                    # joined once for each line, which may have megabytes
                    parts = [self._rest, data]
                    while b"\n" not in data:
                        data = self._socket.recv(1 << 18)
                        if not data:
                            return
                        parts.append(data)
                    self._rest = b"".join(parts)
                line, _, self._rest = self._rest.partition(b"\n")
                message = json.loads(line)
                if not isinstance(message, dict):
                    raise ControlError("the guardian has sent what is no answer")
                yield message
        except TimeoutError:
            raise ControlError("the guardian did not answer in time; is it stopped?") from None
        except ConnectionResetError:
            return
        except (OSError, ValueError, RecursionError) as error:
            raise ControlError(f"the guardian cannot be understood: {error}") from error


@attrs.frozen(repr=False, eq=False)
class Guardian(Value):
    """A launcher that runs, by what it says of itself.

    Attributes:
        about: The answer of ``version``; None for one that does not answer.
    """

    place: Place
    about: Mapping[str, Any] | None

    @property
    def names(self) -> list[str]:
        """What it can be called by: its children's names, then its run."""
        return [*(self.about["names"] if self.about is not None else ()), self.place.run]

    def __str__(self) -> str:
        if self.about is None:
            return f"run {self.place.run} (pid {self.place.process.pid}, does not answer)"
        return f"{', '.join(self.about['names'][:5])} (run {self.place.run}, pid {self.about['pid']})"


def running_guardians(environ: Mapping[str, str]) -> list[Guardian]:
    """All launchers of this user that run now, the oldest first; each is asked who it is."""
    guardians = []
    for place in found(environ):
        try:
            with Client(place, patience=2.0) as client:
                guardians.append(Guardian(place, client.call("version", timeout=2.0)))
        except ControlError:
            guardians.append(Guardian(place, None))
    return guardians


def chosen(environ: Mapping[str, str], name: str | None, program: str, *, child: str | None = None) -> Client:
    """Connect to the guardian that is meant.

    Args:
        environ: Names the places where guardians are.
        name: One of its children's names, the beginning of its run's id, its pid, or the path of its socket; None: there is only one.
        program: What the launcher is called, for a remedy.
        child: Where there are several and none is named: the one that has this child.

    Raises:
        UsageError: There is none, or several.
        ControlError: It does not answer.
    """
    if name is not None and os.sep in name:
        return Client(_place_of(name))
    guardians = running_guardians(environ)
    if not guardians:
        raise UsageError([f"no guardian runs; start one: {program} -- COMMAND [ARG ...]"])
    among = guardians
    if name is not None:
        among = [one for one in guardians if name in one.names or name == str(one.place.process.pid) or _begins(one, name)]
    if len(among) > 1 and child is not None:
        among = [one for one in among if one.about is not None and _knows(one, child)] or among
    if len(among) == 1:
        return Client(among[0].place)
    listed = "; ".join(map(str, among or guardians))
    if among:
        how = "name one by its child or its run" if child is None else "name one with --guardian"
        raise UsageError([f"several guardians run; {how}: {listed}"])
    assert name is not None
    raise UsageError(
        [f"no guardian is called {quote(name)}{did_you_mean(name, [n for one in guardians for n in one.names])}; there runs: {listed}"]
    )


def _begins(one: Guardian, name: str) -> bool:
    run = str(one.about["run"]) if one.about is not None else one.place.run
    return len(name) >= 4 and run.startswith(name)


def _knows(one: Guardian, child: str) -> bool:
    try:
        with Client(one.place) as client:
            client.call("resolve", path=child)
    except ControlError:
        return False
    return True


def _place_of(file: str) -> Place:
    directory, name = os.path.split(os.path.abspath(file))
    return Place(directory, name, "", ProcessId(0, 0))


def connected(place: Place, patience: float) -> socket.socket:
    """A connection to whoever listens there, to be used with its `patience` as timeout in seconds.

    Raises:
        OSError: Nobody listens there, or nobody has taken the connection in time.
        ValueError: The file that names a port does not.
    """
    if place.is_socket:
        connection = unix_socket()
        until = time.monotonic() + patience
        try:
            connection.settimeout(patience)
            with reachable(place.directory, place.name) as path:
                while True:
                    try:
                        connection.connect(path)
                        return connection
                    except BlockingIOError:
                        # its queue is full; a socket with a timeout does not wait for room in it
                        if time.monotonic() >= until:
                            raise TimeoutError(errno.ETIMEDOUT, "too many want to connect at the same time") from None
                        time.sleep(_QUEUED)
        except BaseException:
            connection.close()
            raise
    return socket.create_connection(("127.0.0.1", int(_ticket(place)["port"])), timeout=patience)


def _ticket(place: Place) -> dict[str, Any]:
    """Port and token; never of a file that somebody else may have written."""
    with open(place.file, "rb") as stream:
        about = os.fstat(stream.fileno())
        if hasattr(os, "geteuid") and (about.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(about.st_mode) & 0o022):
            raise ValueError("may have been written by somebody else")
        ticket = json.loads(stream.read(4096))
    if not isinstance(ticket, dict) or not {"port", "token"} <= ticket.keys():
        raise ValueError("names no port")
    return ticket
