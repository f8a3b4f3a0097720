"""What `doctor` looks at that concerns every tree. Each check is one function; `CHECKS` is the order in which a person reads them."""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

from ..core.text import counted
from ..host import launching, reaper, sentry_choice
from ..host.identity import has_pidfd
from ..host.procstat import read_stat
from ..host.proctree import has_children_files
from ..host.sentry_choice import Kind
from ..host.start_method import worker_start_method
from .finding import Check, Condition, Finding

ENOUGH_DESCRIPTORS: Final = 256
"""What a guardian with a few leaves needs, with room for a burst: one for a leaf, and one for each process of its tree."""

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_MAKE_HELPER: Final = "install a C compiler, then memory-guardian again; in a checkout: python hatch_build.py"
_ADOPTING: Final = "a kernel of 3.4 or later, and a sandbox that allows prctl"
_BUILT: Final = 125
"""What the launch helper and the sentry answer to an empty command line."""


def python() -> Finding:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", f"{sys.implementation.name} {version} ({sys.executable or 'no path'})")


def host_platform() -> Finding:
    """The operating system, and whether anybody has ever run this there."""
    if sys.platform == "linux":
        name = os.uname()
        return Finding("platform", "ok", f"Linux {name.release} on {name.machine}")
    return Finding(
        "platform",
        "limited",
        f"{sys.platform}: written and type-checked for it, never run on it",
        "see docs/platforms.md for which guarantee holds there",
    )


def package() -> Finding:
    """Whether another package of our name is about, supervisord's for instance; another copy of this one does not count."""
    apart = "give each an environment of its own"
    if os.path.exists(os.path.join(_PACKAGE, "supervisord.py")):
        return Finding("package", "missing", f"supervisord was installed over {_PACKAGE}", f"{apart}, and install memory-guardian again")
    others = _packages_called("supervisor", sys.path)
    if others:
        remedy = f"start it as memory-guardian, or {apart}"
        return Finding("package", "limited", f"{_PACKAGE}; another package of this name is {', '.join(others)}", remedy)
    return Finding("package", "ok", _PACKAGE)


def _packages_called(name: str, path: list[str]) -> list[str]:
    """The directories on the path that hold a package of our name and are not this one."""
    ours = os.path.realpath(_PACKAGE)
    found = []
    for entry in path:
        directory = os.path.join(entry or os.curdir, name)
        copy = os.path.realpath(directory) == ours or os.path.isfile(os.path.join(directory, "core", "ports.py"))
        if not copy and os.path.isfile(os.path.join(directory, "__init__.py")):
            found.append(directory)
    return found


def event_loops() -> Finding:
    """The libraries that the trees run on."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for library in ("anyio", "trio"):
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    if "anyio" not in found:
        return Finding("event-loops", "missing", "anyio is not installed", "pip install anyio")
    said = f"anyio {found['anyio']}, asyncio"
    if "trio" not in found:
        return Finding("event-loops", "limited", f"{said}; no trio, the default", "pip install trio, or run with --backend asyncio")
    return Finding("event-loops", "ok", f"{said}, trio {found['trio']}")


def launch() -> Finding:
    """What stands between the fork and a command, and so what a command can be promised."""
    if sys.platform == "win32":
        return Finding("launch", "ok", "in a job object, from before the first instruction")
    chosen, why = launching.mechanism(), ""
    if chosen is launching.Mechanism.HELPER and not _runs(launching.helper_path()):
        why = f"{launching.helper_path()} cannot be executed (another machine's, or a file system without execution); "
        launching.helper_failed()
        chosen = launching.mechanism()
    if chosen is launching.Mechanism.HELPER:
        if sys.platform == "linux" and not reaper.can_adopt():  # both are asked for by prctl
            return Finding("launch", "limited", "compiled helper: the terminal, exact errors; no parent-death signal", _ADOPTING)
        death = "parent-death signal, " if sys.platform == "linux" else ""
        return Finding("launch", "ok", f"compiled helper: {death}the terminal, exact errors")
    lacks = "a command gets the terminal after it has begun"
    if chosen is launching.Mechanism.SETPRIV:
        return Finding("launch", "limited", f"{why}setpriv: parent-death signal; {lacks}", _MAKE_HELPER)
    other = ", or util-linux for its setpriv" if sys.platform == "linux" else ""
    return Finding("launch", "limited", f"{why}nothing: no parent-death signal; {lacks}", _MAKE_HELPER + other)


def _runs(program: str) -> bool:
    import subprocess

    try:
        asked = subprocess.run([program], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == _BUILT


def exits() -> Finding:
    """How the end of a process is noticed."""
    if sys.platform == "linux":
        if has_pidfd():
            return Finding("exits", "ok", "pidfd: noticed at once; a signal never hits a later process of the same id")
        remedy = "a kernel of 5.3 or later, and a sandbox that allows pidfd_open and pidfd_send_signal"
        return Finding("exits", "limited", "no pidfd: a thread waits for each leaf; ids are compared before a signal", remedy)
    if sys.platform == "win32":
        return Finding("exits", "limited", "a thread waits for each leaf")
    from ..host import kqueue

    if kqueue.is_there():
        return Finding("exits", "ok", "kqueue: noticed at once; ids are compared before a signal")
    return Finding("exits", "limited", "a thread waits for each leaf; ids are compared before a signal")


def orphans() -> Finding:
    """How processes are found that have left the tree of their leaf."""
    if sys.platform == "win32":
        return Finding("orphans", "ok", "job objects: nothing leaves the tree of its leaf, and it ends with us")
    if reaper.can_adopt():
        return Finding("orphans", "ok", "child-subreaper: they come to us")
    said = "found by their environment alone; one that empties it is not found"
    return Finding("orphans", "limited", said, _ADOPTING if sys.platform == "linux" else None)


def cgroups() -> Finding:
    """Whether the kernel itself keeps the tree of each leaf together, and which limits it can be given."""
    if sys.platform != "linux":
        state: Condition = "ok" if sys.platform == "win32" else "limited"
        return Finding("cgroups", state, "none, they are Linux's: see orphans; no limits of memory, processor and processes")
    from ..host.cgroup.support import cgroup_support

    support = cgroup_support()
    limits = [name for name, there in (("memory", support.memory), ("cpu", support.cpu), ("pids", support.pids)) if there]
    if support.tracking is None:
        return Finding("cgroups", "limited", f"none: {support.reason}", support.remedy)
    kind = "version 2" if support.tracking == "v2" else f"version 1 ({support.tracking})"
    said = f"{kind}: each command has its own, with limits of {', '.join(limits) or 'nothing'}"
    if support.reason:
        return Finding("cgroups", "limited", f"{said}; {support.reason}", support.remedy)
    return Finding("cgroups", "ok", f"{said}, and is killed at once")


def sentry() -> Finding:
    """Who ends what we leave behind when we are killed, and gives the terminal back."""
    if sys.platform == "win32":
        return Finding("sentry", "ok", "none is needed: job objects end with us")
    kind, _ = sentry_choice.choice()
    if kind is Kind.COMPILED and not _runs(sentry_choice.COMPILED):
        sentry_choice.give_up_compiled(OSError(errno.ENOEXEC, "another machine's, or a file system without execution"))
    kind, why = sentry_choice.choice()
    if kind is Kind.COMPILED:
        return Finding("sentry", "ok", "compiled: when we are killed, all commands end with all they have started")
    if kind is Kind.SHELL:
        return Finding("sentry", "limited", f"a shell: {why}", _MAKE_HELPER)
    said = f"none: {why}; what a killed guardian leaves is for the next start to sweep"
    return Finding("sentry", "limited", said, "mount -t proc proc /proc; install a /bin/sh" if sys.platform == "linux" else None)


def workers() -> Finding:
    """How workers get processes of their own."""
    if sys.platform == "win32":
        return Finding("workers", "limited", "none: no process inherits a socket, so functions run as tasks alone")
    if worker_start_method() == "fork_server":
        own = 'in a cgroup of its own if it supervises, if a limit takes one or if cgroup="always" asks for it'
        return Finding("workers", "ok", f"forked from a server that has everything imported; {own}")
    said = "an interpreter of its own for each: a start takes the time of its imports"
    return Finding("workers", "limited", said, _ADOPTING if sys.platform == "linux" else None)


def processes() -> Finding:
    """How processes are read."""
    if sys.platform != "linux":
        from importlib.util import find_spec

        if find_spec("psutil") is None:
            return Finding("processes", "missing", "psutil is not installed", "pip install psutil")
        return Finding("processes", "ok", "psutil")
    if read_stat(os.getpid()) is None:
        return Finding("processes", "missing", "/proc cannot be read", "mount -t proc proc /proc")
    if not has_children_files():
        remedy = "a kernel with CONFIG_PROC_CHILDREN"
        return Finding("processes", "limited", "/proc without lists of children: each look reads all processes of the host", remedy)
    return Finding("processes", "ok", "/proc, with lists of children")


def terminal() -> Finding:
    """Whether an interactive program could have this terminal."""
    from ..host.lending import borrow
    from ..host.terminal import reset_sequence

    if not (os.isatty(0) and os.isatty(1)):
        return Finding("terminal", "ok", "none here: standard input and output are not both one, so programs run without")
    borrowed = borrow()
    if borrowed is None:
        if sys.platform == "win32":
            return Finding("terminal", "limited", "a console: programs share it, there is no job control")
        remedy = "start it from a shell of this terminal; in a container: run it with -it"
        return Finding("terminal", "limited", "not the terminal of this session: Ctrl-C and Ctrl-Z do not reach a program", remedy)
    borrowed.give_back(None)
    kind = os.environ.get("TERM", "")
    if not reset_sequence(kind):
        remedy = "set TERM, for instance to xterm-256color"
        return Finding("terminal", "limited", f"TERM is {kind!r}: the screen of a killed program is not put back", remedy)
    return Finding("terminal", "ok", f"{kind}: an interactive program has it to itself")


def descriptors() -> Finding:
    """How many files may be open."""
    if sys.platform == "win32":
        return Finding("descriptors", "ok", "no limit")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Finding("descriptors", "ok", "no limit")
    said = f"at most {counted(soft, 'open file', 'open files')}"
    if soft < ENOUGH_DESCRIPTORS:
        most = "" if hard == resource.RLIM_INFINITY else f" (at most {hard})"
        return Finding("descriptors", "limited", said, f"ulimit -n {ENOUGH_DESCRIPTORS} or more{most}")
    return Finding("descriptors", "ok", said)


def temporary_directory() -> Finding:
    """Where temporary files go."""
    name = "TEMP" if sys.platform == "win32" else "TMPDIR"
    given = os.environ.get(name)
    directory = given or ("/tmp" if sys.platform != "win32" else os.curdir)
    said = f"{directory} ({name})" if given else directory
    if not os.path.isdir(directory):
        return Finding("temporary-directory", "limited", f"{said} is no directory", f"set {name} to a directory of yours")
    if not os.access(directory, os.W_OK | os.X_OK):
        return Finding("temporary-directory", "limited", f"{said} cannot be written by this user", f"set {name} to a directory of yours")
    return Finding("temporary-directory", "ok", said)


CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("python", python),
    ("platform", host_platform),
    ("package", package),
    ("event-loops", event_loops),
    ("launch", launch),
    ("exits", exits),
    ("orphans", orphans),
    ("cgroups", cgroups),
    ("sentry", sentry),
    ("workers", workers),
    ("processes", processes),
    ("terminal", terminal),
    ("descriptors", descriptors),
    ("temporary-directory", temporary_directory),
)
"""The names, which are those of the findings, and how each is found."""
