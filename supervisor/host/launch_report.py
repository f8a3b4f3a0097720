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


class SettingFailed(OSError):
    """The kernel refused one of a command's settings, so that the command was not run.

    Attributes:
        setting: Which one: ``cgroup`` or a field of `Limits`.
    """

    def __init__(self, number: int, setting: str) -> None:
        self.setting = setting
        super().__init__(number, f"{setting} cannot be set: {os.strerror(number)}")


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
    while part := os.read(error_reader, 64):
        report += part
    numbers = [number for (number,) in _ERRNO.iter_unpack(report)]
    started: subprocess.Popen[bytes] | Sibling = popen
    for number in numbers:
        if number < 0:
            popen.wait()  # it made the command's process, a child of ours, and has ended
            started = Sibling(-number)
    failure = next((number for number in numbers if number > 0), None)
    if failure is None:
        return started
    started.wait()
    option, number = failure >> 16, failure & 0xFFFF
    if option:
        raise SettingFailed(number, FIELDS.get(chr(option), chr(option)))
    text = os.strerror(number)
    if number == errno.ENOEXEC:
        text = f"{text} (a script needs a first line such as #!/bin/sh)"
    elif number == errno.ENOENT:
        text = f"{text} (its interpreter, perhaps)"
    raise OSError(number, text, path)
