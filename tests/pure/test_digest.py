"""The digest of a conversation: what it keeps, that it is bounded, and that pieces come to the same as the whole."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.state.digest import LARGEST, Digest, Failure, FileUse, OpenCall, Task, Tokens
from workers.state.folding import COMMANDS, DECIDED, FAILURES, FILES, LAST_TURNS, OPEN, OTHER_TOOLS, TASKS, TOOLS, TURNS
from workers.state.model import StateInvalid, canonical
from workers.state.record import LONGEST, Kind, parsed

from ..transcripts import answered, called, conversation, lines, returned, said


def fold(*written: bytes) -> Digest:
    return Digest().fold(written)


@settings(max_examples=50)
@given(lines, lines)
def test_pieces_come_to_the_same_as_the_whole(before: list[bytes], after: list[bytes]) -> None:
    """Whatever the lines hold, and with the digest as JSON between the pieces: fold(a + b) is fold(fold(a), b)."""
    kept = json.loads(canonical(fold(*before).to_dict()))
    assert Digest.from_dict(kept).fold(after) == fold(*before, *after)


@settings(max_examples=10)
@given(st.integers(0, 40), st.integers(0, 150), st.integers(0, 150))
def test_pieces_of_a_long_conversation(seed: int, first: int, second: int) -> None:
    """The same for a conversation that runs into every bound."""
    written = conversation(seed, 400)
    cuts = sorted([first, first + second])
    digest = Digest()
    for begin, end in zip([0, *cuts], [*cuts, len(written)], strict=True):
        digest = Digest.from_dict(json.loads(canonical(digest.fold(written[begin:end]).to_dict())))
    assert digest == Digest().fold(written)


@settings(max_examples=50)
@given(lines)
def test_nothing_in_a_line_is_an_error(written: list[bytes]) -> None:
    """Every line is counted, and the digest can be written and shown, whatever was in it."""
    digest = fold(*written)
    assert digest.lines.total == len(written)
    canonical(digest.to_dict())
    json.dumps(digest.to_dict(), ensure_ascii=False).encode()


def test_turns() -> None:
    """A turn is what a person asked with what was said last; the first, the last and the longest turns stay."""
    asked = [f"question {number}" + " more" * (number % 7) for number in range(1, 101)]
    digest = fold(*(line for text in asked for line in (said(text), answered("looking"), answered(f"to {text}"))))
    numbers = [turn.number for turn in digest.asked]
    assert digest.turns == 100
    assert len(numbers) == TURNS
    assert numbers[:3] == [1, 2, 3]
    assert numbers[-LAST_TURNS:] == list(range(101 - LAST_TURNS, 101))
    assert numbers == sorted(numbers)
    assert all(turn.asked.count("more") >= 5 for turn in digest.asked[3:-LAST_TURNS])
    assert all((turn.asked, turn.answered) == (asked[turn.number - 1], f"to {asked[turn.number - 1]}") for turn in digest.asked)
    assert (digest.first_prompt, digest.last_prompt) == (asked[0], asked[-1])


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("<system-reminder>be quick</system-reminder>\nWhat now?", "What now?"),
        ("<command-name>/review</command-name>\n<command-args>12</command-args>", "/review 12"),
        ("<command-message>compact</command-message><command-name>/compact</command-name><command-args></command-args>", "/compact"),
        ("<bash-input>git log</bash-input>", "! git log"),
        ("<local-command-stdout>Compacted</local-command-stdout>", None),
        ("<bash-stdout>text</bash-stdout><bash-stderr></bash-stderr>", None),
        ("<task-notification>done</task-notification>", None),
        ("<system-reminder>be quick</system-reminder>", None),
        ("[Request interrupted by user for tool use]", None),
        ("", None),
    ],
)
def test_what_a_person_asked(text: str, asked: str | None) -> None:
    """What the program writes in a person's name is no question; commands are, as they were typed."""
    digest = fold(said(text))
    assert [turn.asked for turn in digest.asked] == ([] if asked is None else [asked])


def test_questions_that_are_no_text() -> None:
    """A picture alone is a question; what the program adds for itself (`isMeta`) is none; an interruption is counted."""
    picture: Any = [{"type": "image", "source": {"type": "base64", "data": "AAAA"}}]
    digest = fold(said(picture), said("Caveat", isMeta=True), said("[Request interrupted by user]"))
    assert (digest.turns, digest.last_prompt, digest.interruptions) == (1, "(an attachment)", 1)


def test_who_and_where() -> None:
    """Session, directory, version, branch, model and times are those of the last record that tells them."""
    digest = fold(
        said("a", timestamp="2026-01-01T00:00:00Z", gitBranch="old"),
        answered("b", timestamp="2026-01-01T00:00:05Z", cwd="/srv/b", sessionId=None),
    )
    assert (digest.first_time, digest.last_time) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z")
    assert (digest.cwd, digest.branch, digest.version, digest.model) == ("/srv/b", "main", "2.1.330", "claude-x")
    assert digest.session_id is not None


def test_files_count_when_the_tool_succeeded() -> None:
    """A file was read or changed when the call has come back without an error; the one used last stands last."""
    digest = fold(
        said("go"),
        called("t1", "Read", {"file_path": "/a"}),
        returned("t1"),
        called("t2", "Edit", {"file_path": "/b"}),
        returned("t2"),
        called("t3", "Write", {"file_path": "/a"}),
        returned("t3"),
        called("t4", "Edit", {"file_path": "/c"}),
        returned("t4", "String to replace not found", is_error=True),
        called("t5", "NotebookEdit", {"notebook_path": "/d"}),
    )
    assert digest.files == (FileUse("/b", 0, 1, 1), FileUse("/a", 1, 1, 1))
    assert dict(digest.tools) == {"Read": 1, "Edit": 2, "Write": 1, "NotebookEdit": 1}


def test_files_that_were_only_read_go_first() -> None:
    """Beyond the bound the files that were changed stay, and what is left out is counted."""
    written = [said("go"), called("w", "Write", {"file_path": "/changed"}), returned("w")]
    for number in range(FILES + 5):
        written += [called(f"r{number}", "Read", {"file_path": f"/read/{number}"}), returned(f"r{number}")]
    digest = fold(*written)
    assert len(digest.files) == FILES
    assert digest.files_left_out == 6
    assert digest.files[0].path == "/changed"
    assert digest.files[-1].path == f"/read/{FILES + 4}"


def test_open_calls() -> None:
    """A call without a result is open, until the next question: no request is made with a call that is unanswered."""
    run = called("t1", "Bash", {"command": "make", "description": "Build it"})
    assert fold(said("go"), run).open_calls == (OpenCall("t1", "Bash", "Build it"),)
    assert fold(said("go"), run, returned("t1")).open_calls == ()
    assert fold(said("go"), run, said("and now?")).open_calls == ()
    many = [called(f"t{number}", "Bash", {"command": "make"}) for number in range(OPEN + 9)]
    assert [call.id for call in fold(*many).open_calls] == [f"t{number}" for number in range(9, OPEN + 9)]


def test_failures() -> None:
    """What failed last is kept with what it was about; the same again is counted; a request that failed is a failure too."""
    written = [called("t1", "Bash", {"command": "make"}), returned("t1", "Exit code 2\nno rule", is_error=True)]
    digest = fold(said("go"), *written, *written, answered("API Error: 529 overloaded", isApiErrorMessage=True))
    assert digest.failures == (
        Failure(1, "Bash", "make", "Exit code 2 no rule", 2),
        Failure(1, "request", "", "API Error: 529 overloaded"),
    )
    assert digest.failed == 3
    assert digest.asked[0].answered == ""
    many = [line for number in range(99) for line in (called("t", "Bash", {}), returned("t", f"broke {number}", is_error=True))]
    assert [failure.text for failure in fold(*many).failures] == [f"broke {number}" for number in range(99 - FAILURES, 99)]


@pytest.mark.parametrize(
    ("command", "commit"),
    [
        ('git add -A && git commit -m "Mend the pump"', "Mend the pump"),
        ("git -C sub commit -q -am 'Mend it\n\nBecause.'", "Mend it"),
        ("git commit -m \"$(cat <<'EOF'\nMend the leak\n\nWhy.\nEOF\n)\"", "Mend the leak"),
        ('git commit --message="One word"', "One word"),
        ("git log --grep=commit -m", ""),
        ("echo git; commit -m x", ""),
        ("git commit --amend --no-edit", ""),
    ],
)
def test_commits(command: str, commit: str) -> None:
    """The first line of a commit's message is kept when the command has succeeded."""
    call = called("t1", "Bash", {"command": command})
    assert fold(call, returned("t1")).commits == ((commit,) if commit else ())
    assert fold(call, returned("t1", "nothing to commit", is_error=True)).commits == ()


def test_commands() -> None:
    """The commands that were run last are kept."""
    digest = fold(*(called(f"t{number}", "Bash", {"command": f"step {number}"}) for number in range(30)))
    assert digest.commands == tuple(f"step {number}" for number in range(30 - COMMANDS, 30))


def test_lists_of_tasks() -> None:
    """A list that is written as a whole replaces the one before; tasks that are made one by one are changed one by one."""
    todos = [{"content": "One", "status": "completed"}, {"content": "Two", "status": "in_progress"}, {"content": 5}, "x"]
    assert fold(called("t1", "TodoWrite", {"todos": todos})).tasks == (Task("1", "One", "completed"), Task("2", "Two", "in_progress"))
    assert fold(called("t1", "TodoWrite", {"todos": todos}), called("t2", "TodoWrite", {"todos": todos[:1]})).tasks == (
        Task("1", "One", "completed"),
    )
    made = [
        called("t1", "TaskCreate", {"subject": "One", "description": "At length"}),
        returned("t1", "made", toolUseResult={"task": {"id": "7", "subject": "One"}}),
        called("t2", "TaskCreate", {"subject": "Two"}),
        returned("t2", "Task #8 created successfully: Two"),
        called("t3", "TaskCreate", {"subject": "Three"}),
        returned("t3", "no", is_error=True),
    ]
    assert [(task.id, task.status) for task in fold(*made).tasks] == [("7", "pending"), ("8", "pending")]
    changed = fold(*made, called("t4", "TaskUpdate", {"taskId": "8", "status": "completed"}))
    assert changed.tasks[1] == Task("8", "Two", "completed")
    assert [task.id for task in changed.fold([called("t5", "TaskUpdate", {"taskId": "8", "status": "deleted"})]).tasks] == ["7"]
    assert fold(called("t4", "TaskUpdate", {"taskId": "9", "status": "completed"})).tasks == ()


def test_decisions_and_what_is_open() -> None:
    """Sentences that decide, demand or leave something open are kept with their turn, once; code is not read for them."""
    digest = fold(
        said("Never touch the migrations. The rest is up to you."),
        answered("Fine so far.\n\n```\n# TODO: we decided to never run this\n```\nThe root cause is a stale lock. It remains to test it."),
        said("Go on with the next one."),
        answered("The root cause is a stale lock. Shall I remove the old file?"),
    )
    assert [(remark.turn, remark.text) for remark in digest.decided] == [
        (1, "Never touch the migrations."),
        (2, "The root cause is a stale lock."),
    ]
    assert [(remark.turn, remark.text) for remark in digest.loose] == [
        (1, "It remains to test it."),
        (2, "Shall I remove the old file?"),
    ]


def test_weak_decisions_go_first() -> None:
    """Beyond the bound the surest decisions stay, of those the latest."""
    weak = [answered(f"We take number {number} rather than the other one.") for number in range(DECIDED)]
    strong = [answered(f"We decided to take number {number}.") for number in range(DECIDED - 1)]
    digest = fold(said("go"), *strong, *weak)
    assert len(digest.decided) == DECIDED
    assert sum("decided" in remark.text for remark in digest.decided) == DECIDED - 1
    assert digest.decided[-1].text.startswith(f"We take number {DECIDED - 1} ")


def test_the_last_plan() -> None:
    """The plan that was presented last is kept."""
    digest = fold(called("t1", "ExitPlanMode", {"plan": "# One"}), called("t2", "ExitPlanMode", {"plan": "# Two\n\n- step"}))
    assert digest.plan == "# Two\n- step"


def test_tokens_of_one_answer_count_once() -> None:
    """Several records of one answer tell its tokens so far: the last one counts; the context is what the last request came to."""

    def part(id: str, output: int, cached: int = 100) -> bytes:
        data = json.loads(answered("x"))
        data["message"] |= {"id": id, "usage": {"input_tokens": 2, "output_tokens": output, "cache_read_input_tokens": cached}}
        return json.dumps(data).encode()

    digest = fold(said("go"), part("m1", 1), part("m1", 8), part("m2", 5, 200), part("m2", 6, 200))
    assert digest.answers == 2
    assert digest.tokens == Tokens(2, 8, 100, 0, context=208)
    # the answer that is under way is added when the next one comes
    assert digest.fold([part("m3", 1, 300)]).tokens == Tokens(4, 14, 300, 0, context=303)


def test_compaction() -> None:
    """What the program says of a conversation that it has shortened is kept, and is no question; each compaction counts once."""
    boundary = json.dumps({"type": "system", "subtype": "compact_boundary", "uuid": "x"}).encode()
    digest = fold(
        said("go"), boundary, said("This session is being continued.", isCompactSummary=True), said("Old.", isCompactSummary=True)
    )
    assert (digest.turns, digest.compactions, digest.background) == (1, 2, "Old.")


def test_subagents() -> None:
    """What a subagent is told and says is no part of the conversation; what it did to files is."""
    side = {"isSidechain": True}
    digest = fold(
        said("go"),
        said("Find it. Never stop.", **side),
        answered("We decided to stop.", **side),
        called("s1", "Edit", {"file_path": "/a"}, **side),
        returned("s1", isSidechain=True),
        called("s2", "Bash", {}, **side),
        returned("s2", "broke", is_error=True, isSidechain=True),
    )
    assert (digest.turns, digest.answers, digest.decided, digest.failures) == (1, 0, (), ())
    assert digest.files == (FileUse("/a", 0, 1, 1),)
    assert digest.lines.side == 6


def test_what_the_program_puts_for_an_answer_is_none() -> None:
    """An answer that no model gave counts for nothing."""
    line = json.loads(answered("No response requested."))
    line["message"]["model"] = "<synthetic>"
    assert fold(json.dumps(line).encode()).answers == 0


def test_lines_that_are_not_understood_are_counted() -> None:
    """Records of unknown types, damaged lines and huge ones are counted each; a torn line with a whole one behind it is the whole one."""
    good = said("hello")
    digest = fold(b'{"type":"attachment","x":1}', b"\xff\xfe", good[:50], b'{"type":"user"' + b"[" * 100_000, good[:80] + good)
    assert (digest.lines.total, digest.lines.opaque, digest.lines.damaged, digest.turns) == (5, 2, 2, 1)
    assert fold(said("caf\u00e9").replace("\u00e9".encode(), b"\xe9")).last_prompt == "caf\ufffd"


def test_huge_lines() -> None:
    """A line beyond the bound is not parsed, nor one of too many pieces; that it is the result of a call is still seen."""
    call, result = called("t1", "Read", {"file_path": "/a.png"}), returned("t1", "x" * LONGEST)
    digest = fold(call, result)
    assert (digest.lines.oversized, digest.open_calls, digest.files) == (1, (), (FileUse("/a.png", 1, 0, 0),))
    # only the beginning of a huge line is ever there
    assert fold(call, result[: LONGEST + 1]) == digest
    assert parsed(b'{"type":"user","message":[' + b"[]," * 100_000 + b"0]}").kind is Kind.OVERSIZED
    assert parsed(said("x, [" * 10_000)).kind is Kind.PROMPT


def test_deep_nesting_is_damage() -> None:
    """However deep a line is nested, it neither raises nor ends the process."""
    for depth, kinds in ((500, set(Kind)), (2_000, set(Kind)), (15_000, {Kind.DAMAGED}), (100_000, {Kind.DAMAGED, Kind.OVERSIZED})):
        assert parsed(b'{"type":"user","message":' + b'{"a":[' * depth + b"]}" * depth + b"}").kind in kinds


def test_it_is_bounded() -> None:
    """Whatever is said and done, and however often, the digest keeps to its bytes."""
    long = "\u65e5\u672c \U0001f600 " * 500
    written: list[bytes] = []
    for number in range(205):
        id = f"{number:0200d}"
        given = dict.fromkeys(("file_path", "command", "description", "plan", "subject"), f"{number}{long}")
        written += [
            said(f"{number} never {long}. Never {number} {long[:300]}.", cwd=long, gitBranch=long),
            answered(f"We decided to {number} {long[:300]}. Not yet {number} {long[:300]}."),
            *(
                called(f"{id}{name[:4]}", name, {**given, "file_path": f"/{number}/" + "\u65e5" * 90})
                for name in ("Edit", "Bash", f"Tool {number} {long[:80]}")
            ),
            returned(f"{id}Edit", long),
            called(f"{id}f", "Bash", {"command": f"git commit -m '{long[:400]}'"}),
            returned(f"{id}f", f"{number} {long}", is_error=True),
            called(f"{id}t", "TaskCreate", {"subject": f"{number} {long}"}),
            returned(f"{id}t", long, toolUseResult={"task": {"id": str(number)}}),
            said(long, isCompactSummary=True),
        ]
    written += [called(f"open {number} " + "\u65e5" * 200, "Bash", {"command": long, "file_path": "/x" * 100}) for number in range(100)]
    digest = fold(*written)
    assert len(digest.tools) == TOOLS + 1
    assert OTHER_TOOLS in dict(digest.tools)
    assert (len(digest.tasks), len(digest.files), len(digest.open_calls), len(digest.asked)) == (TASKS, FILES, OPEN, TURNS)
    size = len(canonical(digest.to_dict()))
    assert LARGEST / 4 < size < LARGEST
    assert Digest.from_dict(digest.to_dict()) == digest


def test_redaction_reaches_every_text() -> None:
    """Nothing that is said, done or named keeps what the redactor takes out; what results are matched by stays."""
    digest = fold(
        said("hush question. Never tell hush."),
        answered("We decided to hush it. Not yet done hush."),
        called("t1", "Bash", {"command": 'git commit -m "hush"', "description": "hush"}),
        returned("t1"),
        called("t2", "Edit", {"file_path": "/hush"}),
        returned("t2"),
        called("t3", "Bash", {"command": "hush"}),
        returned("t3", "hush", is_error=True),
        called("t4", "ExitPlanMode", {"plan": "hush"}),
        called("t5", "TodoWrite", {"todos": [{"content": "hush", "status": "pending"}]}),
        said("hush", isCompactSummary=True),
        json.dumps({"type": "summary", "summary": "hush"}).encode(),
        called("t6", "hush", {"command": "hush"}),
    )
    text = json.dumps(digest.to_dict())
    assert text.count("hush") > 15
    redacted = digest.redacted(lambda text: text.replace("hush", "[redacted]"))
    assert "hush" not in json.dumps(redacted.to_dict())
    assert [call.id for call in redacted.open_calls] == [call.id for call in digest.open_calls]
    assert redacted.fold([returned("t6")]).open_calls == digest.fold([returned("t6")]).open_calls
    assert attrs.evolve(redacted, lines=digest.lines).turns == digest.turns


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"turns": "many"},
        {"asked": [{"number": 1}]},
        {"lines": 5},
        {"last_prompt": "x" * LARGEST},
        {"tools": [["a", 1, 2]]},
        {"answer": ["a"]},
    ],
)
def test_data_that_are_no_digest(data: object) -> None:
    """They are refused, whatever they are."""
    with pytest.raises(StateInvalid):
        Digest.from_dict(data)


def test_deeply_nested_data_are_no_digest() -> None:
    """They are refused as well, without ending the process."""
    data: dict[str, Any] = {}
    for _ in range(100_000):
        data = {"asked": data}
    with pytest.raises(StateInvalid):
        Digest.from_dict(data)
    # taken apart from the outside: freeing it at once would recurse
    while data:
        data = data.pop("asked")
