"""Private directories, and files that are whole or absent whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700
SUFFIX: Final = ".tmp"

_REMEDY: Final = {
    errno.ENOSPC: "the disk is full; free some space or choose another state directory",
    errno.EDQUOT: "the quota is used up; free some space or choose another state directory",
    errno.EROFS: "the file system is read-only; choose another state directory",
    errno.EACCES: "permission denied; check the owner and mode of the directory",
    errno.EPERM: "not permitted; check the owner and mode of the directory",
    errno.EEXIST: "a part of the path is a file; choose another state directory",
    errno.ENOTDIR: "a part of the path is a file; choose another state directory",
}


class StateWriteFailed(Exception):
    """State could not be written; what was there before is untouched.

    Attributes:
        path: What was to be written.
        cause: Why it failed.
    """

    def __init__(self, path: Path, cause: OSError) -> None:
        self.path, self.cause = path, cause
        why = _REMEDY.get(cause.errno or 0) or cause.strerror or str(cause)
        super().__init__(f"cannot write {path}: {why}")
        self.__cause__ = cause

    def __reduce__(self) -> tuple[type[StateWriteFailed], tuple[Path, OSError]]:
        return type(self), (self.path, self.cause)


def write_atomic(path: Path, data: bytes, mode: int = PRIVATE_FILE, *, durable: bool = True) -> None:
    """Write a file so that readers find the old one or the new one, never a part. Blocks; not for the event loop.

    Args:
        path: The file; its directory must exist.
        data: Its whole content.
        mode: Its permissions, whatever the umask.
        durable: Also survive a loss of power: the file is on disk before its name, and its name before this returns.

    Raises:
        StateWriteFailed: It could not be written; the file is whole as it was, and nothing is left lying about. (Only if its
            directory cannot be synced is it the new one already.)
    """
    with replacing(path, mode, durable=durable) as fd:
        write_all(fd, data)


@contextlib.contextmanager
def replacing(path: Path, mode: int = PRIVATE_FILE, *, durable: bool = True) -> Iterator[int]:
    """A new file that takes the place of another when the block ends, and is gone when the block raises.

    Args:
        path: The file; its directory must exist.
        mode: Its permissions, whatever the umask.
        durable: As for `write_atomic`.

    Yields:
        A descriptor to write to, and to read again from.

    Raises:
        StateWriteFailed: It could not be written, or the block raised an `OSError`; the file is whole as it was. (Only if its directory
            cannot be synced is it the new one already.)
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}{SUFFIX}")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY"):
            flags |= getattr(os, name, 0)
        fd = os.open(temporary, flags, mode)
        try:
            try:
                if sys.platform != "win32":
                    os.fchmod(fd, mode)
                yield fd
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if durable:
            sync_directory(path.parent)
    except OSError as error:
        raise StateWriteFailed(path, error) from error


def write_all(fd: int, data: bytes) -> None:
    """Write data at a descriptor's position, however many calls it takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def private_directory(path: Path, within: Path) -> Path:
    """Make a directory, and those between it and `within`, for its owner alone; `within` keeps its mode where it exists.

    Raises:
        StateWriteFailed: It cannot be made, is no directory, or belongs to somebody else.
    """
    missing = [path, *path.parents]
    chain = list(reversed(missing[: missing.index(within)])) if within in missing else [path]
    try:
        os.makedirs(within, PRIVATE_DIRECTORY, exist_ok=True)
        for directory in chain:
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, PRIVATE_DIRECTORY)
            _make_private(directory)
    except OSError as error:
        raise StateWriteFailed(path, error) from error
    return path


def read_private(path: Path, limit: int) -> bytes:
    """The content of a file that is this user's alone to change. Blocks; a pipe or a device in its place does not.

    Args:
        path: The file; a link in its last part is not followed.
        limit: Bytes that it may have.

    Raises:
        OSError: It cannot be read, is no regular file, has more bytes, or belongs to or could have been changed by somebody else.
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        fd = os.open(path, flags)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, "it is a link, which is not followed", str(path)) from error
    try:
        wrong = _not_private(os.fstat(fd))
        if wrong:
            raise OSError(errno.EPERM, wrong, str(path))
        parts: list[bytes] = []
        rest = limit + 1
        while rest and (part := os.read(fd, min(rest, 1 << 20))):
            parts.append(part)
            rest -= len(part)
    finally:
        os.close(fd)
    if not rest:
        raise OSError(errno.EFBIG, f"it is larger than {limit} bytes", str(path))
    return b"".join(parts)


def project_key(directory: Path | str) -> str:
    """The name of a project's directory below the state directory: readable, unique for the resolved path, at most 80 characters."""
    from hashlib import sha256

    resolved = os.path.realpath(directory)
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", resolved).strip("-")[-60:].strip("-").lower()
    digest = sha256(os.fsencode(resolved)).hexdigest()[:16]
    return f"{slug or 'root'}-{digest}"


def _make_private(directory: Path) -> None:
    if sys.platform == "win32":
        return
    # not followed: in a shared place somebody else could have put a link here
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "belongs to somebody else", str(directory))
    if stat.S_IMODE(found.st_mode) != PRIVATE_DIRECTORY:
        os.chmod(directory, PRIVATE_DIRECTORY)


def _not_private(found: os.stat_result) -> str | None:
    """What keeps a file from being this user's alone to change, or None."""
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    if sys.platform == "win32":
        return None
    if found.st_uid != os.geteuid():
        return f"it belongs to somebody else (user {found.st_uid}); use chown if it is yours"
    if found.st_mode & 0o022:
        return f"others can change it (mode {stat.S_IMODE(found.st_mode):04o}); use chmod go-w if you trust its content"
    return None


def sync_directory(directory: Path) -> None:
    """Have the names in a directory survive a loss of power, where its file system can do that.

    Raises:
        OSError: It failed.
    """
    if sys.platform == "win32":
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        # some file systems cannot sync a directory, which is no failure of the write
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)
