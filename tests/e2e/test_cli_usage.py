"""The command line from outside: what a person gets wrong, and signals before, during and after a run."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import ControlCommand, Redactor, Renderer, RunCommand
from supervisor.edge.application import Session
from supervisor.edge.command_line import CONTROL, LATER, SUBCOMMANDS, main, split
from supervisor.edge.control.commands import COMMANDS
from supervisor.edge.finding import Finding
from supervisor.edge.seam import Application
from supervisor.edge.signals import StopRequest, handled_signals
from supervisor.edge.subcommands import OWN
from tests.support import ROOT, Finished, Program, eventually_sync, read_events, running
from workers import config
from workers.application import GuardianApplication
from workers.control_commands import COMMANDS as GUARDIAN

APPLICATION = """
import os, sys, anyio
from workers import config

class Application:
    def add_options(self, parser):
        config.add_options(parser)

    def configure(self, options, environ):
        return config.configure(options, environ)

    def check(self, file, environ):
        return config.check(file, environ)

    def demo(self, options, environ):
        from supervisor.edge.usage import UsageError
        raise UsageError(["no demonstration here"])

    async def run(self, configured, session):
        from supervisor.core.event import ChildStarted, Record
        argv = configured.agents[0].command.argv
        if session.event_file is not None:
            session.event_file.write(Record(session.run, 1, 0.0, 0.0, ChildStarted(("tiny",))))
        if argv[0] == "exit":
            return int(argv[1])
        if argv[0] == "raise":
            raise RuntimeError("a fault of ours")
        if argv[0] == "part":
            for signum in (2, 15, 1):
                os.kill(os.getpid(), signum)
            return 5
        if argv[0] == "modules":
            print(session.backend, sorted({"trio", "asyncio", "psutil", "cattrs", "yaml", "tomllib"} & set(sys.modules)))
            return 0
        print("up", flush=True)
        await session.stop.wait()
        print("stopping", session.stop.signal, flush=True)
        if argv[0] == "linger":
            await session.stop.wait_hurried()
            print("hurrying", flush=True)
        return 128 + session.stop.signal

application = Application()
"""

TREES = """
import anyio
from supervisor import ChildSpec, Supervisor, Restart, RestartIntensityExceeded, subtree, task
import trio

assert not hasattr(trio, "hostile")

async def up(*, task_status):
    task_status.started()
    print("up", flush=True)
    try:
        await anyio.sleep_forever()
    finally:
        print("down", flush=True)

async def fails():
    raise RuntimeError("always")

async def ends():
    pass

root = Supervisor("root", [ChildSpec("up", task(up))])

def made():
    return Supervisor("made", [ChildSpec("up", task(up))])

def gives_up():
    return Supervisor("root", [ChildSpec("fails", task(fails))], intensity=2, period=60.0)

def misspecified():
    return Supervisor("root", [ChildSpec("", task(up))])

def raises():
    return 1 / 0

async def coroutine():
    return None

number = 3

def deep():
    worker = [ChildSpec("worker", task(fails))]
    for name in ("c", "b", "a"):
        worker = [ChildSpec(name, subtree(worker, intensity=3, period=5.0))]
    return Supervisor("root", worker, intensity=3, period=5.0)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with a tiny application and some trees."""
    (tmp_path / "tiny.py").write_text(APPLICATION)
    (tmp_path / "trees.py").write_text(TREES)
    (tmp_path / "tiny").write_text(
        f"import sys\nfrom supervisor.__main__ import drop_current_directory, leave_at_interrupt\nleave_at_interrupt()\n"
        f"sys.path.append({str(tmp_path)!r})\nfrom supervisor.edge.command_line import main\n"
        "sys.exit(main(application='tiny:application'))\n"
    )
    return tmp_path


@contextlib.contextmanager
def tiny(place: Path, *words: str, env: dict[str, str | None] | None = None) -> Iterator[Program]:
    """The launcher over the tiny application."""
    with running(sys.executable, "tiny", *words, cwd=place, env={"PYTHONPATH": str(ROOT), **(env or {})}) as program:
        yield program


def run_tiny(place: Path, *words: str, env: dict[str, str | None] | None = None) -> Finished:
    with tiny(place, *words, env=env) as program:
        return program.wait()


@contextlib.contextmanager
def supervisor(place: Path, *words: str) -> Iterator[Program]:
    """``python -m supervisor`` in a directory that is not a checkout."""
    with running(sys.executable, "-m", "supervisor", *words, cwd=place, env={"PYTHONPATH": str(ROOT)}) as program:
        yield program


def run_app(place: Path, *words: str) -> Finished:
    with supervisor(place, "app", *words) as program:
        return program.wait()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["claude"], "put -- before the command: tiny -- claude"),
        (["claude", "--print", "a b"], "put -- before the command: tiny -- claude --print 'a b'"),
        (["run", "claude"], "put -- before the command: tiny run -- claude"),
        (["--warning", "1GiB", "claude", "--print"], "put -- before the command: tiny --warning 1GiB -- claude --print"),
        (["--name", "claude", "claude"], "put -- before the command: tiny --name claude -- claude"),
        (["chek"], "(did you mean 'check'?)"),
        (["x", "--", "y"], "unexpected 'x' before --"),
        (["--dry-run", "x", "--", "y"], "unexpected 'x' before --"),
        ([], "no command; put -- before it"),
        (["--"], "no command after --"),
        (["--warnin", "1", "--", "x"], "--warnin: unknown option (did you mean '--warning'?)"),
        (["--warn=1", "--", "x"], "--warn: unknown option"),
        (["--warning"], "expected one argument"),
        (["--warning", "--", "x"], "expected one argument"),
        (["--warning", "-5GiB", "--", "x"], "--warning: a size cannot be negative"),
        (["--critical", "900%", "--", "x"], "--critical: expected at most 100 %"),
        (["--warning", "3GiB", "--critical", "2GiB", "--", "x"], "--warning: warning (3.0 GiB) must be below critical (2.0 GiB)"),
        (["--interval", "0", "--", "x"], "--interval: expected seconds >= 0.01"),
        (["--backend", "curio", "--", "x"], "--backend: expected trio or asyncio, got 'curio'"),
        (["--config", "none.toml", "--", "x"], "none.toml: the configuration file cannot be read: No such file or directory"),
        (["--config", "bad.toml", "--", "x"], "bad.toml:2:16: malformed TOML: invalid value"),
        (["--state-dir", "tiny.py/state", "--", "x"], "--state-dir: "),
        (["--events", "none/events", "--", "x"], "--events: the directory 'none' is not there"),
        (["--events", ".", "--", "x"], "--events: '.' is no file"),
        (["--name", "a/b", "--", "x"], "--name: expected a name without a slash"),
        (["check", "bad.toml"], "bad.toml:2:16"),
        (["check", "a", "b"], "unexpected 'b' after check"),
        (["check", "--", "x"], "check takes no command"),
        (["check", "--json"], "--json: unknown option"),
        (["check", "trees:none"], "trees has no attribute 'none'"),
        (["check", "trees:number"], "expected a Supervisor or a function (not async) that returns one, got int"),
        (["check", "trees:misspecified"], "id = ''"),
        (["check", "nowhere:x"], "cannot import nowhere: ModuleNotFoundError"),
        (["check", "no-file:x"], "no-file:x: the configuration file cannot be read"),
        (["app"], "app needs a tree"),
        (["app", "trees"], "expected MODULE:ATTRIBUTE"),
        (["app", "trees:number"], "expected a Supervisor or a function (not async) that returns one, got int"),
        (["app", "trees:coroutine"], "got coroutine"),
        (["app", "trees:none"], "trees has no attribute 'none'"),
        (["app", "nowhere:x"], "cannot import nowhere: ModuleNotFoundError"),
        (["app", "trees:raises"], "calling it failed: ZeroDivisionError: division by zero (/"),
        (["app", "trees:misspecified"], "id = ''"),
        (["app", "trees:root", "--backend", "x"], "--backend: expected trio or asyncio"),
        (["demo"], "no demonstration here"),
        *(([word], f"{word}: not available in this version") for word in LATER),
    ],
)
def test_usage(place: Path, words: list[str], said: str) -> None:
    """Each mistake is one clear message with its place and remedy, exit code 2, and no traceback."""
    (place / "bad.toml").write_text("[restart]\nmax_attempts = \n")

    done = run_tiny(place, *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_all_faults_in_one_list(place: Path) -> None:
    """Faults of the launcher's options, the application's, the file and the environment come together."""
    (place / "g.toml").write_text("[restart]\nmax_attempts = -1\n[comand]\n")
    words = ["--config", "g.toml", "--warning", "x", "--backend", "y", "--events", "none/z", "--", "c"]

    done = run_tiny(place, *words, env={"MEMORY_GUARDIAN_RESTART_CIRCUIT_RESET": "0"})

    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "tiny: 6 faults:"
    assert [line.split(":")[0].strip() for line in done.stderr.splitlines()[1:]] == [
        "--backend",
        "--events",
        "g.toml",
        "g.toml",
        "MEMORY_GUARDIAN_RESTART_CIRCUIT_RESET",
        "--warning",
    ]


def test_the_commands_own_words_are_untouched() -> None:
    """Everything after the first -- is the command's, a second -- and our own options included."""
    assert split(["run", "--dry-run", "--", "c", "--", "--config", "x"]) == (["run", "--dry-run"], ["c", "--", "--config", "x"])
    assert split(["--"]) == ([], [])
    assert split(["c"]) == (["c"], None)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_the_applications_exit_code(place: Path, backend: str) -> None:
    """The exit code is the application's; a fault of ours is 70, with what is needed to find it."""
    assert run_tiny(place, "--backend", backend, "--events", "events", "--", "exit", "3").returncode == 3
    assert [event["path"] for event in read_events(place / "events")] == [["tiny"]]
    broken = run_tiny(place, "--backend", backend, "--", "raise")

    assert broken.returncode == 70
    assert "internal error: RuntimeError('a fault of ours')" in broken.stderr
    assert "ExceptionGroup" not in broken.stderr


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_nothing_heavy_is_imported_without_need(place: Path, backend: str) -> None:
    """A run without a file imports its own event loop and none of the rest."""
    assert run_tiny(place, "--backend", backend, "--", "modules").stdout == f"{backend} ['{backend}']\n"


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1])
def test_the_first_signal_asks_for_a_stop(place: Path, backend: str, signum: signal.Signals) -> None:
    """SIGINT, SIGTERM and SIGHUP become a stop request that knows its signal, and so do others that would end the program at once."""
    with tiny(place, "--backend", backend, "--", "wait") as program:
        eventually_sync(lambda: "up" in program.stdout)
        program.send(signum)
        done = program.wait()

    assert done.returncode == 128 + signum
    assert done.stdout == f"up\nstopping {signum.value}\n"
    assert done.stderr == ""


def test_only_an_interrupt_hurries() -> None:
    """The first signal is kept; a second one of another kind than SIGINT changes nothing."""
    stop = StopRequest()
    stop.request(signal.SIGHUP)
    stop.request(signal.SIGTERM)
    assert (stop.requested, stop.signal, stop.hurried) == (True, signal.SIGHUP, False)
    stop.request(signal.SIGINT)
    assert (stop.signal, stop.hurried) == (signal.SIGHUP, True)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_second_interrupt_hurries(place: Path, backend: str) -> None:
    """A second SIGINT hurries; a second SIGTERM changes nothing."""
    with tiny(place, "--backend", backend, "--", "linger") as program:
        eventually_sync(lambda: "up" in program.stdout)
        program.send(signal.SIGTERM)
        eventually_sync(lambda: "stopping" in program.stdout)
        program.send(signal.SIGTERM)
        program.send(signal.SIGINT)
        done = program.wait()

    assert done.returncode == 143
    assert done.stdout == "up\nstopping 15\nhurrying\n"


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_signals_at_the_very_end_change_nothing(place: Path, backend: str) -> None:
    """Signals that come when the run has its exit code do not replace it."""
    done = run_tiny(place, "--backend", backend, "--", "part")

    assert (done.returncode, done.stderr) == (5, "")


def test_nohup_survives_a_hangup(place: Path) -> None:
    """A hangup that is ignored when the launcher starts stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with tiny(place, "--", "wait") as program:
            eventually_sync(lambda: "up" in program.stdout)
            program.send(signal.SIGHUP)
            program.send(signal.SIGTERM)
            done = program.wait()
    finally:
        signal.signal(signal.SIGHUP, before)

    assert done.stdout == f"up\nstopping {signal.SIGTERM.value}\n"


def test_signals_that_somebody_handles_are_left_to_him(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tree's own module has set up, or whoever started us has ignored, stays."""
    handlers = {signal.SIGUSR1: signal.SIG_IGN, signal.SIGUSR2: print, signal.SIGHUP: signal.SIG_IGN, signal.SIGINT: signal.SIG_IGN}
    monkeypatch.setattr(signal, "getsignal", lambda signum: handlers.get(signum, signal.SIG_DFL))

    assert set(handled_signals()) == {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGXCPU}


SLOW = "import signal, os\nprint('importing', flush=True)\nsignal.pause()\n"


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)])
def test_signals_while_still_importing(place: Path, signum: signal.Signals, code: int) -> None:
    """A signal before anything runs ends the program at once, without a traceback; an interrupt with 130."""
    (place / "tiny.py").write_text(SLOW)
    with tiny(place, "--", "wait") as program:
        eventually_sync(lambda: "importing" in program.stdout)
        program.send(signum)
        done = program.wait()

    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize("tree", ["root", "made"])
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_app_runs_any_tree(place: Path, backend: str, tree: str) -> None:
    """A tree, or what makes one, runs until a signal; then its children are stopped and the exit code is 0."""
    with supervisor(place, "app", f"trees:{tree}", "--backend", backend, "--events", "events") as program:
        eventually_sync(lambda: "up" in program.stdout)
        program.send(signal.SIGTERM)
        done = program.wait()

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "up\ndown\n"
    events = read_events(place / "events")
    assert [event["event"] for event in events] == ["child_started", "child_exited"]
    assert [event["seq"] for event in events] == [1, 2]


def test_app_ends_with_75_when_the_tree_gives_up(place: Path) -> None:
    """A tree whose restart budget is spent ends the program with 75 and one line."""
    done = run_app(place, "trees:gives_up")

    assert done.returncode == 75
    assert "gave up: more than 2 restarts within 60 s" in done.stderr
    assert "Traceback" not in done.stderr


HOSTILE = "raise SystemExit('hostile module imported')\nhostile = True\n"


@pytest.fixture
def hostile(place: Path) -> Path:
    """A directory full of modules that must not be imported."""
    for name in ("trio", "anyio", "attr", "attrs", "argparse", "tomllib", "difflib", "psutil", "linecache", "tokenize"):
        (place / f"{name}.py").write_text(HOSTILE)
    return place


def test_the_module_ignores_modules_of_the_current_directory(hostile: Path) -> None:
    """``python -m supervisor`` takes nothing from the current directory but the tree that it is told to run."""
    with supervisor(hostile, "app", "trees:root") as program:
        eventually_sync(lambda: "up" in program.stdout or program.process.poll() is not None)
        program.send(signal.SIGTERM)
        done = program.wait()

    assert (done.returncode, done.stdout, done.stderr) == (0, "up\ndown\n", "")


def test_the_script_ignores_packages_of_the_current_directory(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The script runs this program, whatever `supervisor` and `workers` lie in the current directory."""
    for name in ("supervisor", "workers"):
        (hostile / name).mkdir()
        (hostile / name / "__init__.py").write_text(HOSTILE)
    script = tmp_path_factory.mktemp("bin") / "memory-guardian"
    script.write_text("import sys\nfrom supervisor.__main__ import main\nsys.exit(main())\n")
    env = {"PYTHONPATH": str(ROOT)}

    with running(sys.executable, script, "--version", cwd=hostile, env=env) as program:
        done = program.wait()
    with running(sys.executable, script, "frobnicate", cwd=hostile, env=env) as program:
        misused = program.wait()

    assert done.returncode == 0
    assert str(ROOT / "supervisor") in done.stdout
    assert misused.stderr == "memory-guardian: put -- before the command: memory-guardian -- frobnicate\n"


def test_a_checkout_is_no_hostile_directory() -> None:
    """Run from the directory that the package lives in, the program works."""
    with running(sys.executable, "-m", "supervisor", "--version", cwd=ROOT) as program:
        done = program.wait()

    assert (done.returncode, done.stderr) == (0, "")


def test_help_names_every_option(place: Path) -> None:
    """The help shows the command line of the contract."""
    said = run_tiny(place, "--help")

    assert said.returncode == 0
    assert "tiny [run] [options] -- COMMAND [ARG ...]" in said.stdout
    for word in (
        "--config",
        "--warning",
        "--critical",
        "--emergency",
        "--interval",
        "--state-dir",
        "--events",
        "--backend",
        "--dry-run",
        "--resume",
    ):
        assert f"{word} " in said.stdout
    assert run_tiny(place, "run", "-h").stdout == said.stdout
    for subcommand in ("app", "check", "demo"):
        assert f"tiny {subcommand}" in run_tiny(place, subcommand, "--help").stdout


def test_help_names_every_subcommand() -> None:
    """Each in a line with what it does, those that talk to a run and those of the application too; also in a narrow terminal."""
    for columns in ("200", "40"):
        with running(sys.executable, "-m", "supervisor", "--help", cwd=ROOT, env={"COLUMNS": columns}) as program:
            said = program.wait()
        assert (said.returncode, said.stderr) == (0, "")
        lines = [line.split(None, 1) for line in said.stdout.partition("subcommands")[2].splitlines() if line[2:3].strip()]
        first = {line[0]: line[1] for line in lines if len(line) == 2}
        told: dict[str, Any] = {**COMMANDS, **GUARDIAN, **GuardianApplication().run_commands()}
        everything = {**OWN, **{name: one.description for name, one in told.items()}}
        assert set(everything) == {*SUBCOMMANDS, *CONTROL, *GUARDIAN, "run-guarded"} - {"run"}
        for name, description in everything.items():
            assert description.startswith(first[name]) and (columns == "40" or description == first[name])
        assert all(len(line) <= int(columns) for line in said.stdout.partition("subcommands")[2].splitlines()[:-1])


def check_tree(place: Path, *words: str) -> Finished:
    with supervisor(place, "check", *words) as program:
        return program.wait()


def test_check_of_a_tree(place: Path) -> None:
    """`check MODULE:ATTRIBUTE` starts nothing, says how often a leaf is restarted at worst, and warns where nested budgets multiply."""
    sound, deep = check_tree(place, "trees:gives_up"), check_tree(place, "trees:deep")

    assert (sound.returncode, sound.stderr) == (deep.returncode, deep.stderr) == (0, "")
    assert sound.stdout.splitlines() == ["trees:gives_up: valid", "  root/fails: restarted 2 times before root gives up"]
    assert deep.stdout.splitlines() == [
        "trees:deep: valid",
        "  root/a/b/c/worker: restarted 255 times before root gives up",
        ("  warning: root/a/b/c/worker: restarted 255 times before root gives up: nested budgets multiply (4 x 4 x 4 x 4 starts)"),
    ]


def test_a_file_is_a_file_also_where_a_tree_could_be_meant(place: Path) -> None:
    """What is there under that name is the configuration."""
    (place / "trees:deep").write_text("[comand]\n")

    done = run_tiny(place, "check", "trees:deep")

    assert done.returncode == 2
    assert "comand" in done.stderr


def test_check_of_a_configuration_tells_the_budgets_of_its_tree(place: Path) -> None:
    """Of each worker and each agent: every supervisor of the guardian holds, so nothing multiplies and there is nothing to warn of."""
    (place / "g.toml").write_text(
        '[command]\nargv = ["sleep", "9"]\nrestart = "failure"\n[restart]\nmax_attempts = 5\ncircuit_failures = 4\ncircuit_reset = 900\n'
    )

    done = check_tree(place, "g.toml")

    assert (done.returncode, done.stderr) == (0, "")
    assert "  guardian/services/state: restarted 3 times before guardian/services holds and tries once every 1 min 00 s" in done.stdout
    assert "  guardian/agents/sleep/leaf: restarted 4 times within " in done.stdout
    assert "before guardian/agents/sleep holds and tries once every 15 min 00 s" in done.stdout
    assert "warning:" not in done.stdout


def test_output_that_nobody_takes(place: Path) -> None:
    """A reader that has gone is no error; a full disk is told of, without a traceback."""
    command = [sys.executable, "tiny", "check"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    source, sink = os.pipe()
    os.close(source)
    with os.fdopen(sink, "wb") as closed:
        gone = subprocess.run(command, cwd=place, env=env, stdout=closed, stderr=subprocess.PIPE, timeout=30, check=False)
    with open("/dev/full", "wb") as full:
        no_room = subprocess.run(command, cwd=place, env=env, stdout=full, stderr=subprocess.PIPE, timeout=30, check=False)

    assert (gone.returncode, gone.stderr) == (0, b"")
    assert (no_room.returncode, no_room.stderr) == (70, b"standard output: No space left on device\n")


WORDS = st.one_of(
    st.sampled_from(
        ["run", "app", "check", "demo", "status", "--", "--config", "--warning", "--interval", "--resume", "--events", "--backend"]
    ),
    st.sampled_from(["trio", "5", "-5", "80%", "=", "-", "---", "--name=x", "--nam", "-h", "tests:x", "nowhere.toml", "/", ""]),
    st.text(max_size=6),
)


class Configured:
    """An application that is configured and checked as the guardian is, and ends at once."""

    add_options = staticmethod(config.add_options)
    configure = staticmethod(config.configure)
    check = staticmethod(config.check)

    def demo(self, options: argparse.Namespace, environ: Mapping[str, str]) -> object:
        return None

    def doctor(self, environ: Mapping[str, str]) -> tuple[tuple[str, Callable[[], Finding]], ...]:
        return ()

    def subcommands(self) -> Mapping[str, ControlCommand]:
        return {}

    def run_commands(self) -> Mapping[str, RunCommand]:
        return {}

    def renderer(self) -> Renderer:
        return Renderer()

    def redactor(self) -> Redactor:
        return Redactor()

    async def run(self, configured: object, session: Session) -> int:
        return 99


configured: Application = Configured()


@given(st.lists(WORDS, max_size=6))
def test_no_words_are_a_traceback(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    """Whatever is on the command line, the answer is help, success, a run, or exit code 2 with a message."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.getbasetemp())
        patch.setattr(sys, "path", list(sys.path))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words, application="tests.e2e.test_cli_usage:configured", environ={})

    assert code in (0, 2, 99)
    assert bool(err.getvalue()) == (code == 2)
    assert "Traceback" not in err.getvalue()


def test_a_current_directory_that_is_gone(tmp_path: Path) -> None:
    """Started from a directory that was removed, the program says so and starts nothing."""
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && exec "$2" -m supervisor --state-dir "$3" -- touch "$3.started"'
    words = ["sh", "-c", script, "sh", str(gone), sys.executable, str(tmp_path / "state")]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30)

    assert done.returncode == 2
    assert "working_directory: the current directory has been removed" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "state.started").exists()
