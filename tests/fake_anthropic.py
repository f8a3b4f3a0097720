"""A small scripted stand-in for the Anthropic Messages API, for loopback tests.

Standard library only.  It speaks enough of the protocol for the real Claude
Code CLI (and the SDKs) to hold a conversation against it with no network:

* ``POST /v1/messages``               streaming (SSE) and non-streaming
* ``POST /v1/messages/count_tokens``  ``{"input_tokens": N}``
* ``HEAD|GET|POST`` anything else     200 and ``{}``

What it answers is decided by the newest user message that carries the mark
``FAKE:`` followed by a JSON list of steps (the first mark in that message, so a
step may hold a nested script for a subagent); step number N is used for the
N-th model call made since that message (so tool loops are scripted).

    FAKE: [{"tool": "Bash", "input": {"command": "echo hi"}}, {"text": "done"}]

Keys of a step (all optional):

    text         text to say (default "ok")
    tool, input  emit a tool_use block (only if the request offers that tool)
    tools        list of {"tool", "input"}: several tool_use blocks in one turn
    size         say that many bytes of filler text instead of ``text``
    thinking     a thinking block before the text
    delay        seconds to wait before the first byte
    drip         seconds between streamed chunks (keeps a turn "in flight")
    chunks       how many chunks the text is cut into (default 1)
    status       answer this HTTP status with an API error body
    hang         true: send message_start, then nothing until the peer leaves
    usage        dict merged in the usage object (to fake context fill; by
                 default input_tokens is request bytes / 4, so a huge resumed
                 transcript makes the CLI auto-compact on its next turn)

Without a directive it answers ``ok: <last user text>``.  A rules file
(``--rules``: JSON list of {"match": regex, "steps": [...]}) adds directives
for prompts that match, for sessions whose prompts cannot carry a FAKE line.

Each request is appended as one JSON line to ``--log`` (``--log-bodies`` keeps
whole bodies).  ``--port-file`` receives the chosen port once listening.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MARK = "FAKE:"


def texts_of(message: dict[str, Any]) -> list[str]:
    """All text fragments of one message, newest-style or string content."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    out: list[str] = []
    out += [block.get("text", "") for block in content or [] if isinstance(block, dict) and block.get("type") == "text"]
    return out


def find_steps(text: str) -> list[dict[str, Any]] | None:
    """The step list of the first FAKE: directive in a text, if any."""
    at = text.find(MARK)
    if at < 0:
        return None
    tail = text[at + len(MARK) :].lstrip()
    try:
        value, _ = json.JSONDecoder().raw_decode(tail)
    except ValueError:
        return None
    steps: object = [value] if isinstance(value, dict) else value
    return steps if isinstance(steps, list) else None


class Script:
    """Chooses the step that answers a request body."""

    def __init__(self, rules: list[dict[str, Any]]) -> None:
        self.rules = [(re.compile(r["match"], re.S), r["steps"]) for r in rules]

    def steps_for(self, text: str) -> list[dict[str, Any]] | None:
        steps = find_steps(text)
        if steps is not None:
            return steps
        for pattern, ruled in self.rules:
            if pattern.search(text):
                found: list[dict[str, Any]] = ruled
                return found
        return None

    def choose(self, body: dict[str, Any]) -> dict[str, Any]:
        messages = body.get("messages") or []
        offered = {t.get("name") for t in body.get("tools") or [] if isinstance(t, dict)}
        turns = 0
        for message in reversed(messages):
            if message.get("role") == "assistant":
                turns += 1
                continue
            for text in reversed(texts_of(message)):
                steps = self.steps_for(text)
                if steps is not None:
                    step = dict(steps[turns]) if turns < len(steps) else {"text": "end of script"}
                    return self._fit(step, offered)
        said = [t for m in messages if m.get("role") == "user" for t in texts_of(m)]
        said = [t for t in said if not t.lstrip().startswith("<")] or said
        return {"text": "ok: " + (said[-1][-200:] if said else "")}

    @staticmethod
    def _fit(step: dict[str, Any], offered: set[Any]) -> dict[str, Any]:
        uses = list(step.get("tools") or [])
        if "tool" in step:
            uses.append({"tool": step["tool"], "input": step.get("input", {})})
        step["uses"] = [u for u in uses if u["tool"] in offered]
        if uses and not step["uses"]:
            step.setdefault("text", "no such tool offered")
        return step


def blocks_of(step: dict[str, Any]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if step.get("thinking"):
        blocks.append({"type": "thinking", "thinking": step["thinking"], "signature": "fake"})
    if step.get("size"):
        unit = "The quick brown fox jumps over the lazy dog. "
        n = int(step["size"])
        blocks.append({"type": "text", "text": (unit * (n // len(unit) + 1))[:n]})
    elif "text" in step or not step.get("uses"):
        blocks.append({"type": "text", "text": str(step.get("text", "ok"))})
    uses = step.get("uses", [])
    blocks += [
        {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:24]}", "name": use["tool"], "input": use.get("input", {})} for use in uses
    ]
    return blocks


def message_of(step: dict[str, Any], body: dict[str, Any], size: int) -> dict[str, Any]:
    blocks = blocks_of(step)
    usage = {
        "input_tokens": max(1, size // 4),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1 + len(json.dumps(blocks)) // 4,
    }
    usage.update(step.get("usage") or {})
    stop = "tool_use" if any(b["type"] == "tool_use" for b in blocks) else "end_turn"
    return {
        "id": "msg_" + uuid.uuid4().hex[:24],
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "fake"),
        "content": blocks,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
    }


def cut(text: str, pieces: int) -> Iterator[str]:
    width = max(1, -(-len(text) // max(1, pieces)))
    for at in range(0, len(text), width):
        yield text[at : at + width]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def log_message(self, *_args: Any) -> None:  # stay silent on stderr
        return

    def _body(self) -> bytes:
        length = self.headers.get("content-length")
        if length is not None:
            return self.rfile.read(int(length))
        if "chunked" in (self.headers.get("transfer-encoding") or ""):
            out = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0] or b"0", 16)
                if size == 0:
                    while self.rfile.readline().strip():
                        pass
                    return out
                out += self.rfile.read(size)
                self.rfile.readline()
        return b""

    def _json(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("request-id", "req_" + uuid.uuid4().hex[:16])
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.server.note(self, b"", {}, None)
        self._json(200, {})

    def do_GET(self) -> None:
        self.server.note(self, b"", {}, None)
        self._json(200, {})

    do_PUT = do_DELETE = do_PATCH = do_GET

    def do_POST(self) -> None:
        raw = self._body()
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = {}
        if not isinstance(body, dict):
            body = {}
        path = self.path.split("?")[0].rstrip("/")
        if path.endswith("/count_tokens"):
            self.server.note(self, raw, body, None)
            self._json(200, {"input_tokens": max(1, len(raw) // 4)})
        elif path.endswith("/messages"):
            step = self.server.script.choose(body)
            self.server.note(self, raw, body, step)
            self._answer(step, body, len(raw))
        else:
            self.server.note(self, raw, body, None)
            self._json(200, {})

    def _answer(self, step: dict[str, Any], body: dict[str, Any], size: int) -> None:
        if step.get("delay"):
            time.sleep(float(step["delay"]))
        if step.get("status"):
            kind = {429: "rate_limit_error", 529: "overloaded_error", 401: "authentication_error", 400: "invalid_request_error"}.get(
                int(step["status"]), "api_error"
            )
            self._json(int(step["status"]), {"type": "error", "error": {"type": kind, "message": str(step.get("text", "scripted error"))}})
            return
        message = message_of(step, body, size)
        if not body.get("stream"):
            self._json(200, message)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("cache-control", "no-cache")
        self.send_header("request-id", "req_" + uuid.uuid4().hex[:16])
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self._stream(step, message)
        except OSError:
            self.server.note_gone(self.path)

    def _event(self, kind: str, **data: Any) -> None:
        payload = json.dumps({"type": kind, **data})
        self.wfile.write(f"event: {kind}\ndata: {payload}\n\n".encode())
        self.wfile.flush()

    def _stream(self, step: dict[str, Any], message: dict[str, Any]) -> None:
        drip = float(step.get("drip", 0))
        pieces = int(step.get("chunks", 1))
        self._event(
            "message_start", message={**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
        )
        while step.get("hang") and not self.server.stopping.is_set():
            self._event("ping")  # raises OSError once the client is gone
            time.sleep(0.5)
        for index, block in enumerate(message["content"]):
            if block["type"] == "tool_use":
                self._event("content_block_start", index=index, content_block={**block, "input": {}})
                parts = [("input_json_delta", "partial_json", p) for p in cut(json.dumps(block["input"]), pieces)]
            elif block["type"] == "thinking":
                self._event("content_block_start", index=index, content_block={"type": "thinking", "thinking": "", "signature": ""})
                parts = [("thinking_delta", "thinking", block["thinking"]), ("signature_delta", "signature", block["signature"])]
            else:
                self._event("content_block_start", index=index, content_block={"type": "text", "text": ""})
                parts = [("text_delta", "text", p) for p in cut(block["text"], pieces)]
            for kind, key, part in parts:
                self._event("content_block_delta", index=index, delta={"type": kind, key: part})
                if drip:
                    time.sleep(drip)
            self._event("content_block_stop", index=index)
        self._event("message_delta", delta={"stop_reason": message["stop_reason"], "stop_sequence": None}, usage=message["usage"])
        self._event("message_stop")


class FakeServer(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int = 0, *, rules: list[dict[str, Any]] | None = None, log: Path | None = None, bodies: bool = False) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.script = Script(rules or [])
        self.log_path, self.bodies = log, bodies
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def note(self, handler: Handler, raw: bytes, body: dict[str, Any], step: dict[str, Any] | None) -> None:
        messages = body.get("messages") or []
        entry: dict[str, Any] = {
            "t": round(time.time(), 3),
            "method": handler.command,
            "path": handler.path,
            "bytes": len(raw),
            "model": body.get("model"),
            "stream": body.get("stream"),
            "n_messages": len(messages),
            "roles": [m.get("role") for m in messages][-12:],
            "n_tools": len(body.get("tools") or []),
            "session": (handler.headers.get("x-claude-code-session-id") or (body.get("metadata") or {}).get("user_id")),
            "user_texts": [t[:160] for m in messages if m.get("role") == "user" for t in texts_of(m)][-8:],
            "step": {k: v for k, v in (step or {}).items() if k != "uses"} or None,
        }
        if self.bodies:
            entry["body"] = body
            entry["headers"] = {k: v for k, v in handler.headers.items() if k.lower() not in ("x-api-key", "authorization")}
        self._append(entry)

    def note_gone(self, path: str) -> None:
        self._append({"t": round(time.time(), 3), "path": path, "event": "client went away mid-stream"})

    def _append(self, entry: dict[str, Any]) -> None:
        with self.lock:
            self.requests.append({k: v for k, v in entry.items() if k != "body"})
            del self.requests[:-1000]
            if self.log_path:
                with self.log_path.open("a") as out:
                    out.write(json.dumps(entry) + "\n")

    def handle_error(self, request: Any, client_address: Any) -> None:
        kind = sys.exc_info()[0]
        if kind is not None and issubclass(kind, OSError):
            return
        super().handle_error(request, client_address)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path)
    parser.add_argument("--rules", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--log-bodies", action="store_true")
    parser.add_argument("--lifetime", type=float, default=0, help="stop after that many seconds")
    args = parser.parse_args(argv)
    rules = json.loads(args.rules.read_text()) if args.rules else []
    server = FakeServer(args.port, rules=rules, log=args.log, bodies=args.log_bodies)

    def stop(*_: Any) -> None:
        server.stopping.set()
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if args.lifetime:
        timer = threading.Timer(args.lifetime, stop)
        timer.daemon = True
        timer.start()
    if args.port_file:
        args.port_file.write_text(str(server.server_address[1]))
    print(server.url, flush=True)
    server.serve_forever(poll_interval=0.2)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
