"""Where the sockets of running launchers are: one file for each run, in a directory of the user's own that nobody else can enter.

The file's name says which process made it, so that what a killed run has left is told from what a living one listens on without
connecting to either.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from ...host.identity import ProcessId, identify

SOCKET: Final = ".sock"
PORT: Final = ".port"
LONGEST: Final = 107 if sys.platform == "linux" else 103
"""Bytes that the kernel takes as a socket's path, without the NUL at its end."""
BACKLOG: Final = 64
HAS_UNIX: Final = hasattr(socket, "AF_UNIX") and sys.platform != "win32"


class Place(NamedTuple):
    """Where one run listens, or did.

    Attributes:
        directory: Absolute.
        name: The file's name.
        run: The first 8 digits of the run's id.
        process: Who listens.
    """

    directory: str
    name: str
    run: str
    process: ProcessId

    @property
    def file(self) -> str:
        """The whole path."""
        return os.path.join(self.directory, self.name)

    @property
    def is_socket(self) -> bool:
        """Whether it is a socket, and not a file with a port and a token."""
        return self.name.endswith(SOCKET)


class Listener:
    """A socket that listens, and its file.

    Attributes:
        token: What a client must know that does not come by a socket of ours; None where the kernel says who it is.
    """

    def __init__(self, place: Place, listening: socket.socket, token: str | None = None) -> None:
        self.place, self.socket, self.token = place, listening, token

    def close(self) -> None:
        """Listen no more, and remove the file, and the directory if it was the last one. May be called again."""
        self.socket.close()
        with suppress(OSError):
            os.unlink(self.place.file)
        with suppress(OSError):
            os.rmdir(self.place.directory)


def directories(environ: Mapping[str, str]) -> list[str]:
    """Where sockets may be, the best place first: the user's runtime directory, its state, a directory of temporary files."""
    found = []
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        found.append(os.path.join(runtime, "memory-guardian"))
    if sys.platform == "linux":
        state = environ.get("XDG_STATE_HOME", "")
        base = state if os.path.isabs(state) else os.path.join(environ.get("HOME", ""), ".local", "state")
        if os.path.isabs(base):
            found.append(os.path.join(base, "memory-guardian", "run"))
    if sys.platform == "win32":
        base = environ.get("LOCALAPPDATA") or os.path.expanduser("~")
        found.append(os.path.join(base, "memory-guardian", "run"))
    else:
        temporary = environ.get("TMPDIR", "")
        found.append(os.path.join(temporary if os.path.isabs(temporary) else "/tmp", f"memory-guardian-{os.geteuid()}"))
    return found


def listen(run: str, environ: Mapping[str, str], *, tcp: bool = not HAS_UNIX) -> Listener:
    """Listen at the first place where that is possible, and remove there what killed runs have left.

    Args:
        run: The run's id.
        environ: Names the places.
        tcp: By TCP on the loopback address, with a token in a file, instead of a socket in the file system.

    Raises:
        OSError: It is possible nowhere; the text names each place and why.
    """
    own = identify(os.getpid())
    if own is None:
        raise OSError(errno.ENOENT, "this process cannot see itself")
    name = f"{run[:8]}-{own.pid}-{own.created}{PORT if tcp else SOCKET}"
    reasons = []
    for directory in directories(environ):
        place = Place(directory, name, run[:8], own)
        try:
            return _listen(place, tcp)
        except OSError as error:
            reasons.append(f"{directory}: {error.strerror or error}")
    raise OSError(errno.EADDRNOTAVAIL, "; ".join(reasons))


def unix_socket() -> socket.socket:
    """A new socket of the kind that has a path.

    Raises:
        OSError: There are none here.
    """
    if sys.platform == "win32":
        raise OSError(errno.EAFNOSUPPORT, "there are no sockets in the file system here")
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


@contextmanager
def reachable(directory: str, name: str) -> Iterator[str]:
    """A path of a file that the kernel takes as a socket's, however long its real one is.

    Raises:
        OSError: There is none.
    """
    path = os.path.join(directory, name)
    if len(os.fsencode(path)) <= LONGEST:
        yield path
        return
    if sys.platform != "linux":
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


def _listen(place: Place, tcp: bool) -> Listener:
    attempts = 3
    while True:
        attempts -= 1
        _make_private(place.directory)
        try:
            if tcp:
                from .loopback import listen_by_port

                listener = listen_by_port(place)
            else:
                listener = _listen_by_path(place)
        except FileNotFoundError:
            # whoever ended just now has removed the directory as empty
            if not attempts:
                raise
        else:
            if len(os.listdir(place.directory)) > 1:
                from .finding import remove_stale

                remove_stale(place.directory)
            return listener


def _listen_by_path(place: Place) -> Listener:
    listening = unix_socket()
    # under another name until it answers: what is found under its own is never refused
    hidden = f".{place.name}"
    try:
        listening.setblocking(False)
        with reachable(place.directory, hidden) as path:
            listening.bind(path)
        try:
            os.chmod(os.path.join(place.directory, hidden), 0o600)
            listening.listen(BACKLOG)
            os.rename(os.path.join(place.directory, hidden), place.file)
        except BaseException:
            with suppress(OSError):
                os.unlink(os.path.join(place.directory, hidden))
            raise
    except BaseException:
        listening.close()
        raise
    return Listener(place, listening)


def _make_private(directory: str) -> None:
    os.makedirs(os.path.dirname(directory), 0o700, exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    if sys.platform != "win32" and stat.S_IMODE(checked(directory).st_mode) != 0o700:
        os.chmod(directory, 0o700)


def checked(directory: str) -> os.stat_result:
    """What is known of a directory that is ours; in a shared place somebody else could have put one, or a link, there."""
    about = os.lstat(directory)
    if not stat.S_ISDIR(about.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), directory)
    if sys.platform != "win32" and about.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "belongs to somebody else", directory)
    return about
