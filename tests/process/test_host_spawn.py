"""Starting real processes: what they get, what it costs nothing to get wrong, and how errors are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from supervisor.host import launching
from supervisor.host.launching import Mechanism, launch_mechanism, mechanism
from supervisor.host.marker import VARIABLE, new_marker
from supervisor.host.settings import OOM_RAISE, Settings
from supervisor.host.spawn import Spawned, spawn
from supervisor.host.waitstatus import WaitStatus

from ..support import eventually_sync, running
from .host_support import CHILDREN, PYTHON, children
from .host_support import running as runs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")

BEST = mechanism()


DEFAULTS: dict[str, Any] = {}
"""How `spawn` is called beyond what a test asks for."""


@pytest.fixture(params=[*Mechanism, None], ids=lambda way: "direct" if way is None else way.value, autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Mechanism | None:
    """Every way of launching that this host has; None for the command itself, because nothing has to come between."""
    wanted: Mechanism | None = request.param
    if wanted is None:
        monkeypatch.setitem(DEFAULTS, "death_signal", 0)
        return None
    if wanted is Mechanism.HELPER and BEST is not Mechanism.HELPER:
        pytest.skip("the launch helper is not built")
    if wanted is Mechanism.SETPRIV and launching._without_helper() is not Mechanism.SETPRIV:
        pytest.skip("no setpriv here")
    monkeypatch.setattr(launching, "_chosen", wanted)
    return wanted


@contextmanager
def spawned(*argv: str, **options: Any) -> Iterator[Spawned]:
    process = spawn(argv, marker=new_marker(("t",), 1), **{**DEFAULTS, **options})
    try:
        yield process
    finally:
        if process.status() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        process.reap()
        process.close()


def outcome(process: Spawned) -> WaitStatus:
    process.wait()
    status = process.status()
    assert status is not None
    return status


def output(tmp_path: Path, *argv: str, **options: Any) -> str:
    file = tmp_path / "output"
    with spawned(*argv, stdout=file, **options) as process:
        outcome(process)
    return file.read_text()


def test_way_is_reported(way: Mechanism | None) -> None:
    """Doctor can say how commands are launched."""
    assert launch_mechanism() == (BEST if way is None else way).value


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_comes_between_that_is_not_needed(way: Mechanism | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command without a death signal and without settings is what the fork executes; its out-of-memory score is raised even so."""
    if way is not None:
        pytest.skip("for the direct way")
    helper = tmp_path / "_launch"
    helper.write_text("#!/bin/sh\nexit 99\n")
    helper.chmod(0o755)
    monkeypatch.setattr(launching, "_chosen", Mechanism.HELPER)
    monkeypatch.setattr(launching, "_HELPER", str(helper))
    with spawned("sleep", "60") as process:
        assert Path(f"/proc/{process.pid}/cmdline").read_bytes() == b"sleep\x0060\x00"
        scores = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in ("self", process.pid)]
        assert scores[1] == min(1000, scores[0] + OOM_RAISE)
    for needed in ({"death_signal": 9}, {"settings": Settings(nofile=64)}, {"pid_variable": "X"}):
        with spawned("sleep", "60", **needed) as process:
            assert outcome(process) == WaitStatus(code=99), f"{needed} takes the helper"


def test_ends_are_seen_before_the_reaping() -> None:
    """Code and signal are known while the pid is still the process's own."""
    with spawned("sh", "-c", "exit 7") as process:
        assert outcome(process) == WaitStatus(code=7)
        assert not process.reaped and Path(f"/proc/{process.pid}").exists()
        process.reap()
        assert process.reaped and process.status() == WaitStatus(code=7)
    with spawned("sh", "-c", "kill -USR1 $$") as process:
        assert outcome(process) == WaitStatus(signal=signal.SIGUSR1, core_dumped=False)


def test_environment_is_ours_with_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Additions, removals, and the marker in addition to the one that we carry ourselves."""
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("REMOVED", "removed")
    monkeypatch.setenv(VARIABLE, "outer:1:x:1")
    changed = output(tmp_path, "env", env={"ADDED": "a=b", "REMOVED": None}, variables={"NUMBER": "3"}).splitlines()
    (tmp_path / "output").unlink()
    plain = output(tmp_path, "env", variables={"NUMBER": "3"}).splitlines()

    assert {"KEPT=kept", "ADDED=a=b", "NUMBER=3"} < set(changed) and "REMOVED=removed" not in changed
    assert {"KEPT=kept", "NUMBER=3", "REMOVED=removed"} < set(plain)
    for lines in (changed, plain):
        (value,) = [line for line in lines if line.startswith(VARIABLE)]
        assert value.startswith(f"{VARIABLE}=outer:1:x:1;") and value.endswith(":t:1")


def test_arguments_arrive_as_they_are(tmp_path: Path) -> None:
    """Options, a literal ``--``, blanks, empty arguments and bytes that are no UTF-8 belong to the command."""
    words = ["-d", "9", "--", "-v", "A=1", "", "two words", "\udcff"]
    text = output(tmp_path, PYTHON, "-c", "import sys; print(ascii(sys.argv[1:]))", *words)

    assert text.strip() == ascii(words)


def test_process_without_a_terminal_leads_a_session() -> None:
    """Signals from our terminal reach it through us alone."""
    with spawned("sleep", "60") as process:
        assert process.own_session
        assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid


def test_process_with_a_terminal_leads_a_group_in_our_session() -> None:
    """Only within the session can it be the terminal's foreground."""
    with spawned("sleep", "60", terminal_fd=0, foreground=False) as process:
        assert not process.own_session
        assert (os.getsid(process.pid), os.getpgid(process.pid)) == (os.getsid(0), process.pid)


def test_no_descriptor_of_ours_is_inherited(tmp_path: Path) -> None:
    """The standard streams and what is passed on purpose; nothing of the launch itself either."""
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    try:
        script = "import os; print([fd for fd in range(256) if os.path.exists(f'/proc/self/fd/{fd}')])"
        text = output(tmp_path, PYTHON, "-c", script, pass_fds=(writer,))
    finally:
        os.close(reader)
        os.close(writer)

    assert text.strip() == str([0, 1, 2, writer])


def test_signals_are_at_their_defaults(tmp_path: Path) -> None:
    """Neither Python's ignored SIGPIPE nor a mask of ours is inherited; what we ourselves inherited as ignored stays so."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    ours = ignored_signals(Path("/proc/self/status").read_text())
    python_ignores = {signal.SIGPIPE, signal.SIGXFSZ}
    text = output(tmp_path, "grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")

    assert ours >= python_ignores
    assert before == signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert text.split()[:2] == ["SigBlk:", "0" * 16]
    assert ignored_signals(text) == ours - python_ignores


def ignored_signals(status: str) -> set[int]:
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn:"))
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_outputs_append_and_input_reads(tmp_path: Path) -> None:
    """Files are appended to, and private; input comes from where it is said to."""
    (tmp_path / "input").write_text("in\n")
    (tmp_path / "output").write_text("before\n")
    text = output(tmp_path, "sh", "-c", "cat; echo error >&2", stdin=tmp_path / "input", stderr=tmp_path / "errors")

    assert text == "before\nin\n"
    assert (tmp_path / "errors").read_text() == "error\n"
    assert (tmp_path / "errors").stat().st_mode & 0o777 == 0o600


def test_null_is_empty(tmp_path: Path) -> None:
    """Nothing to read is the end of the input, not a wait."""
    assert output(tmp_path, "cat", stdin="null") == ""


def test_closed_standard_streams_of_ours_do_no_harm() -> None:
    """With our standard streams closed, the launch's own descriptors do not become the command's."""
    script = (
        "import os\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "from supervisor.host.spawn import spawn\n"
        "p = spawn(('sh', '-c', 'exit 5'), marker='m')\n"
        "p.wait(); code = p.status().code; p.reap(); os._exit(code)\n"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([PYTHON, "-c", script], cwd=root, check=False).returncode == 5


@pytest.mark.parametrize(
    ("argv", "cwd", "expected", "text"),
    [
        (["no-such-command"], None, FileNotFoundError, "command not found"),
        (["./no-such-command"], None, FileNotFoundError, "no such command"),
        (["/dev/null/x"], None, FileNotFoundError, "no such command"),
        (["/"], None, PermissionError, "is a directory"),
        (["{tmp}/plain"], None, PermissionError, "is not executable"),
        (["plain"], None, PermissionError, "is not executable"),
        (["true"], "{tmp}/nowhere", FileNotFoundError, "working directory does not exist"),
        (["true"], "{tmp}/plain", NotADirectoryError, "working directory is not a directory"),
        (["true"], "{tmp}/plain/x", NotADirectoryError, "working directory lies below a file"),
        (["{tmp}/nothing"], None, OSError, "Exec format error"),
        (["{tmp}/lost"], None, OSError, "No such file or directory"),
    ],
)
def test_errors_say_what_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: Mechanism | None,
    argv: list[str],
    cwd: str | None,
    expected: type[OSError],
    text: str,
) -> None:
    """Each mistake has its own exception, with the place in it, and leaves nothing running."""
    (tmp_path / "plain").write_text("text")
    for name, content in {"nothing": "echo no first line\n", "lost": "#!/no/such/interpreter\n"}.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    if argv[0].endswith(("nothing", "lost")) and way is Mechanism.SETPRIV:
        pytest.skip("setpriv says it on standard error and exits with 126 or 127")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    with pytest.raises(expected, match=text) as caught:
        spawn(tuple(word.format(tmp=tmp_path) for word in argv), marker="m", cwd=cwd and cwd.format(tmp=tmp_path), **DEFAULTS)

    assert caught.value.filename is not None


def test_command_is_looked_up_where_the_child_looks(tmp_path: Path) -> None:
    """Its own PATH and its own working directory count, not ours."""
    tool = tmp_path / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)

    assert output(tmp_path, "tool", env={"PATH": str(tool.parent)}) == "found\n"
    assert output(tmp_path, "tool", env={"PATH": "bin"}, cwd=str(tmp_path)) == "found\nfound\n"
    assert output(tmp_path, "bin/tool", cwd=str(tmp_path)) == "found\nfound\nfound\n"


def test_helper_that_cannot_run_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Mechanism | None) -> None:
    """A helper built for another machine costs one failed attempt, once."""
    if way is not Mechanism.HELPER:
        pytest.skip("only for the helper")
    broken = tmp_path / "_launch"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    monkeypatch.setattr(launching, "_HELPER", str(broken))

    assert output(tmp_path, "sh", "-c", "echo $NUMBER", variables={"NUMBER": "3"}) == "3\n"
    assert mechanism() is not Mechanism.HELPER


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_leaf_dies_with_its_supervisor(way: Mechanism | None, backend: str) -> None:
    """After SIGKILL of the program, the parent-death signal ends its leaf, even one that ignores SIGTERM."""
    if BEST is Mechanism.NONE or way is not BEST:
        pytest.skip("seen once, in the way that the program chooses")
    argv = [PYTHON, str(CHILDREN / "host_of_leaf.py"), backend, "sh", "-c", "trap '' TERM HUP; while :; do sleep 0.1; done"]
    root = Path(__file__).resolve().parents[2]
    with running(*argv, cwd=root, env={"PYTHONPATH": str(root)}) as program:
        leaf = int(eventually_sync(lambda: program.stdout if program.stdout.endswith("\n") else ""))
        assert runs(leaf)
        program.send(signal.SIGKILL)
        program.wait()
        eventually_sync(lambda: not runs(leaf), 5)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_helper_refuses_to_outlive_a_parent_that_is_gone(way: Mechanism | None, tmp_path: Path) -> None:
    """The parent died between the fork and the request for the death signal: the command is never run."""
    if way is not Mechanism.HELPER:
        pytest.skip("only the helper can tell")
    done = subprocess.run([launching.helper_path(), "-d", "9", "-p", "1", "--", "/bin/touch", "touch", str(tmp_path / "ran")], check=False)

    assert done.returncode != 0 and not (tmp_path / "ran").exists()


def test_exhausted_descriptors_are_an_error_that_leaves_nothing_running() -> None:
    """Out of descriptors means OSError, before or after the fork."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 64
    started = []
    try:
        for free in range(8):
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + free, hard))
            with suppress(OSError):
                process = spawn(("sleep", "60"), marker="m", **DEFAULTS)
                started.append(free)
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                process.reap()
                process.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert 0 not in started
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no child is left, not even a dead one


class Interrupted(BaseException):
    """As a KeyboardInterrupt strikes."""


def test_an_interrupt_while_the_helper_works_leaves_nothing(way: Mechanism, tmp_path: Path) -> None:
    """It has not said yet that the command runs, and never will: it is killed and reaped, and the interrupt goes on."""
    if way is not Mechanism.HELPER:
        pytest.skip("a shell is a command that runs")
    fifo = tmp_path / "tasks"
    os.mkfifo(fifo)  # it waits for a reader
    before, main = children(os.getpid()), threading.get_native_id()

    def interrupt() -> None:
        eventually_sync(lambda: {name(pid) for pid in children(os.getpid()) - before} == {"_launch"} and sleeps(main))
        os.kill(os.getpid(), signal.SIGUSR1)

    def strike(number: int, frame: object) -> None:
        raise Interrupted

    handler = signal.signal(signal.SIGUSR1, strike)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(Interrupted):
            spawn(("true",), marker=new_marker(("leaf",), 1), settings=Settings(tasks=(str(fifo),)))
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, handler)
    assert children(os.getpid()) == before


def name(pid: int) -> str:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def sleeps(thread: int) -> bool:
    return Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(") ")[2][0] == "S"
