"""The named pipe by which hooks tell the guardian of turns: a line each, written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from supervisor import Value

from .settings import STARTED

PIPE: Final = "claude.hooks"
_BLOCK: Final = 64 * 1024
_LONGEST: Final = 64 * 1024


@attrs.frozen(repr=False, eq=False)
class Told(Value):
    """What a hook says.

    Attributes:
        number: Of the leaf.
        generation: Of its life.
        event: Which hook.
        session_id: The conversation, when it has begun.
        transcript: Its file, likewise.
    """

    number: int
    generation: int
    event: str
    session_id: str | None = None
    transcript: str | None = None


class HookPipe:
    """The reading end. It is kept open for writing too, so that it never ends.

    Args:
        directory: A private one.

    Raises:
        OSError: It cannot be made there, or this system has none.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / PIPE
        self.fd = _opened(self.path)
        self._rest = b""

    def take(self) -> list[Told]:
        """What has been said since the last time; what nobody of ours would say is left out. Never waits."""
        try:
            block = os.read(self.fd, _BLOCK)
        except BlockingIOError:
            return []
        *whole, self._rest = (self._rest + block).split(b"\n")
        if len(self._rest) > _LONGEST:
            self._rest = b""
        return [told for line in whole if (told := heard(line)) is not None]

    def stir(self) -> None:
        """Wake whoever waits for something to be said."""
        if self.fd >= 0:
            with suppress(BlockingIOError):  # it is full: then something was said
                os.write(self.fd, b"\n")

    def close(self) -> None:
        """Nobody listens any more: hooks that still run say it to nobody. May be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _opened(path: Path) -> int:
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "Windows has no named pipes of this kind")
    else:
        os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def heard(line: bytes) -> Told | None:
    """What a line says; None where it says nothing."""
    number, _, rest = line.partition(b" ")
    generation, _, rest = rest.partition(b" ")
    event, _, more = rest.partition(b" ")
    if not (number.isdigit() and generation.isdigit() and event.isalpha() and len(number) + len(generation) < 40):
        return None
    told = Told(int(number), int(generation), event.decode())
    if told.event != STARTED:
        return told
    try:
        data = json.loads(more)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    session_id, transcript = data.get("session_id"), data.get("transcript_path")
    return attrs.evolve(
        told,
        session_id=session_id if isinstance(session_id, str) else None,
        transcript=transcript if isinstance(transcript, str) and os.path.isabs(transcript) else None,
    )
