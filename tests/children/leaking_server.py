"""An MCP server on standard input and output with one tool, ``leak``, that comes to hold ``mib`` more with each call; bounded in all."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

LIMIT = 1024
"""MiB that it comes to hold at most."""

held: list[bytearray] = []


def answer(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The result of one request."""
    if method == "initialize":
        about = {"name": "leaking", "version": "1"}
        return {"protocolVersion": parameters["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": about}
    if method == "tools/list":
        schema = {"type": "object", "properties": {"mib": {"type": "integer"}}}
        return {"tools": [{"name": "leak", "description": "Holds more.", "inputSchema": schema}]}
    if method == "tools/call":
        mib = min(int(parameters["arguments"].get("mib", 1)), LIMIT - sum(map(len, held)) // 2**20)
        held.append(bytearray(b"x") * (mib << 20))
        return {"content": [{"type": "text", "text": f"{os.getpid()} holds {sum(map(len, held)) >> 20} MiB"}]}
    return {}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        result = {"jsonrpc": "2.0", "id": message["id"], "result": answer(message.get("method", ""), message.get("params") or {})}
        print(json.dumps(result), flush=True)
