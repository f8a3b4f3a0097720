"""The real Claude Code for benchmarks, where the repository's script has installed it, against the tests' scripted API on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import attrs

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = {
    "native": "native/node_modules/@anthropic-ai/claude-code-*/claude",
    "2.0.77": "node/node_modules/@anthropic-ai/claude-code/cli.js",
}
STREAMS: Final = ("-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose")
PATIENCE: Final = 60.0
_KEY: Final = "made-up-for-benchmarks-0123456789"


def builds() -> dict[str, Path]:
    """The builds that are there, by what they are called; standard error says which are not."""
    found = {}
    for name, pattern in PACKAGES.items():
        program = next(iter(sorted((ROOT / ".claude-code").glob(pattern))), None)
        if program is None or (name == "2.0.77" and shutil.which("node") is None):
            print(f"no Claude Code ({name}) here, so its figures are left out: tools/install-optional.sh claude", file=sys.stderr)
        else:
            found[name] = program
    return found


@attrs.frozen
class Place:
    """A folder in which Claude Code is at home, and nobody else.

    Attributes:
        environ: The environment that reaches the scripted API and nothing else.
    """

    folder: Path
    environ: Mapping[str, str]

    def guarded(self, *command: str | Path) -> list[str]:
        """The words that run a command under the guardian."""
        files = {"--state-dir": "state", "--config": "calm.toml", "--events": "events.jsonl"}
        options = [word for option, file in files.items() for word in (option, str(self.folder / file))]
        return [sys.executable, "-m", "supervisor", *options, "--name", "claude", "--", *map(str, command)]

    def decided(self, before: int) -> float:
        """Wait for one more decision to restart than there were; when it was made, in seconds since the epoch."""
        event = until(lambda: self._decisions()[before:], "the decision")[0]
        return datetime.fromisoformat(event["time"]).timestamp()

    @property
    def decisions(self) -> int:
        """How often it was decided to restart."""
        return len(self._decisions())

    def _decisions(self) -> list[dict[str, Any]]:
        lines = (self.folder / "events.jsonl").read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines if b'"restart_initiated"' in line]

    def session(self) -> str:
        """The id of the conversation that was written last."""
        found = [path for path in (self.folder / "config" / "projects").glob("*/*.jsonl") if not path.name.startswith("agent-")]
        return max(found, key=lambda path: path.stat().st_mtime).stem


@contextmanager
def at_home() -> Iterator[Place]:
    """A place to run Claude Code in, and the scripted API."""
    with tempfile.TemporaryDirectory(prefix="claude-") as name:
        folder = Path(name).resolve()
        for place in ("home", "config", "t"):
            (folder / place).mkdir()
        answers = {
            "hasCompletedOnboarding": True,
            "hasSeenAutoDefaultNudge": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [_KEY[-20:]], "rejected": []},
            "projects": {str(folder): {"hasTrustDialogAccepted": True}},
        }
        (folder / "config" / ".claude.json").write_text(json.dumps(answers))
        (folder / "calm.toml").write_text(
            '[thresholds]\nwarning = "20GiB"\ncritical = "21GiB"\nemergency = "22GiB"\n'
            "[restart]\nmax_attempts = 1000\ninitial_cooldown = 0\nmax_cooldown = 0\nineffective_window = 0\n"
        )
        words = [sys.executable, str(ROOT / "tests" / "fake_anthropic.py"), "--port-file", str(folder / "port"), "--lifetime", "600"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as api:
            try:
                port = until(lambda: (folder / "port").exists() and (folder / "port").read_text(), "the scripted API")
                kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
                environ = {
                    **kept,
                    "HOME": str(folder / "home"),
                    "TERM": "xterm-256color",
                    "TMPDIR": str(folder / "t"),
                    "PYTHONPATH": str(ROOT),
                    "CLAUDE_CONFIG_DIR": str(folder / "config"),
                    "ANTHROPIC_API_KEY": _KEY,
                    "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
                    "DISABLE_AUTOUPDATER": "1",
                    "DISABLE_TELEMETRY": "1",
                    "DISABLE_ERROR_REPORTING": "1",
                    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                }
                yield Place(folder, environ)
            finally:
                api.kill()
        # 2.0.77 writes there whatever TMPDIR says
        shutil.rmtree(Path("/tmp/claude", str(folder).replace("/", "-")), ignore_errors=True)
        with suppress(OSError):
            os.rmdir("/tmp/claude")


def until(holds: Callable[[], Any], what: str, pause: float = 0.002) -> Any:
    """Wait until something holds, and return it.

    Raises:
        TimeoutError: It does not come to hold.
    """
    end = time.monotonic() + PATIENCE
    while not (value := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(pause)
    return value


def prompt(text: str) -> bytes:
    """A prompt as a line of stream-json."""
    content = [{"type": "text", "text": text}]
    return json.dumps({"type": "user", "message": {"role": "user", "content": content}}).encode() + b"\n"


def ended(process: subprocess.Popen[bytes]) -> None:
    """Have a process end, if need be by force."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
