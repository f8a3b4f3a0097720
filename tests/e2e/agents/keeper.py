"""A scripted MCP server on its standard input and output: its tool keeps memory, and says so to a file.

keeper.py FILE    each call of ``keep`` touches ``mib`` MiB more, which stay, and writes a line to FILE
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

TOOL = {"name": "keep", "description": "Keeps memory", "inputSchema": {"type": "object", "properties": {"mib": {"type": "integer"}}}}


def main() -> None:
    file, kept = Path(sys.argv[1]), []
    is_stubborn = "stubborn" in sys.argv[2:]
    if is_stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        message = json.loads(line)
        result: dict[str, Any] = {}
        match message.get("method"):
            case "initialize":
                version = message["params"]["protocolVersion"]
                result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "keeper", "version": "1"}}
            case "tools/list":
                result = {"tools": [TOOL]}
            case "tools/call":
                mib = int(message["params"]["arguments"].get("mib", 0))
                # a page that is the same as another could be shared, and one of zeros need not be there at all
                kept.append(b"".join(os.urandom(16) * 256 for _ in range(mib << 8)))
                with file.open("a") as out:
                    out.write(f"{os.getpid()} {mib}\n")
                result = {"content": [{"type": "text", "text": f"kept {mib} MiB"}]}
        if "id" in message and "method" in message:
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
    if is_stubborn:
        time.sleep(120)


if __name__ == "__main__":
    main()
