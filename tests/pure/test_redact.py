"""Redaction: what is hidden, what is left alone, and that doing it twice changes nothing. All secrets here are made up."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.state.redact import names_secret, redact_arguments, redact_environment, redact_text

# joined at run time, so that no scanner takes this file for a leak
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def made_up(prefix: str, length: int, alphabet: str = LETTERS) -> str:
    return prefix + "".join(alphabet[(index * 7 + 3) % len(alphabet)] for index in range(length))


PEM = f"-----BEGIN {{}}PRIVATE {'KEY'}-----\n{made_up('', 64)}\n{made_up('', 20)}\n-----END {{}}PRIVATE KEY-----"
SECRETS = {
    "api-key": [
        made_up("sk" + "-ant-api03-", 80),
        made_up("sk" + "-proj-", 40),
        made_up("sk" + "_live_", 24),
        made_up("rk" + "_test_", 24),
        made_up("ghp" + "_", 36),
        made_up("github" + "_pat_", 60),
        made_up("glpat" + "-", 20),
        made_up("AK" + "IA", 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        made_up("AI" + "za", 35),
        made_up("ya29" + ".", 40),
        made_up("xoxb" + "-", 40),
        made_up("npm" + "_", 36),
        made_up("pypi" + "-", 60),
        made_up("hf" + "_", 34),
        made_up("gsk" + "_", 40),
        made_up("hvs" + ".", 30),
        made_up("dop" + "_v1_", 64, "0123456789abcdef"),
        f"{made_up('SG' + '.', 22)}.{made_up('', 43)}",
    ],
    "jwt": [f"eyJ{made_up('', 20)}.eyJ{made_up('', 40)}.{made_up('', 43)}"],
    "pem": [PEM.format(kind, kind) for kind in ("", "RSA ", "OPENSSH ")],
}  # fmt: skip
ALL = [(kind, secret) for kind, secrets in SECRETS.items() for secret in secrets]


@pytest.mark.parametrize(("kind", "secret"), ALL)
@pytest.mark.parametrize("around", ["{}", "before {} after", "a={}", '"{}"', "x\n{}\ny"])
def test_a_secret_is_hidden_by_its_look(kind: str, secret: str, around: str) -> None:
    """A value of a known format is replaced by the mark of its kind wherever it stands, and what stands around it is kept."""
    assert redact_text(around.format(secret)) == around.format(f"[redacted:{kind}]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://app:hunter2@db:5432/x", "postgres://app:[redacted:url-password]@db:5432/x"),
        ("redis://:hunter2@db/0", "redis://:[redacted:url-password]@db/0"),
        ("https://bob:pa%20ss@host a https://al:x@h", "https://bob:[redacted:url-password]@host a https://al:[redacted:url-password]@h"),
        ("Authorization: Bearer abcdefgh1234", "Authorization: Bearer [redacted:authorization]"),
        ("authorization: basic QWxhZGRpbjpvcGVu", "authorization: basic [redacted:authorization]"),
        ("X-Api-Key: abc123\nHost: h", "X-Api-Key: [redacted:header]\nHost: h"),
        ("Cookie: a=1; b=2", "Cookie: [redacted:header]"),
        ("AccountName=n;AccountKey=abcdefgh==;E=1", "AccountName=n;AccountKey=[redacted:account-key];E=1"),
        ("https://h/p?a=1&token=abcdef1&b=2#f", "https://h/p?a=1&token=[redacted:query]&b=2#f"),
        ("https://hooks.slack.com/services/" + "T000/B000/xyzxyzxyz", "https://hooks.slack.com/services/[redacted:webhook]"),
        ("-----BEGIN RSA PRIVATE " + "KEY-----\nabc", "[redacted:pem]"),
    ],
)
def test_a_secret_inside_something_is_cut_out(text: str, expected: str) -> None:
    """Of a URL, a header, a query or a connection string only the secret is replaced."""
    assert redact_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org:8080/path?x=1",
        "ssh://git@example.org/repo.git",
        "user@example.org",
        "skip-this-argument-please-now",
        "task-runner-with-a-long-name-0123456789",
        "0123456789abcdef0123456789abcdef01234567",
        "bearer of good news",
        "/srv/sk-user/project",
        "eyJ",
        "-----BEGIN PUBLIC KEY-----",
        "",
    ],
)
def test_harmless_text_is_left_alone(text: str) -> None:
    """What only resembles a secret is kept."""
    assert redact_text(text) == text


TELLING = """
API_KEY apiKey ANTHROPIC_API_KEY GITHUB_TOKEN DB_PASSWORD PGPASSWORD MYSQL_PWD CLIENT_SECRET aws_secret_access_key AUTH_HEADER
MY_CREDENTIALS NPM_AUTH COOKIE SIGNING_KEY --api-key --token X-Auth-Token ApiKey OAUTH_TOKEN2 SSH_PASSPHRASE TWILIO_PAT
"""
PLAIN = "PATH PWD OLDPWD HOME KEYBOARD MONKEY SSH_AUTH_SOCK GIT_AUTHOR_NAME TOKENIZERS_PARALLELISM LANG PASSENGER EDITOR"


@pytest.mark.parametrize("name", TELLING.split())
def test_names_that_say_secret(name: str) -> None:
    """A name with a telling word is one of a secret, however its words are joined."""
    assert names_secret(name)


@pytest.mark.parametrize("name", PLAIN.split())
def test_names_that_do_not(name: str) -> None:
    """A telling word inside another word, and the names that everybody has, are none."""
    assert not names_secret(name)


def test_an_environment_is_redacted_by_name_and_by_look() -> None:
    """A value under a telling name goes as a whole; any other value loses what looks like a secret; the rest stays."""
    environment = {
        "ANTHROPIC_API_KEY": "whatever",
        "DATABASE": "postgres://app:hunter2@db/x",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "32000",
        "PATH": "/usr/bin:/bin",
        "PASSWORD": "12345",
        "USE_TOKEN": "true",
        "EMPTY_SECRET": "",
        "ANTHROPIC_CUSTOM_HEADERS": "X-Api-Key: abc",
    }
    assert redact_environment(environment) == {
        "ANTHROPIC_API_KEY": "[redacted:key-name]",
        "DATABASE": "postgres://app:[redacted:url-password]@db/x",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "32000",
        "PATH": "/usr/bin:/bin",
        "PASSWORD": "[redacted:key-name]",
        "USE_TOKEN": "true",
        "EMPTY_SECRET": "",
        "ANTHROPIC_CUSTOM_HEADERS": "X-Api-Key: [redacted:header]",
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--token", "abc", "x"], ["run", "--token", "[redacted:argument]", "x"]),
        (["--api-key=abc", "-v"], ["--api-key=[redacted:argument]", "-v"]),
        (["env", "MY_SECRET=abc", "sh"], ["env", "MY_SECRET=[redacted:argument]", "sh"]),
        (["-H", "X-Api-Key: abc"], ["-H", "X-Api-Key: [redacted:argument]"]),
        (["curl", "-u", "bob:hunter2", "https://h"], ["curl", "-u", "bob:[redacted:argument]", "https://h"]),
        (["sort", "-u", "file"], ["sort", "-u", "file"]),
        (["--max-tokens", "500", "--max-tokens=500"], ["--max-tokens", "500", "--max-tokens=500"]),
        (["--password", "--force", "x"], ["--password", "--force", "x"]),
        (["claude", "--print", "fix the token parser"], ["claude", "--print", "fix the token parser"]),
        (["--url=postgres://a:hunter2@b"], ["--url=postgres://a:[redacted:url-password]@b"]),
        ([], []),
    ],
)
def test_arguments_are_redacted(arguments: list[str], expected: list[str]) -> None:
    """The value of a telling option or assignment goes, whichever way it is written; every other argument only by its look."""
    assert redact_arguments(arguments) == tuple(expected)


PIECES = [
    "postgres://a:",
    "@",
    "://",
    "Bearer ",
    "X-Api-Key: ",
    "?token=",
    "--token=",
    "[redacted:",
    "[redacted:jwt]",
    "]",
    ":",
    "=",
    " ",
    "\n",
]
fragments = st.one_of(st.sampled_from([secret for _, secret in ALL]), st.sampled_from(PIECES), st.text(max_size=8))
texts = st.lists(fragments, max_size=8).map("".join)
names = st.one_of(texts, st.sampled_from(["API_KEY", "PATH", "MAX_TOKENS", "-u", "COOKIE"]))


@given(texts)
def test_redacting_text_twice_changes_nothing(text: str) -> None:
    """Redaction is idempotent on text."""
    once = redact_text(text)
    assert redact_text(once) == once


@given(st.dictionaries(names, texts, max_size=4))
def test_redacting_an_environment_twice_changes_nothing(environment: dict[str, str]) -> None:
    """Redaction is idempotent on an environment and keeps its names."""
    once = redact_environment(environment)
    assert redact_environment(once) == once
    assert once.keys() == environment.keys()


@given(
    st.lists(
        st.one_of(texts, st.sampled_from(["--token", "--password", "-u", "--user", "--api-key=x", "A_KEY=1", "--max-tokens"])), max_size=6
    )
)
def test_redacting_arguments_twice_changes_nothing(arguments: list[str]) -> None:
    """Redaction is idempotent on arguments and keeps their number."""
    once = redact_arguments(arguments)
    assert redact_arguments(once) == once
    assert len(once) == len(arguments)


@given(st.sampled_from(ALL), st.text(alphabet=" \n\"'=,;()", max_size=5), st.text(alphabet=" \n\"'=,;()", max_size=5))
def test_no_planted_secret_survives(planted: tuple[str, str], before: str, after: str) -> None:
    """Between separators a secret is always found."""
    _, secret = planted
    assert secret not in redact_text(before + secret + after)


@pytest.mark.parametrize(
    "piece",
    ["a", "a:", "://", "https://a:", "-----BEGIN RSA PRIVATE ", "eyJaaaaaaaa.", "sk-", "key=", "Bearer ", "cookie:", "?token=", " "],
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    """Text made to mislead a pattern costs no more than its length deserves."""
    text = piece * (200_000 // len(piece))
    began = time.process_time()
    redact_text(text)
    assert time.process_time() - began < 5.0
