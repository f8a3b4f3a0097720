"""An MCP server with one tool that writes its pid into a file; with ``stubborn`` nothing but SIGKILL ends it.

mcp_server.py FILE [stubborn]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any, Final

LIMIT: Final = 120
"""Seconds after which it ends, whatever happens."""


def main() -> None:
    """Answer what a client asks for first."""
    signal.alarm(LIMIT)
    stubborn = sys.argv[2:] == ["stubborn"]
    if stubborn:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
    with open(sys.argv[1], "a") as file:
        file.write(f"{os.getpid()}\n")
    answers: dict[str, Any] = {
        "initialize": {
            "protocolVersion": "2024-11-05",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "left", "version": "1"},
        },
        "tools/list": {"tools": [{"name": "nothing", "description": "does nothing", "inputSchema": {"type": "object"}}]},
    }
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" in asked:
            print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answers.get(asked["method"], {})}), flush=True)
    while stubborn:
        time.sleep(1)


if __name__ == "__main__":
    main()
