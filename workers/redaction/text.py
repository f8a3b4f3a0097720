"""Redaction of texts, environments and arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from .names import counts, names_secret
from .scan import redacted, secrets_in

_EMPTY_OR_FLAG: Final = frozenset({"", "0", "1", "true", "false", "yes", "no", "on", "off", "none", "null"})
MARK: Final = re.compile(r"\[redacted: [a-z0-9-]{1,40}\]")
_USER: Final = re.compile(r"(?P<user>(?:\[redacted: [a-z0-9-]{1,40}\]|[^:\[]|\[(?!redacted: ))*+):(?P<password>.+)", re.DOTALL)
_ASSIGNED: Final = re.compile(r"(?P<name>-{0,2}[A-Za-z][A-Za-z0-9_.-]{0,80})(?P<sign>=|:[ \t]*)(?P<value>.+)", re.DOTALL)
_OPTION: Final = re.compile(r"--[A-Za-z]")
_USER_OPTION: Final = frozenset({"-u", "--user", "--proxy-user"})

KEY_NAME: Final = "[redacted: key-name]"
ARGUMENT: Final = "[redacted: argument]"


def redact_text(text: str) -> str:
    """A text with every secret replaced by its mark, ``[redacted: KIND]``; the same object where there is none.

    Linear in the length of the text. Redacting what was redacted changes nothing.
    """
    data = text.encode("utf-8", "surrogatepass")
    secrets = secrets_in(data)
    return redacted(data, secrets).decode("utf-8", "surrogatepass") if secrets else text


def redact_bytes(text: bytes) -> bytes:
    """As `redact_text`, for a text in UTF-8 or in what contains ASCII; bytes that are no text are left as they are."""
    secrets = secrets_in(text)
    return redacted(text, secrets) if secrets else text


def redact_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without secrets; a value whose name says that it is one is replaced as a whole."""
    return {name: _named(name, value, KEY_NAME) for name, value in environment.items()}


def redact_arguments(arguments: Iterable[str]) -> tuple[str, ...]:
    """An argument list without secrets: after ``--password`` and its like, in ``--token=...`` and ``NAME=...``, and by look."""
    redacted: list[str] = []
    option = ""
    for argument in arguments:
        if option and not _OPTION.match(argument):
            redacted.append(_named(option, argument, ARGUMENT))
            option = ""
            continue
        option = argument if _takes_secret(argument) else ""
        assigned = _ASSIGNED.fullmatch(argument)
        if assigned is not None and names_secret(assigned["name"]):
            name = assigned["name"]
            redacted.append(redact_text(name) + assigned["sign"] + _named(name, assigned["value"], ARGUMENT))
        else:
            redacted.append(redact_text(argument))
    return tuple(redacted)


def is_mark(text: str) -> bool:
    """Whether a text is nothing but a mark."""
    return MARK.fullmatch(text) is not None


def is_nothing(value: str) -> bool:
    """Whether a value is empty or a flag, and no secret under whatever name."""
    return value.lower() in _EMPTY_OR_FLAG


def _takes_secret(argument: str) -> bool:
    """Whether the next argument is the secret of this option."""
    if argument in _USER_OPTION:
        return True
    return _OPTION.match(argument) is not None and "=" not in argument and ":" not in argument and names_secret(argument)


def _named(name: str, value: str, hidden: str) -> str:
    if is_mark(value):
        return value
    if name in _USER_OPTION:
        pair = _USER.fullmatch(value)
        return redact_text(value) if pair is None else f"{redact_text(pair['user'])}:{hidden}"
    if not names_secret(name) or is_nothing(value):
        return redact_text(value)
    if value.isdecimal() and counts(name):
        return value
    # what is nothing but one secret of a known kind says which
    looked = redact_text(value)
    return looked if is_mark(looked) else hidden
