"""What restart protection has spent, kept for the next run of the same agent: a crash loop is not over because its guardian was restarted.

Inside, times are monotonic; on disk, attempts are ages at one moment of one boot of the machine. How long ago that is, is known within a
boot from its monotonic clock. Across boots only a wall clock could say it, and that may have been set: what is certain is that the machine
has been up since, and no more is counted. A clock that jumps neither lifts a protection nor keeps it up.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Final

from supervisor import InvalidField, RestartHistory

from .files import private_directory, write_atomic
from .runs import boot_id

PROTECTION: Final = "protection"
LARGEST: Final = 1 << 20
"""Bytes beyond which a record is none of ours: an attempt takes about twenty."""

_FORMAT: Final = 1


class ProtectionUnreadable(Exception):
    """A record that cannot be read, or is none.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"the record of restart protection {path} cannot be used ({why}); this run begins with nothing spent")

    def __reduce__(self) -> tuple[type[ProtectionUnreadable], tuple[Path, str]]:
        return type(self), (self.path, self.why)


class ProtectionRecord:
    """The record of one agent of one project. Blocks; not for the event loop.

    Args:
        state_dir: The state directory.
        key: The project, see `files.project_key`.
        name: The agent's name.
    """

    def __init__(self, state_dir: Path | str, key: str, name: str) -> None:
        self._within = Path(state_dir)
        self.path = self._within / key / PROTECTION / f"{name}.json"

    def load(self) -> RestartHistory:
        """What was spent, as of now; nothing where nothing is recorded.

        Raises:
            ProtectionUnreadable: There is a record and it cannot be used.
        """
        try:
            # not followed, and not waited for: a link or a pipe is none of ours
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with open(fd, "rb") as stream:
                data = stream.read(LARGEST + 1)
        except FileNotFoundError:
            return RestartHistory()
        except OSError as error:
            raise ProtectionUnreadable(self.path, error.strerror or str(error)) from error
        if len(data) > LARGEST:
            raise ProtectionUnreadable(self.path, "it is too large")
        try:
            return self._understood(json.loads(data))
        except InvalidField as error:
            raise ProtectionUnreadable(self.path, str(error)) from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ProtectionUnreadable(self.path, "it is damaged") from error

    def save(self, history: RestartHistory) -> None:
        """Write down what is spent now.

        Raises:
            StateWriteFailed: It could not be written; what was there is untouched.
        """
        record = {"format": _FORMAT, "boot": boot_id(), "monotonic": time.monotonic(), "time": time.time(), **history.as_data()}
        private_directory(self.path.parent, self._within)
        write_atomic(self.path, json.dumps(record, indent=1).encode() + b"\n")

    def _understood(self, record: object) -> RestartHistory:
        if not isinstance(record, dict) or not isinstance(record["format"], int):
            raise ProtectionUnreadable(self.path, "it is none")
        if record["format"] > _FORMAT:
            raise ProtectionUnreadable(self.path, f"format {record['format']} is of a later version")
        boot, then, now = record["boot"], float(record["monotonic"]), time.monotonic()
        passed = now - then if boot and boot == boot_id() else now
        return RestartHistory.of_data(record).after(max(0.0, passed))
