"""sd_notify(3), both directions: the socket on which a command reports, and the messages that this process sends to whoever started it.

A message is one datagram of ``NAME=VALUE`` lines. `parse` reads one, strictly and without effects, by systemd's own rules.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

import attrs

from ..core.value import Value
from .notify_names import WATCHDOG_PID, WATCHDOG_USEC

LONGEST: Final = 4096
"""Bytes of a message; systemd's limit (PIPE_BUF)."""

_CREDENTIALS: Final = struct.Struct("iII")
_USEC_INFINITY: Final = 2**64 - 1
_PATIENCE: Final = 1.0
"""Seconds that a message which must not get lost waits for room in the manager's queue."""


@attrs.frozen(repr=False, eq=False)
class Notification(Value):
    """What one message says.

    Attributes:
        ready: ``READY=1``: the start is done.
        stopping: ``STOPPING=1``: it is about to end.
        status: ``STATUS=``: one line for people; None when it says nothing of that, empty when there is no status any more.
        main_pid: ``MAINPID=``: which process is the main one.
        ping: ``WATCHDOG=1``: it is alive.
        trigger: ``WATCHDOG=trigger``: treat it as if it had been silent.
        watchdog: ``WATCHDOG_USEC=``: the new period in seconds; ``math.inf`` switches the watchdog off.
        extension: ``EXTEND_TIMEOUT_USEC=``: it asks for so many seconds from now.
        barrier: ``BARRIER=1``: its sender waits until the descriptor beside it is closed here. Such a message says nothing else.
        malformed: Names of assignments whose values make no sense; they are ignored.
    """

    ready: bool = False
    stopping: bool = False
    status: str | None = None
    main_pid: int | None = None
    ping: bool = False
    trigger: bool = False
    watchdog: float | None = None
    extension: float | None = None
    barrier: bool = False
    malformed: tuple[str, ...] = ()


def parse(message: bytes) -> Notification | None:
    """What a message says; None when it is none: longer than `LONGEST`, or with a NUL inside.

    Unknown assignments are ignored, and of two that have the same name the first counts.
    """
    message = message.removesuffix(b"\0")
    if len(message) > LONGEST or b"\0" in message:
        return None
    lines = message.split(b"\n")
    if b"BARRIER=1" in lines:
        return Notification(barrier=True)
    said: dict[bytes, bytes] = {}
    for line in lines:
        name, equals, value = line.partition(b"=")
        if equals:
            said.setdefault(name, value)
    malformed: list[str] = []

    def number(name: str, least: int = 0) -> int | None:
        value = said.get(name.encode())
        if value is None:
            return None
        # int() would take blanks, signs, underscores and other alphabets' digits
        if value.isdigit() and len(value) <= 20 and least <= (read := int(value)) <= _USEC_INFINITY:
            return read
        malformed.append(name)
        return None

    period, extension, main_pid = number("WATCHDOG_USEC"), number("EXTEND_TIMEOUT_USEC"), number("MAINPID", 1)
    status: str | None = None
    if b"STATUS" in said:
        try:
            status = said[b"STATUS"].decode()
        except UnicodeDecodeError:
            malformed.append("STATUS")
    return Notification(
        ready=b"READY=1" in lines,
        stopping=b"STOPPING=1" in lines,
        status=status,
        main_pid=main_pid,
        ping=said.get(b"WATCHDOG") == b"1",
        trigger=said.get(b"WATCHDOG") == b"trigger",
        watchdog=None if period is None else _seconds(period) or math.inf,
        extension=None if extension is None else _seconds(extension),
        malformed=tuple(malformed),
    )


def _seconds(microseconds: int) -> float:
    return math.inf if microseconds == _USEC_INFINITY else microseconds / 1e6


# ---------------------------------------------------------------- from a command


class Message(NamedTuple):
    """A datagram as it came, and who sent it: the kernel vouches for the pid. `data` None was too long."""

    data: bytes | None
    pid: int


@attrs.define(eq=False)
class NotifySocket:
    """The socket on which one life of a command reports.

    Its name is abstract: the kernel frees it with the last descriptor, so that nothing is left behind however we end, and no limit of a
    path's length can be hit. It has no permissions; instead the sender of each message is known for certain.

    Attributes:
        address: The value of ``$NOTIFY_SOCKET``.
    """

    address: str
    _socket: socket.socket

    @classmethod
    def open(cls) -> NotifySocket:
        """Make the socket; reading it never blocks.

        Raises:
            OSError: Out of descriptors, or not Linux.
        """
        if sys.platform != "linux":
            raise OSError(errno.ENOTSUP, "sd_notify needs Linux: abstract sockets and the credentials of senders")
        address = f"@supervisor-notify/{os.urandom(8).hex()}"
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # before it has a name: no message may come without
            made.bind(f"\0{address[1:]}")
        except BaseException:  # also an interrupt
            made.close()
            raise
        return cls(address, made)

    def fileno(self) -> int:
        """The descriptor, to wait for messages."""
        return self._socket.fileno()

    def receive(self) -> Message | None:
        """The next message; None when there is none now.

        There is room for the sender's credentials and for nothing else: descriptors that come along are dropped by the kernel, which is
        all that a ``BARRIER=1`` waits for, and never take a place in our table.
        """
        if sys.platform != "linux":
            return None
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(LONGEST + 1, socket.CMSG_SPACE(_CREDENTIALS.size))
        except (BlockingIOError, InterruptedError):
            return None
        pid = 0
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = _CREDENTIALS.unpack(value[: _CREDENTIALS.size])[0]
        return Message(None if flags & socket.MSG_TRUNC else data, pid)

    def close(self) -> None:
        """Give back the descriptor and the name. May be called again."""
        self._socket.close()


# ---------------------------------------------------------------- to the manager above us


class Notifier:
    """Sends messages to the service manager that started this process.

    Args:
        address: The value of ``$NOTIFY_SOCKET``.

    Raises:
        ValueError: An address of a kind that is not supported, such as ``vsock:``.
        OSError: No socket can be had.
    """

    def __init__(self, address: str) -> None:
        family = getattr(socket, "AF_UNIX", None)  # Windows has none
        if family is None or not address.startswith(("/", "@")) or len(address) < 2:
            raise ValueError(f"{address!r} is neither a path nor an abstract name (@...)")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)

    def send(self, *assignments: str, wait: bool = False) -> None:
        """Send one message.

        Args:
            assignments: ``NAME=VALUE``, without newlines.
            wait: Whether to wait for room in the manager's queue, for a second at most, instead of failing at once.

        Raises:
            OSError: Nobody listens there, or its queue is full.
        """
        self._socket.settimeout(_PATIENCE if wait else 0.0)
        self._socket.sendto("\n".join(assignments).encode("utf-8", "backslashreplace")[:LONGEST], self._address)

    def close(self) -> None:
        """Give back the descriptor."""
        self._socket.close()


def watchdog_period(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds within which the manager above wants a ``WATCHDOG=1`` of this process, again and again; None when it wants none."""
    usec = environ.get(WATCHDOG_USEC, "").encode()
    if environ.get(WATCHDOG_PID, str(pid)) != str(pid) or not usec.isdigit() or len(usec) > 20 or not 0 < int(usec) < _USEC_INFINITY:
        return None
    return int(usec) / 1e6
