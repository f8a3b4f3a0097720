"""A program that speaks stream-json, one line after the other, and does as it is told in its prompts.

    stream_json.py LOG [--late]

Each line that it reads is appended to LOG, after its pid. A prompt is words; the first says what is done:

    say TEXT    the result is TEXT
    big N       the result has so many bytes
    quick N     so many short lines before the result
    wait S      the same as say, after so many seconds
    die         SIGKILL for itself in the middle of the turn
    torn        the same, within a line
    hang        no result
    leave N     exit code N without a result
    words TEXT  TEXT on standard output without the end of a line, and exit code 1

With ``--late`` it reads nothing before LOG.go is there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any


def put(**said: Any) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(said, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def turn(text: str) -> None:
    """One prompt."""
    word, _, rest = text.partition(" ")
    put(type="system", subtype="init", session_id="s", pid=os.getpid())
    put(type="assistant", text=text[:100])
    result = rest
    if word == "big":
        result = "x" * int(rest)
    elif word == "quick":
        sys.stdout.write("".join(f'{{"type":"stream_event","number":{number}}}\n' for number in range(int(rest))))
    elif word == "wait":
        time.sleep(float(rest))
    elif word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "torn":
        sys.stdout.write('{"type":"result","resu')
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "leave":
        sys.exit(int(rest))
    elif word == "words":
        sys.stdout.write(rest)
        sys.exit(1)
    if word != "hang":
        put(type="result", subtype="success", result=result)


def main() -> None:
    """Read until the end of the input."""
    log = sys.argv[1]
    while "--late" in sys.argv and not os.path.exists(f"{log}.go"):
        time.sleep(0.01)
    for line in sys.stdin.buffer:
        with open(log, "ab") as file:
            file.write(b"%d %s\n" % (os.getpid(), line.strip()[:200]))
        said = json.loads(line)
        if said["type"] == "user":
            turn(said["message"]["content"])
        elif said["type"] == "control_request":
            put(type="control_response", response={"subtype": "success", "request_id": said["request_id"]})


main()
