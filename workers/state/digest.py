"""What a conversation comes to: a bounded value, folded from its records, whatever their number.

`Digest.fold` goes on where it stopped: folding a transcript at once or in pieces, with the digest on disk between them, is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from supervisor import Value

from .model import StateInvalid, canonical, strict
from .record import Usage

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")

LARGEST: Final = 1024 * 1024
"""Bytes of JSON that no digest exceeds, and beyond which none is believed."""

Redact = Callable[[str], str]
"""Takes the secrets out of a text."""


@attrs.frozen(repr=False, eq=False)
class Turn(Value):
    """What was asked, and what was said last before the next question. `number` counts all turns, from 1."""

    number: int
    time: str | None
    asked: str
    answered: str = ""


@attrs.frozen(repr=False, eq=False)
class Remark(Value):
    """A sentence of turn `turn` that decides something or leaves it open; `weight` says how surely, from 1 to 3."""

    turn: int
    text: str
    weight: int


@attrs.frozen(repr=False, eq=False)
class FileUse(Value):
    """A file that tools were used on: how often it was read and changed, and the turn of the last time."""

    path: str
    reads: int
    changes: int
    turn: int


@attrs.frozen(repr=False, eq=False)
class Failure(Value):
    """A tool or a request that failed: with what, what it said, and how often it has said that in a row."""

    turn: int
    tool: str
    about: str
    text: str
    times: int = 1


@attrs.frozen(repr=False, eq=False)
class OpenCall(Value):
    """A tool call without a result. `change` and `commit` are what it amounts to when it succeeds."""

    id: str
    tool: str
    about: str
    path: str = ""
    change: bool = False
    commit: str = ""
    is_side: bool = False


@attrs.frozen(repr=False, eq=False)
class Task(Value):
    """A point of the program's own list; `status` is pending, in_progress or completed, or what it says itself."""

    id: str
    text: str
    status: str


@attrs.frozen(repr=False, eq=False)
class Tokens(Value):
    """What the answers have cost, subagents not counted; `context` is what the next request begins with, None before the first."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0
    context: int | None = None


@attrs.frozen(repr=False, eq=False)
class Lines(Value):
    """What was read, in lines: those that are not understood are counted and nothing else."""

    total: int = 0
    opaque: int = 0
    damaged: int = 0
    oversized: int = 0
    side: int = 0


@attrs.frozen(repr=False, eq=False)
class Digest(Value):
    """A conversation, condensed. The tuples are bounded; what they had to leave out is counted where it matters.

    Attributes:
        lines: What it was folded from.
        turns: How many questions a person has asked.
        answers: How many answers there were, each counted once though its parts are records of their own.
        first_time: Of the first record, as it is written there; `last_time` of the last.
        branch: The git branch of the last record.
        compactions: How often the program has shortened the conversation.
        background: What it said itself of the conversation, the last time it did.
        interruptions: How often a person stopped an answer.
        first_prompt: What was asked first, at greater length than in `asked`.
        last_prompt: What was asked last, likewise.
        asked: The first, the last and the longest of the turns.
        decided: Sentences that sound like a decision, and what a person demanded.
        loose: Sentences that leave something open, the latest.
        plan: The last plan that was presented.
        tasks: The list of tasks as it was last.
        tools: How often each tool was called; beyond the bound they are counted together.
        files: The files that tools were used on, the last one last.
        files_left_out: How many more there were.
        commits: The first lines of commit messages.
        commands: What was run last.
        failures: What failed last.
        failed: How many tools and requests have failed.
        open_calls: Tool calls that have no result.
        tokens: Without the answer that is under way.
        answer: The message whose records are coming, and what it has cost so far.
    """

    lines: Lines = Lines()
    turns: int = 0
    answers: int = 0
    session_id: str | None = None
    cwd: str | None = None
    version: str | None = None
    branch: str | None = None
    model: str | None = None
    title: str = ""
    first_time: str | None = None
    last_time: str | None = None
    compactions: int = 0
    background: str = ""
    is_after_boundary: bool = False
    interruptions: int = 0
    first_prompt: str = ""
    last_prompt: str = ""
    asked: tuple[Turn, ...] = ()
    decided: tuple[Remark, ...] = ()
    loose: tuple[Remark, ...] = ()
    plan: str = ""
    tasks: tuple[Task, ...] = ()
    tools: tuple[tuple[str, int], ...] = ()
    files: tuple[FileUse, ...] = ()
    files_left_out: int = 0
    commits: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    failed: int = 0
    open_calls: tuple[OpenCall, ...] = ()
    tokens: Tokens = Tokens()
    answer: tuple[str, Usage] | None = None

    def fold(self, lines: Iterable[bytes]) -> Digest:
        """The digest of the conversation with some more whole lines, each without its newline.

        It takes anything and never raises. ``fold(a + b)`` is ``fold(a).fold(b)``.
        """
        # imported here: it imports this module
        from .folding import Folding

        folding = Folding(self)
        for line in lines:
            folding.take(line)
        return folding.digest()

    def redacted(self, redact: Redact) -> Digest:
        """The digest without secrets, for what is written or shown. Each text is redacted as a whole: none was cut within a word."""
        changed = {field.name: _mapped(getattr(self, field.name), redact) for field in _fields(self) if field.name != "answer"}
        return attrs.evolve(self, **changed)

    def to_dict(self) -> dict[str, Any]:
        """The digest as JSON data."""
        data: dict[str, Any] = converter().unstructure(self)
        return data

    @classmethod
    def from_dict(cls, data: object) -> Digest:
        """The digest that JSON data describe.

        Raises:
            StateInvalid: They describe none, or a larger one than there can be.
        """
        if not isinstance(data, dict):
            raise StateInvalid("not the digest of a conversation")
        try:
            if len(canonical(data)) > LARGEST:
                raise StateInvalid(f"the digest of a conversation has more than {LARGEST} bytes")
            return converter().structure(data, cls)
        except RecursionError as error:
            raise StateInvalid("the digest of a conversation is nested too deeply") from error
        except StateInvalid:
            raise
        # boundary: cattrs reports what is missing or of a wrong kind with exceptions of many types
        except Exception as error:
            raise StateInvalid("not the digest of a conversation") from error


def _mapped(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return redact(value) if value else value
    if isinstance(value, tuple):
        return tuple(_mapped(item, redact) for item in value)
    if isinstance(value, OpenCall):
        # its id is what its result will name
        return attrs.evolve(value, tool=redact(value.tool), about=redact(value.about), path=redact(value.path), commit=redact(value.commit))
    if isinstance(value, Value):
        return type(value)(**{field.name: _mapped(getattr(value, field.name), redact) for field in _fields(value)})
    return value


def _fields(value: Value) -> tuple[attrs.Attribute[Any], ...]:
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(type(value))  # type: ignore[arg-type]
    return fields


_made: Converter | None = None


def converter() -> Converter:
    """What turns the values of this room into JSON data and back."""
    # imported here: a guardian that never captures does not pay for it
    global _made
    if _made is None:
        from cattrs import Converter

        _made = strict(Converter())
    return _made
