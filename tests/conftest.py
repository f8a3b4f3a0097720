"""What every test gets: both event loops, a deadline, a home and a temporary folder of its own, and a check for what it left behind."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, settings

from .leaks import MARK, Baseline, remove_cgroups_of_the_killed

DEADLINE = 60.0
"""Seconds a test may take, its fixtures included; `@pytest.mark.deadline(seconds)` says otherwise."""

# The machine is shared: how long one example takes says nothing. CI repeats itself, so that a change does not fail by the dice of another.
settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci", deadline=None, derandomize=True, print_blob=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", deadline=None, max_examples=5_000, stateful_step_count=100, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

# A shell ignores the terminal's signals for what it runs in the background, as nohup does, and ignoring is inherited.
for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, default)

_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=[pytest.param("trio", id="trio"), pytest.param("asyncio", id="asyncio")])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Run each asynchronous test on both event loops."""
    return request.param


@pytest.fixture(scope="session", autouse=True)
def _surroundings() -> Iterator[None]:
    """Nothing of the person who runs the tests reaches them: no settings of the guardian's, of git's or of make's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("MEMORY_GUARDIAN_", "CLAUDE_MPM_", "GIT_", "MAKE")) or name in {
                "MFLAGS",
                "NO_COLOR",
                "NOTIFY_SOCKET",
                "NOTIFY_FD",
            }:
                patch.delenv(name)
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
        yield
    remove_cgroups_of_the_killed()


@pytest.fixture(autouse=True)
def _guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail a test that takes too long or leaves something behind."""
    marker = request.node.get_closest_marker("deadline")
    seconds = float(marker.args[0]) if marker else DEADLINE
    number = next(_numbers)
    own = tmp_path_factory.getbasetemp() / f"guarded-{os.getpid()}-{number}"
    temporary, home = own / "tmp", own / "home"
    temporary.mkdir(parents=True)
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch, _deadline(seconds):
        patch.setenv(MARK, f"{os.getpid()}-{number}")
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", str(temporary))
        patch.setenv("HOME", str(home))
        for variable, folder in {"STATE": ".local/state", "DATA": ".local/share", "CONFIG": ".config", "CACHE": ".cache"}.items():
            patch.setenv(f"XDG_{variable}_HOME", str(home / folder))
        patch.delenv("XDG_RUNTIME_DIR", raising=False)  # the launchers of a test are found by that test alone
        baseline = Baseline.take(os.environ[MARK])
        before = Path.cwd()
        try:
            yield
        finally:
            left = baseline.leaks()
            left += [f"temporary file {path.relative_to(temporary)}" for path in sorted(temporary.rglob("*"))]
            if Path.cwd() != before:
                left.append(f"working directory {Path.cwd()}")
                os.chdir(before)
            shutil.rmtree(own, ignore_errors=True)
    if left:
        pytest.fail("left behind:\n" + "\n".join(f"  {line}" for line in left), pytrace=False)


class _deadline:
    """Raise in the main thread after some seconds, wherever it is."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.active = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")

    def __enter__(self) -> None:
        if self.active:
            self.before = signal.signal(signal.SIGALRM, self._expired)
            signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *exc_info: object) -> None:
        if self.active:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self.before)

    def _expired(self, signum: int, frame: FrameType | None) -> None:
        pytest.fail(f"took longer than {self.seconds:g} s")
