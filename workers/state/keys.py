"""The keys of encryption: in the system's keyring, in a private file, or in an environment variable.

A place holds one or more keys, the newest first: that one closes, all of them open. A key is 32 random bytes, written in base64.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import sys
from collections.abc import Mapping
from hmac import digest
from pathlib import Path
from typing import Final

import attrs

from supervisor import Value

from .files import StateWriteFailed, write_atomic

SIZE: Final = 32
SERVICE: Final = "memory-guardian"
"""The name under which the keyring has it."""
LARGEST: Final = 64 * 1024
"""Bytes of a key file beyond which it is not read."""

_ACCOUNT: Final = "state"
_ID: Final = b"memory-guardian key id 1"


class KeyUnavailable(Exception):
    """There is no key that can be used; nothing was encrypted or decrypted.

    Attributes:
        place: Where it was looked for; never a key.
        reason: Why there is none, and the remedy.
    """

    def __init__(self, place: str, reason: str) -> None:
        self.place, self.reason = place, reason
        super().__init__(f"no key from {place!r}: {reason}")

    def __reduce__(self) -> tuple[type[KeyUnavailable], tuple[str, str]]:
        return type(self), (self.place, self.reason)


@attrs.frozen(repr=False, eq=False)
class Keys(Value):
    """Keys, the newest first; never shown, only their ids are."""

    secrets: tuple[bytes, ...] = attrs.field(repr=False)

    def __str__(self) -> str:
        return ", ".join(key_id(secret).hex() for secret in self.secrets)

    @property
    def current(self) -> tuple[bytes, bytes]:
        """The id and the bytes of the key that closes."""
        return key_id(self.secrets[0]), self.secrets[0]

    def find(self, wanted: bytes) -> bytes | None:
        """The key with an id."""
        return next((secret for secret in self.secrets if key_id(secret) == wanted), None)


def key_id(secret: bytes) -> bytes:
    """The eight bytes that name a key and tell nothing of it."""
    return digest(secret, _ID, "sha256")[:8]


def new_key() -> str:
    """A new random key as it is written."""
    return base64.b64encode(os.urandom(SIZE)).decode()


def load_keys(place: str, environ: Mapping[str, str] | None = None) -> Keys:
    """The keys of a place.

    Args:
        place: ``keyring``, ``keyring:NAME``, ``file:PATH`` or ``env:VARIABLE``.
        environ: The environment; the process's own where None.

    Raises:
        KeyUnavailable: There are none, or others could read them, or one is no key.
    """
    kind, _, name = place.partition(":")
    environ = os.environ if environ is None else environ
    if kind == "file":
        text = _of_file(place, Path(name).expanduser())
    elif kind == "env":
        text = environ.get(name, "")
        if not text.strip():
            raise KeyUnavailable(place, f"the variable {name} is not set")
    elif kind == "keyring":
        text = _of_keyring(place, name or _ACCOUNT)
    else:
        raise KeyUnavailable("encryption.key", "expected keyring, keyring:NAME, file:PATH or env:VARIABLE")
    return Keys(tuple(_key(place, number, word) for number, word in enumerate(text.split(), start=1)))


def add_key(place: str) -> Keys:
    """Make a new key and put it in front of those of a place, which is made where there is none; the old ones still open what they closed.

    Raises:
        KeyUnavailable: What is there cannot be used, or the place cannot be written.
    """
    kind, _, name = place.partition(":")
    if kind == "env":
        raise KeyUnavailable(
            place, "a variable is set by whoever starts the program: put a new key before the old one, with a blank between"
        )
    if kind not in ("file", "keyring"):
        raise KeyUnavailable("encryption.key", "expected keyring, keyring:NAME or file:PATH")
    path = Path(name).expanduser()
    there = os.path.lexists(path) if kind == "file" else _asked_keyring(place, name or _ACCOUNT) is not None
    old = load_keys(place).secrets if there else ()
    lines = [new_key(), *(base64.b64encode(secret).decode() for secret in old)]
    if kind == "file":
        try:
            write_atomic(path, ("\n".join(lines) + "\n").encode())
        except StateWriteFailed as error:
            raise KeyUnavailable(place, str(error)) from error
    else:
        _into_keyring(place, name or _ACCOUNT, "\n".join(lines))
    return load_keys(place)


def _key(place: str, number: int, word: str) -> bytes:
    try:
        secret = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != SIZE:
        # what was read is not shown: it may be a key with a slip in it
        raise KeyUnavailable(place, f"the key number {number} there is not {SIZE} bytes in base64 (44 characters)")
    return secret


def _of_file(place: str, path: Path) -> str:
    try:
        # not blocking: a pipe of that name must not hold anybody up
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            _check(place, os.fstat(fd))
            data = os.read(fd, LARGEST)
        finally:
            os.close(fd)
        text = data.decode()
    except FileNotFoundError:
        raise KeyUnavailable(place, "the file is not there") from None
    except OSError as error:
        raise KeyUnavailable(place, f"it cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise KeyUnavailable(place, "it holds no keys in base64") from None
    if not text.strip():
        raise KeyUnavailable(place, "the file is empty")
    return text


def _check(place: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeyUnavailable(place, "it is no regular file")
    if found.st_size > LARGEST:
        raise KeyUnavailable(place, "it is too large for a file of keys")
    if sys.platform != "win32":
        if found.st_uid not in (os.geteuid(), 0):
            raise KeyUnavailable(place, "the file belongs to somebody else")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise KeyUnavailable(place, f"others can use the file (mode {stat.S_IMODE(found.st_mode):o}): chmod 600 it")


def _of_keyring(place: str, name: str) -> str:
    text = _asked_keyring(place, name)
    if text is None or not text.strip():
        raise KeyUnavailable(place, f"the keyring has no password for {SERVICE!r} and {name!r}")
    return text


def _asked_keyring(place: str, name: str) -> str | None:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise KeyUnavailable(place, "the keyring needs the extra: pip install 'memory-guardian[secure]'") from None
    try:
        return keyring.get_password(SERVICE, name)
    except KeyringError as error:
        raise KeyUnavailable(
            place, f"the keyring does not answer: {str(error) or type(error).__name__}; unlock it, or use a file"
        ) from error


def _into_keyring(place: str, name: str, text: str) -> None:
    import keyring
    from keyring.errors import KeyringError

    try:
        keyring.set_password(SERVICE, name, text)
    except KeyringError as error:
        raise KeyUnavailable(place, f"the keyring takes nothing: {str(error) or type(error).__name__}") from error
