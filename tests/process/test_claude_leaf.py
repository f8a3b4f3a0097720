"""Claude Code as a leaf, without it: how its lives get into a conversation, what its hooks say, and how a command is known."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workers.claude.continuation import GO_ON, Continuation, InUse
from workers.claude.equipment import locked
from workers.claude.hook_pipe import HookPipe, Told, heard
from workers.claude.on_disk import OnDisk, is_answered, on_disk
from workers.claude.recognition import recognised
from workers.claude.settings import BACKGROUND, PROMPTED, STARTED, STOPPED, USED, SettingsUnreadable, off_switch, with_hooks
from workers.event_conversation import How

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="named pipes and locks of POSIX")
ASKED = "aaaaaaaa-0000-4000-8000-000000000001"
OURS = "bbbbbbbb-0000-4000-8000-000000000002"
NEXT = "cccccccc-0000-4000-8000-000000000003"
PROMPT = {"type": "user", "message": {"role": "user", "content": "hello"}, "timestamp": "2026-01-02T03:04:05.000Z"}
ANSWER = {"type": "assistant", "message": {"role": "assistant", "content": [{"type": "text", "text": "hi"}]}}
NOTE = {"type": "queue-operation", "operation": "enqueue"}


class Stage:
    """A leaf's conversation in a directory, with the program's own directory beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.project = folder, folder / "project"
        self.project.mkdir()
        self.made: list[Continuation] = []

    def leaf(self, line: str = "", resume: str | None = None, ids: tuple[str, ...] = (OURS, NEXT)) -> Continuation:
        """A leaf of this command line, whose own ids are given one by one."""
        environ = {"CLAUDE_CONFIG_DIR": str(self.folder / "config"), "PATH": os.defpath}
        command = recognised(("claude", *line.split()), environ, str(self.project))
        assert command is not None
        fresh = iter(ids)
        made = Continuation(command, environ, str(self.project), self.lock, resume, lambda: next(fresh))
        self.made.append(made)
        return made

    def lock(self, session_id: str) -> Any:
        """As the guardian locks it."""
        return locked((self.folder / "locks",), session_id)

    def transcript(self, session_id: str, *records: dict[str, Any]) -> Path:
        """Write the transcript of a conversation."""
        name = "".join(char if char.isalnum() else "-" for char in str(self.project))
        path = self.folder / "config" / "projects" / name / f"{session_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    for made in stage.made:
        made.close()
        made.close()


def test_a_conversation_is_given_an_id_and_then_resumed(stage: Stage) -> None:
    """What the user gives stays as it is; the prompt is said once."""
    leaf = stage.leaf("--model opus fix")
    first = leaf.next()
    assert first.argv == ("claude", "--session-id", OURS, "--model", "opus", "fix") and first.how is How.NEW
    stage.transcript(OURS, PROMPT)
    second = leaf.next(("/s",))
    assert second.argv == ("claude", "--resume", OURS, "--settings", "/s", "--model", "opus") and second.how is How.RESUMED
    assert leaf.next().argv == ("claude", "--resume", OURS, "--model", "opus")


def test_what_nobody_has_said_is_not_resumed(stage: Stage) -> None:
    """Without a file the id is free, and the prompt still to be said; a file in which nobody talks has used it up."""
    leaf = stage.leaf("fix")
    leaf.next()
    assert leaf.next().argv == ("claude", "--session-id", OURS, "fix")
    stage.transcript(OURS, NOTE)
    life = leaf.next()
    assert life.argv == ("claude", "--session-id", NEXT, "fix") and life.is_anew and not life.is_told


@pytest.mark.parametrize("line", [f"--session-id {ASKED}", f"--resume={ASKED}", f"-r {ASKED}"])
def test_a_conversation_that_the_user_asks_for(stage: Stage, line: str) -> None:
    """Its first life is as the user says."""
    leaf = stage.leaf(f"{line} fix")
    assert leaf.next().argv == ("claude", *line.split(), "fix") and leaf.session_id == ASKED
    stage.transcript(ASKED, PROMPT)
    assert leaf.next().argv == ("claude", "--resume", ASKED)


def test_what_is_done_to_a_conversation_as_it_begins_is_done_once(stage: Stage) -> None:
    """Its first life goes back to a moment of it; a later one would lose what was said since. The same of a tree of the repository."""
    leaf = stage.leaf(f"--resume {ASKED} --resume-session-at {OURS} --reply-on-resume --worktree --prefill word --model opus")
    assert leaf.next().argv[1:] == tuple(leaf.command.arguments)
    stage.transcript(ASKED, PROMPT)
    assert leaf.next().argv == ("claude", "--resume", ASKED, "--model", "opus")
    leaf.learned(OURS)
    stage.transcript(OURS, PROMPT)
    leaf.close()
    held = stage.lock(OURS)
    assert leaf.next().argv == ("claude", "--resume", OURS, "--fork-session", "--worktree", "--model", "opus"), (
        "a copy has a tree of its own"
    )
    held.release()
    leaf.learned(NEXT)
    leaf.give_up(NEXT)
    assert leaf.next().argv[3:] == ("--worktree", "--prefill", "word", "--model", "opus"), "and so has a new one"


@pytest.mark.parametrize("line", ["--continue", "--resume", "-r name", f"--resume {ASKED} --fork-session", "--from-pr 7"])
def test_a_conversation_that_only_the_program_knows(stage: Stage, line: str) -> None:
    """It says which it is when it is up; until then, the words are the user's."""
    leaf = stage.leaf(line)
    assert (leaf.next().session_id, leaf.next().how) == (None, How.AS_GIVEN)
    stage.transcript(ASKED, PROMPT)
    assert leaf.learned(ASKED) and not leaf.learned(ASKED)
    assert leaf.next().argv == ("claude", "--resume", ASKED)


def test_a_run_that_starts_from_a_state(stage: Stage) -> None:
    """Its first life goes on with the captured conversation, whatever the command says; where that is gone, with a new one."""
    stage.transcript(ASKED, PROMPT)
    assert stage.leaf("--continue", resume=ASKED).next().argv == ("claude", "--resume", ASKED)
    assert stage.leaf("", resume=NEXT).next().argv == ("claude", "--session-id", NEXT)


def test_a_turn_that_was_cut(stage: Stage) -> None:
    """Who was started for one turn is told to go on with it, for it would not start without a prompt; others when that is configured."""
    for line, go_on, said in [
        ("-p fix", "", (GO_ON,)),
        ("-p fix", "go on", ("go on",)),
        ("fix", "", ()),
        ("fix", "-x", (" -x",)),
        ("-p --input-format stream-json", "go on", ()),
    ]:
        leaf = stage.leaf(line)
        leaf.next()
        stage.transcript(OURS, PROMPT)
        options = tuple(word for word in line.split() if word != "fix")
        life = leaf.next(("/s",), True, go_on)
        assert life.argv == ("claude", "--resume", OURS, "--settings", "/s", *said, *options)
        assert (life.is_anew, life.is_told) == (False, bool(said))
        leaf.close()
        stage.transcript(OURS, PROMPT).unlink()


def test_what_is_not_kept_cannot_be_resumed(stage: Stage) -> None:
    """Each life is the command as it is."""
    leaf = stage.leaf("-p --no-session-persistence fix")
    assert leaf.next().argv == leaf.next().argv == ("claude", "-p", "--no-session-persistence", "fix")


def test_two_are_never_in_one_conversation(stage: Stage) -> None:
    """Who asks for it is refused; who was in it, and finds somebody else in it, goes on with a copy."""
    stage.transcript(ASKED, PROMPT)
    first = stage.leaf(f"--resume {ASKED}")
    first.next()
    with pytest.raises(InUse, match="in use by another guardian"):
        stage.leaf(f"--resume {ASKED}").next()
    with pytest.raises(InUse, match="last conversation here"):
        stage.leaf("--continue").next()
    assert stage.leaf("--continue --fork-session").next().how is How.AS_GIVEN
    third = stage.leaf("--resume")
    third.next()
    third.learned(ASKED)
    life = third.next()
    assert life.argv == ("claude", "--resume", ASKED, "--fork-session") and (life.how, life.session_id) == (How.FORKED, None)
    first.learned(NEXT)  # as after /clear
    assert stage.leaf(f"--resume {ASKED}").next().how is How.AS_GIVEN


def test_a_lock_is_where_one_can_be(tmp_path: Path) -> None:
    """In the first directory that takes it; where none does nobody is kept out."""
    (tmp_path / "file").write_text("")
    nowhere, here = tmp_path / "file" / "locks", tmp_path / "locks"
    first = locked((None, nowhere, here, tmp_path / "never"), ASKED)
    assert first is not None and [path.name for path in here.iterdir()] == [f"{ASKED}.lock"]
    assert locked((here,), ASKED) is None and not (tmp_path / "never").exists()
    first.release()
    for _ in range(2):
        assert locked((nowhere, None), ASKED) is not None


def test_another_command_takes_effect_with_the_next_life(stage: Stage) -> None:
    """The conversation stays; what is no Claude Code is not followed."""
    leaf = stage.leaf("fix")
    leaf.next()
    stage.transcript(OURS, PROMPT)
    assert leaf.follows(("claude", "fix")) and leaf.follows(("claude", "--model", "opus")) and not leaf.follows(("vim", "claude"))
    assert leaf.next().argv == ("claude", "--resume", OURS, "--model", "opus")


def test_what_is_on_disk(stage: Stage) -> None:
    """A torn line is none; what cannot be read is used."""
    assert on_disk(None) is OnDisk.NOTHING
    path = stage.transcript(ASKED, NOTE, PROMPT)
    assert on_disk(path) is OnDisk.TALK
    path.write_text(json.dumps(NOTE) + "\n" + json.dumps(PROMPT))
    assert on_disk(path) is OnDisk.USED
    assert on_disk(stage.folder) is OnDisk.USED


def test_when_a_turn_is_answered(stage: Stage) -> None:
    """By an answer that calls no tool, or an interruption, when no prompt waits; not by one to an earlier turn, nor by a subagent's."""
    late, early = {"timestamp": "2026-01-02T03:04:06.000Z"}, {"timestamp": "2026-01-02T03:00:00.000Z"}
    tool = {
        "type": "assistant",
        "message": {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]},
    }
    stopped = {"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": "[Request interrupted by user]"}]}}
    since = 1767323045.0  # 03:04:05
    cases: list[tuple[list[dict[str, Any]], bool]] = [
        ([PROMPT], False),
        ([PROMPT, {**ANSWER, **late}], True),
        ([PROMPT, {**ANSWER, **late}, NOTE], True),
        ([{**ANSWER, **early}], False),
        ([PROMPT, {**tool, **late}], False),
        ([PROMPT, {**ANSWER, **late, "isSidechain": True}], False),
        ([PROMPT, {**stopped, **late}], True),
        ([PROMPT, {**NOTE, **late}, {**ANSWER, **late}], False),
        ([PROMPT, {**NOTE, **late}, {**ANSWER, **late}, {**NOTE, **late, "operation": "dequeue"}], True),
        ([PROMPT, {**NOTE, **late}, {**NOTE, **late}, {**ANSWER, **late}, {**NOTE, **late, "operation": "popAll"}], True),
        ([{**NOTE, **early}, PROMPT, {**ANSWER, **late}], True),
    ]
    for records, answered in cases:
        assert is_answered(stage.transcript(ASKED, *records), since) is answered, records
    assert not is_answered(None, since)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[HookPipe]:
    place = tmp_path / "it's private"
    place.mkdir()
    pipe = HookPipe(place)
    yield pipe
    pipe.close()
    pipe.close()


def fire(settings: dict[str, Any], event: str, **data: object) -> None:
    """Run the hooks of an event as the program does, for a tool those that match its name."""
    for group in matching(settings, event, str(data.get("tool_name", ""))):
        for hook in group["hooks"]:
            told = json.dumps(data, separators=(",", ":")) + "\n"
            done = subprocess.run(["sh", "-c", hook["command"]], input=told, capture_output=True, text=True, timeout=10)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def matching(settings: dict[str, Any], event: str, tool: str = "") -> list[dict[str, Any]]:
    """The groups of an event's hooks that a tool's name matches; by a word that is the name, or by an expression."""
    groups: list[dict[str, Any]] = settings["hooks"][event]
    return [group for group in groups if (matcher := group.get("matcher")) is None or re.fullmatch(matcher, tool)]


def test_hooks_say_what_happens(pipe: HookPipe) -> None:
    """One line each, with whose it is; they print nothing, for that would be added to what the model reads."""
    settings = with_hooks((), "/", str(pipe.path), "7 3")
    quoting = 'said "background_tasks":[{ '
    fire(settings, STARTED, session_id=ASKED, transcript_path="/t/x.jsonl", more="it's")
    fire(settings, PROMPTED, prompt="x" * 100_000)
    fire(settings, USED, tool_name="TodoWrite", tool_input={"command": "true"})
    fire(settings, STOPPED, last_assistant_message=quoting, background_tasks=[])
    # as the program writes it, without blanks
    tasks = json.dumps({"background_tasks": [{"id": "b"}]}, separators=(",", ":"))
    for group in settings["hooks"][STOPPED]:
        subprocess.run(["sh", "-c", group["hooks"][0]["command"]], input=tasks, text=True, check=True, timeout=10)

    assert [(told.event, told.number, told.generation) for told in pipe.take()] == [
        (event, 7, 3) for event in (STARTED, PROMPTED, USED, STOPPED, BACKGROUND)
    ]
    assert pipe.take() == []


@pytest.mark.parametrize(
    ("name", "said"),
    [("Bash", "Bash"), ("Read", "Read"), ("mcp__x__y", "mcp"), *((name, None) for name in ("TodoWrite", "BashOutput", "Mcp", "x mcp__"))],
)
def test_which_tool_is_called(pipe: HookPipe, name: str, said: str | None) -> None:
    """One hook for each call, and no more, whatever the tool's name; what it is told is not read for that."""
    settings = with_hooks((), "/", str(pipe.path), "1 1")
    assert len(matching(settings, USED, name)) == 1
    fire(settings, USED, tool_name=name, tool_input={"command": "x" * 100_000})
    assert pipe.take() == [Told(1, 1, USED, tool=said)]


@pytest.mark.parametrize(
    ("name", "said"),
    [("Bash", "Bash"), ("mcp__x__y", "mcp__x__y"), ("TodoWrite", "TodoWrite"), ("BashOutput", "BashOutput"), ("no name", None)],
)
def test_which_tool_is_called_by_its_name(pipe: HookPipe, name: str, said: str | None) -> None:
    """Where that is wanted the rarer ones are called by their names, too, whatever they are given; still one hook for each call."""
    settings = with_hooks((), "/", str(pipe.path), "1 1", tools=True)
    assert len(matching(settings, USED, name)) == 1
    fire(settings, USED, tool_name=name, tool_input={"command": 'echo "tool_name":"no"' + "x" * 100_000})
    assert pipe.take() == [Told(1, 1, USED, tool=said)]


def test_where_a_conversation_is(pipe: HookPipe) -> None:
    """The beginning of the program says which it is and where it is written."""
    fire(with_hooks((), "/", str(pipe.path), "1 1"), STARTED, session_id=ASKED, transcript_path="/t/x.jsonl")
    assert pipe.take() == [Told(1, 1, STARTED, ASKED, "/t/x.jsonl")]


def test_whoever_waits_for_a_hook_can_be_woken(pipe: HookPipe) -> None:
    """Nobody has said anything then; a pipe that is full wakes by itself."""
    pipe.stir()
    assert select.select([pipe.fd], [], [], 0)[0] and pipe.take() == []
    for _ in range(100_000):
        pipe.stir()
    pipe.close()
    pipe.stir()


def test_hooks_do_no_harm_when_nobody_listens(pipe: HookPipe) -> None:
    """The guardian is gone, or its directory is: they say it to nobody, and the agent goes on."""
    settings = with_hooks((), "/", str(pipe.path), "1 1")
    pipe.close()
    fire(settings, PROMPTED)
    pipe.path.unlink()
    pipe.path.parent.rmdir()
    fire(settings, STOPPED)


@pytest.mark.parametrize(
    "line", [b"", b"x", b"1 2", b"1 x Stop", b"1 1 St-op", b"1 1 SessionStart", b"1 1 SessionStart {", b"9" * 50 + b" 1 Stop"]
)
def test_what_no_hook_of_ours_says(line: bytes) -> None:
    """Whatever else can write there, such as a tool of the agent's, is not believed."""
    assert heard(line) is None


def answered(settings: dict[str, Any], event: str, number: int, build: str = "native") -> subprocess.CompletedProcess[str]:
    """What a hook of ours answers to a build."""
    command = settings["hooks"][event][number]["hooks"][0]["command"]
    environ = {**os.environ, "CLAUDE_PID": "1" if build == "native" else ""}
    return subprocess.run(["sh", "-c", command], input="{}", capture_output=True, text=True, timeout=10, env=environ)


def refusal(settings: dict[str, Any], event: str, number: int) -> str:
    """Why a hook of ours refuses, which it says to each build."""
    newest, old = (answered(settings, event, number, build) for build in ("native", "node"))
    assert newest.returncode == 2
    assert (newest.returncode, newest.stdout, newest.stderr) == (old.returncode, old.stdout, old.stderr)
    said = json.loads(newest.stdout)
    if event == USED:
        assert said["hookSpecificOutput"]["hookEventName"] == USED and said["hookSpecificOutput"]["permissionDecision"] == "deny"
        why = said["hookSpecificOutput"]["permissionDecisionReason"]
    else:
        assert said["decision"] == "block"
        why = said["reason"]
    assert newest.stderr == f"{why}\n"
    return str(why)


@pytest.mark.parametrize(
    ("mode", "tool", "prompt"),
    [
        ("normal\n", "", ""),
        ("warning\n", "", "spared"),
        ("read_only\n", "deny", "spared"),
        ("emergency\n", "deny", None),
        ("else\n", None, ""),
        ("", None, ""),
        (None, None, ""),
    ],
)
def test_modes_are_enforced(pipe: HookPipe, tmp_path: Path, mode: str | None, tool: str | None, prompt: str | None) -> None:
    """By hooks that read the mode each time; on any doubt no tool changes anything, and in no doubt a prompt is refused."""
    file = tmp_path / "it's the mode"
    if mode is not None:
        file.write_text(mode)
    settings = with_hooks((), "/", str(pipe.path), "1 1", str(file))

    guard = settings["hooks"][USED][-1]
    # as the program looks: anywhere in the name
    assert all(re.search(guard["matcher"], tool) for tool in ("Bash", "NotebookEdit", "Monitor", "mcp__x__y", "Skill", "CronCreate"))
    assert not any(re.search(guard["matcher"], tool) for tool in ("Read", "TodoWrite", "BashOutput", "Agent", "CronList"))
    used = answered(settings, USED, -1)
    if tool is None:
        assert "cannot be read" in refusal(settings, USED, -1)
    elif tool:
        assert refusal(settings, USED, -1).startswith("memory-guardian: this session is read-only for now: no tool")
    else:
        assert (used.returncode, used.stdout, used.stderr) == (0, "", "")
    asked = answered(settings, PROMPTED, 0)
    told = [said.event for said in pipe.take()]
    if prompt is None:
        assert told == [] and "no new prompts" in refusal(settings, PROMPTED, 0)
    else:
        assert (asked.returncode, asked.stderr, told) == (0, "", [PROMPTED])
        assert prompt in asked.stdout and bool(asked.stdout) is bool(prompt)


@pytest.mark.parametrize(
    ("why", "told"),
    [
        (b"a restart was refused: 3 of 3 used", " (a restart was refused: 3 of 3 used)"),
        ("Gr\u00f6\u00dfe $(touch x) `touch x` %s 'x' \u2014".encode(), " (Gr\u00f6\u00dfe $(touch x) `touch x` %s 'x' \u2014)"),
        (b'say "it"', ""),
        (b"a\\b", ""),
        (b"a\tb", ""),
        (b"a\x01b", ""),
        (b"", ""),
        (b"x" * 5000, f" ({'x' * 5000})"),
    ],
)
def test_a_refusal_says_why(why: bytes, told: str, tmp_path: Path) -> None:
    """In the words of whoever asked for the mode; what would be no JSON is left out, for the tool would run."""
    file = tmp_path / "mode"
    (tmp_path / "mode.why").write_bytes(why + b"\n")
    settings = with_hooks((), "/", "/pipe", "1 1", str(file))
    file.write_text("read_only\n")
    assert refusal(settings, USED, -1).startswith(f"memory-guardian: this session is read-only for now{told}: no tool may")
    assert f"spared for now{told}, and may" in answered(settings, PROMPTED, 0).stdout
    file.write_text("emergency\n")
    assert f"no new prompts for now{told}. Nothing" in refusal(settings, PROMPTED, 0)
    assert not Path("x").exists()


def test_a_refusal_that_cannot_be_said_is_one(tmp_path: Path) -> None:
    """Its output goes nowhere: the tool does not run, and the prompt is not taken, by the exit code."""
    (tmp_path / "mode").write_text("emergency\n")
    settings = with_hooks((), "/", "/pipe", "1 1", str(tmp_path / "mode"))
    for event, number in ((USED, -1), (PROMPTED, 0)):
        command = settings["hooks"][event][number]["hooks"][0]["command"]
        for pid in ("1", ""):
            environ, nothing = {**os.environ, "CLAUDE_PID": pid}, subprocess.DEVNULL
            with open("/dev/full", "w") as full:
                done = subprocess.run(["sh", "-c", command], stdin=nothing, stdout=full, stderr=full, timeout=10, env=environ, check=False)
            assert done.returncode == 2


def test_hooks_that_are_turned_off_are_seen(stage: Stage) -> None:
    """In what the user gives, and in the files that the program reads by itself; what is no settings file is the program's affair."""
    with pytest.raises(SettingsUnreadable, match="disableAllHooks"):
        with_hooks(('{"disableAllHooks": true}',), "/", "/pipe", "1 1")
    files = stage.leaf().settings_files()
    assert off_switch(files) is None
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"disableAllHooks": true}')
        assert off_switch(files) == f"{file} says disableAllHooks"
        file.write_text('{"disableAllHooks": ')
    assert off_switch(files) is None


def test_what_is_told_once_is_told_with_the_first_prompt(pipe: HookPipe, tmp_path: Path) -> None:
    """And with no other; a file that is gone is no failure."""
    told = tmp_path / "it's told"
    told.write_text("once")
    settings = with_hooks((), "/", str(pipe.path), "1 1", None, str(told))

    def prompted() -> str:
        done = [
            subprocess.run(["sh", "-c", hook["command"]], input="{}", capture_output=True, text=True, check=True, timeout=10)
            for group in settings["hooks"][PROMPTED]
            for hook in group["hooks"]
        ]
        assert not any(one.stderr for one in done)
        return "".join(one.stdout for one in done)

    assert (prompted(), prompted()) == ("once", "")


def test_the_users_settings_stay_in_force(tmp_path: Path) -> None:
    """Ours are added to them, whether they are a file or a text."""
    theirs = {"model": "opus", "hooks": {STOPPED: [{"hooks": [{"type": "command", "command": "mine"}]}], "Other": []}}
    (tmp_path / "own.json").write_text(json.dumps(theirs))
    for given in ("own.json", json.dumps(theirs)):
        merged = with_hooks((given,), str(tmp_path), "/pipe", "1 1")
        assert merged["model"] == "opus" and merged["hooks"]["Other"] == []
        assert [group["hooks"][0]["command"] == "mine" for group in merged["hooks"][STOPPED]] == [True, False]
    for wrong in ("missing.json", "{", "[]", '{"hooks": 1}', '{"hooks": {"Stop": 1}}'):
        with pytest.raises(SettingsUnreadable):
            with_hooks((wrong,), str(tmp_path), "/pipe", "1 1")


def test_how_a_command_is_known(tmp_path: Path) -> None:
    """By its name, or by its package, under an interpreter, a package runner, or a link; whatever else has the word in it is another."""
    package = tmp_path / "node_modules" / "@anthropic-ai" / "claude-code"
    package.mkdir(parents=True)
    (package / "cli.js").touch()
    (package / "cli.js").chmod(0o755)
    (tmp_path / "ai-claude").symlink_to(package / "cli.js")
    environ = {"PATH": str(tmp_path)}

    def program(*argv: str) -> tuple[str, ...] | None:
        found = recognised(argv, environ, str(tmp_path))
        return None if found is None else found.program

    script = "node_modules/@anthropic-ai/claude-code/cli.js"
    assert program("claude", "-p") == ("claude",) and program("/opt/bin/claude") == ("/opt/bin/claude",)
    assert program("node", "--max-old-space-size=400", "-r", "x", script, "hi") == ("node", "--max-old-space-size=400", "-r", "x", script)
    assert program(script) == (script,) and program("ai-claude", "x") == ("ai-claude",)
    assert program("npx", "-y", "@anthropic-ai/claude-code@2.0.77", "-p") == ("npx", "-y", "@anthropic-ai/claude-code@2.0.77")
    for option in (
        ("-p", "@anthropic-ai/claude-code"),
        ("-y", "--package", "@anthropic-ai/claude-code"),
        ("--package=@anthropic-ai/claude-code@2",),
    ):
        assert program("npx", *option, "claude", "-p", "hi") == ("npx", *option, "claude")
        assert program("npx", *option) is None and program("npx", *option, "other", "claude") is None
    for other in (("claude", "mcp", "list"), ("node", "claude.js"), ("vim", "claude"), ("claude-trace",), ("npx", "claude"), ("node",)):
        assert program(*other) is None, other
