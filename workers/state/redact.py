"""Removes secrets from what is about to be written: by the name they are kept under, and by what they look like.

Every secret is replaced by a mark of its kind, never by a hash or a part of it. Redacting what was redacted changes nothing.
The formats are public facts about tokens (prefix, alphabet, length); every pattern is free of nested repetition, so time is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from supervisor import Value

_EMPTY_OR_FLAG: Final = frozenset({"", "0", "1", "true", "false", "yes", "no", "on", "off", "none", "null"})

_SECRET_WORDS: Final = frozenset(
    {
        "apikey",
        "apikeys",
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "creds",
        "jwt",
        "key",
        "keys",
        "otp",
        "pass",
        "passphrase",
        "passwd",
        "password",
        "passwords",
        "pat",
        "pin",
        "private",
        "pw",
        "pwd",
        "sas",
        "secret",
        "secrets",
        "signature",
        "token",
        "tokens",
    }
)
_ENDINGS: Final = ("password", "passwd", "secret", "token", "apikey", "credentials", "passphrase")
_HARMLESS: Final = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK", "SSH_ASKPASS", "GIT_ASKPASS", "SUDO_ASKPASS"})
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MARK: Final = re.compile(r"(\[redacted:[a-z-]+\])")
_USER: Final = re.compile(r"(?P<user>(?>(?:\[redacted:[a-z-]+\]|[^:])*)):(?P<password>.+)", re.DOTALL)
_ASSIGNED: Final = re.compile(r"(?P<name>-{0,2}[A-Za-z][A-Za-z0-9_.-]{0,80})(?P<sign>=|:[ \t]*)(?P<value>.+)", re.DOTALL)
_OPTION: Final = re.compile(r"--[A-Za-z]")
_SHORT_PASSWORD_OPTION: Final = frozenset({"-u", "--user", "--proxy-user"})


@attrs.frozen(repr=False, eq=False)
class _Format(Value):
    """What one kind of secret looks like; `pattern`'s groups `before` and `after`, if any, are kept."""

    kind: str
    pattern: re.Pattern[str]

    def hide(self, text: str) -> str:
        return self.pattern.sub(self._mark, text)

    def _mark(self, found: re.Match[str]) -> str:
        groups = found.groupdict()
        return f"{groups.get('before') or ''}[redacted:{self.kind}]{groups.get('after') or ''}"


def _format(kind: str, pattern: str, flags: int = 0) -> _Format:
    return _Format(kind, re.compile(pattern, flags))


# what a name ends with before a token of it would begin
_EDGE: Final = r"(?<![A-Za-z0-9_-])"
# not what is a mark already
_NEW: Final = r"(?!\[redacted:)"
_HEADERS: Final = r"(?:x-api-key|api-key|(?:proxy-)?authorization|(?:set-)?cookie|x-auth-token|private-token)"
_QUERY: Final = r"(?:sig|signature|token|access_token|api_?key|key|secret|password|code)"
_FORMATS: Final = (
    # a block that was cut off hides everything to its end
    _format("pem", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)", re.DOTALL),
    _format("jwt", _EDGE + r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"),
    _format("url-password", r"(?P<before>[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?#:@\[\]]{0,256}:)" + _NEW + r"[^\s/?#@]{1,1024}(?P<after>@)"),
    _format("authorization", r"(?P<before>\b(?:bearer|basic|digest|negotiate)[ \t]+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
    _format(
        "header",
        r"(?P<before>\b" + _HEADERS + r"[ \t]*:[ \t]*)(?!\[redacted:|(?:bearer|basic|digest|negotiate)\b)[^\s\[][^\r\n]*",
        re.IGNORECASE,
    ),
    _format("account-key", r"(?P<before>\b(?:account|shared ?access)key=)" + _NEW + r"[^;\s]{8,}", re.IGNORECASE),
    _format("query", r"(?P<before>[?&]" + _QUERY + "=)" + _NEW + r"[^&\s#]{6,}", re.IGNORECASE),
    # model providers, payment, source hosts, clouds, chat, package registries
    _format("api-key", _EDGE + r"sk-[A-Za-z0-9_-]{16,}"),
    _format("api-key", _EDGE + r"(?:gsk_|hf_|xai-|r8_)[A-Za-z0-9]{30,}"),
    _format("api-key", _EDGE + r"(?:(?:sk|rk|pk)_(?:live|test)_|whsec_)[A-Za-z0-9]{16,}"),
    _format("api-key", _EDGE + r"(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})"),
    _format("api-key", _EDGE + r"gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{16,}"),
    _format("api-key", _EDGE + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    _format("api-key", _EDGE + r"(?:AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,})"),
    _format("api-key", _EDGE + r"(?:dop_v1_[a-f0-9]{64}|hv[sb]\.[A-Za-z0-9_-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{40,})"),
    _format("api-key", _EDGE + r"(?:xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,})"),
    _format("api-key", _EDGE + r"(?:npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})"),
    _format(
        "webhook",
        r"(?P<before>https://(?:hooks\.slack\.com/(?:services|workflows)|(?:\w{1,30}\.)?discord(?:app)?\.com/api/webhooks)/)"
        + _NEW
        + r"[A-Za-z0-9/_-]{10,}",
    ),
)


def redact_text(text: str) -> str:
    """The text with everything that looks like a secret replaced by its mark."""
    # again until nothing changes: what a mark has cut off can look like a secret of its own
    while (after := _once(text)) != text:
        text = after
    return text


def _once(text: str) -> str:
    parts = _MARK.split(text)
    for known in _FORMATS:
        # every part that is no mark, apart: a mark is never a piece of another secret
        parts = [piece for part in parts for piece in (_MARK.split(known.hide(part)) if not _MARK.fullmatch(part) else [part])]
    return "".join(parts)


def redact_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without secrets; a value whose name says that it is one is replaced as a whole."""
    return {name: _redact_named(name, value, "key-name") for name, value in environment.items()}


def redact_arguments(arguments: Iterable[str]) -> tuple[str, ...]:
    """An argument list without secrets: after ``--password`` and its like, in ``--token=...`` and ``NAME=...``, and by look."""
    redacted: list[str] = []
    option = ""
    for argument in arguments:
        if option and not _OPTION.match(argument):
            redacted.append(_redact_named(option, argument, "argument"))
            option = ""
            continue
        option = argument if _takes_secret(argument) else ""
        assigned = _ASSIGNED.fullmatch(argument)
        if assigned is not None and names_secret(assigned["name"]):
            redacted.append(
                redact_text(assigned["name"]) + assigned["sign"] + _redact_named(assigned["name"], assigned["value"], "argument")
            )
        else:
            redacted.append(redact_text(argument))
    return tuple(redacted)


def names_secret(name: str) -> bool:
    """Whether what is kept under this name is a secret, judged by the words of the name."""
    if name.strip("-") in _HARMLESS or name.strip("-").upper() in _HARMLESS:
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    return any(word in _SECRET_WORDS or word.endswith(_ENDINGS) for word in words)


def _takes_secret(argument: str) -> bool:
    """Whether the next argument is the secret of this option."""
    if argument in _SHORT_PASSWORD_OPTION:
        return True
    return _OPTION.match(argument) is not None and "=" not in argument and ":" not in argument and names_secret(argument)


def _redact_named(name: str, value: str, kind: str) -> str:
    if _MARK.fullmatch(value):
        return value
    if name in _SHORT_PASSWORD_OPTION:
        pair = _USER.fullmatch(value)
        return redact_text(value) if pair is None else f"{redact_text(pair['user'])}:[redacted:{kind}]"
    if not names_secret(name) or value.lower() in _EMPTY_OR_FLAG:
        return redact_text(value)
    if value.isdecimal() and _counts(name):
        return value
    return f"[redacted:{kind}]"


def _counts(name: str) -> bool:
    """Whether a number under this name is a count, as in ``MAX_OUTPUT_TOKENS``."""
    return bool({"tokens", "keys", "cookies"} & {word.lower() for word in _WORD.findall(name)})
