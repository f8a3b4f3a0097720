"""States as a class: what it captures of the program that calls it, what it gives back, and what it refuses."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

import attrs
import pytest

from supervisor import InvalidField
from workers import (
    CommandConfig,
    EncryptionConfig,
    KeyUnavailable,
    MemoryGuardian,
    MemoryGuardianConfig,
    NoSuchState,
    RestoreRefused,
    StateManager,
    StateUnreadable,
    StateWriteFailed,
)
from workers.state import codec
from workers.state.files import project_key
from workers.state.journals import restore_transcript
from workers.state.keys import add_key
from workers.state.restore import transcript_roots
from workers.state.seal import seal_of
from workers.state.sessions import project_directories
from workers.state.store import LARGEST, StateStore

from ..support import eventually
from ..transcripts import answered, said
from .state_support import SESSION, captured, saved

pytestmark = pytest.mark.anyio
DAY = 86400.0
SECRET = "sk-" + "a1B2" * 8


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, a project in a home of its own, without a conversation."""
    place = tmp_path.resolve() / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(tmp_path.resolve()))
    monkeypatch.setenv("USERPROFILE", str(tmp_path.resolve()))
    for name in [name for name in os.environ if name.startswith("CLAUDE")]:
        monkeypatch.delenv(name)
    return place


def lines(*written: bytes) -> bytes:
    """Whole lines of a transcript."""
    return b"".join(line + b"\n" for line in written)


def transcript(project: Path, session: str = SESSION) -> Path:
    """Where a session of the project is written, in the home of the project's fixture."""
    path = project.parent / ".claude" / "projects" / project_directories(str(project))[0] / f"{session}.jsonl"
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    return path


async def test_it_captures_the_program_that_calls_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is returned is what was written: this very process and the project, without secrets; there is no conversation."""
    monkeypatch.setenv("CLAUDE_STYLE", "plain")
    monkeypatch.setenv("SOME_PASSWORD", SECRET)
    manager = StateManager(project.parent / "states")
    state = await manager.capture_state(f"before a try with password={SECRET}")
    assert (state.process.pid, state.process.cwd, state.project.working_directory) == (os.getpid(), str(project), str(project))
    assert state.process.environment["CLAUDE_STYLE"] == "plain" and state.conversation is None is state.journal
    assert state.restart.reason.startswith("before a try") and state.process.argv[0] == sys.orig_argv[0]
    assert await manager.load_state() == await manager.load_state(state.metadata.state_id[-8:])
    assert (await manager.load_state()).to_dict() == state.to_dict()
    (file,) = StateStore(manager.state_dir).list(project)
    assert SECRET not in codec.decompress(file.read_bytes(), LARGEST).decode() and file.stat().st_mode & 0o777 == 0o600


async def test_it_captures_the_conversation_of_the_directory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only one, or the one that the program runs within; of two others neither. It can be put back bit by bit."""
    manager, path = StateManager(project.parent / "states"), transcript(project)
    path.write_bytes(lines(said(f"Mend the parser. password={SECRET}"), answered("It is mended.")))
    first = await manager.capture_state()
    assert first.conversation is not None and first.conversation["session_id"] == SESSION and first.journal is not None
    assert SECRET not in str(first.to_dict())
    whole = path.read_bytes()
    with path.open("ab") as more:
        more.write(lines(said("And its tests.")))
    second = await manager.capture_state()
    assert second.conversation is not None and second.conversation["digest"]["last_prompt"] == "And its tests."
    shutil.rmtree(path.parent)
    state = await manager.load_state(first.metadata.state_id)
    restore_transcript(StateStore(manager.state_dir), project_key(project), state, transcript_roots(os.environ))
    assert path.read_bytes() == whole
    other = transcript(project, SESSION.replace("0b5e", "1c6f"))
    other.write_bytes(lines(said("Something else.")))
    assert (await manager.capture_state()).conversation is None
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", other.stem)
    third = (await manager.capture_state()).conversation
    assert third is not None and third["session_id"] == other.stem


async def test_a_conversation_that_cannot_be_journalled_costs_that_alone(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The state is written without the mark, and the log says why."""
    transcript(project).write_bytes(lines(said("Mend the parser.")))
    manager = StateManager(project.parent / "states")
    place = manager.state_dir / project_key(project)
    place.mkdir(parents=True, mode=0o700)
    (place / "journals").write_text("in the way")
    with caplog.at_level(logging.WARNING, "memory_guardian"):
        state = await manager.capture_state()
    assert state.conversation is not None and state.journal is None
    assert "journals" in caplog.text and await manager.load_state() is not None


async def test_restoring_applies_and_loading_does_not(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory and the agent's own variables are taken over, never over what is set; what is refused changes nothing."""
    manager, inner = StateManager(project.parent / "states"), project / "inner"
    inner.mkdir()
    store = StateStore(manager.state_dir)
    saved(store, project, cwd=inner, environment={"CLAUDE_STYLE": "plain", "CLAUDE_THEME": "dark", "PATH": "/nowhere"}, age=10.0)
    monkeypatch.setenv("CLAUDE_THEME", "light")
    monkeypatch.setenv("CLAUDE_STYLE", "")
    monkeypatch.delenv("CLAUDE_STYLE")
    before = dict(os.environ)
    await manager.load_state()
    assert os.getcwd() == str(project) and dict(os.environ) == before
    done = await manager.restore_state()
    assert os.getcwd() == str(inner) == done.working_directory
    assert dict(os.environ) == {**before, "CLAUDE_STYLE": "plain"}
    os.chdir(project)
    saved(store, project, cwd=project / "gone", environment={"CLAUDE_OTHER": "1"})
    with pytest.raises(RestoreRefused, match="not there any more"):
        await manager.restore_state()
    assert os.getcwd() == str(project) and "CLAUDE_OTHER" not in os.environ
    manager.state_dir.chmod(0o777)
    with pytest.raises(RestoreRefused, match="others can change"):
        await manager.restore_state()


async def test_old_states_go_and_the_last_good_one_stays(project: Path) -> None:
    """By age alone, of this project alone."""
    manager = StateManager(project.parent / "states")
    store = StateStore(manager.state_dir)
    old, older, new = (saved(store, project, age=days * DAY) for days in (8, 9, 6))
    other = saved(store, project.parent, age=20 * DAY)
    done = await manager.cleanup_old_states()
    assert {entry.path for entry, _ in done.removed} == {old, older} and not done.failed
    assert (await manager.cleanup_old_states(0.5)).removed == () and new.exists() and other.exists()
    for days in (0, -1, True, float("nan"), float("inf"), "7"):
        with pytest.raises(InvalidField, match="max_age_days"):
            await manager.cleanup_old_states(days)  # type: ignore[arg-type]


async def test_what_is_wrong_is_said_with_its_kind(project: Path) -> None:
    """No state, a damaged one, arguments of the wrong kind, a place that cannot be written, a key that is missing."""
    manager = StateManager(project.parent / "states")
    for name in (None, "latest", "../../etc"):
        with pytest.raises(NoSuchState):
            await manager.load_state(name)
    state = await manager.capture_state()
    (file,) = StateStore(manager.state_dir).list(project)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StateUnreadable, match="damaged"):
        await manager.load_state(state.metadata.state_id)
    with pytest.raises(InvalidField, match="reason"):
        await manager.capture_state(" ")
    for fields in ({"state_dir": 3}, {"state_dir": ""}, {"state_dir": b"x"}, {"encryption": "file:x"}):
        with pytest.raises(InvalidField, match=next(iter(fields))):
            StateManager(**fields)
    (project / "file").touch()
    with pytest.raises(StateWriteFailed, match="a part of the path is a file"):
        await StateManager(project / "file").capture_state()
    with pytest.raises(KeyUnavailable, match="not there"):
        await StateManager("states", encryption=EncryptionConfig(f"file:{project}/none")).capture_state()
    assert not (project / "states").exists()


async def test_a_guardian_keeps_its_states_there(project: Path) -> None:
    """In its place and with its encryption, and the manager reads them; one that would write them plain is refused."""
    key = EncryptionConfig(f"file:{project.parent}/key")
    add_key(key.key)
    manager = StateManager(project.parent / "kept", encryption=key)
    config = MemoryGuardianConfig(
        command=CommandConfig(argv=(sys.executable, "-c", "import time; time.sleep(60)")), state_dir=str(project.parent / "other")
    )
    async with MemoryGuardian(config, manager) as guardian:
        await guardian.start_monitoring()
        assert await guardian.initiate_restart("a test")
        await eventually(lambda: guardian.get_statistics()["state_file"])
        file = Path(guardian.get_statistics()["state_file"])
    assert file.is_relative_to(manager.state_dir) and file.name.endswith(".enc") and not (project.parent / "other").exists()
    state = await manager.load_state()
    assert state.restart.reason == "a test" and state == StateStore(manager.state_dir, seal_of(key)).load(file)
    for wrong in (object(), StateManager(project.parent / "plain")):
        with pytest.raises(InvalidField, match="state_manager"):
            MemoryGuardian(attrs.evolve(config, encryption=key), wrong)  # type: ignore[arg-type]


async def test_the_summary_of_what_was_captured(project: Path) -> None:
    """What was restored has the first context of a session that begins anew, in its budget; nothing where no conversation was captured."""
    manager = StateManager(project.parent / "states")
    saved(StateStore(manager.state_dir), project, age=10.0)
    assert (await manager.restore_state()).first_context() is None
    transcript(project).write_bytes(lines(said("Mend the parser."), answered("It is mended."), said("And its tests.")))
    await manager.capture_state()
    done = await manager.restore_state()
    whole, short = done.first_context(), done.first_context(300)
    assert whole is not None and "And its tests." in whole and "Mend the parser." in whole
    assert short is not None and len(short.encode()) <= 300 and captured(project).conversation is None
