"""The end of a process as a descriptor that becomes readable, where there is a kqueue: macOS and the BSDs.

Written after the manuals and never run: no such host was at hand. `docs/platforms.md` says so too.
"""

from __future__ import annotations

import select
import sys
from typing import Any


def is_there() -> bool:
    """Whether this host has kqueues that tell of processes."""
    return hasattr(select, "kqueue") and hasattr(select, "KQ_FILTER_PROC")


class ExitQueue:
    """Becomes readable when one process, a child of ours that is not reaped, is dead; closed when it is not needed any more.

    The event is never fetched, so the descriptor stays readable: whoever comes late sees it too. Between the event and the moment in
    which the process can be waited for there may be an instant, so its status has to be asked for until it is there.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def fileno(self) -> int:
        """The descriptor; close-on-exec."""
        number: int = self._queue.fileno()
        return number

    def close(self) -> None:
        """Give back the descriptor. May be called again."""
        self._queue.close()


def watch_exit(pid: int) -> ExitQueue | None:
    """Have the kernel tell of the end of a child that is not reaped; None without kqueues, or when it is dead already.

    Raises:
        OSError: Out of descriptors.
    """
    if sys.platform == "win32" or sys.platform == "linux":
        return None
    if not is_there():
        return None
    queue = select.kqueue()
    event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ENABLE, select.KQ_NOTE_EXIT)
    try:
        queue.control([event], 0)
    except ProcessLookupError:
        queue.close()  # what is dead cannot be watched here
        return None
    except BaseException:  # also an interrupt
        queue.close()
        raise
    return ExitQueue(queue)
