"""Captured states on disk: one file each, in a directory for each project."""

from __future__ import annotations

import os
import re
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .files import StateWriteFailed, private_directory, project_key, read_private, sync_directory, write_atomic
from .model import CompleteState, StateInvalid

if TYPE_CHECKING:
    from .seal import Seal

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of JSON, and of a file, beyond which a state is neither written nor believed."""
SUFFIXES: Final = (".json.gz", ".json.zst")
SEALED: Final = ".enc"

__all__ = [
    "LARGEST",
    "SEALED",
    "SUFFIXES",
    "StateStore",
    "StateUnreadable",
    "StateWriteFailed",
    "new_state_id",
    "project_key",
    "state_id_of",
]


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
    """The states below one directory. Its calls block; call them in a worker thread.

    Any number of processes may save, read and prune at the same time: a file is whole or absent, its name is its own, and who reads
    it while it is removed has it or is told that it is gone.

    Args:
        state_dir: The directory.
        seal: Encrypts what is saved; None saves plain. What is encrypted is read with it, what is plain is read with or without.
    """

    def __init__(self, state_dir: Path | str, seal: Seal | None = None) -> None:
        self.state_dir = Path(state_dir).absolute()
        self.seal = seal

    def directory(self, project_dir: Path | str) -> Path:
        """Where the states of a project are."""
        return self.state_dir / project_key(project_dir)

    def save(self, project_dir: Path | str, state: CompleteState) -> Path:
        """Write a state; it is on disk, whole and readable by its owner alone, when this returns.

        Raises:
            StateWriteFailed: It could not be written; earlier states are untouched.
            StateInvalid: It holds what cannot be written.
        """
        from . import codec

        state_id = state.metadata.state_id
        if not _STATE_ID.fullmatch(state_id):
            raise StateInvalid(f"{state_id!r} is no state id")
        text = state.to_json()
        if len(text) > LARGEST:
            raise StateInvalid(f"it has {len(text)} bytes of JSON, more than {LARGEST}")
        data, suffix = codec.compress(text), f".json{codec.suffix()}"
        directory = self.directory(project_dir)
        if self.seal is not None:
            data, suffix = self.seal.sealed(data, _header(directory.name, state_id)), suffix + SEALED
        made = _missing(directory)
        private_directory(directory, self.state_dir)
        path = directory / (state_id + suffix)
        write_atomic(path, data)
        try:
            # the first state of a project: the names of the directories above it must survive as well
            for parent in made:
                sync_directory(parent.parent)
        except OSError as error:
            raise StateWriteFailed(path, error) from error
        return path

    def load(self, path: Path | str) -> CompleteState:
        """Read a state; it is checked against its checksum and applied to nothing.

        Raises:
            StateUnreadable: It is missing, damaged, too large, of a format that is not known here, encrypted with another key, or
                others could have changed it.
        """
        path = Path(path)
        state_id = state_id_of(path.name)
        try:
            state = self.decoded(read_private(path, LARGEST), path.parent.name, state_id, path.name.endswith(SEALED))
        except OSError as error:
            raise StateUnreadable(path, error.strerror or str(error)) from error
        except StateInvalid as error:
            raise StateUnreadable(path, str(error)) from error
        if state_id is not None and state.metadata.state_id != state_id:
            raise StateUnreadable(path, f"it holds the state {state.metadata.state_id[:60]!r}, not the one that it is named after")
        return state

    def decoded(self, blob: bytes, key: str, state_id: str | None, is_sealed: bool) -> CompleteState:
        """The state in the content of a file.

        Args:
            blob: The content.
            key: The key of the project that it is kept under.
            state_id: The id that the file is named after.
            is_sealed: Whether it is encrypted.

        Raises:
            StateInvalid: It is none.
        """
        from . import codec

        if is_sealed:
            if self.seal is None:
                raise StateInvalid("it is encrypted, and encryption.key names no key")
            blob = self.seal.opened(blob, _header(key, state_id or ""))
        return CompleteState.from_json(codec.decompress(blob, LARGEST))

    def reseal(self, path: Path) -> bool:
        """Encrypt a state again with the key that closes now, if it is plain or an older key closed it.

        The old file goes when the new one is on disk.

        Returns:
            Whether that was needed.

        Raises:
            StateUnreadable: It does not open or is damaged, and stays as it is; or there is no key.
            StateWriteFailed: It could not be written, and stays as it is; or the plain one could not be removed.
        """
        from .seal import resealed

        if self.seal is None:
            raise StateUnreadable(path, "there is nothing to encrypt with: encryption.key names no key")
        state_id, is_sealed = state_id_of(path.name) or "", path.name.endswith(SEALED)
        header = _header(path.parent.name, state_id)
        try:
            blob = read_private(path, LARGEST)
            if is_sealed and self.seal.is_current(blob):
                return False
            self.decoded(blob, path.parent.name, state_id, is_sealed)  # what is damaged is not sealed as if it were whole
            sealed = resealed(blob, header, self.seal)
        except OSError as error:
            raise StateUnreadable(path, error.strerror or str(error)) from error
        except StateInvalid as error:
            raise StateUnreadable(path, str(error)) from error
        write_atomic(path if is_sealed else path.with_name(path.name + SEALED), sealed)
        if not is_sealed:
            try:
                os.unlink(path)
                sync_directory(path.parent)
            except OSError as error:
                raise StateWriteFailed(path, error) from error
        return True

    def list(self, project_dir: Path | str) -> tuple[Path, ...]:
        """The state files of a project, oldest first."""
        return self.files(project_key(project_dir))

    def files(self, key: str) -> tuple[Path, ...]:
        """The state files below a project's key, oldest first."""
        directory = self.state_dir / key
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            return ()
        return tuple(directory / name for name in sorted(names) if state_id_of(name) is not None)

    def keys(self) -> tuple[str, ...]:
        """The keys of all projects that have a directory here; links are none."""
        try:
            with os.scandir(self.state_dir) as found:
                keys = [entry.name for entry in found if entry.is_dir(follow_symlinks=False) and _KEY.fullmatch(entry.name)]
        except FileNotFoundError:
            return ()
        return tuple(sorted(keys))

    def untrusted(self, key: str) -> str | None:
        """What keeps the directory of a project from being this user's alone to change, or None."""
        if not hasattr(os, "geteuid"):
            return None
        for directory in (self.state_dir, self.state_dir / key):
            found = os.lstat(directory) if directory != self.state_dir else os.stat(directory)
            if not stat.S_ISDIR(found.st_mode):
                return f"{directory} is no directory"
            if found.st_uid not in ((os.geteuid(),) if directory != self.state_dir else (os.geteuid(), 0)):
                return f"{directory} belongs to somebody else (user {found.st_uid})"
            if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
                return f"others can change {directory}; use chmod go-w"
        return None


def new_state_id(at: float | None = None) -> str:
    """A new id; ids sort by time.

    Args:
        at: Seconds since the epoch; now where None.
    """
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    return f"{moment:%Y%m%dT%H%M%S.%fZ}-{os.urandom(4).hex()}"


def state_id_of(name: str) -> str | None:
    """The id of the state that a file of this name holds; None when it is no state file's name."""
    plain = name.removesuffix(SEALED)
    for suffix in SUFFIXES:
        if plain.endswith(suffix) and _STATE_ID.fullmatch(plain.removesuffix(suffix)):
            return plain.removesuffix(suffix)
    return None


def captured_at(state_id: str) -> float:
    """Seconds since the epoch, as an id has them.

    Raises:
        ValueError: It names no moment.
    """
    return datetime.strptime(state_id.partition("-")[0], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp()


_STATE_ID: Final = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}", re.ASCII)
_KEY: Final = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}-[0-9a-f]{16}")


def _header(key: str, state_id: str) -> dict[str, str]:
    """What a sealed state is bound to: it cannot be passed off as another project's or another moment's."""
    return {"project": key, "state": state_id, "format": "state"}


def _missing(directory: Path) -> list[Path]:
    """The directory and those above it that are not there yet, the uppermost first."""
    missing = []
    while not directory.exists() and directory != directory.parent:
        missing.append(directory)
        directory = directory.parent
    return missing[::-1]
