"""Which names say that what is kept under them is a secret."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Final


class Telling(Enum):
    """How much a name gives away: a password is short and made up by a person, a secret is drawn at random."""

    PASSWORD = "password"
    SECRET = "secret"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SECRET_WORDS: Final = _words(
    """apikey apikeys auth authorization bearer cookie cookies credential credentials creds jwt key keys otp pass passphrase passwd
    password passwords pat pin private pw pwd sas secret secrets signature token tokens"""
)
"""Of a variable or an option: where there is one of these in its name, its value goes."""

_ENDINGS: Final = ("password", "passwd", "secret", "token", "apikey", "credentials", "passphrase")
_HARMLESS: Final = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK", "SSH_ASKPASS", "GIT_ASKPASS", "SUDO_ASKPASS"})
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_PASSWORD: Final = frozenset({"password", "passwords", "passwd", "passphrase", "passcode", "pwd", "passwort"})
_SECRET: Final = frozenset({"secret", "secrets", "token", "credential", "credentials", "apikey", "authtoken", "accesstoken", "accesskey"})
_KEYS: Final = _words(
    """access account api auth client deploy encryption host license master private secret service session shared signing storage
    ssh webhook"""
)
_ABOUT: Final = _words(
    """algorithm arn class count created enabled endpoint expires expiry field file format header host hash id index kind label
    length limit list max min mode name number param path pattern policy position prefix regex required size store suffix timeout
    tokens ttl type url usage uri valid version"""
)
"""A name that ends with one of these is about a secret, and is kept with what is not one."""


def names_secret(name: str) -> bool:
    """Whether what a variable or an option of this name holds is a secret, judged by the words of the name."""
    if name.strip("-") in _HARMLESS or name.strip("-").upper() in _HARMLESS:
        return False
    return any(word in SECRET_WORDS or word.endswith(_ENDINGS) for word in words(name))


@lru_cache(1024)
def tells(name: str) -> Telling | None:
    """What a name in a text, in code or in JSON data says of its value; stricter than `names_secret`, because a key is many things."""
    if name in _HARMLESS or len(name) > 100:
        return None
    said = words(name)
    while said and said[-1].isdecimal():
        said.pop()
    if not said or said[-1] in _ABOUT:
        return None
    if any(word in _PASSWORD or word.endswith(("password", "passwd")) for word in said):
        return Telling.PASSWORD
    if any(word in _SECRET or word.endswith(("secret", "token", "apikey")) for word in said):
        return Telling.SECRET
    if said[-1] in ("key", "keys") and len(said) > 1 and said[-2] in _KEYS:
        return Telling.SECRET
    return Telling.SECRET if said[-1] in ("auth", "authorization", "cookie") and len(said) > 1 else None


def counts(name: str) -> bool:
    """Whether a number under this name is a count, as in ``MAX_OUTPUT_TOKENS``."""
    return bool({"tokens", "keys", "cookies"} & set(words(name)))


def words(name: str) -> list[str]:
    """The words of a name, in lower case."""
    return [word.lower() for word in _WORD.findall(name)]
