"""The launcher from outside, as a person starts it: ``python -m supervisor -- COMMAND``, with compiled modules that are warm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from .programs import Clock

ROOT: Final = Path(__file__).resolve().parent.parent
BACKENDS: Final = ("trio", "asyncio")
SETTLED: Final = 3.0
"""Seconds after the start at which a launcher is idle."""

# Looked at while the launcher runs, for what it imports at its end is not in the memory of an idle one.
_LOOK: Final = """
import os, sys, threading, time
file = sys.argv.pop(1)
def look():
    while not os.path.exists(file + ".asked"):
        time.sleep(0.05)
    with open(file + ".new", "w") as found:
        found.write("\\n".join(sys.modules))
    os.replace(file + ".new", file)
threading.Thread(target=look, daemon=True).start()
import runpy
runpy.run_module("supervisor", run_name="__main__", alter_sys=True)
"""


@attrs.frozen
class Launcher:
    """How the launcher is started here, and where it keeps its files."""

    folder: Path
    environ: Mapping[str, str]

    def words(self, backend: str, command: tuple[str, ...]) -> list[str]:
        """The words that run a command, with one sample a second."""
        options = ["--backend", backend, "--interval", "1", "--state-dir", str(self.folder / "state")]
        return [sys.executable, "-m", "supervisor", "run", *options, "--", *command]

    @contextmanager
    def running(self, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        """Start a program like the launcher, and end it."""
        with (self.folder / "output").open("wb") as output:
            process = subprocess.Popen(
                words, cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def modules(self, backend: str, program: Clock, settled: float) -> list[str]:
        """What an idle launcher has imported, `settled` seconds after its command began, in the order of the imports; of ours nothing."""
        file, asked = self.folder / f"modules-{backend}", self.folder / f"modules-{backend}.asked"
        words = self.words(backend, program.argv)
        at = words.index("-m")
        with self.running([*words[:at], "-c", _LOOK, str(file), *words[at + 2 :]]) as process:
            program.began()
            time.sleep(settled)
            asked.touch()
            while not file.exists():
                if process.poll() is not None:
                    raise RuntimeError(f"the launcher ended: {(self.folder / 'output').read_text()}")
                time.sleep(0.05)
        own = {"supervisor", "workers", "__main__"}
        return [name for name in file.read_text().split() if name.partition(".")[0] not in own]


@contextmanager
def launcher() -> Iterator[Launcher]:
    """A place to start the launcher in: no settings of the person's, no state of earlier runs, modules compiled in a place of its own."""
    with tempfile.TemporaryDirectory(prefix="launcher-") as folder:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MEMORY_GUARDIAN_")}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH", "")]))
        environ["PYTHONPYCACHEPREFIX"] = str(Path(folder, "compiled"))
        environ["XDG_CONFIG_HOME"] = str(Path(folder, "config"))
        yield Launcher(Path(folder), environ)


def third_party(modules: list[str]) -> list[str]:
    """Those that are neither Python's own nor private helpers of an installer."""
    return [name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith("_")]
