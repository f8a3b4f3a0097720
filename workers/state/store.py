"""Captured states on disk: one file each, in a directory for each project."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .files import StateWriteFailed, private_directory, project_key, write_atomic
from .model import CompleteState, StateInvalid, canonical

SUFFIX: Final = ".json.gz"
LARGEST: Final = 256 * 1024 * 1024
"""Bytes of JSON beyond which a state file is not believed."""

__all__ = ["LARGEST", "SUFFIX", "StateStore", "StateUnreadable", "StateWriteFailed", "new_state_id", "project_key"]


class StateUnreadable(Exception):
    """A state file that cannot be used.

    Attributes:
        path: The file.
        reason: Why, for a person.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"cannot use {path}: {reason}")

    def __reduce__(self) -> tuple[type[StateUnreadable], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


class StateStore:
    """The states below one directory. Its calls block; call them in a worker thread."""

    def __init__(self, state_dir: Path | str) -> None:
        self.state_dir = Path(state_dir).absolute()

    def directory(self, project_dir: Path | str) -> Path:
        """Where the states of a project are."""
        return self.state_dir / project_key(project_dir)

    def save(self, project_dir: Path | str, state: CompleteState) -> Path:
        """Write a state; it is on disk, whole and readable by its owner alone, when this returns.

        Raises:
            StateWriteFailed: It could not be written; earlier states are untouched.
            StateInvalid: It holds what cannot be written.
        """
        import gzip

        state_id = state.metadata.state_id
        if not _STATE_ID.fullmatch(state_id):
            raise StateInvalid(f"{state_id!r} is no state id")
        data = gzip.compress(canonical(state.to_dict()), compresslevel=1, mtime=0)
        directory = private_directory(self.directory(project_dir), self.state_dir)
        path = directory / (state_id + SUFFIX)
        write_atomic(path, data)
        return path

    def load(self, path: Path | str) -> CompleteState:
        """Read a state; it is checked against its checksum and applied to nothing.

        Raises:
            StateUnreadable: It is missing, damaged, too large or of a format that is not known here.
        """
        import gzip
        import json
        import zlib

        path = Path(path)
        try:
            # the size is bounded while it is read: a small file can unpack to any size
            with path.open("rb") as file, gzip.GzipFile(fileobj=file) as packed:
                text = packed.read(LARGEST + 1)
            if len(text) > LARGEST:
                raise StateUnreadable(path, f"it unpacks to more than {LARGEST} bytes")
            return CompleteState.from_dict(json.loads(text))
        except OSError as error:
            raise StateUnreadable(path, error.strerror or str(error)) from error
        except (EOFError, zlib.error, UnicodeDecodeError) as error:
            raise StateUnreadable(path, f"it is damaged: {error}") from error
        except RecursionError as error:
            raise StateUnreadable(path, "it is nested too deeply") from error
        except ValueError as error:
            raise StateUnreadable(path, str(error)) from error

    def list(self, project_dir: Path | str) -> tuple[Path, ...]:
        """The state files of a project, oldest first."""
        try:
            names = os.listdir(self.directory(project_dir))
        except FileNotFoundError:
            return ()
        return tuple(
            self.directory(project_dir) / name
            for name in sorted(names)
            if name.endswith(SUFFIX) and _STATE_ID.fullmatch(name.removesuffix(SUFFIX))
        )


def new_state_id(at: float | None = None) -> str:
    """A new id; ids sort by time.

    Args:
        at: Seconds since the epoch; now where None.
    """
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    return f"{moment:%Y%m%dT%H%M%S.%fZ}-{os.urandom(4).hex()}"


_STATE_ID: Final = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}")
