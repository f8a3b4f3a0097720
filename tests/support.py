"""What tests share: waiting for a condition, reading event files, running the program from outside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import anyio
import attrs
import pytest

ROOT = Path(__file__).resolve().parent.parent
POLL = 0.005
T = TypeVar("T")


async def eventually(predicate: Callable[[], T], timeout: float = 10.0, *, what: str = "") -> T:
    """Wait until a condition holds, and return what made it true.

    Args:
        predicate: Called again and again; it must not block.
        timeout: Seconds after which the test fails.
        what: What is waited for, for the failure's text.

    Raises:
        AssertionError: The condition did not come to hold.

    **Cancellation:** leaves at once.
    """
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or _name(predicate)} (last value: {value!r})")
        await anyio.sleep(POLL)
    return value


def eventually_sync(predicate: Callable[[], T], timeout: float = 10.0, *, what: str = "") -> T:
    """Do what `eventually` does, where there is no event loop."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or _name(predicate)} (last value: {value!r})")
        time.sleep(POLL)
    return value


def needs(program: str, package: str) -> None:
    """Skip a test where the distribution's program is missing; in CI it must not be.

    Args:
        program: Its name.
        package: What tools/install-optional.sh calls it.
    """
    if shutil.which(program) is None:
        remedy = f"tools/install-optional.sh {package} installs it"
        if os.environ.get("CI"):
            pytest.fail(f"CI has no {program}: {remedy}")
        pytest.skip(f"no {program} here: {remedy}")


def read_events(path: Path | str) -> list[dict[str, Any]]:
    """Read an event file: one object for each line that is complete; nothing where there is no file yet.

    Raises:
        AssertionError: A complete line is no JSON object.
    """
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    events: list[dict[str, Any]] = []
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        try:
            event = json.loads(line)
        except ValueError as error:
            raise AssertionError(f"{path}:{number}: not JSON: {line!r}") from error
        assert isinstance(event, dict), f"{path}:{number}: not an object: {line!r}"
        events.append(event)
    return events


@attrs.frozen
class Finished:
    """A program that has ended.

    Attributes:
        returncode: As of `subprocess`: the exit code, or minus the signal's number.
        seconds: From its start to its end.
    """

    returncode: int
    stdout: str
    stderr: str
    seconds: float


@attrs.define
class Program:
    """A program that was started and has its output in files, so that nobody has to drain a pipe."""

    process: subprocess.Popen[bytes]
    folder: Path
    started: float

    @property
    def pid(self) -> int:
        """The pid of the program itself."""
        return self.process.pid

    @property
    def stdout(self) -> str:
        """What it has written to its standard output so far."""
        return (self.folder / "stdout").read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has written to its standard error so far."""
        return (self.folder / "stderr").read_text(errors="replace")

    def send(self, signum: signal.Signals) -> None:
        """Send the program, and nobody else, a signal."""
        self.process.send_signal(signum)

    def wait(self, timeout: float = 30.0) -> Finished:
        """Wait for its end.

        Raises:
            AssertionError: It did not end in time; the text holds its output so far.
        """
        try:
            returncode = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.process.args!r} did not end within {timeout:g} s\nstdout:\n{self.stdout}\nstderr:\n{self.stderr}"
            ) from None
        return Finished(returncode, self.stdout, self.stderr, time.monotonic() - self.started)


@contextlib.contextmanager
def no_descriptors(spare: int = 0) -> Iterator[None]:
    """Within the block this process can open no more files, or only so many."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    with contextlib.ExitStack() as stack:
        # all numbers below the limit are in use, as where a process has opened too many
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(used) + 1 + spare, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(max(used) + 1 - len(used)):
            with contextlib.suppress(OSError):
                stack.callback(os.close, os.dup(0))
        yield


@contextlib.contextmanager
def running(
    *argv: str | os.PathLike[str],
    cwd: Path | str | None = None,
    env: Mapping[str, str | None] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> Iterator[Program]:
    """Start a program in a process group of its own and see to it that it is gone afterwards.

    Args:
        argv: The program and its arguments.
        cwd: Its working directory; this one's where None.
        env: Additions to the environment; a value None removes.
        stdin: Nothing to read, unless said otherwise.
    """
    environ = dict(os.environ)
    for name, value in (env or {}).items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
    folder = Path(tempfile.mkdtemp(prefix="program-"))
    try:
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            started = time.monotonic()
            process = subprocess.Popen(argv, cwd=cwd, env=environ, stdin=stdin, stdout=out, stderr=err, process_group=0)
        with process:
            try:
                yield Program(process, folder, started)
            finally:
                _end(process)
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def supervising(
    *arguments: str | os.PathLike[str],
    cwd: Path | str | None = None,
    env: Mapping[str, str | None] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> Iterator[Program]:
    """Start ``python -m supervisor ARGUMENTS``, from any directory; see `running`."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with running(sys.executable, "-m", "supervisor", *arguments, cwd=cwd, env={"PYTHONPATH": path, **(env or {})}, stdin=stdin) as program:
        yield program


def run_supervisor(
    *arguments: str | os.PathLike[str],
    cwd: Path | str | None = None,
    env: Mapping[str, str | None] | None = None,
    timeout: float = 30.0,
) -> Finished:
    """Run ``python -m supervisor ARGUMENTS`` to its end.

    Raises:
        AssertionError: It did not end in time.
    """
    with supervising(*arguments, cwd=cwd, env=env) as program:
        return program.wait(timeout)


def kill_unseen(supervisor: Program, sentry: int) -> None:
    """SIGKILL for the sentry of a supervisor that is stopped, so that it can start no other, and then for the supervisor."""

    def state(pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except OSError:
            return "X"

    supervisor.send(signal.SIGSTOP)
    eventually_sync(lambda: state(supervisor.pid) == "T", what="the supervisor's stop")
    os.kill(sentry, signal.SIGKILL)
    eventually_sync(lambda: state(sentry) in "ZX", what="the sentry's end")
    supervisor.send(signal.SIGKILL)
    supervisor.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _name(predicate: Callable[[], object]) -> str:
    return f"{predicate.__qualname__} at line {predicate.__code__.co_firstlineno}" if hasattr(predicate, "__code__") else repr(predicate)
