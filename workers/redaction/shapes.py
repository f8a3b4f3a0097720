"""Secrets that are told by what stands around them: key blocks, tokens with an inner structure, addresses, headers, assignments."""

from __future__ import annotations

import re
from typing import Final

from .checks import has_digits, is_credentials, is_mixed, is_password, is_place, is_placeholder, is_random
from .names import Telling, counts, names_secret, tells
from .rule import NAME, UPPER, WORD, Rule

_Found = re.Match[bytes]

LONGEST_HEAD: Final = 1 << 15
"""From the beginning of a match to where nothing but its tail can come, at most so many bytes. A stream holds back as many."""

_TOKEN68: Final = rb"[A-Za-z0-9._~+/=-]*"
_LINE_END: Final = rb"(?:\r?\n|(?:\\{1,4}r)?\\{1,4}n)"
_BODY: Final = rb"""[A-Za-z0-9+/=\s\\"',]*"""


def _written(found: _Found, secret: bytes) -> bool:
    return not is_placeholder(secret) and is_mixed(secret)


def _authorized(found: _Found, secret: bytes) -> bool:
    if found[0][:5].lower() == b"basic":
        return is_credentials(secret)
    return not is_placeholder(secret) and (has_digits(secret) or is_random(secret, quoted=True))


def _url_password(found: _Found, secret: bytes) -> bool:
    return not is_placeholder(secret) and b"{" not in secret and b"[" not in secret and secret.lower() not in _PASSWORD_WORDS


_PASSWORD_WORDS: Final = frozenset({b"password", b"passwd", b"pass", b"pwd", b"pw", b"secret", b"token"})


def _cookie(found: _Found, secret: bytes) -> bool:
    name, sign, value = secret.partition(b"=")
    return bool(sign) and b" " not in name and not is_placeholder(value.split(b";")[0])


def _queried(found: _Found, secret: bytes) -> bool:
    before = found.string[found.start() - 1 : found.start()]
    return before in (b"?", b"&") and not is_placeholder(secret) and is_mixed(secret) and b"{" not in secret


def _connected(found: _Found, secret: bytes) -> bool:
    return found.string[found.start() - 1 : found.start()] == b";" and not is_placeholder(secret)


def _aws_secret(found: _Found, secret: bytes) -> bool:
    named = found[0][:18].lower()
    known = b"access" in named or b"aws" in found.string[max(0, found.start() - 4) : found.start()].lower()
    return known and is_random(secret, quoted=True) and not secret.islower()


def _option(found: _Found, secret: bytes) -> bool:
    return (
        names_secret(found["n"].decode("ascii"))
        and not is_placeholder(secret)
        and not is_place(secret)
        and is_mixed(secret)
        and b"[" not in secret
        and secret.count(b"/") < 2
    )


def _basic(found: _Found, secret: bytes) -> bool:
    # neither the numbers of a user and a group, as of docker, nor a right that is granted
    return is_mixed(secret) and not is_placeholder(secret) and not is_place(secret)


PEM: Final = Rule(
    "private-key",
    (b"-----begin",),
    # the marker, headers, and enough of a body to be a key and no mention of one
    rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    rb"(?:" + _LINE_END + rb"[A-Za-z-]{1,40}: [^\r\n\\]{0,200}){0,8}"
    rb"""[\s\\nr"',+]{0,80}(?P<body>[A-Za-z0-9+/=]{12})""" + _BODY + rb"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
    edge=False,
    tail=_BODY + rb"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
)

PUTTY: Final = Rule(
    "private-key",
    (b"private-lines:",),
    rb"Private-Lines: [0-9]{1,4}" + _LINE_END + rb"(?P<s>[A-Za-z0-9+/=]{12}" + _BODY + rb")",
    tail=_BODY,
)

JWT: Final = Rule(
    "jwt",
    (b"eyj",),
    # signed or, with five parts, encrypted
    rb"eyJ[A-Za-z0-9_-]{8,8192}\.(?:eyJ[A-Za-z0-9_-]{4,16384}|[A-Za-z0-9_-]{0,2048}\.[A-Za-z0-9_-]{8,2048}\.[A-Za-z0-9_-]{8,8192})\.[A-Za-z0-9_-]*",
    joined=True,
)

URL_PASSWORD: Final = Rule(
    "url-password",
    (b"://",),
    rb"""://[^\s/?#:@"'`<>\\]{0,128}:(?P<s>[^\s/?#@"'`<>\\]{1,512})@""",
    edge=False,
    check=_url_password,
    tail=b"",
)

AUTHORIZATION: Final = Rule(
    "authorization",
    (b"bearer ", b"basic ", b"bearer\t"),
    rb"(?:bearer|basic)[ \t]+(?P<s>[A-Za-z0-9._~+/=-]{8,512})",
    check=_authorized,
    tail=_TOKEN68,
    any_case=True,
)

_QUOTED_COLON: Final = rb"""(?:\\{0,3}["'])?[ \t]{0,4}:[ \t]{0,4}(?:\\{0,3}["'])?"""

HEADER: Final = Rule(
    "header",
    (b"authorization", b"-key", b"token"),
    rb"(?:proxy-|x-)?(?:authorization|api-key|auth-token|private-token|api-token|goog-api-key)"
    + _QUOTED_COLON
    + rb"""(?:[A-Za-z]{3,12}[ \t]+)?(?P<s>[^\s"'`\\,;]{5,512})""",
    lead=WORD,
    reach=16,
    check=_written,
    tail=rb"""[^\s"'`\\,;]*""",
    any_case=True,
)

COOKIE: Final = Rule(
    "cookie",
    (b"cookie",),
    rb"(?:set-)?cookie" + _QUOTED_COLON + rb"""(?P<s>[^\s"'`\\][^\r\n"'`\\]{1,512})""",
    lead=WORD,
    reach=4,
    check=_cookie,
    tail=rb"""[^\r\n"'`\\]*""",
    any_case=True,
)

_QUERY: Final = (
    rb"(?:api_?key|key|sig|signature|code|auth|passw(?:or)?d|secret|client_secret|(?:access_|refresh_|id_)?token"
    rb"|x-amz-signature|x-amz-security-token|x-goog-signature)"
)

QUERY: Final = Rule(
    "query",
    (b"token", b"secret", b"passw", b"key=", b"sig=", b"signature=", b"code=", b"auth="),
    _QUERY + rb"""=(?P<s>[^&\s#"'`<>\\]{6,512})""",
    lead=WORD,
    reach=24,
    check=_queried,
    tail=rb"""[^&\s#"'`<>\\]*""",
    any_case=True,
)

NETRC: Final = Rule(
    "netrc-password",
    (b"machine ",),
    rb"machine[ \t]+\S{1,200}[ \t]+login[ \t]+\S{1,200}[ \t]+password[ \t]+(?P<s>\S{1,200})",
    check=lambda found, secret: not is_placeholder(secret) and b"{" not in secret,
    tail=rb"\S*",
)

CURL_USER: Final = Rule(
    "basic-auth",
    (b" -u ", b" --user ", b" --user=", b" --proxy-user "),
    rb""" (?:-u |--(?:proxy-)?user[ =])[ ]{0,4}(?:\\{0,3}["'])?[A-Za-z0-9_.@+-]{1,64}:(?P<s>[^\s"'`\\]{3,512})""",
    edge=False,
    check=_basic,
    tail=rb"""[^\s"'`\\]*""",
)

PASSWORD_HASH: Final = Rule(
    "password-hash",
    (b"$2a$", b"$2b$", b"$2y$", b"$5$", b"$6$", b"$y$", b"$argon2"),
    rb"\$(?:2[aby]\$[0-9]{2}\$[A-Za-z0-9./]{53}|[56]\$(?:rounds=[0-9]+\$)?[A-Za-z0-9./]{1,16}\$[A-Za-z0-9./]{43,128}"
    rb"|y\$[A-Za-z0-9./]{1,8}\$[A-Za-z0-9./]{1,64}\$[A-Za-z0-9./]{43,128}|argon2i?d?\$v=[0-9]+\$[a-z0-9,=]{1,64}\$[A-Za-z0-9+/]{8,128}\$[A-Za-z0-9+/]{16,128})",
    tail=rb"[A-Za-z0-9./]*",
)

CONNECTION: Final = Rule(
    "connection-password",
    (b"passw", b"pwd"),
    rb"""(?:password|pwd)=(?P<s>[^;\s"'`\\<{$]{1,256})""",
    edge=False,
    check=_connected,
    tail=b"",
    any_case=True,
)

# ------------------------------------------------------------ names and their values

_TELLING_WORDS: Final = (
    *(b"passw", b"passphrase", b"passcode", b"pwd", b"secret", b"token", b"credential", b"_key", b"-key", b"apikey", b"api key"),
    *(b"accesskey", b"privatekey", b"accountkey", b"signingkey", b"encryptionkey", b"_auth", b"_cookie"),
)
_SIGN: Final = (
    # a type between a name and its value, as in Python and TypeScript
    rb"""(?:\\{0,3}["'`])?(?:[ \t]{0,4}:[ \t]{0,2}[A-Za-z][A-Za-z0-9_.|\[\]]{0,30})?[ \t]{0,4}(?:=>|:=|={1,3}|:|>|[ ]is[ ])[ \t]{0,4}"""
)
_QUOTED: Final = rb"""(?P<q>\\{0,3}["'`])(?P<t>(?:(?!(?P=q))(?:\\[^\r\n]|[^\\\r\n])){4,512})(?P=q)"""
_OPEN: Final = rb"""(?:\\{0,3}["'`])?"""
_BARE: Final = _OPEN + rb"""(?P<s>[^\s"'`\\,;<>&]{4,512})"""


def _named(found: _Found, secret: bytes) -> bool:
    telling = tells(found["n"].decode("ascii").replace(" ", "_"))
    if telling is None:
        return False
    quoted = found["q"] is not None
    if telling is Telling.PASSWORD:
        return is_password(secret, quoted=quoted)
    return is_random(secret, quoted=quoted)


def _variable(found: _Found, secret: bytes) -> bool:
    name = found["n"].decode("ascii")
    if len(name) < 4 or not any(map(str.isalpha, name)) or not names_secret(name):
        return False
    telling = tells(name)
    if telling is None or is_placeholder(secret) or is_place(secret) or len(secret) < 4:
        return False
    if any(sign in secret for sign in (b"(", b")", b"{", b"[")):
        return False
    return not (secret.isdigit() and counts(name))


NAMED: Final = Rule(
    "secret",
    _TELLING_WORDS,
    rb"(?P<n>[A-Za-z0-9_.-]{2,100}(?: key)?)" + _SIGN + rb"(?:[bBrRuUfF]?" + _QUOTED + rb"|" + _BARE + rb")",
    edge=False,
    lead=NAME,
    reach=64,
    check=_named,
    tail=rb"""[^\s"'`\\,;<>&]*""",
)

ENVIRONMENT: Final = Rule(
    "environment-secret",
    _TELLING_WORDS,
    rb"(?P<n>[A-Z][A-Z0-9_]{1,99})=(?:" + _QUOTED + rb"|" + _OPEN + rb"""(?P<s>[^\s"'`\\]{1,512}))""",
    lead=UPPER,
    reach=64,
    check=_variable,
    tail=rb"""[^\s"'`\\]*""",
)

OPTION: Final = Rule(
    "argument",
    (b"passw", b"token", b"secret", b"-key", b"apikey", b"passphrase", b"credential"),
    rb"(?P<n>--[a-z][a-z-]{2,40})(?:[ \t]{1,4}|=)(?:" + _QUOTED + rb"|" + _OPEN + rb"""(?P<s>[^\s"'`\\-][^\s"'`\\]{3,512}))""",
    lead=WORD,
    reach=40,
    check=_option,
    tail=rb"""[^\s"'`\\]*""",
)

AWS_SECRET: Final = Rule(
    "aws-secret-key",
    (b"secret",),
    rb"""secret(?:[_ -]?access)?(?:[_ -]?key)?""" + _SIGN + rb"""(?:\\{0,3}["'`])?(?P<s>[A-Za-z0-9+/]{40})(?![A-Za-z0-9+/=])""",
    edge=False,
    tail=b"",
    any_case=True,
    check=_aws_secret,
)

SHAPES: Final = (
    *(PEM, PUTTY, JWT, URL_PASSWORD, AWS_SECRET, AUTHORIZATION, HEADER, COOKIE, QUERY, NETRC, CURL_USER, PASSWORD_HASH, CONNECTION),
    *(ENVIRONMENT, OPTION, NAMED),
)
