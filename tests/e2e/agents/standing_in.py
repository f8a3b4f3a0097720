"""Stands in for Claude Code where only its hooks matter: ``claude`` that begins a turn when told to, by files in its directory.

A life says nothing for the seconds that ``slow`` holds, then begins its conversation; ``busy`` begins a turn, ``over`` ends it, ``end``
ends it all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path


def say(event: str, told: dict[str, object]) -> None:
    """Run the hooks of an event as the program does."""
    for group in SETTINGS["hooks"].get(event, []):
        for hook in group["hooks"]:
            done = subprocess.run(["sh", "-c", hook["command"]], input=json.dumps(told) + "\n", capture_output=True, text=True, timeout=20)
            with open("said", "a") as file:
                file.write(done.stdout)


def await_file(name: str) -> None:
    """Wait until somebody makes a file, and take it away."""
    while not Path(name).exists():
        if Path("end").exists():
            sys.exit(0)
        time.sleep(0.02)
    Path(name).unlink()


SETTINGS = json.loads(Path(sys.argv[sys.argv.index("--settings") + 1]).read_text())
SESSION = next(sys.argv[sys.argv.index(name) + 1] for name in ("--session-id", "--resume") if name in sys.argv)
if Path("slow").exists():
    time.sleep(float(Path("slow").read_text()))
say("SessionStart", {"session_id": SESSION, "source": "resume" if "--resume" in sys.argv else "startup"})
with open("lives", "a") as lives:
    lives.write(" ".join(sys.argv[1:]) + "\n")
while True:
    await_file("busy")
    say("UserPromptSubmit", {"prompt": "do"})
    await_file("over")
    say("Stop", {"stop_hook_active": False})
