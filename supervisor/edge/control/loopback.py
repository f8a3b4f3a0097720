"""Listening by TCP on the loopback address, where there are no sockets in the file system: a private file has port and token."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress

from .place import BACKLOG, Listener, Place


def listen_by_port(place: Place) -> Listener:
    """Listen there.

    Raises:
        OSError: It cannot be.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    hidden = os.path.join(place.directory, f".{place.name}")
    token = os.urandom(32).hex()
    try:
        listening.setblocking(False)
        listening.bind(("127.0.0.1", 0))
        listening.listen(BACKLOG)
        fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            os.write(fd, json.dumps({"port": listening.getsockname()[1], "token": token}).encode())
        finally:
            os.close(fd)
        os.replace(hidden, place.file)
    except BaseException:
        listening.close()
        with suppress(OSError):
            os.unlink(hidden)
        raise
    return Listener(place, listening, token)
