"""docs/control.md: its bounds and codes are those of the code, its methods are there, its example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from supervisor.edge.control import connection, method, ring, server, wire
from supervisor.edge.control.basics import Basics
from workers.control import GuardianControl
from workers.control_commands import COMMANDS

from ..support import ROOT

PAGE = (ROOT / "docs" / "control.md").read_text()


def test_the_bounds_are_those_of_the_code() -> None:
    """In the words of the page."""
    for said, value in (
        ("256 KiB, then", wire.LONGEST_LINE == 256 << 10),
        ("at most 32 calls", wire.LARGEST_BATCH == 32),
        ("| connections | 32;", server.CONNECTIONS == 32),
        ("within 10 s", connection.FIRST_REQUEST == 10),
        ("8 for each client, 1 MiB of all", (connection.IN_FLIGHT, server.HELD_BYTES) == (8, 1 << 20)),
        ("at most 8 MiB; 16 MiB of all", (connection.LARGEST_ANSWER, server.UNSENT_BYTES) == (8 << 20, 16 << 20)),
        ("has at most 1000 characters", method.LONGEST_REASON == 1000),
        ("up to 1 MiB of lines", ring.KEPT_BYTES == 1 << 20),
    ):
        assert said in PAGE and value, said
    codes = {wire.FORBIDDEN, wire.NOT_FOUND, wire.REFUSED, wire.BUSY, wire.REJECTED}
    assert {int(code) for code in re.findall(r"^\| (-3200\d) \|", PAGE, flags=re.MULTILINE)} == codes


def test_the_methods_and_subcommands_are_there() -> None:
    """Each that the page has, and no other; what reads the disk alone has pages of its own."""
    unbound = object.__new__(Basics)
    unbound._extension = GuardianControl.__new__(GuardianControl)
    methods = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, flags=re.MULTILINE))
    subcommands = {words.split()[0] for words in re.findall(r"^\| `([a-z]+ [^`]*)` \|", PAGE, flags=re.MULTILINE)}

    assert methods == set(unbound.methods())
    assert subcommands == {"status", "events", "restart", "stop", *COMMANDS} - {"states", "import-mpm"}


def test_the_example_runs(tmp_path: Path) -> None:
    """Where no guardian runs it says nothing."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    environ = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
