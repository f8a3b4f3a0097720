"""Something that does with conversations what Claude Code does, in a twentieth of the time: ids, transcripts, hooks, lines in and out.

It says what it was started with in ``lives``, and what its hooks have printed in ``hooked``, both in its working directory. A prompt can be
an order: ``die``, ``tear`` (die in the middle of a record), ``spoil`` (die with a record that nobody can read), ``clear`` (die with a
transcript of zeros), ``forget`` (die without one). With ``REFUSES`` in its environment it resumes nothing, with ``MISCALLS`` it calls what
it resumes by another id at first, as 1.0.128 does, with ``DROPS`` it runs no hooks before it was told ``hooks``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

OTHER: Final = "eeeeeeee-0000-4000-8000-000000000009"
ORDERS: Final = ("die", "tear", "spoil", "clear", "forget")


def main(arguments: list[str]) -> int:
    """One life."""
    with Path("lives").open("a") as lives:
        lives.write(json.dumps(arguments) + "\n")
    given = {name: arguments[at + 1] for at, name in enumerate(arguments[:-1]) if name in ("--session-id", "--resume", "--settings")}
    session_id = given.get("--resume") or given.get("--session-id", "")
    path = Path(os.environ["CLAUDE_CONFIG_DIR"], "projects", re.sub(r"[^A-Za-z0-9]", "-", os.getcwd()), f"{session_id}.jsonl")
    hooks = json.loads(Path(given["--settings"]).read_text())["hooks"] if "--settings" in given else {}
    if "--resume" in given and (os.environ.get("REFUSES") or not can_resume(path)):
        print(json.dumps({"type": "result", "subtype": "error_during_execution", "duration_ms": 0}), flush=True)
        print(f"No conversation found with session ID: {session_id}", file=sys.stderr)
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    source = "resume" if "--resume" in given else "startup"
    called = OTHER if source == "resume" and "MISCALLS" in os.environ else session_id
    kept, hooks = hooks, {} if "DROPS" in os.environ else hooks
    fire(hooks, "SessionStart", session_id=called, transcript_path=str(path.with_name(f"{called}.jsonl")), source=source)
    for line in iter(sys.stdin.readline, ""):
        text = json.loads(line)["message"]["content"][0]["text"]
        hooks = kept if text == "hooks" else hooks
        fire(hooks, "UserPromptSubmit", prompt=text)
        with path.open("a") as file:
            file.write(record("user", text) + record("assistant", f"ok: {text}"))
        fire(hooks, "Stop")
        print(json.dumps({"type": "result", "subtype": "success", "result": f"ok: {text}"}), flush=True)
        if text in ORDERS:
            obey(text, path)
    return 0


def record(kind: str, text: str) -> str:
    """A line of a transcript."""
    said = {"type": kind, "uuid": os.urandom(4).hex(), "timestamp": "2026-01-01T00:00:00.000Z"}
    return json.dumps({**said, "message": {"role": kind, "content": [{"type": "text", "text": text}]}}) + "\n"


def can_resume(path: Path) -> bool:
    """Whether there is a conversation, and every message of it is one."""
    found = 0
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if told.get("type") in ("user", "assistant"):
            if not isinstance(told["message"]["content"], list):
                return False
            found += 1
    return found > 0


def obey(order: str, path: Path) -> None:
    """End as it was told to."""
    data = path.read_bytes()
    if order == "forget":
        path.unlink()
    elif order == "clear":
        path.write_bytes(bytes(len(data)))
    elif order != "die":
        with path.open("a") as file:
            file.write(record("user", "torn")[:-20] if order == "tear" else '{"type":"user","message":{"role":"user","content":null}}\n')
    os.kill(os.getpid(), signal.SIGKILL)


def fire(hooks: dict[str, Any], event: str, **data: object) -> None:
    """Run the hooks of an event, as the program does."""
    for group in hooks.get(event, ()):
        if group.get("matcher") in (None, "*", data.get("source")):
            for hook in group["hooks"]:
                told = json.dumps({**data, "hook_event_name": event}) + "\n"
                done = subprocess.run(["sh", "-c", hook["command"]], input=told, capture_output=True, text=True, check=False)
                with Path("hooked").open("a") as hooked:
                    hooked.write(f"{done.stdout}\n" if done.stdout else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
