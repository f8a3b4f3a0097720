"""Redaction by name: environments, arguments and JSON data; what is hidden, what is left alone, and that doing it twice changes nothing."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.planted import TOKENS, planted
from workers.redaction import may_hold_data, names_secret, redact_arguments, redact_environment, redact_value

ALL = [one.secret for one in planted(Random(3)) if one.place == "alone" and one.kind in TOKENS]
GITHUB = next(one.secret for one in planted(Random(3)) if one.kind == "github-token")

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
        "ANTHROPIC_CUSTOM_HEADERS": "X-Api-Key: abc123",
    }
    assert redact_environment(environment) == {
        "ANTHROPIC_API_KEY": "[redacted: key-name]",
        "DATABASE": "postgres://app:[redacted: url-password]@db/x",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "32000",
        "PATH": "/usr/bin:/bin",
        "PASSWORD": "[redacted: key-name]",
        "USE_TOKEN": "true",
        "EMPTY_SECRET": "",
        "ANTHROPIC_CUSTOM_HEADERS": "X-Api-Key: [redacted: header]",
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--token", "abc", "x"], ["run", "--token", "[redacted: argument]", "x"]),
        (["--api-key=abc", "-v"], ["--api-key=[redacted: argument]", "-v"]),
        (["env", "MY_SECRET=abc", "sh"], ["env", "MY_SECRET=[redacted: argument]", "sh"]),
        (["-H", "X-Api-Key: abc"], ["-H", "X-Api-Key: [redacted: argument]"]),
        (["curl", "-u", "bob:hunter2", "https://h"], ["curl", "-u", "bob:[redacted: argument]", "https://h"]),
        (["sort", "-u", "file"], ["sort", "-u", "file"]),
        (["--max-tokens", "500", "--max-tokens=500"], ["--max-tokens", "500", "--max-tokens=500"]),
        (["--password", "--force", "x"], ["--password", "--force", "x"]),
        (["claude", "--print", "fix the token parser"], ["claude", "--print", "fix the token parser"]),
        (["--url=postgres://a:hunter2@b"], ["--url=postgres://a:[redacted: url-password]@b"]),
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
    "[redacted: ",
    "[redacted: jwt]",
    "]",
    ":",
    "=",
    " ",
    "\n",
]
fragments = st.one_of(st.sampled_from(ALL), st.sampled_from(PIECES), st.text(max_size=8))
texts = st.lists(fragments, max_size=8).map("".join)
names = st.one_of(texts, st.sampled_from(["API_KEY", "PATH", "MAX_TOKENS", "-u", "COOKIE"]))


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


# ------------------------------------------------------------ JSON data


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"password": "hunter2"}, {"password": "[redacted: key-name]"}),
        ({"password": 12345678}, {"password": "[redacted: key-name]"}),
        ({"apiKey": GITHUB}, {"apiKey": "[redacted: github-token]"}),
        ({"tokens": ["abc", "def"], "max_tokens": 5}, {"tokens": ["abc", "def"], "max_tokens": 5}),
        ({"secrets": ["abc", ["def"]]}, {"secrets": ["[redacted: key-name]", ["[redacted: key-name]"]]}),
        ({"credentials": {"user": "ada", "password": "x"}}, {"credentials": {"user": "ada", "password": "[redacted: key-name]"}}),
        ({"env": {"PATH": "/bin", "SIGNING_KEY": "x"}}, {"env": {"PATH": "/bin", "SIGNING_KEY": "[redacted: key-name]"}}),
        ([{"name": "DB_PASSWORD", "value": "x"}], [{"name": "DB_PASSWORD", "value": "[redacted: key-name]"}]),
        (["claude", "--token", "abc"], ["claude", "--token", "[redacted: argument]"]),
        ({"key": "name", "auth": "none", "token_type": "bearer"}, {"key": "name", "auth": "none", "token_type": "bearer"}),
        ({"password": None, "token": True, "secret": ""}, {"password": None, "token": True, "secret": ""}),
        ({GITHUB: "plain"}, {"[redacted: github-token]": "plain"}),
        (f"x {GITHUB} y", "x [redacted: github-token] y"),
        ((1, 2.5, None, True), [1, 2.5, None, True]),
        (7, 7),
    ],
)
def test_json_data_are_redacted(given: Any, expected: Any) -> None:
    """What a name in JSON data says is a secret goes as a whole; every other string by its look; numbers, flags and names stay."""
    before = json.dumps(given)
    assert redact_value(given) == expected
    assert json.dumps(given) == before


def test_names_that_become_the_same_are_told_apart() -> None:
    """Two secrets as the names of members are both gone, and no member is lost."""
    other = next(one.secret for one in planted(Random(4)) if one.kind == "github-token")
    once = redact_value({GITHUB: 1, other: 2, "[redacted: github-token]": 3, "[redacted: github-token] 2": 4})
    assert sorted(once.values()) == [1, 2, 3, 4]
    assert GITHUB not in repr(once) and other not in repr(once)
    assert redact_value(once) == once


def test_what_is_nested_too_deeply_is_cut_off() -> None:
    """Data nested beyond reason cost no more than their depth that is kept, and hide what is below."""
    data: Any = GITHUB
    for _ in range(5000):
        data = [data]
    assert "[redacted: too-deep]" in repr(redact_value(data))


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(names, st.sampled_from(["env", "name", "value"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_redacting_json_data_twice_changes_nothing(value: Any) -> None:
    """Redaction is idempotent on JSON data, and makes JSON data of them."""
    once = redact_value(value)
    assert redact_value(once) == once
    json.dumps(once)


@given(values)
def test_json_data_that_may_hold_no_secret_hold_none(value: Any) -> None:
    """A look at the line of JSON alone, without the table, lets nothing pass that would be redacted."""
    line = json.dumps(value).encode()
    assert may_hold_data(line) or json.dumps(redact_value(value)).encode() == line


@given(st.sampled_from(ALL), st.lists(st.sampled_from(["list", "member", "name"]), max_size=5))
def test_no_secret_survives_in_json_data(secret: str, around: list[str]) -> None:
    """Wherever a secret stands in JSON data, it is gone."""
    data: Any = secret
    for kind in around:
        data = [data] if kind == "list" else {"output": data} if kind == "member" or not isinstance(data, str) else {data: 1}
    assert json.dumps(secret)[1:-1] not in json.dumps(redact_value(data))
    assert "[redacted: " in json.dumps(redact_value(data))
