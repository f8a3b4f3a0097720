"""Redaction of text: every claimed format is found, nothing of it is left, ordinary text stays; whole or in pieces, by either engine.

All secrets here are made up, and made when the tests run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.planted import HARMLESS, SURROUNDED, TOKENS, Planted, is_gone, planted
from workers.redaction import TextRedactor, engine_in_use, may_hold, redact_bytes, redact_chunks, redact_text
from workers.redaction.engine import RULES, automaton, find_plain
from workers.redaction.keywords import KEYWORDS
from workers.redaction.rule import compiled
from workers.redaction.scan import redacted, secrets_in
from workers.redaction.stream import HOLD, PIECE

CORPUS = list(planted(Random(20260102)))
LARGE = list(planted(Random(7), 3))
SHORT = [one for one in CORPUS if len(one.text) < 600]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", sorted({one.kind for one in CORPUS}))
def test_every_claimed_format_is_found_in_every_place(kind: str) -> None:
    """At least 97 % of what is planted are gone, in pieces of eight characters too, under the mark of their kind."""
    of_kind = [one for one in LARGE if one.kind == kind]
    missed = [one for one in of_kind if not is_gone(one.secret, out := redact_text(one.text)) or f"[redacted: {kind}]" not in out]
    assert len(missed) <= 0.03 * len(of_kind), [(one.place, one.text, redact_text(one.text)) for one in missed[:3]]


def test_every_rule_has_its_planted_secrets() -> None:
    """No rule is claimed without a corpus: each kind is planted, or says why it is not."""
    known = set(TOKENS) | {kind for kind, _, _ in SURROUNDED}
    assert {rule.kind for rule in RULES} - known == {
        *("aws-bedrock-key", "tencent-secret-id", "onepassword-token", "cloudflare-origin-key", "teams-webhook"),
        *("plaid-token", "clojars-token", "dropbox-token", "circleci-token", "prefect-key"),
    }


@pytest.mark.parametrize("number", range(len(HARMLESS)))
def test_what_only_resembles_a_secret_is_left_alone(number: int) -> None:
    """Hashes, references, examples, types and names stay as they are."""
    for seed in range(20):
        text = HARMLESS[number](Random(seed))
        assert redact_text(text) == text


def test_the_code_of_this_project_is_left_alone() -> None:
    """The sources that are installed hold no secret, and none is seen in them."""
    for path in [*(ROOT / "supervisor").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]:
        text = path.read_text()
        assert redact_text(text) is text, (path, secrets_in(text.encode()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://app:{}@db:5432/x", "postgres://app:[redacted: url-password]@db:5432/x"),
        ("https://bob:{}@host a https://al:x1@h", "https://bob:[redacted: url-password]@host a https://al:[redacted: url-password]@h"),
        ("X-Api-Key: {}\nHost: h", "X-Api-Key: [redacted: header]\nHost: h"),
        ('{{"password": "{}", "user": "ada"}}', '{{"password": "[redacted: secret]", "user": "ada"}}'),
        ("A=1\nDB_PASSWORD={}\nB=2", "A=1\nDB_PASSWORD=[redacted: environment-secret]\nB=2"),
        ("https://h/p?a=1&token={}&b=2#f", "https://h/p?a=1&token=[redacted: query]&b=2#f"),
        ("x --password {} y", "x --password [redacted: argument] y"),
    ],
)
def test_only_the_secret_is_cut_out(text: str, expected: str) -> None:
    """Of an address, a header, a file or a command the rest stays, to the character."""
    assert redact_text(text.format("hunt" + "er2x")) == expected.format()


def test_a_key_block_that_was_cut_off_is_hidden_as_far_as_it_goes() -> None:
    """A block without an end is gone to the end of its body; the mention of a marker is no key."""
    (block,) = [one.secret for one in CORPUS if one.kind == "private-key" and one.place == "alone" and "BEGIN EC" in one.secret]
    cut = block[: block.index("-----END")]
    assert redact_text(f"{cut}-- then. {cut}") == "[redacted: private-key]-- then. [redacted: private-key]"


def test_a_secret_with_letters_of_many_bytes_is_hidden_whole() -> None:
    """Text around a mark is still text, whatever the password is written in; what is no Unicode survives."""
    assert redact_text("é https://ü:päß\u4e161@h é \udcff") == "é https://ü:[redacted: url-password]@h é \udcff"
    assert redact_bytes(b"\xff https://u:p1\xfe@h \xff") == b"\xff https://u:[redacted: url-password]@h \xff"


# ------------------------------------------------------------ properties

PIECES = [
    *(
        "postgres://a:",
        "@",
        "://",
        "Bearer ",
        "X-Api-Key: ",
        "?token=",
        "&sig=",
        "--token=",
        "--password ",
        "[redacted:",
        "[redacted: jwt]",
    ),
    *(
        "]",
        ":",
        "=",
        " ",
        "\n",
        "\\n",
        '"',
        '\\"',
        "'",
        "password",
        "SECRET_KEY=",
        "api_key",
        "Cookie: ",
        "key",
        "a1b2c3d4e5f6a7b8",
        "-",
        "_",
        ".",
    ),
    *(
        "AKIA",
        "eyJ",
        "sk-",
        "-us1",
        ":AA",
        "Q~",
        "$2b$",
        " -u a:",
        "é",
        "\U0001f511",
        "hunter2!",
        "-----BEGIN PRIVATE ",
        "KEY-----\n",
        "Zx9",
    ),
]
texts = st.lists(
    st.one_of(
        st.sampled_from([one.secret for one in SHORT]),
        st.sampled_from([one.text for one in SHORT]),
        st.sampled_from(PIECES),
        st.text(max_size=8),
    ),
    max_size=10,
).map("".join)


@given(texts)
def test_redacting_twice_changes_nothing(text: str) -> None:
    """Redaction is idempotent on text."""
    once = redact_text(text)
    assert redact_text(once) == once


@pytest.mark.parametrize("kind", ["github-token", "gitlab-token", "anthropic-key", "slack-token", "aws-access-key", "jwt", "npm-token"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("backup-", ".txt"),
        ("feat_", "/a"),
        ("?t%3D", "&x=1"),
        ("Bearer%20", " "),
        ("mcp__", "_old"),
        ("\x1b[1;32m", "\x1b[0m"),
        ("\\u001b[m", '"'),
    ],
)
def test_what_is_part_of_a_name_is_found(kind: str, before: str, after: str) -> None:
    """A file, a branch or a URL may be named after a token whose look alone says what it is; what is around it stays."""
    secret = next(one.secret for one in CORPUS if one.kind == kind and one.place == "alone")
    text = redact_text(f"{before}{secret}{after}")
    assert is_gone(secret, text) and text.startswith(before) and redact_text(text) == text


def test_a_mark_is_a_wall() -> None:
    """What touches a mark was seen with what the mark has replaced, and is not judged anew; else a second pass would find more."""
    (token,) = [one.secret for one in CORPUS if one.kind == "npm-token" and one.place == "alone"]
    (block,) = [one.secret for one in CORPUS if one.kind == "private-key" and one.place == "alone" and "BEGIN EC" in one.secret]
    for text in ("password=hunt" + "er2![redacted: jwt]", f"[redacted: jwt]{token}"):
        assert redact_text(text) == text
    once = redact_text(block + token)
    assert once.startswith("[redacted: private-key]") and redact_text(once) == once


@given(texts)
def test_both_engines_agree(text: str) -> None:
    """The automaton finds what the standard library finds, so that the extra changes nothing but the time."""
    data, by_automaton = text.encode("utf-8", "surrogatepass"), automaton()
    assert by_automaton is not None, "the tests need the extra redact"
    assert secrets_in(data, find=find_plain) == secrets_in(data, find=by_automaton)


def test_both_engines_agree_on_everything_at_once() -> None:
    """Also on a text of all planted secrets together, of which one is the other's surroundings."""
    data, by_automaton = " ".join(one.text for one in CORPUS).encode(), automaton()
    assert by_automaton is not None
    assert secrets_in(data, find=find_plain) == secrets_in(data, find=by_automaton)


@given(texts)
def test_what_may_hold_no_secret_holds_none(text: str) -> None:
    """The keywords alone, without the table, let nothing pass that a rule would find."""
    data = text.encode("utf-8", "surrogatepass")
    assert may_hold(data) or not secrets_in(data)


@given(st.sampled_from(CORPUS), st.text(alphabet=" \n\"'=,;()", max_size=5), st.text(alphabet=" \n\"',;()", max_size=5))
def test_no_planted_secret_survives(one: Planted, before: str, after: str) -> None:
    """Between separators a secret is always found, and nothing of it is left."""
    if one.place == "alone" and one.kind in TOKENS:
        assert is_gone(one.secret, redact_text(before + one.secret + after))


@given(st.text())
@example("token = parser.next_token()")
def test_text_without_a_secret_is_the_same_object(text: str) -> None:
    """What holds nothing to hide is handed back as it is."""
    once = redact_text(text)
    assert once is text or "[redacted: " in once


def cut_up(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


@given(st.lists(texts, max_size=4).map("\n".join), st.lists(st.integers(0, 200), max_size=12))
def test_a_text_in_pieces_becomes_what_it_becomes_whole(text: str, sizes: list[int]) -> None:
    """However a text is cut, also inside of a secret or a character, the same comes out."""
    data = text.encode("utf-8", "surrogatepass")
    redactor = TextRedactor(hold=2048, piece=64)
    out = b"".join(map(redactor.feed, cut_up(data, sizes))) + redactor.finish()
    assert out == redact_bytes(data)


@pytest.mark.parametrize(("hold", "piece", "most"), [(HOLD, PIECE, 800_000), (2048, 512, 20_000)])
def test_a_long_text_in_pieces_takes_constant_memory(hold: int, piece: int, most: int) -> None:
    """Of a text of any length only a bounded part is held; secrets across the borders of pieces are found, in lines of any length too."""
    random = Random(5)
    parts = [random.choice(SHORT).text + " and so on, " * random.randrange(400) + random.choice(["", "\n"]) for _ in range(400)]
    data = "".join(parts).encode()
    redactor, out, held = TextRedactor(hold=hold, piece=piece), [], 0
    for at in range(0, len(data), 1000):
        out.append(redactor.feed(data[at : at + 1000]))
        held = max(held, sum(map(len, (redactor._text, *redactor._more))))
    assert b"".join(out) + redactor.finish() == redact_bytes(data)
    assert held < most < len(data)


def test_a_key_block_longer_than_what_is_held_is_dropped_to_its_end() -> None:
    """A block that goes on for megabytes leaves one mark and nothing of itself, and what follows it is kept."""
    marker = "PRIVATE " + "KEY-----"
    lines = [f"-----BEGIN {marker}\n", *("QUJD" * 16 + "\n" for _ in range(30_000)), f"-----END {marker}\n", "the rest"]
    assert b"".join(redact_chunks(line.encode() for line in lines)) == b"[redacted: private-key]\nthe rest"


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "a",
            "a:",
            "://",
            "https://a:",
            "-----BEGIN RSA PRIVATE ",
            "-----BEGIN PRIVATE KEY-----",
            "eyJaaaaaaaa.",
            "sk-",
            "key=",
            "Bearer ",
        ),
        *(
            "cookie:",
            "?token=",
            " ",
            "password",
            "password=",
            'password="',
            "password:str=",
            "--token ",
            "token_",
            "$2b$",
            ":AA",
            "machine a ",
        ),
        *("[redacted: jwt]", "[redacted: ", "SECRET_KEY=", "secret='\\", "authorization: ", "1:AA", "eyJ.", " -u a:"),
    ],
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    """Text made to mislead a pattern costs no more than its length deserves."""
    text = piece * (60_000 // len(piece))
    began = time.process_time()
    redact_text(text)
    assert time.process_time() - began < 5.0


def test_the_engine_is_named() -> None:
    """Which engine is in use can be asked, and it is the faster one exactly where its library is there."""
    try:
        import ahocorasick_rs  # noqa: F401
    except ImportError:
        expected = "plain"
    else:
        expected = "automaton"
    assert engine_in_use() == expected


def test_a_rule_needs_one_of_its_keywords() -> None:
    """The list of keywords is that of the rules; all in lower case and can be found; every pattern compiles and cannot match nothing."""
    assert set(KEYWORDS) == {word for rule in RULES for word in rule.keywords}
    for rule in RULES:
        assert rule.keywords and all(word == word.lower() and word for word in rule.keywords)
        assert compiled(rule).match(b"") is None


def test_marks_stand_for_secrets_in_order() -> None:
    """The secrets of a text are apart from each other, in order, and what is between them is kept."""
    data = "\n".join(one.text for one in SHORT[:200]).encode()
    found = secrets_in(data)
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert redacted(data, found).count(b"[redacted: ") == len(found)
