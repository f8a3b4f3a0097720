"""Lines of transcripts for tests: what an agent writes, what it might write, and what it never should have written."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from benchmarks.transcripts import Author


def said(text: str, **more: Any) -> bytes:
    """What a person says."""
    author = Author()
    return author.line({**author.user(text), **more})


def answered(text: str, **more: Any) -> bytes:
    """What the agent says."""
    author = Author()
    return author.line({**json.loads(author.answer([{"type": "text", "text": text}])), **more})


def called(id: str, name: str, given: dict[str, Any], **more: Any) -> bytes:
    """What the agent calls."""
    author = Author()
    return author.line({**json.loads(author.answer([{"type": "tool_use", "id": id, "name": name, "input": given}])), **more})


def returned(id: str, text: str = "ok", *, is_error: bool = False, **more: Any) -> bytes:
    """What a tool gives back."""
    author = Author()
    return author.line({**json.loads(author.result(id, text, is_error=is_error)), **more})


def conversation(seed: int, count: int) -> list[bytes]:
    """The first lines of a long conversation."""
    lines = Author(seed, filler=200).conversation()
    return [next(lines) for _ in range(count)]


_texts = st.text(max_size=60) | st.sampled_from(
    [
        "",
        "yes",
        "Never do that again, please.",
        "<command-name>/compact</command-name>",
        "[Request interrupted by user]",
        "\ud800",
        "\x1b[2J\0",
    ]
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_ids = st.sampled_from(["toolu_1", "toolu_2", "toolu_3"])
_names = st.sampled_from(["Read", "Edit", "Bash", "TodoWrite", "TaskCreate", "TaskUpdate", "ExitPlanMode", "mcp__x__y"])
_given = st.dictionaries(
    st.sampled_from(["file_path", "command", "todos", "plan", "taskId", "status", "subject", "description"]),
    _values | st.sampled_from(["/srv/app/a.py", "1", "completed", "deleted", "git commit -m 'Mend it'"]),
    max_size=4,
)
_blocks = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": _texts}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": _ids, "name": _names, "input": _given}),
    st.fixed_dictionaries({"type": st.just("tool_result"), "tool_use_id": _ids, "content": _texts, "is_error": st.booleans()}),
    _values,
)
_usage = st.dictionaries(
    st.sampled_from(["input_tokens", "output_tokens", "cache_read_input_tokens"]), st.integers(-5, 1000) | _values, max_size=3
)
_messages = st.fixed_dictionaries(
    {"role": st.just("user"), "content": _texts | st.lists(_blocks, max_size=3)},
    optional={"id": st.sampled_from(["msg_1", "msg_2"]), "usage": _usage | _values, "model": st.sampled_from(["claude-x", "<synthetic>"])},
)
_records = st.fixed_dictionaries(
    {"type": st.sampled_from(["user", "assistant", "system", "summary", "attachment"]), "message": _messages | _values},
    optional={
        **dict.fromkeys(("uuid", "timestamp", "sessionId", "cwd", "version", "gitBranch", "summary", "toolUseResult"), _values),
        **{name: st.booleans() for name in ("isSidechain", "isMeta", "isCompactSummary", "isApiErrorMessage")},
        "subtype": st.sampled_from(["compact_boundary", "informational"]),
    },
)


def _spoilt(written: bytes, at: int, rest: bytes) -> bytes:
    return written[: at % (len(written) + 1)] + rest


_good = _records.map(lambda data: json.dumps(data).encode()) | st.integers(0, 200).map(lambda seed: conversation(seed, 12)[-1])
_bad = st.one_of(
    st.binary(max_size=60),
    st.builds(_spoilt, _good, st.integers(0, 10_000), st.binary(max_size=6) | _good),
    st.sampled_from(
        [b'{"type":"user","message":' + b"[" * 3000, b'{"type":"user","x":' + b"9" * 5000 + b"}", b"{}", b"null", b"\xef\xbb\xbf{}"]
    ),
)
lines = st.lists((_good | _bad).map(lambda written: written.replace(b"\n", b" ")), max_size=12)
"""Some lines of a transcript, the half of them with something wrong."""
