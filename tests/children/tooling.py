"""A leaf with a tool: it starts a shell in a session of its own, which runs something that comes to hold memory, and lives on.

    tooling.py FOLDER TOOL OWN KIND [MIB...]

The tool holds TOOL MiB once the file `go` is there, the leaf itself OWN MiB. KIND is

    plain   nothing special
    deaf    tool and shell ignore SIGTERM
    asked   the tool writes the file `asked` at SIGTERM and ends
    late    the same, and the leaf waits for that file
    loop    the shell runs the tool again and again

The shell writes to `ended` how the tool ended. Each further number is that of a tool of its own, of so many MiB. Nothing lives longer than
a minute.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HOLD = """
import os, signal, sys, time
signal.alarm(60)
folder, mib, kind = sys.argv[1:]
def asked(signum, frame):
    open(f"{folder}/asked", "w").close()
    os._exit(3)
if kind in ("asked", "late"):
    signal.signal(signal.SIGTERM, asked)
while not os.path.exists(f"{folder}/go"):
    time.sleep(0.01)
held = bytearray(b"x") * (int(mib) << 20)
open(f"{folder}/holds.{os.getpid()}", "w").close()
time.sleep(60)
"""

SHELLS = {
    "plain": '"$@"; echo $? > "$2"/ended',
    "deaf": "trap '' TERM; \"$@\"",
    "asked": '"$@"; echo $? > "$2"/ended',
    "late": '"$@"',
    "loop": 'while :; do "$@"; done',
}


def main(folder: Path, tool: int, own: int, kind: str, *more: str) -> None:
    """Play it."""
    signal.alarm(60)
    for mib in (tool, *map(int, more)):
        if mib:
            shell = SHELLS[kind].replace('"$2"', f"'{folder}'")
            python = (sys.executable, "-S", "-E", "-c", HOLD, str(folder), str(mib), kind)
            subprocess.Popen(["/bin/sh", "-c", shell, "tool", *python], start_new_session=True)
    gate = folder / ("asked" if kind == "late" else "go")
    while own and not gate.exists():
        time.sleep(0.01)
    held = bytearray(b"x") * (own << 20)
    (folder / "up").touch()
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(60)
            break
    del held


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
