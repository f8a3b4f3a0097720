"""A digest as a page for whoever goes on with the conversation, in a budget of bytes. Says only what stands in the digest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from supervisor import Value

from .digest import Digest, Turn
from .excerpt import cut, line

DEFAULT_BUDGET: Final = 8 * 1024
"""Bytes, about two thousand tokens."""

_ONE_LINE: Final = 300
_PREFACE: Final = "Excerpts of an earlier conversation, gathered from its transcript without a model; check before you rely on them."


@attrs.frozen(repr=False, eq=False)
class _Item(Value):
    """A line or a block of a section; what has the highest `worth` gets in first, `place` is where it stands."""

    section: int
    worth: float
    place: int
    text: str


_SECTIONS: Final = (
    "The last question and where it stands",
    "What was asked first",
    "What was asked since",
    "What was decided",
    "The last plan",
    "Left open",
    "Files that were changed",
    "Commits",
    "The last errors",
    "The last commands",
    "Files that were read",
    "What an earlier summary says",
)
_NOW, _FIRST, _SINCE, _DECIDED, _PLAN, _OPEN, _CHANGED, _COMMITS, _ERRORS, _COMMANDS, _READ, _BACKGROUND = range(len(_SECTIONS))
_WORTH: Final = {
    _NOW: 100.0,
    _OPEN: 12.0,
    _FIRST: 10.0,
    _CHANGED: 8.0,
    _DECIDED: 7.0,
    _SINCE: 6.0,
    _ERRORS: 5.0,
    _PLAN: 4.0,
    _COMMITS: 3.0,
    _BACKGROUND: 1.5,
    _COMMANDS: 1.0,
    _READ: 1.0,
}
"""How the room is divided: the nth item of a section competes with its worth divided by n."""


def summary(digest: Digest, budget_bytes: int = DEFAULT_BUDGET) -> str:
    """What a conversation was about, as Markdown of at most `budget_bytes` bytes of UTF-8, whatever the budget.

    The same digest and budget give the same text. What does not fit is left out, the least telling first, and counted in the heading.
    The digest's texts are taken as they are: without secrets only if they were redacted (`Digest.redacted`).
    """
    if budget_bytes <= 0:
        return ""
    longest = max(80, budget_bytes // 10)
    items = [attrs.evolve(item, text=_fitted(item, longest)) for item in _items(digest)]
    totals = [sum(item.section == section for item in items) for section in range(len(_SECTIONS))]
    head = _head(digest)
    chosen: list[_Item] = []
    room = budget_bytes - len(head.encode())
    open_sections: set[int] = set()
    for item in sorted(items, key=lambda item: (-item.worth, item.section, item.place)):
        # as the heading is longest
        heading = (
            0 if item.section in open_sections else len(_heading(item.section, totals[item.section] - 1, totals[item.section]).encode())
        )
        cost = heading + len(item.text.encode()) + 1
        if cost <= room:
            room -= cost
            open_sections.add(item.section)
            chosen.append(item)
    page = head
    for section in sorted(open_sections):
        shown = sorted((item for item in chosen if item.section == section), key=lambda item: item.place)
        page += _heading(section, len(shown), totals[section]) + "".join(f"{item.text}\n" for item in shown)
    return page if len(page.encode()) <= budget_bytes else cut(page, budget_bytes)


def _heading(section: int, shown: int, total: int) -> str:
    return f"\n## {_SECTIONS[section]}{'' if shown >= total else f' ({shown} of {total})'}\n\n"


def _head(digest: Digest) -> str:
    title = f"# {digest.title}\n\n" if digest.title else ""
    facts = [f"session {digest.session_id}" if digest.session_id else "", f"in {line(digest.cwd, _ONE_LINE)}" if digest.cwd else ""]
    facts.append(f"branch {line(digest.branch, _ONE_LINE)}" if digest.branch else "")
    facts.append(f"{digest.first_time} to {digest.last_time}" if digest.first_time and digest.last_time else "")
    counts = [_number(digest.turns, "question"), _number(digest.answers, "answer")]
    counts.append(_number(sum(times for _, times in digest.tools), "tool call"))
    if digest.failed:
        counts.append(f"{digest.failed} failed")
    if digest.compactions:
        counts.append(f"shortened {_times(digest.compactions)}")
    if digest.interruptions:
        counts.append(f"interrupted {_times(digest.interruptions)}")
    said = "; ".join(filter(None, [*facts, ", ".join(counts)]))
    said = said[:1].upper() + said[1:]
    return f"{title}{_PREFACE}\n{said}.\n"


def _items(digest: Digest) -> Iterator[_Item]:
    turns = list(digest.asked)
    last = turns.pop() if turns else None
    now = [f"Asked: {_indented(digest.last_prompt)}"] if digest.last_prompt else []
    if last is not None and last.answered:
        now.append(f"Answered last: {_indented(last.answered)}")
    now += [f"- {call.tool} was running, and its result is not known: {call.about}" for call in digest.open_calls if not call.is_side][-5:]
    yield from _ranked(_NOW, now)
    if turns and turns[0].number == 1:
        first = turns.pop(0)
        answered = f"\n   -> {line(first.answered, _ONE_LINE)}" if first.answered else ""
        yield from _ranked(_FIRST, [f"1. {_indented(digest.first_prompt)}{answered}"])
    # from the last one back, and each with a place that keeps their order
    yield from _ranked(_SINCE, [_turn(turn) for turn in turns], backwards=True)
    decided = sorted(enumerate(digest.decided), key=lambda one: (-one[1].weight, -one[0]))
    for rank, (place, remark) in enumerate(decided, start=1):
        yield _Item(_DECIDED, _WORTH[_DECIDED] / rank, place, f"- {remark.text} (question {remark.turn})")
    yield from _ranked(_PLAN, [_quoted(digest.plan)] if digest.plan else [])
    tasks = [f"- [{'~' if task.status == 'in_progress' else ' '}] {task.text}" for task in digest.tasks if task.status != "completed"]
    recent = [remark for remark in digest.loose if remark.turn >= digest.turns - 2]
    yield from _ranked(_OPEN, [*tasks, *(f"- {remark.text} (question {remark.turn})" for remark in reversed(recent))])
    changed = [file for file in digest.files if file.changes]
    yield from _ranked(_CHANGED, [f"- {_within(file.path, digest.cwd)} ({_times(file.changes)})" for file in changed], backwards=True)
    yield from _ranked(_COMMITS, [f"- {commit}" for commit in digest.commits], backwards=True)
    failures = [
        f"- {failure.tool or 'a tool'}{f' ({failure.about})' if failure.about else ''}: {failure.text}"
        + (f" ({failure.times} times)" if failure.times > 1 else "")
        for failure in digest.failures
    ]
    yield from _ranked(_ERRORS, failures, backwards=True)
    yield from _ranked(_COMMANDS, [f"- {command}" for command in reversed(dict.fromkeys(reversed(digest.commands)))], backwards=True)
    read = [file for file in digest.files if not file.changes]
    yield from _ranked(_READ, [f"- {_within(file.path, digest.cwd)}" for file in read], backwards=True)
    yield from _ranked(_BACKGROUND, [_quoted(digest.background)] if digest.background else [])


def _ranked(section: int, texts: list[str], *, backwards: bool = False) -> Iterator[_Item]:
    for place, text in enumerate(texts):
        rank = len(texts) - place if backwards else place + 1
        yield _Item(section, _WORTH[section] / rank, place, text)


def _turn(turn: Turn) -> str:
    asked = f"{turn.number}. {line(turn.asked, _ONE_LINE)}"
    return f"{asked}\n   -> {line(turn.answered, _ONE_LINE)}" if turn.answered else asked


def _fitted(item: _Item, longest: int) -> str:
    """The item's text, in its share of the page; what is quoted at length may have three times as much."""
    return cut(item.text, longest * 3 if item.section in (_NOW, _FIRST, _PLAN, _BACKGROUND) else longest)


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _quoted(text: str) -> str:
    """So that a heading in it is none of ours."""
    return "> " + text.replace("\n", "\n> ")


def _within(path: str, cwd: str | None) -> str:
    return path.removeprefix(f"{cwd}/") if cwd and path != f"{cwd}/" else path


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
