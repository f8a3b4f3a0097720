"""Made-up transcripts that look like Claude Code's: records of every kind that is known, and of some that are not."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SESSION = "0b5c1d2e-3f40-4a51-8b62-7c8d9e0f1a2b"
CWD = "/srv/app"

_FILES = ["app/main.py", "app/db.py", "app/auth/tokens.py", "tests/test_auth.py", "docs/api.md", "app/ünïcode.py", "pyproject.toml"]
_ASKED = [
    "The login page answers 500 since yesterday. Please find out why, and fix it. Never touch the migrations by hand.",
    "Add pagination to the orders endpoint. Page size must be configurable, and the default should be 50.",
    "yes",
    "continue",
    "Write tests for the token refresh.\n\nMake sure the clock is injected instead of patched.",
    "Why is the build slow?",
    "Bitte übersetze die Fehlermeldungen ins Deutsche.",
    "Now refactor app/db.py so that connections are pooled, and keep the public names.",
]
_SAID = [
    "I'll look at the logs first.",
    "The root cause is that the session cookie is signed with a key that was rotated. I'll use the key ring instead of a single key.",
    "Done. All 42 tests pass now. One thing remains: the staging deployment still needs the new environment variable.",
    "We decided to keep the old column for one release, so that a rollback is possible.",
    "The tests are green. Would you like me to open a pull request for this?",
    "Let's go with a connection pool of 10, rather than one connection for each request.",
]


class Author:
    """Writes the records of one session, deterministically for a seed."""

    def __init__(self, seed: int = 1, *, filler: int = 2000) -> None:
        self.random = random.Random(seed)
        self.filler = filler
        self.count = 0
        self.parent: str | None = None

    def conversation(self) -> Iterator[bytes]:
        """Lines without an end, each without its newline."""
        yield self.line({"type": "queue-operation", "operation": "enqueue", "sessionId": SESSION})
        yield self.opaque()
        while True:
            yield from self.turn()

    def turn(self) -> Iterator[bytes]:
        """A question, some tools, an answer."""
        dice = self.random
        yield self.prompt(dice.choice(_ASKED))
        if dice.random() < 0.1:
            yield self.opaque()
        for _ in range(dice.randint(0, 5)):
            yield self.answer([{"type": "thinking", "thinking": self.words(300), "signature": self.words(80)}])
            yield from self.tool()
        if dice.random() < 0.05:
            yield self.line({**self.common("system"), "subtype": "compact_boundary", "compactMetadata": {"trigger": "auto"}})
            yield self.line({**self.user("This session is being continued. " + self.words(900)), "isCompactSummary": True})
        yield self.answer([{"type": "text", "text": f"{dice.choice(_SAID)}\n\n```python\n{self.words(200)}\n```\n{self.words(200)}"}])

    def tool(self) -> Iterator[bytes]:
        """A call and its result."""
        dice = self.random
        path = f"{CWD}/{dice.choice(_FILES)}"
        name, given = dice.choice(
            [
                ("Read", {"file_path": path}),
                ("Edit", {"file_path": path, "old_string": self.words(200), "new_string": self.words(200)}),
                ("Write", {"file_path": path, "content": self.words(self.filler // 2)}),
                ("Bash", {"command": "pytest -q tests", "description": "Run the tests"}),
                ("Bash", {"command": f'git add -A && git commit -m "Pool connections {self.count}"'}),
                ("Grep", {"pattern": "def refresh"}),
                ("TodoWrite", {"todos": [{"content": "Deploy to staging", "status": "pending", "activeForm": "Deploying"}]}),
            ]
        )
        id = f"toolu_{self.count:08d}"
        yield self.answer([{"type": "tool_use", "id": id, "name": name, "input": given}])
        failed = dice.random() < 0.1
        text = f"Exit code 1\n{self.words(300)}\nE   AssertionError: 3 != {self.count}" if failed else self.words(self.filler)
        yield self.result(id, text, is_error=failed)

    def prompt(self, text: str) -> bytes:
        """What a person asks."""
        return self.line({**self.user(text), "promptId": f"p{self.count}", "permissionMode": "default", "promptSource": "typed"})

    def user(self, content: object) -> dict[str, Any]:
        """A record of type user."""
        return {**self.common("user"), "message": {"role": "user", "content": content}}

    def answer(self, content: list[dict[str, Any]], **more: Any) -> bytes:
        """A record of type assistant."""
        usage = {
            "input_tokens": 4,
            "output_tokens": 100,
            "cache_read_input_tokens": self.count * 10,
            "cache_creation_input_tokens": 20,
        }
        message = {
            "id": f"msg_{self.count:06d}",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": content,
            "usage": usage,
        }
        return self.line({**self.common("assistant"), "message": message, **more})

    def result(self, id: str, text: str, *, is_error: bool = False) -> bytes:
        """What a tool gave back."""
        block = {"tool_use_id": id, "type": "tool_result", "content": text, "is_error": is_error}
        return self.line({**self.user([block]), "toolUseResult": {"stdout": text[:1000], "interrupted": False}})

    def opaque(self) -> bytes:
        """A record of a type that is not known."""
        return self.line({"type": "api-request-blob", "sha": self.words(40), "text": self.words(20_000)})

    def common(self, type: str) -> dict[str, Any]:
        """What the records of a conversation have in common."""
        self.count += 1
        uuid = f"00000000-0000-4000-8000-{self.count:012d}"
        parent, self.parent = self.parent, uuid
        day, clock = divmod(self.count, 86_400)
        moment = f"2026-01-{1 + day % 28:02d}T{clock // 3600:02d}:{clock // 60 % 60:02d}:{clock % 60:02d}.000Z"
        return {
            "parentUuid": parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": CWD,
            "sessionId": SESSION,
            "version": "2.1.330",
            "gitBranch": "main",
            "type": type,
            "uuid": uuid,
            "timestamp": moment,
        }

    def words(self, length: int) -> str:
        """Text like source code, of about some length."""
        made: list[str] = []
        size = 0
        while size < length:
            made.append(self.random.choice(_VOCABULARY))
            size += len(made[-1]) + 1
        return " ".join(made)

    @staticmethod
    def line(data: dict[str, Any]) -> bytes:
        """As the program writes it."""
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


_letters = random.Random(7)
_VOCABULARY = [
    *("def", "return", "self", "import", "for", "in", "if", "else:", "None", "()", "=", "==", "[0]", '"name"', "\n    ", "naïve", "日本"),
    *("".join(_letters.choices("abcdefghijklmnopqrstuvwxyz_", k=_letters.randint(3, 11))) for _ in range(600)),
]


def write_transcript(path: Path, size: int, *, seed: int = 1, distinct: int = 4 * 1024 * 1024) -> None:
    """Write a transcript of at least `size` bytes, whole lines; beyond `distinct` bytes it repeats itself."""
    block = bytearray()
    for written in Author(seed).conversation():
        block += written + b"\n"
        if len(block) >= min(size, distinct):
            break
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(block)
