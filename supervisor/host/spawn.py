"""Start one process: vfork, the launch helper, a pidfd, and an error that says what went wrong.

It runs on the calling thread, which has to live as long as the process: the parent-death signal is sent when that thread ends.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import attrs

from ..core.value import Entity
from . import launching
from .environment import Environment, child_environment, started_with
from .executable import check_directory, resolve
from .identity import ProcessId, identify, open_pidfd
from .launch_report import SettingFailed as SettingFailed
from .launch_report import command_process, explained
from .marker import VARIABLE, chained
from .settings import PLAIN, Settings, raise_score
from .sibling import Sibling
from .waitstatus import WaitStatus

if TYPE_CHECKING:
    from .job_object import JobObject
    from .kqueue import ExitQueue

Redirect = str | PathLike[str]
"""``"inherit"``, ``"null"``, or the path of a file: standard input reads it, the outputs append to it. Standard error can also be
``"stdout"``: wherever that goes.
"""


@attrs.define(repr=False, eq=False)
class Spawned(Entity):
    """A process that was started here, by `spawn` or by a fork server, and has to be reaped here, exactly once.

    Attributes:
        id: Its identity.
        marker: What it and its descendants carry in their environment.
        pidfd: Readable once it is dead; None where there are no pidfds.
        own_session: Whether it leads a session of its own, else a process group in ours. Either has its pid as id.
    """

    id: ProcessId
    marker: str
    pidfd: int | None
    own_session: bool
    _popen: subprocess.Popen[bytes] | Sibling | None = None
    _status: WaitStatus | None = None
    _reaped: bool = False
    _exit_queue: ExitQueue | None = None
    _job: JobObject | None = None
    _asked: int | None = None

    @property
    def pid(self) -> int:
        """Its process id; not recycled before `reap`."""
        return self.id.pid

    @property
    def exit_fd(self) -> int | None:
        """Readable once it is dead, of whatever kind; None where a thread has to `wait`."""
        return self._exit_queue.fileno() if self._exit_queue is not None else self.pidfd

    @property
    def reaped(self) -> bool:
        """Whether `reap` has taken it away."""
        return self._reaped if self._popen is None else self._popen.returncode is not None

    def status(self) -> WaitStatus | None:
        """How it ended, None while it runs. It stays a zombie until `reap`, so its pid and process group remain its own."""
        if self._status is None:
            if sys.platform == "linux":
                result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if result is not None:
                    self._status = WaitStatus.from_waitid(result.si_code, result.si_status)
            elif self._popen is not None and (code := self._popen.poll()) is not None:
                windows = sys.platform == "win32"
                self._status = WaitStatus.from_windows(code, asked=self._asked) if windows else WaitStatus.from_returncode(code)
        return self._status

    def stopped(self) -> int | None:
        """The signal that has stopped it since the last call, None when none has; each stop is seen once."""
        if sys.platform == "linux" and not self.reaped:
            try:
                result = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
            except ChildProcessError:
                return None  # the dead stop no more
            return None if result is None else result.si_status
        if sys.platform != "linux" and sys.platform != "win32" and not self.reaped:
            return self._stopped_by_waitpid()
        return None

    def _stopped_by_waitpid(self) -> int | None:
        """As `stopped`, where only the call is to be had that also takes away the dead."""
        if sys.platform != "win32" and self._popen is not None:
            try:
                pid, status = os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG)
            except ChildProcessError:
                return None
            if pid and os.WIFSTOPPED(status):
                return os.WSTOPSIG(status)
            if pid:
                # what Popen would have done, had it asked
                self._popen.returncode = os.waitstatus_to_exitcode(status)
        return None

    def ask(self, number: int) -> None:
        """Ask its process group to end, where there are no signals: Windows. A number that asks nobody ends it, and its whole job.

        Raises:
            OSError: There is no console by which it could be asked.
        """
        if sys.platform == "win32":
            from .job_object import console_event

            event = console_event(number)
            if event is None:
                self.end_job()
            else:
                self._asked = number
                os.kill(self.pid, event)

    def end_job(self) -> bool:
        """End all that it has started, where job objects keep it together: Windows. Whether they do."""
        if self._job is None:
            return False
        self._job.terminate()
        return True

    def wait(self) -> None:
        """Block the calling thread until it is dead, without reaping it where that can be had. For hosts without pidfds."""
        if sys.platform == "linux":
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        elif self._popen is not None:
            self._popen.wait()

    def reap(self) -> None:
        """Take it away: its pid may be another's from now on. Only after `status` told how it ended."""
        if self._popen is not None:
            self._popen.poll()
        elif not self._reaped and sys.platform == "linux":
            self._reaped = True
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)

    def close(self) -> None:
        """Give back the descriptor, and on Windows the job, which ends what is left in it. May be called again."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        if self._exit_queue is not None:
            self._exit_queue.close()
            self._exit_queue = None
        if self._job is not None:
            self._job.close()
            self._job = None


def spawn(
    argv: tuple[str, ...],
    *,
    marker: str,
    env: Mapping[str, str | None] | None = None,
    variables: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: Redirect | int = "inherit",
    stdout: Redirect | int = "inherit",
    stderr: Redirect | int = "inherit",
    pass_fds: tuple[int, ...] = (),
    terminal_fd: int | None = None,
    foreground: bool = True,
    death_signal: int = signal.Signals(9),
    pid_variable: str | None = None,
    settings: Settings = PLAIN,
) -> Spawned:
    """Start a process, and return when its program runs.

    Args:
        argv: The command and its arguments.
        marker: The mark of this life for the environment, see `marker.new_marker`.
        env: Additions to our environment; None removes a variable.
        variables: More additions, few and no secrets: with them alone the environment need not be copied.
        cwd: Its working directory; None for ours.
        stdin: Where its input comes from; a number is a descriptor of ours.
        stdout: Where its output goes to; a number is a descriptor of ours.
        stderr: Where its errors go to, likewise.
        pass_fds: Descriptors it inherits under the same numbers, besides the standard ones.
        terminal_fd: Its number of the terminal that it shares with us; None for a process without one.
        foreground: Whether it becomes that terminal's foreground.
        death_signal: What it gets when the calling thread, or this process, dies; 0 for nothing.
        pid_variable: A variable that gets its own pid; None for none.
        settings: Its cgroup, its limits and its user.

    Raises:
        FileNotFoundError: No such command or working directory.
        NotADirectoryError: The working directory is none.
        PermissionError: The command is not executable, or the directory may not be entered.
        SettingFailed: One of the settings could not be applied.
        OSError: The file is no program for this machine, or there are no resources to run it.
    """
    own = {**(variables or {}), VARIABLE: chained(marker, os.environ.get(VARIABLE))}
    foreground_fd = terminal_fd if foreground else None
    direct = not launching.comes_between(
        death_signal=death_signal, foreground_fd=foreground_fd, pid_variable=pid_variable, settings=settings
    )
    helped = not direct and launching.mechanism() is launching.Mechanism.HELPER
    environment = None if helped and not env else started_with(env, own)
    searched = os.environ if not env else child_environment(env)
    # where what cannot be executed is reported by who tried, a path is only looked at when that has happened
    path = argv[0] if os.sep in argv[0] and (direct or helped) else resolve(argv[0], searched, cwd)
    # A leaf that shares our terminal must stay in its session and gets a group that can be its foreground. Any other leaf gets a
    # session: Ctrl-C and Ctrl-Z then reach it through us alone, it cannot be stopped for reading or setting a terminal that is not
    # its own, and its session id is a mark that every descendant keeps which does not start a session itself.
    own_session = terminal_fd is None
    opened: list[int] = []
    try:
        streams = [_open(stdin, os.O_RDONLY, opened), _open(stdout, _APPEND, opened)]
        streams.append((1 if streams[1] is None else streams[1]) if stderr == "stdout" else _open(stderr, _APPEND, opened))
        order = _Order(
            path, argv, environment, own, cwd, streams, pass_fds, foreground_fd, own_session, death_signal, pid_variable, settings, helped,
        )  # fmt: skip
        popen, job = _start_in_job(order) if sys.platform == "win32" else (_start(order), None)
    except SettingFailed:
        raise
    except OSError:
        if cwd is not None:
            check_directory(cwd)
        resolve(argv[0], searched, cwd)
        raise  # neither knows better what is wrong
    finally:
        for fd in opened:
            os.close(fd)
    try:
        process = identify(popen.pid)
        pidfd = None if process is None else open_pidfd(process, dead=True)
        exit_queue = None if sys.platform == "linux" else _watch_exit(popen.pid)
    except BaseException:  # also an interrupt: nothing may run that nobody watches
        popen.kill()
        popen.wait()
        if job is not None:
            job.close()
        raise
    # without an identity it is gone already, which only a host without zombies can show
    return Spawned(process or ProcessId(popen.pid, 0), marker, pidfd, own_session, popen, exit_queue=exit_queue, job=job)


def _watch_exit(pid: int) -> ExitQueue | None:
    from .kqueue import watch_exit  # here: Linux has no use for it

    return watch_exit(pid)


_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT


def _open(target: Redirect | int, flags: int, opened: list[int]) -> int | None:
    if target == "inherit":
        return None
    if isinstance(target, int):
        return target
    # what a command writes can hold secrets
    fd = os.open(os.devnull if target == "null" else target, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
    opened.append(fd)
    return fd


class _Order(NamedTuple):
    """What `_start` is to do. `environment` None is ours, with the variables `own` set in it by the launch helper: `helped`."""

    path: str
    argv: tuple[str, ...]
    environment: Environment | None
    own: dict[str, str]
    cwd: str | None
    streams: list[int | None]
    pass_fds: tuple[int, ...]
    foreground_fd: int | None
    own_session: bool
    death_signal: int
    pid_variable: str | None
    settings: Settings
    helped: bool


def _start_in_job(order: _Order) -> tuple[subprocess.Popen[bytes], JobObject | None]:
    """Windows: started in a job of its own, which it is in before its first instruction."""
    if sys.platform != "win32":
        raise OSError(errno.ENOTSUP, "jobs are Windows'")
    if order.pass_fds:
        raise OSError(errno.ENOTSUP, "no descriptors can be inherited on Windows")
    from .job_object import CREATE_SUSPENDED, JobObject, resume

    stdin, stdout, stderr = order.streams
    job = JobObject()
    try:
        environment = cast("dict[str, str] | None", order.environment)
        popen = subprocess.Popen(
            list(order.argv), executable=order.path, env=environment, cwd=order.cwd, stdin=stdin, stdout=stdout, stderr=stderr,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP | CREATE_SUSPENDED,
        )  # fmt: skip
        try:
            job.take(popen.pid)
            resume(popen.pid)
        except BaseException:  # also an interrupt: it is not in the job, or was never resumed
            popen.kill()
            popen.wait()
            raise
    except BaseException:  # likewise; that ends who is in it
        job.close()
        raise
    return popen, job


def _start(order: _Order) -> subprocess.Popen[bytes] | Sibling:
    stdin, stdout, stderr = order.streams
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "see _start_in_job")
    error_reader = error_writer = None
    try:
        if order.helped:
            error_reader, error_writer = _pipe()
        file, words = launching.wrap(
            order.path, order.argv, death_signal=order.death_signal, foreground_fd=order.foreground_fd, error_fd=error_writer,
            variables=order.own if order.environment is None else None, pid_variable=order.pid_variable, settings=order.settings,
            own_session=order.own_session,
        )  # fmt: skip
        try:
            # no preexec_fn, user or group: with any of them CPython forks, and a fork copies the page tables of a large parent
            popen = subprocess.Popen(
                words, executable=file, env=order.environment, cwd=order.cwd, stdin=stdin, stdout=stdout, stderr=stderr,
                start_new_session=order.own_session, process_group=None if order.own_session else 0,
                pass_fds=order.pass_fds if error_writer is None else (*order.pass_fds, error_writer),
            )  # fmt: skip
        except OSError as error:
            if error_writer is None or error.filename != file:
                raise explained(error) from None
            launching.helper_failed()
            popen = None
        if popen is None:
            return _start(order._replace(environment=order.environment or started_with(None, order.own), helped=False))
        if error_reader is not None and error_writer is not None:
            os.close(error_writer)
            error_writer = None
            return command_process(popen, error_reader, order.path)
        if order.settings.oom_score_adj is None:
            raise_score(popen.pid)
        return popen
    finally:
        for fd in (error_reader, error_writer):
            if fd is not None:
                os.close(fd)


def acknowledgement_pipe() -> tuple[int, int]:
    """A pipe by which a process can say that it is ready: our end, which never blocks, and its end.

    Raises:
        OSError: Out of descriptors, or Windows, where a process inherits no descriptors.
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "no descriptors can be inherited on Windows")
    reader, writer = _pipe()
    os.set_blocking(reader, False)
    return reader, writer


def _pipe() -> tuple[int, int]:
    """A close-on-exec pipe whose numbers are no standard streams, even when ours are closed."""
    reader, writer = os.pipe()
    if min(reader, writer) > 2:
        return reader, writer
    spare = [reader, writer]
    try:
        while min(pair := os.pipe()) <= 2:
            spare += pair
        return pair
    finally:
        for fd in spare:
            os.close(fd)
