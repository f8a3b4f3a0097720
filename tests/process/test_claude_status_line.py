"""The status line of Claude Code, run as the program runs it, and the notice that a life begins with."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workers.claude.shown import once
from workers.claude.status_line import INTERVAL, SOURCES, around, theirs, with_status_line
from workers.state.files import write_atomic

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
SHELLS = [shell for shell in ("sh", "dash", "bash", "zsh") if shutil.which(shell)]
OURS = 'memory-guardian: read-only; it\'s "so" $HOME `x`'

OWN = {
    "one line": ("echo theirs", "theirs\n"),
    "several, with colours and blanks": (r"printf '\033[32mgreen\033[0m\n\n   far\n'", "\x1b[32mgreen\x1b[0m\n\n   far\n"),
    "no end of line": ("printf theirs", "theirs"),
    "what it is told": ('read -r told; echo "$told" | tr a-z A-Z', '{"MODEL":1}\n'),
    "quotes": ("""echo 'it'"'"'s' "$((1 + 1))" \\#""", "it's 2 #\n"),
    "a comment": ("echo theirs # and so on", "theirs\n"),
    "several commands": ("for a in x y; do\n  echo $a\ndone", "x\ny\n"),
    "an end in its middle": ("echo theirs; exit 0; echo never", "theirs\n"),
    "nothing": ("cat >/dev/null", ""),
}


def ran(command: str, shell: str = "sh") -> tuple[int, str]:
    """How a command of the status line ends, and what it prints; nothing but that is heard of it."""
    done = subprocess.run([shell, "-c", command], input='{"model":1}\n', capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Where our words are, by a name with everything in it."""
    place = tmp_path / "it's a $place"
    place.mkdir()
    return place / "claude.words"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", OWN)
def test_the_users_own_is_as_it_was(shell: str, name: str, words: Path) -> None:
    """With nothing to say, and after the guardian is gone, to the byte; with something it is below, on a line of its own."""
    command, said = OWN[name]
    assert ran(around(command, words), shell) == (0, said)
    write_atomic(words, b"")
    assert ran(around(command, words), shell) == (0, said)
    write_atomic(words, f"{OURS}\n".encode())
    below = said.rstrip("\n")
    assert ran(around(command, words), shell) == (0, f"{below}\n{OURS}\n" if below else f"{OURS}\n")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("command", ["echo never seen; exit 3", "echo never seen; false", "no-such-command", "if then ("])
def test_the_users_own_fails(shell: str, command: str, words: Path) -> None:
    """It fails as without us, and nothing of it is shown: what we have to say still is."""
    assert ran(around(command, words), shell)[0] == ran(command, shell)[0] != 0
    write_atomic(words, f"{OURS}\n".encode())
    assert ran(around(command, words), shell) == (0, f"{OURS}\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_without_one_of_the_users(shell: str, words: Path) -> None:
    """Nothing to say is nothing shown."""
    command = around("", words)
    assert ran(command, shell) == (0, "")
    write_atomic(words, b"")
    assert ran(command, shell) == (0, "")
    write_atomic(words, f"{OURS}\n".encode())
    assert ran(command, shell) == (0, f"{OURS}\n")


def test_it_starts_nothing_of_its_own(words: Path) -> None:
    """Not a process beside the shell that the program starts anyway, whether there is something to say or not."""
    write_atomic(words, f"{OURS}\n".encode())
    done = subprocess.run(["/bin/sh", "-c", around("", words)], env={"PATH": "/nowhere"}, stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"{OURS}\n", b"")


def test_whose_status_line_it_is(tmp_path: Path) -> None:
    """That of the source that wins, key by key, as the program takes them together; only of the sources that it reads."""
    files = [tmp_path / f"{source}.json" for source in SOURCES]
    files[0].write_text(json.dumps({"statusLine": {"type": "command", "command": "user", "padding": 2}}))
    files[1].write_text(json.dumps({"statusLine": {"type": "command", "command": "project"}}))
    read = list(zip(SOURCES, files, strict=True))

    def found(*sources: str, **settings: Any) -> Any:
        line = theirs(read, sources, settings)
        return line.get("command"), line.get("padding")

    assert found() == ("project", 2)
    assert found("user") == ("user", 2) and found("project,local") == ("project", None) and found("user", "project") == ("project", 2)
    assert found(statusLine={"command": "given"}) == ("given", 2)
    files[2].write_text("no JSON")
    assert found() == ("project", 2)
    files[2].write_text(json.dumps({"statusLine": {"command": "local", "padding": 0}}))
    assert found() == ("local", 0)
    files[2].write_text(json.dumps({"statusLine": "nonsense"}))
    assert found(statusLine=None) == ("project", 2)


def test_what_else_is_said_of_it_stays(words: Path) -> None:
    """Padding and the like are the user's; only where he has none it is run by the clock, which could cost too much of his."""
    own = {"type": "command", "command": "echo theirs"}
    given = {"model": "opus", "statusLine": {**own, "padding": 3}}
    made = with_status_line(given, given["statusLine"], words)  # type: ignore[arg-type]
    line = made["statusLine"]
    assert line["padding"] == 3 and "refreshInterval" not in line and made["model"] == "opus"
    assert ran(line["command"]) == (0, "theirs\n")
    assert with_status_line({}, {}, words)["statusLine"]["refreshInterval"] == INTERVAL
    assert with_status_line({}, {"command": " "}, words)["statusLine"]["refreshInterval"] == INTERVAL
    assert with_status_line({"statusLine": "nonsense"}, {}, words) == {"statusLine": "nonsense"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_notice_is_said_once(shell: str, tmp_path: Path) -> None:
    """When the life is up; not again when a conversation begins later, and nothing where there is none."""
    notice = tmp_path / "it's a notice"
    assert ran(once(notice), shell) == (0, "")
    write_atomic(notice, json.dumps({"systemMessage": "restarted"}).encode() + b"\n")
    code, said = ran(once(notice), shell)
    assert code == 0 and json.loads(said) == {"systemMessage": "restarted"}
    assert ran(once(notice), shell) == (0, "")
