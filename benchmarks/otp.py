"""Erlang's own supervisor, for comparison: one Erlang node that measures on command, see ``otp_supervisor.erl``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

SOURCE: Final = Path(__file__).with_name("otp_supervisor.erl")
QUIET: Final = 0.01
"""Seconds after an answer in which the node's schedulers may still spin, waiting for more to do."""


@attrs.frozen
class Otp:
    """A node that waits for commands.

    Attributes:
        name: Which OTP it is.
    """

    name: str
    _process: subprocess.Popen[str]

    def ask(self, *words: object) -> list[int]:
        """Have something measured: the command's words, and the integers of its answer.

        Raises:
            RuntimeError: The node ended; what was wrong is on standard error.
        """
        return _ask(self._process, *words)

    def microseconds(self, *words: object) -> list[float]:
        """As `ask`, for times."""
        return [nanoseconds / 1000 for nanoseconds in self.ask(*words)]


@contextmanager
def otp() -> Iterator[Otp | None]:
    """Start a node; None, and a word on standard error, where there is no Erlang."""
    erl, erlc = shutil.which("erl"), shutil.which("erlc")
    if erl is None or erlc is None:
        print("no Erlang here (erl and erlc, of Debian's erlang-base): the figures beside it are left out", file=sys.stderr)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="otp-") as folder:
        subprocess.run([erlc, "-o", folder, SOURCE], check=True)
        words = [erl, "-noshell", "-pa", folder, "-s", SOURCE.stem]
        with subprocess.Popen(words, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            try:
                yield Otp(f"OTP {_ask(process, 'release')[0]}", process)
            finally:
                # the end of its input is its end
                process.stdin.close()


def _ask(process: subprocess.Popen[str], *words: object) -> list[int]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(" ".join(map(str, words)) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"Erlang ended at {words}")
    return [int(number) for number in answer.split()]
