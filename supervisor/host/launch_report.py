"""What the launch helper reports: that the command runs, in which process, or why it does not."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
from typing import Final

from .settings import FIELDS
from .sibling import Sibling

_ERRNO: Final = struct.Struct("i")


REMEDIES: Final = {
    ("nofile", errno.EPERM): "; at most what ulimit -Hn says, and for root what /proc/sys/fs/nr_open says",
    ("core", errno.EPERM): "; at most what ulimit -Hc says",
    ("nice", errno.EACCES): "; below ours only root may, or who has CAP_SYS_NICE",
    ("oom_score_adj", errno.EACCES): "; below ours only root may, or who has CAP_SYS_RESOURCE",
}
"""What helps where the kernel's word alone does not say it."""


class SettingFailed(OSError):
    """The kernel refused one of a command's settings, so that the command was not run.

    Attributes:
        setting: Which one: ``cgroup`` or a field of `Limits`.
    """

    def __init__(self, number: int, setting: str) -> None:
        self.setting = setting
        remedy = REMEDIES.get((setting, number), "")
        super().__init__(number, f"{setting} cannot be set: {os.strerror(number)}{remedy}")


def is_refusal(setting: str, number: int) -> bool:
    """Whether these can be a `SettingFailed`."""
    return number in errno.errorcode and (setting == "umask" or setting in FIELDS.values())


def command_process(popen: subprocess.Popen[bytes], error_reader: int, path: str) -> subprocess.Popen[bytes] | Sibling:
    """Wait until the helper has executed the command, or has said why it cannot; the command's process.

    Args:
        popen: The helper.
        error_reader: Where it reports; ends when the command runs.
        path: The command's file.

    Raises:
        SettingFailed: One of the settings could not be applied.
        OSError: The file cannot be executed.
    """
    report = b""
    try:
        while part := os.read(error_reader, 64):
            report += part
    except BaseException:  # also an interrupt: nothing may run that nobody watches
        for process in (popen, _made(popen, report)):
            process.kill()
            process.wait()
        raise
    started = _made(popen, report)
    numbers = _numbers(report)
    failure = next((number for number in numbers if number > 0), None)
    if failure is None:
        return started
    started.wait()
    option, number = failure >> 16, failure & 0xFFFF
    if option:
        raise SettingFailed(number, FIELDS.get(chr(option), chr(option)))
    raise explained(OSError(number, os.strerror(number), path))


def explained(error: OSError) -> OSError:
    """Why a file that is there could not be executed, with what that means for people."""
    hint = {errno.ENOEXEC: "a script needs a first line such as #!/bin/sh", errno.ENOENT: "its interpreter, perhaps"}.get(error.errno or 0)
    return error if hint is None else OSError(error.errno, f"{error.strerror} ({hint})", error.filename)


def _numbers(report: bytes) -> list[int]:
    return [number for (number,) in _ERRNO.iter_unpack(report)]


def _made(popen: subprocess.Popen[bytes], report: bytes) -> subprocess.Popen[bytes] | Sibling:
    """The command's process: the helper itself, or a child of ours that it has made, upon which it ends."""
    for number in _numbers(report):
        if number < 0:
            popen.wait()
            return Sibling(-number)
    return popen
