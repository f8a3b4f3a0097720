"""What Claude Code is to a session: a program that holds a conversation in lines, writes its transcript, and can be told to misbehave.

The directory in ``$STAND_IN`` gets `argv`, a line for each life, and `said`, the pid and the text of each prompt that was read. A prompt
that begins with one of these words does as it says; others are answered with ``ok: `` and the prompt.

    hang        no result, until it is interrupted
    stuck       no result, and nothing more is read
    die         SIGKILL for itself
    leave N     exit code N
    ask         a question, and the result says how it was answered
    told        the result of another turn, which the end of a task has begun, comes before its own
    grow N      it is answered, and the program holds so many MiB more
    bye         it is answered, and then the program ends
    once WORD   the first time as WORD says, later it is answered

With the end of its input it ends, with code 1 where the last turn had an error, as the program does.

Control requests: ``interrupt`` and ``set_permission_mode`` are done, ``refused`` is refused, others are not answered. ``$STUBBORN`` has
it end neither with its input nor of SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["STAND_IN"])


def put(**said: Any) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def add(name: str, text: str) -> None:
    """Add a line to a file of the test's."""
    with (FOLDER / name).open("a") as file:
        file.write(text + "\n")


def result(session: str, subtype: str = "success", **more: Any) -> None:
    """End a turn."""
    put(type="result", subtype=subtype, is_error=False, num_turns=1, session_id=session, **more)


def main() -> None:
    """Read until the end of the input."""
    words = sys.argv[1:]
    add("argv", " ".join(words))
    stubborn = "STUBBORN" in os.environ
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    session = next(value for word, value in pairwise(words) if word in ("--session-id", "--resume"))
    slug = "".join(char if char.isalnum() else "-" for char in os.getcwd())
    transcript = Path(os.environ["CLAUDE_CONFIG_DIR"], "projects", slug, f"{session}.jsonl")
    transcript.parent.mkdir(parents=True, exist_ok=True)
    held: list[bytes] = []
    failed, asked = False, ""
    for line in sys.stdin:
        said = json.loads(line)
        if said["type"] == "control_request":
            request, id = said["request"], said["request_id"]
            if request["subtype"] in ("interrupt", "set_permission_mode"):
                put(type="control_response", response={"subtype": "success", "request_id": id, "response": {"mode": request.get("mode")}})
                if request["subtype"] == "interrupt":
                    result(session, "error_during_execution")
                    failed = True
            elif request["subtype"] == "refused":
                put(type="control_response", response={"subtype": "error", "request_id": id, "error": "no"})
            continue
        if said["type"] != "user":
            add("answers", line.strip())
            if said.get("type") == "control_response" and said["response"]["request_id"] == asked:
                result(session, result=said["response"]["response"]["behavior"])
                asked = ""
            continue
        text = "".join(block["text"] for block in said["message"]["content"])
        before = (FOLDER / "said").read_text() if (FOLDER / "said").exists() else ""
        add("said", f"{os.getpid()} {text}")
        record = {"type": "user", "message": {"role": "user", "content": text}, "timestamp": "2026-01-02T03:04:05.000Z"}
        with transcript.open("a") as file:
            file.write(json.dumps(record) + "\n")
        put(
            type="system",
            subtype="init",
            session_id=session,
            cwd=os.getcwd(),
            tools=[],
            mcp_servers=[],
            model="m",
            permissionMode="default",
        )
        word, _, rest = text.partition(" ")
        if word == "once":
            word = "" if text in before else rest.partition(" ")[0]
        if word == "ask":
            asked = f"q-{os.getpid()}"
            put(type="control_request", request_id=asked, request={"subtype": "can_use_tool", "tool_name": "Write", "input": {}})
            continue
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "grow":
            held.append(b"x" * (int(rest.partition(" ")[0]) << 20))
        elif word == "told":
            result(session, result="", origin={"kind": "task-notification"})
        while word == "stuck":
            time.sleep(1)
        if word == "leave":
            sys.exit(int(rest))
        elif word != "hang":
            # as the program does, so that whoever looks there sees the end of the turn
            answer = {"role": "assistant", "content": [{"type": "text", "text": "ok"}]}
            now = datetime.now(UTC).isoformat()
            with transcript.open("a") as file:
                file.write(json.dumps({"type": "assistant", "message": answer, "timestamp": now}) + "\n")
            put(type="assistant", message={"content": [{"type": "text", "text": f"ok: {text}"}]}, session_id=session)
            result(session, result=f"ok: {text}")
            failed = False
            if word == "bye":
                return
    while stubborn:
        time.sleep(1)
    sys.exit(int(failed))


main()
