"""The launcher in front of a program that is talked to in lines, a stand-in for the real one: load, ends, and exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import attrs
import pytest

from ..support import ROOT, eventually_sync, read_events
from .guarded import Tables, configured

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
on_trio = pytest.mark.parametrize("backend", ["trio"])
on_asyncio = pytest.mark.parametrize("backend", ["asyncio"])
"""One of the event loops, where what is looked at is the same on both."""
STREAMS = ("-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose")


def prompt(text: str) -> bytes:
    return json.dumps({"type": "user", "message": {"role": "user", "content": text}}).encode() + b"\n"


@attrs.define
class Run:
    """A launcher whose pipes are ours."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def say(self, *texts: str) -> None:
        self.stdin.write(b"".join(map(prompt, texts)))
        self.stdin.flush()

    def result(self) -> Any:
        """The next result."""
        while line := self.stdout.readline():
            said = json.loads(line)
            if said["type"] == "result":
                return said["result"]
        raise AssertionError("no more results")

    @property
    def read(self) -> list[str]:
        """The prompts that the program has read, over all its lives."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [json.loads(line.partition(" ")[2])["message"]["content"] for line in lines]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in read_events(self.folder / "events.jsonl") if event["event"] == name]


@contextlib.contextmanager
def relayed(folder: Path, backend: str, *options: str) -> Iterator[Run]:
    """Run a stand-in for Claude Code under the launcher, with pipes."""
    program = folder / "claude"
    words = f"{sys.executable} -I -S {ROOT / 'tests' / 'children' / 'stream_json.py'} {folder / 'log'}"
    program.write_text(f"#!/bin/sh\nexec {words}\n")
    program.chmod(0o755)
    guardian = ("--backend", backend, "--events", f"{folder}/events.jsonl", "--state-dir", f"{folder}/state", *options)
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor", *guardian, "--", program, *STREAMS],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            process_group=0,
        )
    with process:
        try:
            yield Run(process, folder)
        finally:
            if process.poll() is None:
                process.kill()


DUE: Tables = {
    "thresholds": {"warning": "1MiB", "critical": "2MiB", "emergency": "8GiB"},
    "restart": {"max_attempts": 1, "ineffective_window": 0},
    "monitoring": {"warning_interval": 0.2, "critical_interval": 0.2, "normal_interval": 0.2, "critical_samples": 3},
}
"""Its memory is critical, and a restart is due soon."""


def test_a_restart_that_is_due_comes_between_two_turns(backend: str, tmp_path: Path) -> None:
    """Although there is always a prompt that waits: that is held back, and goes to the next life."""
    file = configured(tmp_path / "due.toml", DUE)
    with relayed(tmp_path, backend, "--config", str(file)) as run:
        run.say("wait 0.1", "wait 0.1")
        said = 2
        while not run.events("child_restarted"):
            run.say("wait 0.1")
            said += 1
            assert run.result() == "0.1"
        for _ in range(2):
            run.result()
        run.stdin.close()
        assert run.process.wait(30) == 0
        assert len(run.read) == said and not run.events("conversation_cut")
        (initiated,) = run.events("restart_initiated")
        assert initiated["data"]["level"] == "critical"


@on_trio
def test_many_lines_and_the_exit_code(backend: str, tmp_path: Path) -> None:
    """Written at once and before anything is read, the last one without an end: all are answered in order, and the exit code is the
    program's."""
    count = 1000
    with relayed(tmp_path, backend) as run:
        said = b"".join(prompt(f"say {number}") for number in range(count))
        run.stdin.write(said + prompt("leave 3").rstrip())
        run.stdin.close()
        results = [run.result() for _ in range(count)]
        rest = run.stdout.read().splitlines()
        assert run.process.wait(30) == 3
    assert results == [str(number) for number in range(count)] and all(map(json.loads, rest))
    assert "ended in the middle of this turn" in json.loads(rest[-1])["result"]
    assert run.read == [f"say {number}" for number in range(count)] + ["leave 3"]


@on_trio
def test_no_two_guardians_are_in_one_conversation(backend: str, tmp_path: Path) -> None:
    """Wherever each of them keeps its state: who asks for one that is in use is told so, and may have it when it is over."""
    with relayed(tmp_path, backend) as run:
        run.say("say 1")
        assert run.result() == "1"
        (begun,) = run.events("conversation_started")
        program = [str(tmp_path / "claude"), "--resume", begun["data"]["session_id"], *STREAMS]
        words = [sys.executable, "-m", "supervisor", "--state-dir", f"{tmp_path}/other", "--", *program]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        refused = subprocess.run(words, cwd=tmp_path, env=environ, input=b"", capture_output=True, timeout=60)
        assert refused.returncode == 2 and b"is in use by another guardian" in refused.stderr
        run.stdin.close()
        assert run.process.wait(30) == 0
    assert subprocess.run(words, cwd=tmp_path, env=environ, input=b"", capture_output=True, timeout=60).returncode == 0


@on_asyncio
def test_an_input_that_ends_at_once(backend: str, tmp_path: Path) -> None:
    """So does the program, without a word."""
    with relayed(tmp_path, backend) as run:
        run.stdin.close()
        assert run.process.wait(30) == 0 and run.stdout.read() == b"" and run.read == []


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


@on_asyncio
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_slow_reader_and_big_lines(backend: str, tmp_path: Path) -> None:
    """Nothing is kept that nobody takes, and a line of tens of megabytes is a line."""
    with relayed(tmp_path, backend) as run:
        run.say("say ready")
        assert run.result() == "ready"
        before = resident(run.process.pid)
        run.say("quick 60000")
        eventually_sync(lambda: len(run.read) == 2)
        assert run.stdout.readline() and run.stdout.readline()
        assert resident(run.process.pid) < before + (16 << 20)
        numbers = [json.loads(run.stdout.readline())["number"] for _ in range(60_000)]
        assert numbers == list(range(60_000)) and run.result() == "60000"
        size = 8_000_000
        run.say("big 8000000", "say " + "y" * size)
        assert len(run.result()) == size and run.result() == "y" * size
        run.stdin.close()
        assert run.process.wait(30) == 0


@on_trio
def test_nobody_waits_for_a_reader_that_has_stopped(backend: str, tmp_path: Path) -> None:
    """The run is asked to end, and does; what nobody has taken is lost."""
    with relayed(tmp_path, backend) as run:
        run.say("say ready")
        run.result()
        run.say("big 5000000")
        eventually_sync(lambda: len(run.read) == 2)
        run.process.send_signal(signal.SIGTERM)
        assert run.process.wait(30) == 143


def test_a_reader_that_is_gone(backend: str, tmp_path: Path) -> None:
    """The program hears of it as it would by itself; it fails, and is not started again."""
    with relayed(tmp_path, backend) as run:
        run.say("say ready")
        run.result()
        run.stdout.close()
        run.say("quick 100000")
        assert run.process.wait(30) not in (0, 70)
        assert len([event for event in run.events("child_started") if event["path"][-1] == "leaf"]) == 1
        assert [event["data"]["stream"] for event in run.events("output_failed")] == ["stdout"]


@on_asyncio
def test_a_restart_that_is_asked_for_waits_for_the_turn(backend: str, tmp_path: Path) -> None:
    """No turn is cut, and none begins before the next life is up."""
    with relayed(tmp_path, backend) as run:
        run.say("say 0", "say 1", "say 2")
        results, said = [run.result()], 3
        words = [sys.executable, "-m", "supervisor", "restart", "claude"]
        with subprocess.Popen(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL) as asking:
            # always two more than are answered
            while asking.poll() is None or said < 30:
                run.say(f"say {said}")
                said += 1
                results.append(run.result())
            assert asking.returncode == 0
        run.stdin.close()
        results += [run.result() for _ in range(said - len(results))]
        assert results == [str(number) for number in range(said)]
        assert run.process.wait(30) == 0
        assert run.read == [f"say {number}" for number in range(said)]
        assert len(run.events("child_restarted")) == 1 and not run.events("conversation_cut")
