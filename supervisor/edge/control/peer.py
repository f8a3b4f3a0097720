"""Who is at the other end of a connection, by the kernel's word, and whether it may change anything."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
from typing import Final

import attrs

from ...core.value import Value
from ...host.ancestry import is_ours
from ...host.identity import ProcessId, identify
from ...host.spare import with_reserve

_SO_PEERPIDFD: Final = 77
_SOL_LOCAL: Final = 0
_LOCAL_PEERCRED: Final = 1
_LOCAL_PEERPID: Final = 2
_XUCRED: Final = struct.Struct("=IIhxx16I")


@attrs.frozen(repr=False, eq=False)
class Peer(Value):
    """Who has connected.

    Attributes:
        uid: Its user; None where the kernel does not tell.
        pid: Its process as the kernel says, for people; None where it does not tell.
        process: The very process that has connected; None when it is gone already, or is not known.
    """

    uid: int | None
    pid: int | None
    process: ProcessId | None

    @property
    def is_welcome(self) -> bool:
        """Whether it is of our own user, or root; where the kernel does not tell, a token says so."""
        return sys.platform == "win32" or self.uid in (None, 0, os.geteuid())

    def objection(self) -> str | None:
        """Why it may change nothing, for a person; None when it may.

        Asked anew for each change: the answer depends on who lives now.
        """
        if self.process is None:
            who = "the process that asks is" if self.pid is None else f"process {self.pid}, which has connected, is"
            return f"{who} gone or cannot be seen, so nobody can tell whether it is one of those that are supervised here"
        try:
            inside = with_reserve(is_ours)(self.process)
        except OSError as error:
            return f"nobody can tell who asks: {error.strerror}"
        if inside is None:
            return f"process {self.pid}, which has connected, is gone, so nobody can tell who asks"
        if inside:
            return f"process {self.pid} is supervised by this run itself, and may read but change nothing"
        return None


def of_unix(connection: socket.socket) -> Peer:
    """Who has connected to a socket in the file system: whoever called connect, not who holds the connection now.

    Raises:
        OSError: The kernel does not say.
    """
    if sys.platform == "linux":
        pid, uid, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return Peer(uid, pid or None, _seen(connection, pid) if pid > 0 else None)
    version, uid, *_ = _XUCRED.unpack(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size))
    if version != 0:
        raise OSError(f"credentials of an unknown version {version}")
    (pid,) = struct.unpack("=i", connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4))
    return Peer(uid, pid or None, identify(pid) if pid > 0 else None)


def of_tcp(connection: socket.socket) -> Peer:
    """Who has connected by TCP from this host: whose socket it is, as far as that can be seen."""
    import psutil

    here, there = connection.getsockname()[:2], connection.getpeername()[:2]
    try:
        for known in psutil.net_connections("tcp"):
            if known.laddr and known.raddr and tuple(known.laddr) == there and tuple(known.raddr) == here and known.pid:
                return Peer(None, known.pid, identify(known.pid))
    except (psutil.Error, OSError):
        pass  # not permitted, as on macOS
    return Peer(None, None, None)


def _seen(connection: socket.socket, pid: int) -> ProcessId | None:
    try:
        return with_reserve(_living)(connection, pid)
    except OSError:
        return None  # out of descriptors: it may ask what it likes, and change nothing


def _living(connection: socket.socket, pid: int) -> ProcessId | None:
    process = identify(pid)
    if sys.platform == "win32":
        return process
    try:
        fd = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        # before Linux 6.5: what the number means now is taken for what it meant a moment ago, when it connected
        return process if error.errno == errno.ENOPROTOOPT else None
    try:
        # while it lives its number is nobody else's
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return None if poll.poll(0) else process
    finally:
        os.close(fd)
