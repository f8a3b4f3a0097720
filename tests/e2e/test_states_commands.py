"""``states`` as a person and a program use it: list, show, diff, export, restore, prune."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from supervisor.edge.command_line import main
from workers.config import EncryptionConfig
from workers.state.files import project_key
from workers.state.index import NAME
from workers.state.journal import Mark
from workers.state.journals import journal_of
from workers.state.keys import new_key
from workers.state.model import CompleteState
from workers.state.seal import seal_of
from workers.state.store import StateStore

from ..process.state_support import SESSION, VERSION_1, captured, saved
from ..support import ROOT, run_supervisor

DAY = 86400.0
Asked = tuple[int, str, str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, a project without states."""
    place = tmp_path.resolve() / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "states")


@pytest.fixture
def ask(store: StateStore, capsys: pytest.CaptureFixture[str]) -> Callable[..., Asked]:
    """Run a subcommand here; returns its exit code and what it says."""

    def run(*words: str, env: dict[str, str] | None = None) -> Asked:
        environ = {"MEMORY_GUARDIAN_GUARDIAN_STATE_DIR": str(store.state_dir), "HOME": str(store.state_dir.parent), **(env or {})}
        code = main(["states", *words], environ=environ)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return run


def told(asked: Asked) -> Any:
    assert asked[0] == 0, asked
    return json.loads(asked[1])


def test_states_are_listed_the_newest_first(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """Of this project or of all, of one agent or all; one that cannot be used says why."""
    assert ask("list") == (0, f"no states of {project}; --all lists those of all projects\n", "")
    old, new = saved(store, project, age=20.0, agent="writer"), saved(store, project, age=10.0)
    other = saved(store, project.parent)
    code, out, _ = ask("list")
    rows = [line.split() for line in out.splitlines()]
    assert (code, rows[0]) == (0, ["state", "captured", "agent", "level", "size", "reason"])
    assert [(row[0], row[3], row[4]) for row in rows[1:]] == [
        (new.name.partition(".json")[0], "claude", "critical"),
        (old.name.partition(".json")[0], "writer", "critical"),
    ]
    data = told(ask("list", "--json"))
    assert data["state_dir"] == str(store.state_dir)
    assert [entry["file"] for entry in data["states"]] == [str(new), str(old)]
    assert [entry["agent"] for entry in told(ask("list", "--json", "--agent", "writer"))["states"]] == ["writer"]
    assert [entry["file"] for entry in told(ask("list", "--all", "--json"))["states"]] == [str(other), str(new), str(old)]
    assert str(project.parent) in ask("list", "--all")[1].splitlines()[1]
    old.write_bytes(b"")
    code, out, _ = ask("list")
    assert code == 0 and "cannot be used: it is damaged" in out.splitlines()[2]


def test_a_state_is_shown_in_words_and_as_data(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """All that matters, by any unambiguous part of its id; and of a file of the first version too."""
    path = saved(
        store, project, argv=("claude", "say hi", "--token=[redacted:argument]"), environment={"A": "1", "B": "[redacted:key-name]"}
    )
    state_id = path.name.partition(".json")[0]
    code, out, err = ask("show")
    assert (code, err, out.splitlines()[0]) == (0, "", state_id)
    for name in ("latest", state_id, state_id[:20], state_id[-8:]):
        assert ask("show", name)[1].splitlines()[0] == state_id
    for said in (
        "claude (guardian/agents/claude/leaf)",
        "memory is critical: 15.0 GiB (attempt 2)",
        "15.0 GiB, peak 15.0 GiB, level critical",
        "pid 42, life 3, up 12 s",
        "claude 'say hi' '--token=[redacted:argument]'",
        "main at abcdef012345, 2 changed files",
        "2 variables, 1 of them redacted",
        "none was captured",
        str(path),
    ):
        assert said in out, said
    assert CompleteState.from_dict(told(ask("show", "--json"))) == store.load(path)
    old = store.state_dir / project_key("/srv/project") / "20260102T030405.678901Z-5f1c9a2b.json.gz"
    old.parent.mkdir(mode=0o700)
    old.write_bytes(VERSION_1.read_bytes())
    code, out, _ = ask("show", "20260102")
    assert code == 0 and "/srv/project/sub" in out and "python 3.11.2" in out


def test_a_difference_is_told_by_its_place(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """What differs and nothing else: values before and after, what was added to a list and what is gone from it."""
    first = captured(project, age=DAY, branch="main", reason="manual", now=2e9)
    second = captured(project, branch="dev", reason="manual", now=2e9, conversation={"session_id": SESSION, "transcript": "/t"})
    second = attrs.evolve(second, project=attrs.evolve(second.project, dirty_files=("b.py", "c.py")), restart=first.restart)
    for state in (first, second):
        store.save(project, state)
    code, out, _ = ask("diff", first.metadata.state_id)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert lines[1].endswith("1 d 00 h later")
    assert lines[2:] == [
        f"conversation.session_id - -> {SESSION}",
        "conversation.transcript - -> /t",
        "project.dirty_files - a.py",
        "+ c.py",
        "project.git_branch main -> dev",
    ]
    data = told(ask("diff", first.metadata.state_id, "latest", "--json"))
    assert (data["before"], data["after"]) == (first.metadata.state_id, second.metadata.state_id)
    assert {"path": "project.git_branch", "before": "main", "after": "dev"} in data["differences"]
    assert "nothing differs" in ask("diff", "latest", "latest")[1]


def test_an_export_is_the_state_as_json_for_its_owner_alone(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """To standard output, or to a file that is not overwritten unless told to."""
    path = saved(store, project)
    assert CompleteState.from_dict(told(ask("export"))) == store.load(path)
    code, out, _ = ask("export", "--output", "out.json")
    assert code == 0 and str(project / "out.json") in out
    assert stat.S_IMODE((project / "out.json").stat().st_mode) == 0o600
    before = (project / "out.json").read_bytes()
    code, _, err = ask("export", "--output", "out.json")
    assert (code, "is there already" in err) == (2, True)
    assert ask("export", "--output", "out.json", "--force", "--json")[0] == 0
    assert (project / "out.json").read_bytes() == before
    assert ask("export", "--output", "nowhere/out.json")[0] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="for a POSIX shell")
def test_a_restore_is_checked_and_can_be_evaluated_by_a_shell(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """Nothing is applied but by the shell that asks for it, however odd the names; a secret is named as withheld."""
    odd = project / "it's; $(touch ran) `touch ran`"
    odd.mkdir()
    environment = {"PATH": "/x", "CLAUDE_CONFIG_DIR": "/srv/it's $(touch ran)", "CLAUDE_CODE_OAUTH_TOKEN": "[redacted:key-name]"}
    talk = {"session_id": SESSION, "transcript": "/srv/x.jsonl"}
    saved(store, project, cwd=odd, environment=environment, conversation=talk)
    code, out, err = ask("restore")
    assert (code, err) == (0, "")
    assert f"working directory  {odd}" in out and SESSION in out and "CLAUDE_CODE_OAUTH_TOKEN: set it again" in out
    data = told(ask("restore", "--json"))
    assert (data["working_directory"], data["session_id"], data["withheld"]) == (str(odd), SESSION, ["CLAUDE_CODE_OAUTH_TOKEN"])
    assert data["environment"] == {"CLAUDE_CONFIG_DIR": "/srv/it's $(touch ran)"}
    program = f"{shlex.quote(sys.executable)} -m supervisor states restore --shell --state-dir {shlex.quote(str(store.state_dir))}"
    script = f'eval "$({program})"; pwd; printf "%s\\n" "$CLAUDE_CONFIG_DIR"'
    done = subprocess.run(["sh", "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, [str(odd), "/srv/it's $(touch ran)"], "")
    assert not list(project.rglob("ran"))
    odd.rmdir()
    code, out, err = ask("restore", "--shell")
    assert (code, out) == (1, "") and "is not there any more" in err


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes as POSIX has them")
def test_an_export_replaces_nothing_but_a_file(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """A device, a pipe, a link or a directory in the place of the output is there for others, also with ``--force``."""
    saved(store, project)
    os.mkfifo(project / "pipe")
    (project / "link").symlink_to(project / "elsewhere")
    (project / "directory").mkdir()
    before = {name: os.lstat(project / name).st_mode for name in os.listdir(project)}
    for name in before:
        code, out, err = ask("export", "--force", "--output", name)
        assert (code, out) == (2, "") and f"'{name}' is no regular file" in err
    assert {name: os.lstat(project / name).st_mode for name in os.listdir(project)} == before


@pytest.mark.skipif(sys.platform == "win32", reason="a shell")
def test_a_shell_takes_over_what_cannot_be_shown(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """Bit by bit: control characters, newlines at the end, bytes that are no text, and what would mean something to printf."""
    odd = project / "a\tb%s\n"
    odd.mkdir()
    value = "\x1b[2J\ta%d\\n'\"$x\udcff\u202e\n\n"
    saved(store, project, cwd=odd, environment={"CLAUDE_X": value, "CLAUDE_Y": "é"})
    code, out, _ = ask("restore", "--shell")
    assert code == 0 and all(char.isprintable() or char == "\n" for char in out)
    show = [sys.executable, "-c", "import os; print(ascii([os.getcwd(), os.environ['CLAUDE_X'], os.environ['CLAUDE_Y']]))"]
    done = subprocess.run(["sh", "-c", f"{out}{shlex.join(show)}"], capture_output=True, text=True, timeout=30)
    assert (done.stdout.strip(), done.stderr) == (ascii([str(odd), value, "é"]), "")


@pytest.mark.skipif(sys.platform == "win32", reason="modes as POSIX has them")
def test_a_transcript_is_put_back(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """As it was at that state; over one with records of its own only with ``--force``, and then that one is kept beside."""
    home = store.state_dir.parent.resolve()
    folder = home / ".claude" / "projects" / "p"
    folder.mkdir(parents=True, mode=0o700)
    transcript = folder / f"{SESSION}.jsonl"
    transcript.write_bytes(b'{"type":"user"}\n')
    key = project_key(project)
    (store.state_dir / key).mkdir(parents=True, mode=0o700)
    mark = attrs.asdict(journal_of(store, key, SESSION).append(transcript))
    saved(store, project, conversation={"session_id": SESSION, "transcript": str(transcript)}, journal=mark)
    transcript.unlink()
    assert told(ask("restore", "--transcript", "--json"))["transcript"] == str(transcript)
    assert transcript.read_bytes() == b'{"type":"user"}\n'
    transcript.write_bytes(b'{"type":"user","more":1}\n')
    code, _, err = ask("restore", "--transcript")
    assert code == 1 and "--force" in err
    code, out, _ = ask("restore", "--transcript", "--force")
    assert code == 0 and "is kept as" in out
    assert transcript.read_bytes() == b'{"type":"user"}\n'
    code, _, err = ask("restore", "--transcript", env={"HOME": "/nowhere"})
    assert code == 1 and "is not below /nowhere/.claude/projects" in err


def test_old_states_are_pruned_and_told(project: Path, store: StateStore, ask: Callable[..., Asked], tmp_path: Path) -> None:
    """A dry run says what would go; file, environment and options say how much is kept; the last good one is."""
    paths = [saved(store, project, age=age) for age in (9 * DAY, 8 * DAY, 60.0)]
    other = saved(store, tmp_path.resolve(), age=30 * DAY)
    dry = told(ask("prune", "--dry-run", "--json"))
    assert [(entry["file"], entry["why"]) for entry in dry["removed"]] == [(str(path), "age") for path in paths[:2]]
    assert dry["dry_run"] is True and dry["freed_bytes"] == sum(path.stat().st_size for path in paths[:2])
    assert store.list(project) == tuple(paths)
    (tmp_path / "g.toml").write_text("[state]\nmax_states = 2\nmax_age_days = 0\n")
    code, out, _ = ask("prune", "--config", str(tmp_path / "g.toml"))
    assert code == 0 and "(count)" in out and "1 state removed" in out and "2 kept" in out
    assert store.list(project) == tuple(paths[1:])
    done = told(ask("prune", "--all", "--json", env={"MEMORY_GUARDIAN_STATE_MAX_SIZE": "1B"}))
    assert [entry["why"] for entry in done["removed"]] == ["age"]
    assert store.list(project) == (paths[2],) and other.exists()
    assert json.loads((paths[2].parent / NAME).read_bytes())["states"].keys() == {paths[2].name}


def test_every_limit_is_the_configured_one(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """Each by itself removes what is beyond it, and 0 is no limit."""
    paths = [saved(store, project, age=days * DAY) for days in (5.5, 3.5, 1.5, 0.0)]
    size = sum(path.stat().st_size for path in paths[2:])
    none = {"MAX_AGE_DAYS": "0", "MAX_STATES": "0", "MAX_SIZE": "0B"}
    for name, value, gone in (("MAX_AGE_DAYS", "5", 1), ("MAX_STATES", "1", 3), ("MAX_SIZE", f"{size + 9}B", 2), ("MAX_SIZE", "0B", 0)):
        env = {f"MEMORY_GUARDIAN_STATE_{key}": said for key, said in {**none, name: value}.items()}
        code, out, _ = ask("prune", "--dry-run", "--json", env=env)
        assert (code, len(json.loads(out)["removed"])) == (0, gone), name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "ACTION"),
        (["lst"], "invalid choice: 'lst'"),
        (["list", "--jsn"], "--jsn: unknown option"),
        (["list", "x"], "unexpected 'x'"),
        (["show", "latest"], "no state of this project can be used"),
        (["show", "20260102"], "no state is called '20260102'"),
        (["show", "../../etc/passwd"], "no state is called"),
        (["show", "2026\x1b[31m"], "no state is called"),
        (["show", "a"], "no state is called 'a'"),
        (["diff"], "BEFORE"),
        (["diff", "nothing"], "BEFORE: no state is called"),
        (["export", "--force"], "--force: is for --output"),
        (["restore", "--force"], "--force: is for --transcript"),
        (["restore", "--shell", "--json"], "--shell: only says"),
        (["prune", "--max-age-days", "x"], "--max-age-days: expected days >= 0"),
        (["prune", "--max-states", "-1"], "--max-states: expected an integer >= 0"),
        (["prune", "--max-size", "5%"], "--max-size"),
        (["prune", "--agent", "x"], "--agent"),
        (["list", "--config", "no.toml"], "no.toml"),
        (["list", "--state-dir", "file"], "is no directory"),
        (["list", "--", "x"], "states takes no command"),
    ],
)
def test_wrong_input_is_told_with_its_place(project: Path, ask: Callable[..., Asked], words: list[str], said: str) -> None:
    """Exit code 2, one clear message, nothing created."""
    (project / "file").write_bytes(b"")
    code, out, err = ask(*words)
    assert (code, out) == (2, "")
    assert said in err and "\x1b" not in err
    assert os.listdir(project) == ["file"] and os.listdir(project.parent) == ["project"]


def test_several_states_of_a_name_are_no_choice(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """A part that several ids have says so."""
    for age in (1.0, 2.0):
        saved(store, project, age=age, now=2e9)
    code, _, err = ask("show", "2033")
    assert (code, "2 states are called '2033'" in err) == (2, True)


def test_what_cannot_be_used_is_no_fault_of_usage(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """A damaged state, or one whose key is missing, ends with 1 and the file; ``latest`` goes to one that can be used."""
    good, bad = saved(store, project, age=10.0), saved(store, project)
    bad.write_bytes(bad.read_bytes()[:40])
    code, _, err = ask("show", bad.name.partition(".json")[0])
    assert code == 1 and str(bad) in err and "damaged" in err
    assert told(ask("show", "--json"))["metadata"]["state_id"] == good.name.partition(".json")[0]
    code, _, err = ask("list", env={"MEMORY_GUARDIAN_ENCRYPTION_KEY": "env:NO_SUCH_KEY"})
    assert code == 1 and "NO_SUCH_KEY" in err


def test_the_installed_program_has_it(store: StateStore, project: Path) -> None:
    """Through the launcher itself, which explains the actions."""
    done = run_supervisor("states", "--help")
    assert done.returncode == 0
    assert all(action in done.stdout for action in ("list", "show", "diff", "export", "restore", "prune"))
    saved(store, project)
    done = run_supervisor("states", "list", "--state-dir", store.state_dir, cwd=project)
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (0, 2, "")


def test_a_new_key_encrypts_what_was_kept_before(project: Path, store: StateStore, ask: Callable[..., Asked], tmp_path: Path) -> None:
    """The first key and each later one: states and journals that were plain or closed by an older key open without that one afterwards."""
    place = tmp_path / "key"
    env = {"MEMORY_GUARDIAN_ENCRYPTION_KEY": f"file:{place}"}
    transcript = tmp_path / "transcript.jsonl"
    transcript.write_bytes(b'{"type": "user"}\n' * 100)
    key = project_key(project)
    (store.state_dir / key).mkdir(parents=True, mode=0o700)
    mark = attrs.asdict(journal_of(store, key, SESSION).append(transcript))
    path = saved(store, project, reason="to keep", journal=mark)

    assert ask("rekey", env=env)[0] == 1 and not place.exists()
    data = told(ask("rekey", "--new-key", "--json", env=env))
    assert data == {"new_key": True, "states": 1, "segments": 1, "failed": []}
    assert stat.S_IMODE(place.stat().st_mode) == 0o600 and not path.exists()
    assert told(ask("rekey", "--json", env=env))["states"] == 0
    assert told(ask("rekey", "--new-key", "--json", env=env)) == data
    newest, oldest = place.read_text().split()
    place.write_text(newest)
    seal = seal_of(EncryptionConfig(f"file:{place}"))
    (kept,) = (sealed := StateStore(store.state_dir, seal)).files(key)
    assert sealed.load(kept).restart.reason == "to keep"
    with (tmp_path / "again").open("wb") as into:
        journal_of(sealed, key, SESSION).rebuild(Mark(**mark), into)
    assert (tmp_path / "again").read_bytes() == transcript.read_bytes()
    assert told(ask("show", "--json", env=env))["restart"]["reason"] == "to keep"

    place.write_text(oldest)
    code, out, err = ask("rekey", env=env)
    assert code == 1 and "encrypted again: 0 states, 0 segments" in out and "key" in err
    place.write_text(newest)
    assert told(ask("rekey", "--json", env=env))["failed"] == []


def test_keys_are_for_what_is_encrypted(project: Path, store: StateStore, ask: Callable[..., Asked]) -> None:
    """Without a configured key, with one in a variable, or for one agent there is nothing that could be done."""
    assert ask("rekey")[0] == 2
    code, _, err = ask("rekey", "--new-key", env={"MEMORY_GUARDIAN_ENCRYPTION_KEY": "env:STATE_KEY"})
    assert code == 1 and "put a new key before the old one" in err
    assert ask("rekey", "--agent", "claude", env={"MEMORY_GUARDIAN_ENCRYPTION_KEY": "env:STATE_KEY", "STATE_KEY": new_key()})[0] == 2
