"""No piece of a secret is left in a digest or a summary of it, wherever in a conversation it stands. All secrets here are made up."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.redaction import redact_text
from workers.state.digest import Digest
from workers.state.summary import summary

from ..transcripts import answered, called, returned, said

BODY = "".join(chr(97 + (index * 7 + 3) % 26) for index in range(36))
TOKEN = "gh" + "p_" + BODY  # joined at run time, so that no scanner takes this file for a leak
KEY = f"-----BEGIN PRIVATE {'KEY'}-----\n" + "\n".join([BODY * 2] * 12) + f"\n-----END PRIVATE {'KEY'}-----"


def everywhere(text: str) -> list[bytes]:
    """A conversation with some text in each place that a digest keeps something of."""
    return [
        said(text),
        answered(text),
        answered(f"We decided to take {text}. Not yet done: {text}."),
        called("t1", "Bash", {"command": f"git commit -m 'Use {text}'", "description": text}),
        returned("t1", text),
        called("t2", "Edit", {"file_path": f"/srv/{text}"}),
        returned("t2"),
        called("t3", "Bash", {"command": text}),
        returned("t3", text, is_error=True),
        called("t4", "ExitPlanMode", {"plan": text}),
        called("t5", "TodoWrite", {"todos": [{"content": text, "status": "pending"}]}),
        said(text, isCompactSummary=True),
        json.dumps({"type": "summary", "summary": text}).encode(),
        said(f"Never say {text}"),
        called("t6", "Bash", {"description": text}),
        said("More.", sessionId=text, cwd=text, gitBranch=text, version=text),
    ]


def check(text: str) -> None:
    digest = Digest().fold(everywhere(text)).redacted(redact_text)
    for written in (json.dumps(digest.to_dict()), summary(digest, 100_000), summary(digest, 1500)):
        assert BODY[:10] not in written
        assert BODY[-10:] not in written


@settings(max_examples=60)
@given(
    st.integers(0, 700) | st.integers(3900, 4050),
    st.sampled_from(["{}", "'{}'", "TOKEN={}", '{{"token":"{}","more":"', "https://user:{}@example.org/x", "({})."]),
    st.sampled_from([" word", "\nline", " . ", "日本 ", " \t \n"]),
    st.integers(0, 40),
)
def test_a_token_is_gone_or_whole(before: int, around: str, filler: str, after: int) -> None:
    """However long the text before it, so that it stands across the place where an excerpt ends."""
    check((filler * (before // len(filler) + 1))[:before] + " " + around.format(TOKEN) + filler * after)


@pytest.mark.parametrize("before", ["", "first line\n" * 3, "word " * 100, "line\n" * 790])
def test_a_key_is_gone(before: str) -> None:
    """A key of many lines too, whether its beginning, its middle or its end would be in an excerpt."""
    check(f"{before}{KEY}")
    check(f"{before}{KEY}\nand more\nat\nthe\nend")
