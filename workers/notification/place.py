"""Where Claude MPM's monitor is, if it is anywhere: what ``mpm.monitor``, its own variables and this host say. Nothing is sent here."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from supervisor import Value

from ..config.mpm import AUTO, MONITOR_URL, OFF

HOST: Final = "127.0.0.1"
PORT: Final = 8765
EVENTS: Final = "/api/events"
HOSTS: Final = ("CLAUDE_MPM_SERVER_HOST", "CLAUDE_MPM_DEFAULT_HOST")
PORTS: Final = ("CLAUDE_MPM_SERVER_PORT", "CLAUDE_MPM_MONITOR_PORT")
"""Claude MPM's own variables, the first one that is set: where its hooks post to, and where its monitor listens."""

_LISTENING: Final = "0A"
_HERE: Final = ("0100007F", "00000000", "0" * 32, "0000000000000000FFFF00000100007F")


@attrs.frozen(repr=False, eq=False)
class MonitorPlace(Value):
    """Where events are posted.

    Attributes:
        host: A name or an address.
        port: From 1 to 65535.
        path: Of the request.
        is_configured: Whether somebody said so; if not, whoever is there is asked first who it is.
        trouble: Why nothing can be posted there after all; empty when it can.
    """

    host: str = HOST
    port: int = PORT
    path: str = EVENTS
    is_configured: bool = True
    trouble: str = ""

    @property
    def url(self) -> str:
        """As a person writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.path}"


def monitor_place(said: str, environ: Mapping[str, str]) -> MonitorPlace | None:
    """Where the monitor is; None where there is none to be told.

    Args:
        said: ``auto``, ``off`` or a URL.
        environ: With Claude MPM's own variables, which ``auto`` goes by.

    Returns:
        The place. Without a URL and a variable it is the usual one, where a monitor is looked for, but on Windows.
    """
    if said == OFF:
        return None
    found = MONITOR_URL.fullmatch(said)
    if said != AUTO and found is not None:
        path = found["path"] or ""
        return MonitorPlace(found["host"].strip("[]"), int(found["port"] or PORT), path if path.strip("/") else EVENTS)
    host, port = _first(environ, HOSTS), _first(environ, PORTS)
    if host is None and port is None:
        return None if sys.platform == "win32" else MonitorPlace(is_configured=False)  # there nobody can tell whether one listens
    name, value = port or ("", str(PORT))
    if not is_port(value):
        return MonitorPlace(trouble=f"{name}: expected a port from 1 to 65535, got {value[:60]!r}")
    return MonitorPlace(HOST if host is None else host[1], int(value))


def is_port(text: str) -> bool:
    """Whether it is the number of a port."""
    return text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str] | None:
    return next(((name, environ[name]) for name in names if environ.get(name)), None)


def is_listened_to(port: int, proc: str = "/proc") -> bool:
    """Whether a process of this user listens on a port of the loopback interface; no connection is made.

    Args:
        port: It.
        proc: Where procfs is mounted. Where there is none, anybody's process will do.
    """
    return _is_taken(port) and _is_ours(port, proc)


def _is_taken(port: int) -> bool:
    if sys.platform == "win32":
        return False  # a port in use can be bound there, so nobody can be told apart
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # in nobody's way: whoever begins to listen just now still can
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _is_ours(port: int, proc: str) -> bool:
    """Whether the listener is this user's, who else would read what we do. Anybody can listen on such a port."""
    owners = {owner for name in ("tcp", "tcp6") for owner in _owners(f"{proc}/net/{name}", f"{port:04X}")}
    if owners or os.path.exists(f"{proc}/net/tcp"):
        if sys.platform != "win32":
            return owners == {os.geteuid()}
        return False
    return True


def _owners(table: str, port: str) -> Iterator[int]:
    try:
        with open(table, encoding="ascii", errors="replace") as lines:
            for line in lines:
                fields = line.split(None, 8)
                if len(fields) < 8 or fields[3] != _LISTENING:
                    continue
                address, _, found = fields[1].partition(":")
                if found == port and address in _HERE and fields[7].isdigit():
                    yield int(fields[7])
    except OSError:
        return
