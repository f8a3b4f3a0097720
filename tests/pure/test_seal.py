"""Sealed blobs: opened whole and only as what they are, or not at all; keys from their places, and new ones before old ones."""

from __future__ import annotations

import base64
import os
import pickle
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.config import EncryptionConfig
from workers.state import seal as module
from workers.state.keys import Keys, KeyUnavailable, add_key, key_id, load_keys, new_key
from workers.state.model import StateInvalid
from workers.state.seal import KeySeal, is_sealed, resealed, seal_of

pytest.importorskip("cryptography")

HEADER = {"project": "p", "state": "s", "format": "1"}
ONE, TWO = (bytes(range(start, start + 32)) for start in (0, 100))


def seal(*keys: bytes) -> KeySeal:
    return KeySeal(Keys(keys or (ONE,)))


@given(st.binary(max_size=300), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_what_is_sealed_opens(plain: bytes, header: dict[str, str]) -> None:
    """The same bytes come out; nothing of them is seen from outside; two times are two blobs."""
    blob = seal().sealed(plain, header)
    assert is_sealed(blob)
    assert seal().opened(blob, dict(reversed(header.items()))) == plain
    assert blob != seal().sealed(plain, header)
    assert len(plain) < 8 or plain not in blob


def test_every_changed_byte_is_noticed() -> None:
    """Whichever byte is changed, wherever it is cut or lengthened: it does not open."""
    blob = seal().sealed(b"some words", HEADER)
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(StateInvalid):
            seal().opened(bytes(changed), HEADER)
        with pytest.raises(StateInvalid):
            seal().opened(blob[:at], HEADER)
    with pytest.raises(StateInvalid):
        seal().opened(blob + b"x", HEADER)


@pytest.mark.parametrize("header", [{}, {**HEADER, "state": "t"}, {**HEADER, "more": ""}, {"project": "ps", "state": "", "format": "1"}])
def test_a_blob_in_the_place_of_another_does_not_open(header: dict[str, str]) -> None:
    """The header is not stored, and whoever opens it must say the same."""
    blob = seal().sealed(b"some words", HEADER)
    with pytest.raises(StateInvalid, match="is not what its place says"):
        seal().opened(blob, header)


def test_chunks_keep_their_order_and_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob of many chunks: none can be left out, repeated, exchanged, taken from another blob or cut off, the last one neither."""
    monkeypatch.setattr(module, "CHUNK", 8)
    prefix, size = 44, 8 + 16
    for plain in (b"", b"a", b"a" * 8, b"a" * 9, b"a" * 24, bytes(range(30))):
        assert seal().opened(seal().sealed(plain, HEADER), HEADER) == plain
    blob, other = seal().sealed(b"a" * 24, HEADER), seal().sealed(b"a" * 24, HEADER)
    head, *chunks = blob[:prefix], *(blob[prefix + n * size : prefix + (n + 1) * size] for n in range(3))
    alien = other[prefix : prefix + size]
    for order in ([0, 1], [0], [], [1, 0, 2], [0, 2, 1], [0, 0, 2], [0, 1, 2, 2], [1, 2], [0, 1, 1, 2]):
        with pytest.raises(StateInvalid):
            seal().opened(head + b"".join(chunks[n] for n in order), HEADER)
    with pytest.raises(StateInvalid):
        seal().opened(head + alien + chunks[1] + chunks[2], HEADER)
    assert seal().opened(head + b"".join(chunks), HEADER) == b"a" * 24


def test_a_key_that_is_not_there_is_named() -> None:
    """A wrong key is told by its id before anything is tried; old keys open, the newest closes."""
    blob = seal(ONE).sealed(b"some words", HEADER)
    with pytest.raises(StateInvalid, match=rf"the key {key_id(ONE).hex()}, .* \({key_id(TWO).hex()}\)"):
        seal(TWO).opened(blob, HEADER)
    both = seal(TWO, ONE)
    assert both.opened(blob, HEADER) == b"some words"
    again = resealed(blob, HEADER, both)
    assert (both.is_current(blob), both.is_current(again)) == (False, True)
    assert seal(TWO).opened(again, HEADER) == seal(TWO).opened(resealed(b"some words", HEADER, both), HEADER) == b"some words"


def test_keys_are_not_shown() -> None:
    """A key is in no text of a value or an error; its id is."""
    keys = Keys((ONE, TWO))
    shown = f"{keys!r} {keys}"
    assert all(base64.b64encode(key).decode() not in shown and repr(key) not in shown for key in (ONE, TWO))
    assert key_id(ONE).hex() in shown and key_id(ONE) not in ONE


@given(st.binary(max_size=120))
def test_no_input_does_anything_else(noise: bytes) -> None:
    """Whatever is opened: a fault of the one kind."""
    for blob in (noise, b"MGE1" + noise, b"MGE1" + key_id(ONE) + noise):
        with pytest.raises(StateInvalid):
            seal().opened(blob, HEADER)


def test_a_key_in_a_file(tmp_path: Path) -> None:
    """A private file is made where there is none; a new key goes before the old ones, which still open what they closed."""
    place = f"file:{tmp_path}/key"
    first = add_key(place)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600 and load_keys(place) == first and len(first.secrets) == 1
    old = seal_of(EncryptionConfig(place))
    assert old is not None
    blob = old.sealed(b"some words", HEADER)
    second = add_key(place)
    assert second.secrets[1:] == first.secrets and second.current != first.current
    new = seal_of(EncryptionConfig(place))
    assert new is not None and new.opened(blob, HEADER) == b"some words" and not new.is_current(blob)
    assert seal_of(EncryptionConfig()) is None


@pytest.mark.skipif(sys.platform == "win32", reason="modes and links of POSIX")
def test_a_file_of_keys_that_is_not_safe_is_refused(tmp_path: Path) -> None:
    """Readable by others, a link, no file, somebody else's, too large, empty, absent or no key: each says what is wrong, and no key."""
    path = tmp_path / "key"
    place, text = f"file:{path}", new_key()

    def refused(match: str) -> None:
        with pytest.raises(KeyUnavailable, match=match) as caught:
            load_keys(place)
        assert caught.value.place == place and text[:12] not in str(caught.value)

    refused("is not there")
    path.write_text(text)
    for wide in (0o640, 0o604, 0o620):
        path.chmod(wide)
        refused(f"mode {wide:o}.*chmod 600")
    path.chmod(0o400)
    assert len(load_keys(place).secrets) == 1
    path.chmod(0o600)
    for wrong in (text[:-4], f"{text[:20]} {text[20:]}", f"{text}\n{text[:-1]}", "é" * 44):
        path.write_text(wrong)
        refused("32 bytes in base64")
    path.write_text(" \n")
    refused("is empty")
    path.write_bytes(b"\xff" * 44)
    refused("no keys in base64")
    path.write_bytes(b" " * 100_000)
    refused("too large")
    if os.geteuid() == 0:
        path.write_text(text)
        os.chown(path, 65534, 65534)
        refused("somebody else")
    path.rename(tmp_path / "real")
    path.symlink_to(tmp_path / "real")
    refused("cannot be read")
    path.unlink()
    path.mkdir(0o700)
    refused("no regular file")
    path.rmdir()
    os.mkfifo(path, 0o600)
    refused("no regular file")


def test_a_key_in_a_variable() -> None:
    """The variable holds one key or several; that a new one cannot be put there is said."""
    first, second = new_key(), new_key()
    keys = load_keys("env:STATE_KEY", {"STATE_KEY": f"{first} {second}"})
    assert keys == Keys((base64.b64decode(first), base64.b64decode(second)))
    for environ in ({}, {"STATE_KEY": " "}):
        with pytest.raises(KeyUnavailable, match="STATE_KEY is not set"):
            load_keys("env:STATE_KEY", environ)
    with pytest.raises(KeyUnavailable, match="before the old one"):
        add_key("env:STATE_KEY")
    with pytest.raises(KeyUnavailable, match="expected keyring") as caught:
        load_keys(first)
    assert first not in str(caught.value)


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[tuple[str, str], str]]:
    """A keyring of our own, put where the system's would be."""
    keyring = pytest.importorskip("keyring")
    kept: dict[tuple[str, str], str] = {}

    class Vault(keyring.backend.KeyringBackend):  # type: ignore[misc, name-defined]
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            kept[service, username] = password

    before = keyring.core._keyring_backend
    keyring.set_keyring(Vault())
    try:
        yield kept
    finally:
        keyring.core._keyring_backend = before


def test_a_key_in_the_keyring(vault: dict[tuple[str, str], str]) -> None:
    """The keyring holds keys under the program's name; new ones go before old ones, and each name has its own."""
    with pytest.raises(KeyUnavailable, match="no password for 'memory-guardian' and 'state'"):
        load_keys("keyring")
    first = add_key("keyring")
    second = add_key("keyring")
    assert second.secrets[1:] == first.secrets and load_keys("keyring") == second
    add_key("keyring:work")
    assert set(vault) == {("memory-guardian", "state"), ("memory-guardian", "work")}


def test_a_keyring_that_fails_is_told() -> None:
    """Where there is no keyring, the error says so and what to use instead."""
    keyring = pytest.importorskip("keyring")
    from keyring.backends.fail import Keyring

    before = keyring.core._keyring_backend
    keyring.set_keyring(Keyring())  # type: ignore[no-untyped-call]
    try:
        for call in (load_keys, add_key):
            with pytest.raises(KeyUnavailable, match=r"does not answer.*or use a file"):
                call("keyring")
    finally:
        keyring.core._keyring_backend = before


@pytest.mark.parametrize("package", ["cryptography", "keyring"])
def test_without_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra encryption is refused with the extra's name: never is anything written plainly instead."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(KeyUnavailable, match=r"pip install 'memory-guardian\[secure\]'"):
        seal_of(EncryptionConfig("keyring"))


def test_the_error_crosses_a_process_border() -> None:
    """The typed error can be pickled with its values."""
    error = pickle.loads(pickle.dumps(KeyUnavailable("keyring", "locked")))
    assert (error.place, error.reason, str(error)) == ("keyring", "locked", "no key from 'keyring': locked")
