"""`tools/install-optional.sh`, with a package manager that only pretends."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .support import ROOT

SCRIPT = ROOT / "tools" / "install-optional.sh"
SYSTEM = ("sh", "env", "mktemp", "rm", "cat", "touch", "test", "chmod", "dirname", "mkdir", "mv")

APT = """#!/bin/sh
echo "$*" >> "$LOG"
case $1 in
    update) touch "$FRESH" ;;
    install)
        [ -e "$FRESH" ] || { echo "E: Unable to locate package"; exit 100; }
        for command in erl erlc redis-server systemd-notify systemd-analyze; do
            echo '#!/bin/sh' > "$BIN/$command"; chmod +x "$BIN/$command"
        done ;;
esac
"""

NPM = """#!/bin/sh
echo "$*" >> "$LOG"
[ -e "$FRESH" ] || { echo "npm error: no network"; exit 1; }
mkdir -p "$3/node_modules/.bin"
touch "$3/node_modules/.bin/claude"
"""


class Machine:
    """A path on which only some commands are."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.log, self.fresh = folder / "bin", folder / "log", folder / "fresh"
        self.bin.mkdir()
        for command in SYSTEM:
            found = shutil.which(command)
            if found is not None:
                (self.bin / command).symlink_to(found)
        self.add("id", "#!/bin/sh\necho 0\n")
        (folder / "tools").mkdir()
        self.script = shutil.copy(SCRIPT, folder / "tools")  # what it installs beside it is the test's

    def add(self, name: str, text: str) -> None:
        """Put a command on the path."""
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the script there."""
        environment = {"PATH": str(self.bin), "LOG": str(self.log), "FRESH": str(self.fresh), "BIN": str(self.bin)}
        environment["TMPDIR"] = os.environ["TMPDIR"]
        return subprocess.run([self.bin / "sh", self.script, *arguments], env=environment, capture_output=True, text=True, timeout=30)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without Erlang and without a package manager, whose user is root."""
    return Machine(tmp_path)


@pytest.mark.parametrize(("what", "package"), [("erlang", "erlang-base"), ("redis", "redis-server"), ("systemd", "systemd")])
def test_it_installs_what_is_missing_and_is_quiet(machine: Machine, what: str, package: str) -> None:
    """With fresh package lists where the old ones do not do; when all is there it does nothing."""
    machine.add("apt-get", APT)

    done = machine.run(what)
    again = machine.run(what)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    install = f"install -q -y --no-install-recommends {package}"
    assert machine.log.read_text().splitlines() == [install, "update -q", install]


def test_it_installs_what_the_terminal_is_tested_with(machine: Machine) -> None:
    """All of it as soon as one program is missing; present programs need no package manager."""
    machine.add("apt-get", APT)
    machine.fresh.touch()

    assert machine.run("terminal").returncode == 0
    assert machine.log.read_text().splitlines() == ["install -q -y --no-install-recommends bash less vim"]
    for program in ("bash", "less", "vim"):
        machine.add(program, "#!/bin/sh\n")
    (machine.bin / "apt-get").unlink()
    assert machine.run("terminal").returncode == 0


def test_it_installs_both_builds_of_claude_code(machine: Machine, tmp_path: Path) -> None:
    """Beside it, each one whole or not at all; what is there is left alone."""
    machine.add("npm", NPM)
    failed = machine.run("claude")
    assert failed.returncode == 1 and list((tmp_path / ".claude-code").iterdir()) == []
    assert "npm error: no network" in failed.stderr and "@anthropic-ai/claude-code@latest" in failed.stderr

    machine.fresh.touch()
    machine.log.unlink()
    done, again = machine.run("claude"), machine.run("claude")

    assert (done.returncode, done.stdout, done.stderr) == (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert sorted(path.name for path in (tmp_path / ".claude-code").iterdir()) == ["native", "node"]
    asked = [line.split()[-1] for line in machine.log.read_text().splitlines()]
    assert asked == ["@anthropic-ai/claude-code@latest", "@anthropic-ai/claude-code@2.0.77"]


def test_it_says_what_to_install_where_it_cannot(machine: Machine) -> None:
    """Without apt-get, without root, or when the installation fails: what failed, and the package's name."""
    without = machine.run("erlang")
    machine.add("apt-get", "#!/bin/sh\necho E: no network\nexit 100\n")
    failed = machine.run("erlang")
    machine.add("id", "#!/bin/sh\necho 1000\n")
    user = machine.run("erlang")

    assert without.returncode == failed.returncode == user.returncode == 1
    assert "no apt-get" in without.stderr and "erlang-base" in without.stderr
    assert "E: no network" in failed.stderr and "apt-get install --no-install-recommends erlang-base" in failed.stderr
    assert "needs root, or sudo" in user.stderr


def test_it_knows_what_it_can_install(machine: Machine) -> None:
    """Anything else is a mistake of the caller's."""
    assert machine.run().returncode == 2
    unknown = machine.run("cobol")
    assert unknown.returncode == 2
    assert "known: claude, erlang, redis, systemd, terminal" in unknown.stderr
