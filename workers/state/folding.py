"""Folds the lines of a transcript into a digest. Deterministic and extractive: every word of a digest stands in the transcript."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from .cues import decides, demands, leaves_open, sentences_of
from .digest import Digest, Failure, FileUse, Lines, OpenCall, Remark, Task, Tokens, Turn
from .excerpt import beginning, clean, ends, line, paragraphs, prose
from .record import LONGEST_TIME, Kind, Record, ToolCall, ToolResult, Usage, parsed, string

TURNS: Final = 40
FIRST_TURNS: Final = 3
LAST_TURNS: Final = 15
"""Turns at the beginning and at the end that are never left out for longer ones between them."""

DECIDED: Final = 40
LOOSE: Final = 12
TASKS: Final = 40
TOOLS: Final = 64
FILES: Final = 200
COMMITS: Final = 30
COMMANDS: Final = 10
FAILURES: Final = 10
OPEN: Final = 64

OTHER_TOOLS: Final = "(others)"

# bytes
_ASKED: Final = 600
_ANSWERED: Final = 600
_PROMPT: Final = 4000
_BACKGROUND: Final = 4000
_PLAN: Final = 3000
_REMARK: Final = 300
_PATH: Final = 300
_ABOUT: Final = 160
_FAILURE: Final = 400

_READING: Final = {"Read": "file_path", "NotebookRead": "notebook_path"}
_CHANGING: Final = {"Write": "file_path", "Edit": "file_path", "MultiEdit": "file_path", "NotebookEdit": "notebook_path"}
_TELLING: Final = ("description", "command", "file_path", "notebook_path", "pattern", "query", "url", "prompt", "subject", "skill")
_COMMIT: Final = re.compile(
    r"\bgit\b[^|;&\n]{0,80}?\bcommit\b[^|;&\n]{0,80}?\s(?:-[a-zA-Z]{0,8}m|--message)(?:[\s=]|(?=[\"']))(.{0,400})", re.DOTALL
)
_HERE_DOCUMENT: Final = re.compile(r"\s*[\"']?\$\(cat <<-?\s*['\"]?\w+['\"]?\n")
_TASK: Final = re.compile(r"#(\d{1,9})\b")
_STATUS: Final = ("pending", "in_progress", "completed")


class Folding:
    """A digest that can be written to, while it takes lines."""

    def __init__(self, digest: Digest) -> None:
        lines = digest.lines
        self._total, self._opaque, self._damaged, self._oversized, self._side = (
            lines.total,
            lines.opaque,
            lines.damaged,
            lines.oversized,
            lines.side,
        )
        self._turns, self._answers, self._interruptions = digest.turns, digest.answers, digest.interruptions
        self._about: dict[str, str | None] = {name: getattr(digest, name) for name in _ABOUT_THE_SESSION}
        self._told: dict[str, object] = {}
        self._time: str | None = None
        self._said_last = ""
        self._title, self._background, self._plan = digest.title, digest.background, digest.plan
        self._first_prompt, self._last_prompt = digest.first_prompt, digest.last_prompt
        self._compactions, self._is_after_boundary = digest.compactions, digest.is_after_boundary
        self._asked, self._decided, self._loose = list(digest.asked), list(digest.decided), list(digest.loose)
        self._tasks = {task.id: task for task in digest.tasks}
        self._tools = dict(digest.tools)
        self._files = {file.path: file for file in digest.files}
        self._files_left_out = digest.files_left_out
        self._commits, self._commands, self._failures = list(digest.commits), list(digest.commands), list(digest.failures)
        self._failed = digest.failed
        self._open = {call.id: call for call in digest.open_calls}
        self._tokens, self._answer = digest.tokens, digest.answer
        self._kinds: dict[Kind, Callable[[Record], None]] = {
            Kind.PROMPT: self._prompt,
            Kind.ANSWER: self._answered,
            Kind.RESULT: self._resulted,
            Kind.COMPACTED: self._compacted,
            Kind.BOUNDARY: self._bounded,
            Kind.INTERRUPTION: self._interrupted,
            Kind.TITLE: self._titled,
        }

    def take(self, written: bytes) -> None:
        """Fold one line."""
        record = parsed(written)
        self._total += 1
        if record.kind is Kind.OPAQUE:
            self._opaque += 1
            return
        if record.kind is Kind.DAMAGED:
            self._damaged += 1
            return
        if record.kind is Kind.OVERSIZED:
            self._oversized += 1
            self._resulted(record)
            return
        if record.is_side:
            # what a subagent does to files counts; what it is told and says is between it and the agent
            self._side += 1
            self._call(record)
            self._resulted(record)
            return
        self._identify(record)
        serve = self._kinds.get(record.kind)
        if serve is not None:
            serve(record)

    def _identify(self, record: Record) -> None:
        for key, name in _TOLD.items():
            value = record.data.get(key)
            if value != self._told.get(key):
                self._told[key] = value
                self._about[name] = string(value, _LONGEST_TOLD) or self._about[name]
        if record.model is not None:
            self._about["model"] = record.model
        written = record.data.get("timestamp")
        if isinstance(written, str) and len(written) <= LONGEST_TIME:
            self._time = written
            if self._about["first_time"] is None:
                self._about["first_time"] = record.time

    def digest(self) -> Digest:
        """The digest so far."""
        self._finish_turn()
        if self._time is not None:
            self._about["last_time"] = string(self._time)
        return Digest(
            lines=Lines(self._total, self._opaque, self._damaged, self._oversized, self._side),
            turns=self._turns,
            answers=self._answers,
            title=self._title,
            compactions=self._compactions,
            background=self._background,
            is_after_boundary=self._is_after_boundary,
            interruptions=self._interruptions,
            first_prompt=self._first_prompt,
            last_prompt=self._last_prompt,
            asked=tuple(self._asked),
            decided=tuple(self._decided),
            loose=tuple(self._loose),
            plan=self._plan,
            tasks=tuple(self._tasks.values()),
            tools=tuple(self._tools.items()),
            files=tuple(self._files.values()),
            files_left_out=self._files_left_out,
            commits=tuple(self._commits),
            commands=tuple(self._commands),
            failures=tuple(self._failures),
            failed=self._failed,
            open_calls=tuple(self._open.values()),
            tokens=self._tokens,
            answer=self._answer,
            **self._about,
        )

    # what is said

    def _prompt(self, record: Record) -> None:
        self._finish_turn()
        self._turns += 1
        self._is_after_boundary = False
        # a request holds the results of all calls before it: what has none now never gets one
        self._open = {id: call for id, call in self._open.items() if call.is_side}
        self._last_prompt = paragraphs(record.text, _PROMPT)
        if self._turns == 1:
            self._first_prompt = self._last_prompt
        self._asked.append(Turn(self._turns, record.time, paragraphs(record.text, _ASKED)))
        if len(self._asked) > TURNS:
            between = range(FIRST_TURNS, len(self._asked) - LAST_TURNS)
            del self._asked[min(between, key=lambda index: (len(self._asked[index].asked), index))]
        for sentence, weight in demands(_said(record.text)):
            self._decide(sentence, weight)

    def _answered(self, record: Record) -> None:
        self._count(record)
        if record.is_failure:
            self._fail("request", "", ends(record.text, _FAILURE))
            return
        if record.text.strip():
            self._say(record.text)
        self._call(record)

    def _say(self, text: str) -> None:
        self._said_last = text
        said = _said(text)
        for sentence, weight in decides(said):
            self._decide(sentence, weight)
        for sentence, weight in leaves_open(said):
            remark = Remark(self._turns, line(sentence, _REMARK), weight)
            self._loose = [*(one for one in self._loose if one.text != remark.text), remark][-LOOSE:]

    def _finish_turn(self) -> None:
        # most of what is said in a turn is not the last of it
        if self._asked and self._said_last:
            turn = self._asked[-1]
            self._asked[-1] = Turn(turn.number, turn.time, turn.asked, paragraphs(prose(self._said_last), _ANSWERED))
        self._said_last = ""

    def _decide(self, sentence: str, weight: int) -> None:
        text = line(sentence, _REMARK)
        self._decided = [one for one in self._decided if one.text != text]
        self._decided.append(Remark(self._turns, text, weight))
        if len(self._decided) > DECIDED:
            del self._decided[min(range(DECIDED), key=lambda index: (self._decided[index].weight, index))]

    def _compacted(self, record: Record) -> None:
        if not self._is_after_boundary:
            self._compactions += 1
        self._is_after_boundary = False
        self._background = paragraphs(record.text, _BACKGROUND)

    def _bounded(self, record: Record) -> None:
        self._compactions += 1
        self._is_after_boundary = True

    def _interrupted(self, record: Record) -> None:
        self._interruptions += 1

    def _titled(self, record: Record) -> None:
        self._title = line(record.text, _ABOUT)

    def _count(self, record: Record) -> None:
        # each record of an answer tells the tokens of all of it so far
        cost, same = record.usage, self._answer is not None and record.message_id == self._answer[0]
        if not same:
            self._answers += 1
            self._settle()
        if cost is not None:
            self._answer = (record.message_id or "", cost)
            self._tokens = Tokens(
                self._tokens.input, self._tokens.output, self._tokens.cache_read, self._tokens.cache_creation, cost.context
            )
        elif not same:
            self._answer = (record.message_id or "", Usage())
        if record.message_id is None:
            self._settle()

    def _settle(self) -> None:
        if self._answer is not None:
            so_far, cost = self._tokens, self._answer[1]
            self._tokens = Tokens(
                so_far.input + cost.input,
                so_far.output + cost.output,
                so_far.cache_read + cost.cache_read,
                so_far.cache_creation + cost.cache_creation,
                so_far.context,
            )
        self._answer = None

    # what is done

    def _call(self, record: Record) -> None:
        for call in record.calls:
            name = line(call.name, _ABOUT)
            if name not in self._tools and len(self._tools) >= TOOLS:
                name = OTHER_TOOLS
            self._tools[name] = self._tools.get(name, 0) + 1
            self._serve(call, record.is_side)

    def _serve(self, call: ToolCall, is_side: bool) -> None:
        given = call.given
        about = next((line(value, _ABOUT) for name in _TELLING if isinstance(value := given.get(name), str) and value.strip()), "")
        changing = _CHANGING.get(call.name)
        path = given.get(changing or _READING.get(call.name, ""))
        commit = ""
        if call.name == "Bash" and isinstance(command := given.get("command"), str):
            self._commands = [*self._commands, line(command, _ABOUT)][-COMMANDS:]
            commit = _commit(command)
        elif call.name == "ExitPlanMode" and isinstance(plan := given.get("plan"), str) and not is_side:
            self._plan = paragraphs(plan, _PLAN)
        elif call.name == "TodoWrite" and not is_side:
            self._tasks = {task.id: task for task in _listed(given.get("todos"))}
        elif call.name == "TaskUpdate" and not is_side:
            self._update(given)
        made = OpenCall(
            call.id,
            line(call.name, _ABOUT),
            about,
            line(path, _PATH) if isinstance(path, str) else "",
            changing is not None,
            commit,
            is_side,
        )
        self._open.pop(call.id, None)
        self._open[call.id] = made
        if len(self._open) > OPEN:
            del self._open[next(iter(self._open))]

    def _resulted(self, record: Record) -> None:
        for result in record.results:
            call = self._open.pop(result.id, None)
            if result.is_error:
                if not record.is_side:
                    self._fail(call.tool if call else "", call.about if call else "", ends(result.text, _FAILURE))
                continue
            if call is None:
                continue
            if call.path:
                self._use(call.path, call.change)
            if call.commit:
                self._commits = [*self._commits, call.commit][-COMMITS:]
            if call.tool == "TaskCreate" and not call.is_side:
                self._create(call, result)

    def _use(self, path: str, is_change: bool) -> None:
        before = self._files.pop(path, FileUse(path, 0, 0, 0))
        self._files[path] = FileUse(path, before.reads + (not is_change), before.changes + is_change, self._turns)
        if len(self._files) > FILES:
            # what was only read goes first, the longest ago
            gone = next((file.path for file in self._files.values() if not file.changes and file.path != path), None)
            del self._files[gone or next(iter(self._files))]
            self._files_left_out += 1

    def _fail(self, tool: str, about: str, text: str) -> None:
        self._failed += 1
        times = 1
        if self._failures and (self._failures[-1].tool, self._failures[-1].text) == (tool, text):
            times += self._failures.pop().times
        self._failures = [*self._failures, Failure(self._turns, tool, about, text, times)][-FAILURES:]

    def _create(self, call: OpenCall, result: ToolResult) -> None:
        found = _TASK.search(result.text[:200])
        number = result.task or (found.group(1) if found else None)
        if number is not None and call.about:
            self._keep(Task(line(number, _ABOUT), call.about, _STATUS[0]))

    def _update(self, given: dict[str, Any]) -> None:
        number, status, subject = (given.get(name) for name in ("taskId", "status", "subject"))
        task = self._tasks.get(number) if isinstance(number, str) else None
        if task is None:
            return
        if status == "deleted":
            del self._tasks[task.id]
            return
        text = line(subject, _ABOUT) if isinstance(subject, str) and subject.strip() else task.text
        self._keep(Task(task.id, text, line(status, 40) if isinstance(status, str) else task.status))

    def _keep(self, task: Task) -> None:
        self._tasks[task.id] = task
        if len(self._tasks) > TASKS:
            gone = next((one.id for one in self._tasks.values() if one.status == _STATUS[2]), None)
            del self._tasks[gone or next(iter(self._tasks))]


_ABOUT_THE_SESSION: Final = ("first_time", "last_time", "session_id", "cwd", "version", "branch", "model")
_TOLD: Final = {"sessionId": "session_id", "cwd": "cwd", "version": "version", "gitBranch": "branch"}
_LONGEST_TOLD: Final = 4096


def _said(text: str) -> list[tuple[str, str]]:
    # a line of a key does not look like one
    return [] if "-----BEGIN" in text else sentences_of(clean(beginning(text, 16_384)))


def _listed(todos: object) -> list[Task]:
    found = []
    for number, todo in enumerate(todos[:TASKS] if isinstance(todos, list) else (), start=1):
        text, status = (todo.get("content"), todo.get("status")) if isinstance(todo, dict) else (None, None)
        if isinstance(text, str) and text.strip():
            found.append(Task(str(number), line(text, _ABOUT), line(status, 40) if isinstance(status, str) else _STATUS[0]))
    return found


def _commit(command: str) -> str:
    """The first line of the message that a shell command commits with; empty where it does not."""
    found = _COMMIT.search(beginning(command, 4096)) if "commit" in command else None
    if found is None:
        return ""
    message = _HERE_DOCUMENT.sub("", found.group(1), count=1).strip()
    quote = message[:1]
    if quote in ("'", '"'):
        message = message[1:].partition(quote)[0]
    return line(message.partition("\n")[0], _ABOUT)
