"""When a supervisor is killed: what the sentry ends, what the parent-death signal ends, what is left to the next start; each alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from supervisor import (
    BRUTAL_KILL,
    ChildSpec,
    ProcessId,
    Restart,
    SentryLost,
    StartFailed,
    Supervisor,
    cgroup_support,
    command,
    sentry_in_use,
)
from supervisor.host import sentry, sentry_choice
from supervisor.host.marker import VARIABLE
from supervisor.host.procstat import read_environment, read_stat
from supervisor.host.sentry_choice import Kind
from supervisor.host.terminal import MODES_RESET, Terminal
from workers.state.sweeping import sweep_abandoned

from ..support import Program, eventually
from ..support import eventually_sync as within
from ..support import running as program
from .host_support import CHILDREN, PYTHON, reported
from .host_support import running as runs
from .test_terminal import Console, console, shell
from .worker_support import methods

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 45.0
"""Seconds for what takes a tenth of one: a shell on a crowded machine."""

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="a sentry reads /proc as Linux has it"),
    pytest.mark.deadline(4 * PATIENCE),
]
BUILT = sentry_in_use().kind == "compiled"
KINDS = ("plain", "setsid", "stubborn", "daemon", "deaf")
BACKENDS = pytest.mark.parametrize("backend", ["trio", "asyncio"])
SENTRIES = pytest.mark.parametrize(
    "kind", [pytest.param("compiled", marks=pytest.mark.skipif(not BUILT, reason="the sentry is not built")), "sh"]
)
COMPILED = pytest.mark.skipif(not BUILT, reason="the sentry is not built")


@attrs.frozen
class Host:
    """A program with leaves that is to be killed."""

    program: Program
    report: Path
    mark: str

    def facts(self) -> dict[str, int]:
        """What it says once its leaves are up: its ``leaf`` and its ``sentry``."""
        text = within(lambda: self.program.stderr if self.program.stderr.endswith("\n") else "", PATIENCE, what=self.program.stderr)
        found: dict[str, int] = json.loads(text.splitlines()[-1])
        return found

    def present(self) -> list[int]:
        """The processes that it started and that live: its sentry, its leaves and their descendants."""
        needle = f"HOST={self.mark}".encode()
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if pid != self.program.pid and runs(pid) and needle in read_environment(pid).split(b"\0")]

    def family(self, count: int = len(KINDS), number: str = "") -> dict[str, int]:
        """The descendants of a leaf, once all are there."""
        return within(lambda: found if len(found := reported(Path(f"{self.report}{number}"))) >= count else {}, PATIENCE)

    def kill(self) -> None:
        """Kill the program, and nobody else."""
        self.program.send(signal.SIGKILL)
        self.program.wait()


@contextmanager
def host(folder: Path, backend: str, name: str = "host", **options: object) -> Iterator[Host]:
    """Run children/host_of_trees.py; whatever it leaves is killed in the end."""
    mark = uuid.uuid4().hex
    words = [f"{key}={value}" for key, value in options.items()]
    argv = [PYTHON, str(CHILDREN / "host_of_trees.py"), backend, str(folder / name), *words]
    with program(*argv, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "HOST": mark}, stdin=subprocess.PIPE) as started:
        made = Host(started, folder / name, mark)
        try:
            yield made
        finally:
            if started.process.poll() is None:
                made.kill()
            while left := made.present():
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def all_gone(killed: Host, pids: Iterable[int] = ()) -> None:
    """Nothing that it started lives on, and none of these; one that is just ending shows no environment any more."""
    left: list[str] = []

    def gone() -> bool:
        left[:] = [str(read_stat(pid)) for pid in {*killed.present(), *pids} if runs(pid)]
        return not left

    try:
        within(gone, PATIENCE)
    except AssertionError as error:
        raise AssertionError("left:\n" + "\n".join(left)) from error


# ------------------------------------------------------------ the sentry alone


@BACKENDS
@SENTRIES
def test_the_sentry_ends_the_whole_tree(tmp_path: Path, backend: str, kind: str) -> None:
    """With neither a parent-death signal nor a next start: the leaf, who ignores SIGTERM, who made a session, who was forked twice."""
    with host(tmp_path, backend, kinds=",".join(KINDS), sentry=kind) as killed:
        facts = killed.facts()
        everybody = [*killed.family().values(), facts["leaf"], facts["sentry"]]
        assert all(runs(pid) for pid in everybody)
        killed.kill()
        all_gone(killed, everybody)


@SENTRIES
@pytest.mark.parametrize("act", ["start", "stop"])
def test_in_the_middle_of_a_start_or_a_stop(tmp_path: Path, kind: str, act: str) -> None:
    """Before the leaf has said that it is up, and while it ignores that it is to end."""
    with host(tmp_path, "trio", kinds=",".join(KINDS), sentry=kind, act=act) as killed:
        everybody = killed.family().values()
        if act == "stop":
            killed.facts()
        assert all(runs(pid) for pid in everybody)
        killed.kill()
        all_gone(killed)


@SENTRIES
def test_in_the_middle_of_restarts(tmp_path: Path, kind: str) -> None:
    """A leaf that crashes again and again: whichever step its supervisor dies in, nothing is left."""
    for number in range(5):
        with host(tmp_path, "trio", f"host{number}", kinds="setsid,daemon", sentry=kind, act="restart") as killed:
            within(partial(has_crashed, killed.report, number), PATIENCE)
            killed.kill()
            all_gone(killed)


def has_crashed(report: Path, times: int) -> bool:
    """Whether so many lives, and one more, have got so far that they crash."""
    return report.exists() and report.read_text().count("daemon") > times


@BACKENDS
@SENTRIES
def test_the_sentry_ends_many_trees(tmp_path: Path, backend: str, kind: str) -> None:
    """Each of several leaves goes, with what it started."""
    with host(tmp_path, backend, kinds="setsid,daemon", leaves=4, sentry=kind) as killed:
        killed.facts()
        assert len(killed.present()) == 4 * 3 + 1
        killed.kill()
        all_gone(killed)


@BACKENDS
@SENTRIES
@methods
def test_the_sentry_ends_what_a_worker_has_started(tmp_path: Path, backend: str, kind: str, method: str) -> None:
    """The worker ends by itself; the sentry ends the processes that it leaves, one of them in a session of its own."""
    words = [PYTHON, str(CHILDREN / "host_of_worker.py"), backend, method, kind, "family"]
    with program(*words, env={"PYTHONPATH": str(ROOT)}) as killed:
        text = within(lambda: killed.stdout if killed.stdout.endswith("\n") else "", PATIENCE)
        everybody = list(map(int, text.split()))
        assert len(everybody) == 4 + (method == "fork_server") and all(map(runs, everybody))
        killed.process.kill()
        within(lambda: not any(map(runs, everybody)), PATIENCE, what="the end of all")


@COMPILED
@methods
def test_the_sentry_ends_what_only_a_workers_cgroup_holds(tmp_path: Path, method: str) -> None:
    """A daemon in a session of its own, with an empty environment: nothing else says whose it is."""
    if not cgroup_support().kill:
        pytest.skip("no cgroups here that can be killed")
    report = tmp_path / "report"
    words = [PYTHON, str(CHILDREN / "host_of_worker.py"), "trio", method, "compiled", "hidden", str(report)]
    with program(*words, env={"PYTHONPATH": str(ROOT)}) as killed:
        text = within(lambda: killed.stdout if killed.stdout.endswith("\n") else "", PATIENCE)
        daemon = within(lambda: reported(report), PATIENCE)["daemon"]
        everybody = [*map(int, text.split()), daemon]
        assert all(map(runs, everybody))
        killed.process.kill()
        try:
            within(lambda: not any(map(runs, everybody)), PATIENCE, what="the end of all")
        finally:
            if runs(daemon):
                os.kill(daemon, signal.SIGKILL)


@BACKENDS
@SENTRIES
def test_of_a_supervisor_below_nothing_is_left_either(tmp_path: Path, backend: str, kind: str) -> None:
    """It is in a process of its own, with a sentry of its own, and goes with the one above: its commands and both sentries too."""
    mark = uuid.uuid4().hex
    words = [PYTHON, str(CHILDREN / "host_of_worker.py"), backend, "subtree", kind]
    with program(*words, env={"PYTHONPATH": str(ROOT), "HOST": mark}) as started:
        killed = Host(started, tmp_path, mark)
        within(lambda: started.stdout.endswith("\n"), PATIENCE)
        # the fork server and what it has in reserve, the worker, its command and that one's child, two sentries
        within(lambda: len(killed.present()) >= 6, PATIENCE, what="everybody")
        killed.kill()
        all_gone(killed)


@SENTRIES
def test_of_two_supervisors_each_has_its_own(tmp_path: Path, kind: str) -> None:
    """The death of one touches nothing of the other; the other's end leaves no sentry."""
    options = {"kinds": ",".join(KINDS), "sentry": kind}
    with host(tmp_path, "trio", "a", **options) as killed, host(tmp_path, "trio", "b", **options) as other:
        assert killed.facts() != other.facts()
        before = other.present()
        assert len(before) == len(KINDS) + 2
        killed.kill()
        all_gone(killed)
        assert other.present() == before
        assert other.program.process.stdin is not None
        other.program.process.stdin.close()
        assert other.program.wait().returncode == 0
        assert other.present() == []


@SENTRIES
def test_a_pid_that_is_anothers_now_is_not_touched(tmp_path: Path, kind: str) -> None:
    """Whoever has the pid of a root but was created at another time is a stranger, and so are his session and his children."""
    with program("sh", "-c", "sleep 60 & wait") as stranger:
        child = within(lambda: Path(f"/proc/{stranger.pid}/task/{stranger.pid}/children").read_text(), PATIENCE)
        with host(tmp_path, "trio", sentry=kind, forged=stranger.pid) as killed:
            killed.facts()
            killed.kill()
            all_gone(killed)
        assert all(stat is not None and stat.state in (b"S", b"R") for stat in map(read_stat, (stranger.pid, int(child))))
        os.kill(int(child), signal.SIGKILL)


@SENTRIES
def test_a_leaf_that_is_to_outlive_us_does(tmp_path: Path, kind: str) -> None:
    """What is left out of the sentry's table is spared, although it is of the same supervisor."""
    with host(tmp_path, "trio", kinds="setsid,daemon", leaves=2, sentry=kind, sentry_last="off") as killed:
        facts = killed.facts()
        spared = killed.family(2, "1")
        killed.kill()
        within(lambda: not any(runs(pid) for pid in (facts["sentry"], facts["leaf"], *killed.family(2).values())), PATIENCE)
        assert all(runs(pid) for pid in spared.values())


@COMPILED
def test_a_fork_of_the_supervisor_hides_its_death_from_nobody(tmp_path: Path) -> None:
    """A fork that lives on has all its descriptors open: the sentry waits for the process itself."""
    with host(tmp_path, "trio", kinds="setsid", act="fork") as killed:
        facts = killed.facts()
        killed.kill()
        within(lambda: not any(runs(pid) for pid in (facts["sentry"], facts["leaf"], *killed.family(1).values())), PATIENCE)


@SENTRIES
def test_no_signal_of_a_terminal_or_a_shell_ends_the_sentry(tmp_path: Path, kind: str) -> None:
    """Not even all of them; and it still does its work."""
    with host(tmp_path, "trio", kinds="setsid", sentry=kind) as killed:
        waiting = killed.facts()["sentry"]
        if kind == "sh":  # it has to get so far that it ignores them
            within(lambda: "0000" in read_ignored(waiting) and int(read_ignored(waiting), 16) >> 14 & 1, PATIENCE)
        for number in (1, 2, 3, 10, 12, 13, 14, 15, 20, 21, 22, 28):
            os.kill(waiting, number)
        stat = read_stat(waiting)
        assert stat is not None and stat.state == b"S" and stat.group == waiting and stat.session == os.getsid(killed.program.pid)
        killed.kill()
        all_gone(killed)


def read_ignored(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("SigIgn"))


# ------------------------------------------------------------ the other two lines


@BACKENDS
def test_the_parent_death_signal_alone_ends_the_root(tmp_path: Path, backend: str) -> None:
    """Without a sentry: the leaf itself dies at once, and what it had started is left to whoever comes next."""
    with host(tmp_path, backend, kinds=",".join(KINDS), sentry="off", death=9) as killed:
        facts = killed.facts()
        assert facts["sentry"] is None
        rest = killed.family().values()
        killed.kill()
        within(lambda: not runs(facts["leaf"]), PATIENCE)
        assert all(runs(pid) for pid in rest)


@BACKENDS
def test_the_next_start_alone_sweeps_the_whole_tree(tmp_path: Path, backend: str) -> None:
    """Without the other two all live on, until the next start finds a lock that nobody holds; before that it touches nothing."""
    state = tmp_path / "state"
    with host(tmp_path, backend, kinds=",".join(KINDS), sentry="off", state=state) as killed:
        everybody = {killed.facts()["leaf"], *killed.family().values()}
        assert anyio.run(sweep_abandoned, state, "project", backend=backend) == ()
        killed.kill()
        assert set(killed.present()) == everybody
        (swept,) = anyio.run(sweep_abandoned, state, "project", backend=backend)
        assert {process.pid for process in swept.killed} == everybody
        assert killed.present() == []


# ------------------------------------------------------------ the terminal


def hosted(folder: Path, kind: str) -> str:
    words = [PYTHON, str(CHILDREN / "host_of_trees.py"), "trio", str(folder / "host"), "act=terminal", f"sentry={kind}"]
    return " ".join(words)


def killed_on(terminal: Console) -> int:
    """Wait for the leaf to have the terminal, and kill the supervisor; the leaf."""
    within(lambda: b"<ready>" in terminal.read() and b'"leaf": ' in terminal.read(), PATIENCE, what=f"{terminal.shown!r}")
    leaf = terminal.front()
    stat = read_stat(leaf)
    assert stat is not None
    os.kill(stat.parent, signal.SIGKILL)
    return leaf


@SENTRIES
def test_a_shell_has_its_terminal_back(tmp_path: Path, kind: str) -> None:
    """Raw mode and the alternate screen were the leaf's: afterwards the screen is reset and the shell goes on as before."""
    with shell(tmp_path) as terminal:
        terminal.type(hosted(tmp_path, kind) + "\n")
        leaf = killed_on(terminal)
        terminal.expect(MODES_RESET)
        within(lambda: not runs(leaf), PATIENCE)
        within(lambda: (terminal.read(), terminal.front() == terminal.process.pid)[1], PATIENCE)
        terminal.type("stty -a; echo a${EMPTY}live\n")
        within(lambda: b"alive" in terminal.read(), PATIENCE)
        assert {b"icanon", b"isig", b"echo", b"opost"} <= set(terminal.shown.split())


@COMPILED
def test_a_script_has_its_terminal_back(tmp_path: Path) -> None:
    """Who has no job control takes no terminal back: modes and foreground are put back in his place, and he can read."""
    script = tmp_path / "script"
    script.write_text(f"{hosted(tmp_path, 'compiled')}\nuntil read line; do sleep 0.1; done\necho got $line\n")
    take = "import fcntl, os, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    with console(tmp_path, PYTHON, "-c", f"{take}os.execv('/bin/sh', ['sh', {str(script)!r}])") as terminal:
        before = terminal.modes()
        leaf = killed_on(terminal)
        terminal.expect(MODES_RESET)
        within(lambda: not runs(leaf), PATIENCE)
        assert terminal.front() == terminal.process.pid and terminal.modes() == before
        terminal.type("hello\n")
        terminal.expect("got hello")


def test_the_saved_modes_are_in_the_form_of_stty() -> None:
    """So that a shell can set them."""
    keys, line = os.openpty()
    try:
        text = subprocess.run(["stty", "-g"], stdin=line, capture_output=True, text=True, check=True).stdout.strip()
        assert Terminal(-1, 1, True, termios.tcgetattr(line)).as_saved()[0] == text
    finally:
        os.close(keys)
        os.close(line)


# ------------------------------------------------------------ the sentry's own life


def leaf(**options: object) -> ChildSpec:
    return ChildSpec("leaf", command("sleep", "60", **options), restart=Restart.PERMANENT, shutdown=BRUTAL_KILL)  # type: ignore[arg-type]


def now() -> subprocess.Popen[bytes] | None:
    return sentry._sentry.process if sentry._sentry is not None else None


@pytest.mark.anyio
async def test_there_is_one_while_a_command_lives() -> None:
    """None before the first and none after the last; restarts and further trees change nothing."""
    assert now() is None
    async with Supervisor("root", [leaf()], intensity=9, period=9.0) as root:
        first = now()
        assert first is not None and first.poll() is None
        async with Supervisor("other", [leaf()]):
            assert now() is first
        pid = root.which_children()[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: root.which_children()[0].generation == 2)
        assert now() is first
        await root.terminate_child("leaf")
        assert now() is None and first.returncode is not None
        await root.restart_child("leaf")
        assert now() is not None
    assert now() is None
    async with Supervisor("root", [leaf(sentry=False)]):
        assert now() is None


@pytest.mark.anyio
async def test_a_sentry_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """By one that reads the same table, also when the life that watched over it has ended; an event says so."""
    monkeypatch.setattr(sentry, "QUICK", 0.0)
    specs = [leaf(), ChildSpec("second", command("sleep", "60"), shutdown=BRUTAL_KILL)]
    async with Supervisor("root", specs) as root, root.subscribe() as events:
        for end in (None, "leaf"):
            if end is not None:
                await root.terminate_child(end)
            lost = now()
            assert lost is not None
            os.kill(lost.pid, signal.SIGKILL)
            with anyio.fail_after(10):
                async for record in events:
                    if isinstance(record.event, SentryLost):
                        break
            assert record.event == SentryLost(("root",), lost.pid, "signal 9", replaced=True)
            replaced = now()
            assert replaced is not None and replaced.poll() is None and replaced is not lost
        assert [child.state for child in root.which_children() if child.id == "second"] == ["running"]


@pytest.mark.anyio
async def test_a_sentry_that_dies_at_once_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It would die again; the tree goes on without, and says so. The next life tries anew."""
    broken = tmp_path / "sentry.sh"
    broken.write_text("exit 3\n")
    monkeypatch.setattr(sentry_choice, "_chosen", (Kind.SHELL, ""))
    monkeypatch.setattr(sentry_choice, "SCRIPT", str(broken))
    lost: list[SentryLost] = []
    root = Supervisor("root", [leaf()])
    root.add_sink(lambda record: lost.append(record.event) if isinstance(record.event, SentryLost) else None)
    async with root:
        await eventually(lambda: lost)
        assert lost[0].reason == "exit code 3, as soon as it was started" and not lost[0].replaced
        assert now() is None and root.which_children()[0].state == "running"
        monkeypatch.undo()
        await root.start_child(ChildSpec("next", command("sleep", "60"), shutdown=BRUTAL_KILL))
        process = now()
        assert process is not None and process.poll() is None


@SENTRIES
def test_the_replacement_knows_every_tree(tmp_path: Path, kind: str) -> None:
    """Also those that were started before it was."""
    with host(tmp_path, "trio", kinds=",".join(KINDS), sentry=kind) as killed:
        facts = killed.facts()
        killed.family()
        time.sleep(sentry.QUICK)  # its promise is about a sentry that has lived for so long
        os.kill(facts["sentry"], signal.SIGKILL)
        within(lambda: len(present := killed.present()) == len(KINDS) + 2 and facts["sentry"] not in present, PATIENCE)
        killed.kill()
        all_gone(killed)


def open_files(pid: int) -> list[str]:
    """What a process has open, without numbers."""
    return sorted(re.sub(r":\[\d+\]", "", os.readlink(file)) for file in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.anyio
async def test_the_sentry_holds_nothing_of_ours() -> None:
    """No terminal, no file, no pipe: the table and what it waits for; and it carries no marker of a life."""
    async with Supervisor("root", [leaf()]):
        process = now()
        assert process is not None
        held = open_files(process.pid)
        assert [name for name in held if not name.endswith("pidfd") and name != "anon_inode:[pidfd]"] == [
            "/dev/null", "/dev/null", "/dev/null", "/memfd:sentry (deleted)", "pipe"
        ]  # fmt: skip
        assert f"{VARIABLE}=".encode() not in read_environment(process.pid)


@pytest.mark.anyio
async def test_out_of_descriptors_the_leaf_starts_without() -> None:
    """Whatever is missing for the sentry alone is an event and no failure; whatever happens, nothing is left."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lost: list[SentryLost] = []
    async with Supervisor("root") as root:
        root.add_sink(lambda record: lost.append(record.event) if isinstance(record.event, SentryLost) else None)
        for free in range(16):
            taken: list[int] = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + free + 2, hard))
            try:
                with suppress(OSError):
                    while True:
                        taken.append(os.open(os.devnull, os.O_RDONLY))
                for fd in taken[:free]:
                    os.close(fd)
                with suppress(StartFailed):  # a leaf that could not be started either
                    await root.start_child(ChildSpec(f"leaf{free}", command("sleep", "60"), shutdown=BRUTAL_KILL))
            finally:
                for fd in taken[free:]:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert now() is not None
    assert lost and all(event.pid is None and "Too many open files" in event.reason for event in lost)


# ------------------------------------------------------------ which one


def test_what_cannot_be_executed_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentry compiled for another machine costs one failed attempt, and a shell takes its place."""
    broken = tmp_path / "_sentry"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    monkeypatch.setattr(sentry_choice, "COMPILED", str(broken))
    monkeypatch.setattr(sentry_choice, "_chosen", None)
    assert sentry_in_use().kind == "compiled"
    post = sentry.watch_over("marker")
    try:
        assert post.trouble == ""
        assert sentry_in_use() == ("sh", "the compiled one cannot be executed here: Exec format error")
    finally:
        post.close()


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        (("COMPILED",), ("sh", "none was compiled with this installation, which takes a C compiler")),
        (("COMPILED", "SHELL"), ("none", "none was compiled with this installation, which takes a C compiler, and there is no /nowhere")),
    ],
)
def test_the_choice_is_explained(monkeypatch: pytest.MonkeyPatch, absent: tuple[str, ...], expected: tuple[str, str]) -> None:
    """A person can see which sentry there is, and why not a better one; without any nothing else changes."""
    for name in absent:
        monkeypatch.setattr(sentry_choice, name, "/nowhere")
    monkeypatch.setattr(sentry_choice, "_chosen", None)
    assert sentry_in_use() == expected
    if expected[0] == "none":
        post = sentry.watch_over("marker")
        assert post.trouble == "" and now() is None
        post.close()


def test_the_table_holds_a_terminal() -> None:
    """All that a terminal can be given back with fits, and what resets its screen goes to the end of the line."""
    post = sentry.watch_over("marker")
    try:
        modes: list[Any] = [2**32 - 1] * 4 + [15, 15, [b"\xff"] * 32]
        post.lend(Terminal(-1, 2**22, True, modes), ProcessId(2**22, 2**63))
        assert sentry._sentry is not None
        line = os.pread(sentry._sentry.table.fd, sentry.LINE, 0).decode()
        assert line.startswith("T group=4194304 ") and len(line) == sentry.LINE
        assert line.rpartition(" reset=")[2].rstrip(" \n") == MODES_RESET
    finally:
        post.close()


@pytest.mark.anyio
async def test_a_table_that_cannot_grow(tmp_path: Path) -> None:
    """A full disk, where there is no file in memory: the life starts without, an event says so, and no sentry is left behind."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    lost: list[SentryLost] = []
    root = Supervisor("root")
    root.add_sink(lambda record: lost.append(record.event) if isinstance(record.event, SentryLost) else None)
    async with root:
        for room in (0, sentry.LINE):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
            try:
                await root.start_child(ChildSpec(f"leaf{room}", command("sleep", "60"), shutdown=BRUTAL_KILL))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert now() is None
        await root.start_child(ChildSpec("next", command("sleep", "60"), shutdown=BRUTAL_KILL))
        assert now() is not None
    assert [event.reason for event in lost] == ["no sentry: File too large"] * 2 and now() is None


def test_the_table_holds_whatever_is_noted() -> None:
    """The longest marker with every field fits; a control group whose path does not is left out."""
    post = sentry.watch_over(f"{'f' * 16}:{10**9}:{'x' * 120}:{10**9}")
    try:
        assert sentry._sentry is not None
        me, table = ProcessId(2**22, 2**63), sentry._sentry.table

        def line() -> bytes:
            return os.pread(table.fd, sentry.LINE, sentry.LINE)

        post.runs(me, own_session=True, cgroup="/" + "c" * 254)
        assert b" cgroup=/c" in line()
        for path in ("/" + "c" * 300, "/a b"):
            post.runs(me, own_session=True, cgroup=path)
            assert b" cgroup=" not in line() and line().startswith(b"+ pid=4194304 ") and line().endswith(b" \n")
    finally:
        post.close()
