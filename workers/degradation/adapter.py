"""How a leaf is started and hears of its mode: one protocol for whatever reaches into a leaf, and the way that any command can use.

That way is a file that holds the mode in one word, and a signal if one is configured. The file's path is in the leaf's environment as
`MEMORY_GUARDIAN_MODE_FILE`; it is replaced atomically, so that a reader finds the old word or the new one. Beside it is a file with the
reason, in a line.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from supervisor import Exit, Launch, ProcessId, send_signal

from ..config.run import MODE_FILE
from ..policy.ladder import DegradationMode
from ..redactor import redacted_text
from ..state.files import StateWriteFailed, write_atomic

WHY: Final = ".why"
"""What the name of the file with the reason of a mode has behind that of the mode's own."""

LONGEST_REASON: Final = 300
"""Characters."""


class Made(Protocol):
    """Makes what starts a life of a leaf."""

    def __call__(
        self, argv: tuple[str, ...], judge: Callable[[Exit], Exit] | None, *, stdin: int | str | None = None, stdout: int | None = None
    ) -> Launch:
        """Make it.

        Args:
            argv: The words of its command.
            judge: What judges its end.
            stdin: Its standard input: a descriptor, or as of `command`; None for what is configured.
            stdout: Likewise its standard output.
        """


class AdapterFailed(Exception):
    """The leaf did not hear of its mode.

    Attributes:
        channel: How it should have: ``mode_file`` or ``signal``.
    """

    def __init__(self, channel: str, reason: str) -> None:
        self.channel, self.reason = channel, reason
        super().__init__(reason)

    def __reduce__(self) -> tuple[type[AdapterFailed], tuple[str, str]]:
        return type(self), (self.channel, self.reason)


class LeafAdapter(Protocol):
    """What starts the lives of one leaf and tells it of its mode. It outlives the leaf's lives."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What each life of the leaf is given in its environment, to hear by."""

    def launch(self, argv: tuple[str, ...], made: Made) -> Launch:
        """What starts the leaf's lives.

        Args:
            argv: The command as it is configured.
            made: Makes a life of the words that it is to be started with.
        """

    async def degrade(self, mode: DegradationMode, reason: str) -> None:
        """The leaf's mode is this one from now on; said for a lower rung just as for a higher one.

        Args:
            mode: The mode.
            reason: Why, in words, for whoever shows it.

        Raises:
            AdapterFailed: It did not hear.

        **Cancellation:** at any time; the leaf has heard, or has not.
        """

    def close(self) -> None:
        """The run is over. May be called again."""


class FileAdapter:
    """A mode file, and a signal where the leaf handles one. A `LeafAdapter` for any command.

    Args:
        path: The file, in a private directory that is there.
        process: The root process of the leaf's present life; None when it does not run.
        signum: What that gets after the file has changed; None for nothing.

    Raises:
        StateWriteFailed: The file cannot be written.
    """

    def __init__(self, path: Path, process: Callable[[], ProcessId | None], signum: int | None = None) -> None:
        self._path, self._process, self._signal = path, process, signum
        self._why = path.with_name(f"{path.name}{WHY}")
        self._write(DegradationMode.NORMAL)

    @property
    def environment(self) -> Mapping[str, str]:
        """See `LeafAdapter.environment`."""
        return {MODE_FILE: str(self._path)}

    def launch(self, argv: tuple[str, ...], made: Made) -> Launch:
        """See `LeafAdapter.launch`: each life is the command as it is."""
        return made(argv, None)

    async def degrade(self, mode: DegradationMode, reason: str) -> None:
        """See `LeafAdapter.degrade`."""
        try:
            self._write(mode, reason)
        except StateWriteFailed as error:
            raise AdapterFailed("mode_file", str(error)) from error
        if self._signal is not None and (process := self._process()) is not None:
            notify(process, self._signal)

    def close(self) -> None:
        """See `LeafAdapter.close`."""
        for file in (self._path, self._why):
            with suppress(OSError):
                file.unlink()

    def _write(self, mode: DegradationMode, reason: str = "") -> None:
        try:
            write_atomic(self._why, f"{in_a_line(reason)}\n".encode(), durable=False)
        except StateWriteFailed:  # what counts is the mode; a reason of an earlier one would be none
            with suppress(OSError):
                self._why.unlink()
        write_atomic(self._path, f"{mode.value}\n".encode(), durable=False)


def in_a_line(reason: str) -> str:
    """A reason as a shell can put it into a text, JSON too: one line, short, without secrets, quotation marks and backslashes."""
    line = " ".join("".join(char if char.isprintable() else " " for char in redacted_text(reason)).split())
    plain = line.replace('"', "'").replace("\\", "/").encode("utf-8", "replace").decode()
    return plain if len(plain) <= LONGEST_REASON else f"{plain[: LONGEST_REASON - 3]}..."


def notify(process: ProcessId, signum: int) -> None:
    """Send a process a signal that is news to it and not its end.

    Raises:
        AdapterFailed: It does not handle the signal, which would kill it; or it may not be signalled.
    """
    name = signal.Signals(signum).name
    if handles(process.pid, signum) is False:
        raise AdapterFailed("signal", f"{name} was not sent: process {process.pid} does not handle it, and would die of it")
    try:
        send_signal(process, signum)
    except OSError as error:
        raise AdapterFailed("signal", f"{name} cannot be sent to process {process.pid}: {error.strerror}") from error


def handles(pid: int, signum: int) -> bool | None:
    """Whether a process catches or ignores a signal; None where that cannot be told.

    Blocking is no handling: a shell blocks all signals for a moment whenever it starts something.
    """
    if sys.platform != "linux":
        return None
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            lines = status.read().splitlines()
    except OSError:
        return None
    masks = [int(line.split()[1], 16) for line in lines if line.startswith((b"SigCgt:", b"SigIgn:"))]
    return any(mask >> (signum - 1) & 1 for mask in masks) if masks else None


def signal_number(name: str) -> int | None:
    """The number of a signal's name; None for an empty one."""
    return int(signal.Signals[name]) if name else None


def mode_file(directory: Path, name: str) -> Path:
    """Where the mode of an agent of that name is; a name is no path."""
    return directory / f"{name}{os.extsep}mode"
