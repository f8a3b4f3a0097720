"""Orphans become our children while a command runs, and are reaped one by one.

As a child-subreaper this process adopts whatever a leaf's descendants leave behind, so that strays can be found by reading our own
`children` instead of the whole host. The price is that we must reap them. That is done by pid, and only for processes that nobody in
this process can be waiting for: claimed by a leaf's tree, dead in a leaf's cgroup, or of a session that none of our own children can
be in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from . import oom, spare
from .cgroup.group import is_held
from .identity import ProcessId
from .procstat import KeptFile, Stat, all_pids, own_session, read_stat
from .proctree import has_children_files

_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37


class Claims(Protocol):
    """A leaf's tree, as the reaper sees it."""

    @property
    def root(self) -> ProcessId:
        """The leaf itself, which is not the reaper's to reap."""

    def claims(self, stat: Stat) -> bool:
        """Whether a child of ours came from this tree, as far as that can be told without reading its memory."""


_trees: dict[int, Claims] = {}
_servers: set[int] = set()
_sentries: set[int] = set()
_awaited: list[int] = []
_known: dict[bytes, None] = {}
"""The pids of all of them, in digits."""
_attended: list[Claims] = []
_active: bool | None = None
_sole_owner = False
_ours_before: frozenset[ProcessId] = frozenset()


def own_all_sessions() -> None:
    """Declare that nothing else in this process starts children in sessions of their own (pty.fork, start_new_session).

    A dead session leader that a leaf never reaped, and that no look at its tree has ever seen, can then be told from somebody else's
    child and is reaped; without the declaration it stays a zombie for as long as this process lives. A live one that emptied or
    overwrote its environment (daemons that set their title do) is known to belong to the leaf while that is the only one. For programs
    that are a supervisor and nothing else.
    """
    global _sole_owner
    _sole_owner = True


def adopt_orphans() -> bool:
    """Become the child-subreaper, if we are not; called before a leaf is started.

    Returns:
        Whether orphaned descendants come to us.
    """
    global _active, _ours_before
    if _active is None:
        _active = False
        if sys.platform == "linux":
            # those were started by somebody here, whatever their session may become
            _ours_before = frozenset(ProcessId(stat.pid, stat.created) for stat in strangers())
            _active = _is_subreaper() or _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    return _active


def can_adopt() -> bool:
    """Whether this host can have orphans come to us; asking changes nothing."""
    if sys.platform != "linux":
        return False
    import ctypes

    return _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(ctypes.c_int(0)))


def register(tree: Claims) -> None:
    """A leaf was started: it is reaped by its owner."""
    _trees[tree.root.pid] = tree
    _known[b"%d" % tree.root.pid] = None
    spare.hold()


def register_sentry(pid: int) -> None:
    """A child of ours that is no leaf and no stranger, and whoever started it reaps it."""
    _sentries.add(pid)
    _known[b"%d" % pid] = None


def unregister_sentry(pid: int) -> None:
    """It is reaped."""
    _sentries.discard(pid)
    _known.pop(b"%d" % pid, None)


def unregister(tree: Claims) -> None:
    """A leaf is reaped and its strays are gone."""
    _trees.pop(tree.root.pid, None)
    _known.pop(b"%d" % tree.root.pid, None)


@contextmanager
def attending(tree: Claims) -> Iterator[None]:
    """A leaf is reaped and its end reported, and only now its strays are looked for: their dead are still ours to reap."""
    _attended.append(tree)
    try:
        yield
    finally:
        _attended.remove(tree)


def register_server(pid: int) -> None:
    """A process that forks leaves for us was started: no leaf and no stranger, and as long as it is there orphans are adopted."""
    _servers.add(pid)
    _known[b"%d" % pid] = None


def unregister_server(pid: int) -> None:
    """It is reaped; `release` follows."""
    _servers.discard(pid)
    _known.pop(b"%d" % pid, None)


def leave(pid: int) -> None:
    """Somebody waits for this process's end, and will ask how it ended: if we adopt it, it is not reaped before `take`."""
    _awaited.append(pid)


def take(pid: int) -> None:
    """Who said `leave` waits for it no more; once for each."""
    _awaited.remove(pid)


def release() -> None:
    """Stop adopting orphans if no leaf is left, so that the rest of the program's children behave as before, and hold no descriptor.

    Called when a leaf was unregistered and its end was reported, or when a start failed.
    """
    global _active
    if not _trees and not _servers and not _attended and _active is not None:
        if _active and not _was_subreaper:
            _prctl(_PR_SET_CHILD_SUBREAPER, 0)
        _active = None
        if _children is not None:
            _children[1].close()
        oom.close()
        spare.release()


def strangers() -> list[Stat]:
    """Our children that are no leaves: adopted orphans and other people's subprocesses, zombies included."""
    if sys.platform != "linux":
        return []
    # compared as the kernel writes them: with a thousand leaves nearly all that is listed is known
    return [stat for word in _main_threads_children() if word not in _known and (stat := read_stat(int(word))) is not None]


def can_only_be_of(root: ProcessId, stat: Stat) -> bool:
    """Whether a child of ours that names no life can only have come from this leaf, because there is no other and we start no sessions."""
    return (
        _sole_owner
        and [tree.root for tree in _trees.values()] == [root]
        and stat.session != own_session()
        and ProcessId(stat.pid, stat.created) not in _ours_before
    )


def collect() -> None:
    """Reap the dead among the orphans that we adopted. Never waits, never touches a child that somebody here started."""
    if sys.platform != "linux" or not _active:
        return
    # a child started here is in our session, or leads its own: one of a third session can only have been adopted
    possible = (os.getsid(0),) if _sole_owner else (os.getsid(0), -1)
    for stat in strangers():
        if not stat.dead or stat.pid in _awaited:
            continue
        session = -1 if stat.session == stat.pid else stat.session
        adopted = session not in possible and ProcessId(stat.pid, stat.created) not in _ours_before
        if adopted or any(tree.claims(stat) for tree in (*_trees.values(), *_attended)) or is_held(stat.pid):
            try:
                os.waitid(os.P_PID, stat.pid, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                continue  # it was another thread's child after all, and is reaped


def _main_threads_children() -> list[bytes]:
    """The kernel hands orphans to a subreaper's first living thread; what other threads have started is none of ours to look at."""
    global _children
    if _children is None or _children[0] != os.getpid():
        _children = (os.getpid(), KeptFile(f"/proc/{os.getpid()}/task/{os.getpid()}/children"))
    data = _children[1].read() if has_children_files() else b" ".join(str(pid).encode() for pid in _children_by_parent())
    return data.split() if data else []


def _children_by_parent() -> list[int]:
    own = os.getpid()
    return [pid for pid in all_pids() if (stat := read_stat(pid)) is not None and stat.parent == own]


_children: tuple[int, KeptFile] | None = None
_was_subreaper = False
_libc_prctl: object = None


def _is_subreaper() -> bool:
    global _was_subreaper
    import ctypes

    flag = ctypes.c_int(0)
    _was_subreaper = _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(flag)) and flag.value != 0
    return _was_subreaper


def _prctl(option: int, argument: object) -> bool:
    global _libc_prctl
    if _libc_prctl is None:
        import ctypes

        _libc_prctl = ctypes.CDLL(None, use_errno=True).prctl
    result: int = _libc_prctl(option, argument, 0, 0, 0)  # type: ignore[operator]
    return result == 0
