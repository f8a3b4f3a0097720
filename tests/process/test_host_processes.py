"""Identities, signals and trees of real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from supervisor.host import identity, proctree
from supervisor.host.identity import ProcessId, identify, is_alive, send_signal
from supervisor.host.marker import VARIABLE, carries, chained, new_marker, run_token, value_in
from supervisor.host.proctree import descendants, marked, snapshot, walk

from ..support import eventually_sync
from .host_support import CHILDREN, PYTHON, identified, reported

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@contextmanager
def sleeping(**options: object) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(params=["pidfd", "kill"])
def signalling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> object:
    """Both ways of sending a signal."""
    monkeypatch.setattr(identity, "_pidfd", request.param == "pidfd")
    return request.param


def test_identity_is_stable() -> None:
    """A process is the same process however often one asks."""
    with sleeping() as process:
        assert identify(process.pid) == identify(process.pid) != None  # noqa: E711
        assert is_alive(identified(process.pid))


def test_zombie_has_an_identity_and_is_not_alive() -> None:
    """A dead process that nobody has reaped keeps its pid, and nothing of it runs."""
    with sleeping() as process:
        found = identified(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert identify(process.pid) == found
        assert not is_alive(found)
        assert not send_signal(found, signal.SIGTERM)


def test_reaped_process_is_nobody(signalling: str) -> None:
    """After the reaping there is no identity, and a signal reaches nobody."""
    with sleeping() as process:
        found = identified(process.pid)
        process.kill()
        process.wait()

        assert not is_alive(found)
        assert not send_signal(found, signal.SIGKILL)


def test_signal_reaches_the_process_that_is_meant(signalling: str) -> None:
    """The signal arrives."""
    with sleeping() as process:
        assert send_signal(identified(process.pid), signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM


def test_another_process_of_the_same_pid_is_never_signalled(signalling: str) -> None:
    """A pid that was recycled: the creation time differs, so nothing is sent."""
    with sleeping() as process:
        found = identified(process.pid)
        for created in (found.created - 1, found.created + 1, 0):
            assert not is_alive(attrs.evolve(found, created=created))
            assert not send_signal(attrs.evolve(found, created=created), signal.SIGKILL)

        assert process.poll() is None


def test_names_with_parentheses_are_read(tmp_path: Path) -> None:
    """A program may call itself anything; the fields after its name are still found."""
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        try:
            found = identify(process.pid)
            assert found is not None and found.created > 0
            assert walk(process.pid) == [found]
        finally:
            process.kill()


def test_tree_has_parents_before_children(tmp_path: Path) -> None:
    """The whole tree, sessions of their own included, with the root first and every parent before its children."""
    with subprocess.Popen(["sh", "-c", "setsid sh -c 'sleep 60 & wait' & sleep 60 & wait"]) as process:
        try:
            eventually_sync(lambda: len(walk(process.pid)) == 4)
            pids = [member.pid for member in walk(process.pid)]
            parents = [int(Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[1]) for pid in pids]

            assert pids[0] == process.pid and descendants(process.pid) == pids[1:]
            assert all(parent in pids[:index] for index, parent in enumerate(parents) if index)
        finally:
            for member in walk(process.pid):
                send_signal(member, signal.SIGKILL)


@pytest.mark.parametrize("children_files", [True, False])
def test_children_of_threads_are_found(monkeypatch: pytest.MonkeyPatch, children_files: bool) -> None:
    """A child is listed under the thread that forked it, or found through its parent where the kernel lists none."""
    monkeypatch.setattr(proctree, "_children_files", children_files)
    started: list[subprocess.Popen[bytes]] = []
    go_on = threading.Event()

    def fork() -> None:
        started.append(subprocess.Popen(["sleep", "60"]))
        go_on.wait(30)

    thread = threading.Thread(target=fork)
    thread.start()
    try:
        eventually_sync(lambda: started)
        assert started[0].pid in descendants(os.getpid())
    finally:
        go_on.set()
        thread.join()
        with started[0]:
            started[0].kill()


def test_snapshot_of_another_process_of_the_same_pid_is_empty() -> None:
    """A snapshot is of a process, not of a pid."""
    with sleeping() as process:
        root = identified(process.pid)

        assert snapshot(root) == (root,)
        assert snapshot(attrs.evolve(root, created=root.created + 1)) == ()


def test_walk_of_nothing_is_empty() -> None:
    """Neither a pid without a process nor a zombie has a tree."""
    with sleeping() as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert walk(process.pid) == []
    assert walk(process.pid) == []


def test_marked_processes_are_found_wherever_they_hide(tmp_path: Path) -> None:
    """A marker, and the token of the run that made it, find a process; another life's marker and ourselves are not found."""
    marker, other = new_marker(("root", "leaf"), 1), new_marker(("root", "leaf"), 2)
    outer = f"outer-{os.getpid()}"
    with sleeping(env={**os.environ, VARIABLE: chained(marker, f"{outer}:1:x:1")}, start_new_session=True) as process:
        expected = (identified(process.pid),)

        assert marked(marker) == marked(run_token()) == marked(outer) == expected
        assert marked(other) == marked(marker[:-1]) == marked("nobody") == ()


def test_markers_of_nested_supervisors_add_up() -> None:
    """A process belongs to the lives of all supervisors above it."""
    value = chained("b:1:y:1", chained("a:1:x:1", None))

    assert carries(value, "a:1:x:1") and carries(value, "b:1:y:1") and carries(value, "a") and not carries(value, "a:1:x:10")
    assert value_in(f"X=1\0{VARIABLE}={value}\0Y=2\0".encode()) == value
    assert value_in(f"{VARIABLE}={value}".encode()) == value
    assert value_in(f"OLD_{VARIABLE}=a\0".encode()) == value_in(b"") == ""


def test_markers_are_unique_and_legible() -> None:
    """One life, one marker, whatever its path holds."""
    markers = {new_marker(("röot;", "a:b"), 1) for _ in range(100)}

    assert len(markers) == 100
    assert all(";" not in marker and marker.count(":") == 3 for marker in markers)


def test_permission_is_an_error_not_a_silence() -> None:
    """A process that may not be signalled is no process that is gone."""
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            send_signal(identified(1), 0)
        return
    # root may signal everybody, so somebody else has to try
    script = (
        "import os, sys\n"
        "from supervisor.host.identity import identify, send_signal\n"
        "os.setuid(65534)\n"
        "try: send_signal(identify(int(sys.argv[1])), 0)\n"
        "except PermissionError: sys.exit(42)\n"
    )
    with sleeping() as process:
        root = Path(__file__).resolve().parents[2]
        asked = subprocess.run([PYTHON, "-c", script, str(process.pid)], cwd=root, check=False, capture_output=True)
        assert asked.returncode == 42, asked.stderr


def test_vanishing_processes_disturb_no_walk(tmp_path: Path) -> None:
    """A tree whose members come and go all the time is walked without an error."""
    report = tmp_path / "report"
    marker = new_marker(("t",), 1)
    environment = {**os.environ, VARIABLE: marker}
    with subprocess.Popen([PYTHON, str(CHILDREN / "family.py"), str(report), "sleep", "runner", "plain"], env=environment) as process:
        try:
            eventually_sync(lambda: len(reported(report)) == 2)
            for _ in range(200):
                assert walk(process.pid)[0].pid == process.pid
        finally:
            left: tuple[ProcessId, ...] = (identified(process.pid),)
            while left:
                for member in left:
                    send_signal(member, signal.SIGSTOP)
                for member in left:
                    send_signal(member, signal.SIGKILL)
                left = marked(marker)


def test_without_descriptors_a_signal_fails_and_loses_none() -> None:
    """Where the process can be opened but not looked at any more, that is an error, and its descriptor is given back."""
    import resource

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with sleeping() as process:
        leaf = identified(process.pid)
        assert is_alive(leaf)
        send_signal(leaf, 0)
        before = descriptors()
        resource.setrlimit(resource.RLIMIT_NOFILE, (_lowest_free() + 1, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                send_signal(leaf, 0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert descriptors() == before


def test_without_descriptors_pidfds_are_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for the first time at a bad moment, the kernel's answer is still to come."""
    import resource

    monkeypatch.setattr(identity, "_pidfd", None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_lowest_free(), hard))
    try:
        assert identity.has_pidfd() and identity._pidfd is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert identity.has_pidfd() is identity._pidfd is hasattr(os, "pidfd_open")


def _lowest_free() -> int:
    fd = os.dup(0)
    os.close(fd)
    return fd
