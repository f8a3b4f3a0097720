"""Windows: every leaf in a job object of its own, which nothing it starts can leave, and which ends when we do.

Three calls of the kernel by ctypes: pywin32 would be a dependency of 10 MB for them, and psutil has none of the three. Written after
Microsoft's pages and never run: no such host was at hand. `docs/platforms.md` says so too.
"""

from __future__ import annotations

import ctypes
import errno
import signal
import sys
from typing import Any, ClassVar, Final

KILL_ON_CLOSE: Final = 0x2000
CREATE_SUSPENDED: Final = 0x4
"""For CreateProcess: no instruction runs before `resume`, so nothing can be started outside of the job."""

_EXTENDED_LIMITS: Final = 9
_SET_QUOTA_AND_TERMINATE: Final = 0x0101
_BREAK_EVENT: Final = getattr(signal, "CTRL_BREAK_EVENT", 1)
_ASKING: Final = frozenset(int(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_: ClassVar[Any] = [
        ("per_process_user_time", ctypes.c_int64),
        ("per_job_user_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority_class", ctypes.c_uint32),
        ("scheduling_class", ctypes.c_uint32),
    ]


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_: ClassVar[Any] = [
        ("basic", BasicLimits),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    ]


def kill_on_close() -> ExtendedLimits:
    """The limits of a job whose processes end with its last handle, which the kernel closes when we die."""
    limits = ExtendedLimits()
    limits.basic.flags = KILL_ON_CLOSE
    return limits


def console_event(number: int) -> int | None:
    """What asks a process group to end, in place of a signal: Ctrl-Break, since a group of its own does not get Ctrl-C.

    Returns:
        None for a number that does not ask: the process is to be terminated.
    """
    return _BREAK_EVENT if number in _ASKING else None


class JobObject:
    """One leaf and all that it starts.

    Raises:
        OSError: Out of handles, or not on Windows.
    """

    def __init__(self) -> None:
        self._kernel = _kernel()
        self._handle: int | None = self._kernel.CreateJobObjectW(None, None)
        if not self._handle:
            raise _last_error()
        limits = kill_on_close()
        if not self._kernel.SetInformationJobObject(self._handle, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)):
            error = _last_error()
            self.close()
            raise error

    def take(self, pid: int) -> None:
        """Put a process that runs nothing yet, and whose handle somebody holds, into the job.

        Raises:
            OSError: It cannot be.
        """
        process = self._kernel.OpenProcess(_SET_QUOTA_AND_TERMINATE, False, pid)
        if not process:
            raise _last_error()
        try:
            if not self._kernel.AssignProcessToJobObject(self._handle, process):
                raise _last_error()
        finally:
            self._kernel.CloseHandle(process)

    def terminate(self, code: int = 1) -> None:
        """End all processes of the job at once, with this exit code. After `close` it does nothing."""
        if self._handle:
            self._kernel.TerminateJobObject(self._handle, code)

    def close(self) -> None:
        """Give back the handle, which ends what is left in the job. May be called again."""
        if self._handle:
            self._kernel.CloseHandle(self._handle)
            self._handle = None


def resume(pid: int) -> None:
    """Let a process run that was created suspended."""
    if sys.platform == "win32":
        import psutil

        psutil.Process(pid).resume()


def _kernel() -> Any:
    if sys.platform != "win32":
        raise OSError(errno.ENOTSUP, "job objects are Windows'")
    handle, word = ctypes.c_void_p, ctypes.c_uint32
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    for name, result, arguments in (
        ("CreateJobObjectW", handle, (handle, ctypes.c_wchar_p)),
        ("SetInformationJobObject", ctypes.c_int, (handle, ctypes.c_int, handle, word)),
        ("OpenProcess", handle, (word, ctypes.c_int, word)),
        ("AssignProcessToJobObject", ctypes.c_int, (handle, handle)),
        ("TerminateJobObject", ctypes.c_int, (handle, ctypes.c_uint)),
        ("CloseHandle", ctypes.c_int, (handle,)),
    ):
        function = getattr(kernel, name)
        function.restype, function.argtypes = result, arguments
    return kernel


def _last_error() -> OSError:
    if sys.platform != "win32":
        return OSError(errno.ENOTSUP, "job objects are Windows'")
    return ctypes.WinError(ctypes.get_last_error())
