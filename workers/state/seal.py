"""Encryption of what is kept: AES-256-GCM in chunks, under a key of its own for each blob.

A blob is a prefix (magic, id of the key, random salt) and chunks. Its key is derived from the configured one and the salt (HKDF,
RFC 5869), so no nonce is ever used twice; the nonce of a chunk is its number and whether it is the last (the STREAM construction of
Hoang, Reyhanitabar, Rogaway and Vizár, 2015), so that chunks cannot be left out, repeated, exchanged or cut off. The prefix and a header
that is not stored are authenticated with each chunk: who opens it has to know what it is, and a blob in the place of another does not open.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

from .keys import Keys, KeyUnavailable, load_keys
from .model import StateInvalid, canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from ..config import EncryptionConfig

SUFFIX: Final = ".enc"
"""Ends the name of a file whose content is sealed, after the suffix it would have."""
CHUNK: Final = 1 << 20
"""Bytes of plain text in each chunk but the last."""

_MAGIC: Final = b"MGE1"
_KEY_ID, _SALT, _TAG = 8, 32, 16
_PREFIX: Final = len(_MAGIC) + _KEY_ID + _SALT
_NONCE: Final = struct.Struct(">7xI?")
_INFO: Final = b"memory-guardian sealed blob 1"


class Seal(Protocol):
    """Closes and opens blobs."""

    def sealed(self, plain: bytes, header: Mapping[str, str]) -> bytes:
        """Encrypt; `header` says what it is, is not stored, and must be the same to open it."""
        ...

    def opened(self, blob: bytes, header: Mapping[str, str]) -> bytes:
        """Decrypt, all or nothing.

        Raises:
            StateInvalid: It was changed or cut, is something else than `header` says, or its key is not known here.
        """
        ...

    def is_current(self, blob: bytes) -> bool:
        """Whether a blob is sealed with the key that closes now.

        Raises:
            StateInvalid: It is no sealed blob.
        """
        ...


class KeySeal:
    """A `Seal` with keys: the first one closes, any of them opens."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def sealed(self, plain: bytes, header: Mapping[str, str]) -> bytes:
        """Encrypt under the first key."""
        key_id, key = self._keys.current
        prefix = _MAGIC + key_id + os.urandom(_SALT)
        cipher, bound, view = _cipher(key, prefix), prefix + canonical(dict(header)), memoryview(plain)
        return b"".join([prefix, *(cipher.encrypt(nonce, view[start:end], bound) for nonce, start, end in _chunks(len(plain), CHUNK))])

    def opened(self, blob: bytes, header: Mapping[str, str]) -> bytes:
        """Decrypt with the key that it names.

        Raises:
            StateInvalid: It was changed or cut, is something else than `header` says, or its key is not known here.
        """
        from cryptography.exceptions import InvalidTag

        key_id = key_of(blob)
        key = self._keys.find(key_id)
        if key is None:
            raise StateInvalid(f"it is encrypted with the key {key_id.hex()}, which is not among the configured ones ({self._keys})")
        prefix, body = blob[:_PREFIX], memoryview(blob)[_PREFIX:]
        cipher, bound = _cipher(key, prefix), prefix + canonical(dict(header))
        try:
            parts = [cipher.decrypt(nonce, body[start:end], bound) for nonce, start, end in _chunks(len(body), CHUNK + _TAG)]
        except InvalidTag:
            raise StateInvalid("it does not open: it was changed, or is not what its place says it is") from None
        return b"".join(parts)

    def is_current(self, blob: bytes) -> bool:
        """Whether a blob is sealed with the key that closes now.

        Raises:
            StateInvalid: It is no sealed blob.
        """
        return key_of(blob) == self._keys.current[0]


def seal_of(config: EncryptionConfig, environ: Mapping[str, str] | None = None) -> KeySeal | None:
    """What closes and opens under this configuration; None where nothing is to be encrypted.

    Args:
        config: The section ``[encryption]``.
        environ: For a key in a variable; the process's own where None.

    Raises:
        KeyUnavailable: There is no key where the configuration says, it is not kept safely, or the extra is not installed.
    """
    if not config.key:
        return None
    if find_spec("cryptography") is None:
        raise KeyUnavailable(config.key, "encryption needs the extra: pip install 'memory-guardian[secure]'")
    return KeySeal(load_keys(config.key, environ))


def is_sealed(blob: bytes) -> bool:
    """Whether data look like a sealed blob."""
    return blob.startswith(_MAGIC)


def key_of(blob: bytes) -> bytes:
    """The id of the key of a blob.

    Raises:
        StateInvalid: It is no sealed blob.
    """
    if not is_sealed(blob) or len(blob) < _PREFIX + _TAG:
        raise StateInvalid("it is damaged: no encrypted data of a known format")
    return blob[len(_MAGIC) : len(_MAGIC) + _KEY_ID]


def resealed(blob: bytes, header: Mapping[str, str], seal: Seal) -> bytes:
    """The same under the key that closes now; what was not sealed is sealed.

    Raises:
        StateInvalid: It does not open.
    """
    return seal.sealed(seal.opened(blob, header) if is_sealed(blob) else blob, header)


def _cipher(key: bytes, prefix: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(SHA256(), 32, salt=prefix, info=_INFO).derive(key))


def _chunks(total: int, each: int) -> Iterator[tuple[bytes, int, int]]:
    """The nonce, start and end of each chunk; there is always one, and the last one says so."""
    count = max(1, -(-total // each))
    for number in range(count):
        yield _NONCE.pack(number, number == count - 1), number * each, min(total, (number + 1) * each)
