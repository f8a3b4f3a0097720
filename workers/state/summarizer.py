"""The user's own summarizer in place of ours: a command that reads a conversation as JSON and writes what it makes of it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from supervisor import Value

from ..notification.program import run_program
from .conversation import ConversationState, understood
from .excerpt import clean, cut
from .files import StateWriteFailed, write_atomic
from .model import canonical
from .summary import DEFAULT_BUDGET, summary

if TYPE_CHECKING:
    from ..config import HooksConfig
    from .model import CompleteState

TIMEOUT: Final = 30.0
_numbers = itertools.count(1)


@attrs.frozen(repr=False, eq=False)
class Summary(Value):
    """A summary, at most as long as its budget.

    Attributes:
        text: Markdown.
        is_own: It is ours, and not the command's.
        fault: Why the command's is not used, for a person; None where there was no command.
    """

    text: str
    is_own: bool
    fault: str | None = None


def summary_of(state: CompleteState, hooks: HooksConfig, budget_bytes: int = DEFAULT_BUDGET) -> Summary | None:
    """The summary of a captured conversation, by the configured command where there is one. Blocks, with an event loop of its own.

    Args:
        state: The state.
        hooks: The section ``[hooks]``.
        budget_bytes: Bytes of UTF-8.

    Returns:
        None where no conversation was captured, or none that is understood.
    """
    talk = understood(state.conversation)
    if talk is None:
        return None
    if not hooks.summarizer:
        return Summary(_shown(summary(talk.digest, budget_bytes), budget_bytes), True)
    import tempfile

    import anyio

    with tempfile.TemporaryDirectory(prefix="memory-guardian-") as directory:
        call = partial(summarized, talk, hooks.summarizer, Path(directory), budget_bytes=budget_bytes, timeout=hooks.summarizer_timeout)
        made = anyio.run(call, backend="asyncio")
    return attrs.evolve(made, text=_shown(made.text, budget_bytes))


def _shown(text: str, budget_bytes: int) -> str:
    """A state may hold what no transcript of ours would: what moves a cursor is not shown."""
    return clean(text, budget_bytes)


async def summarized(
    conversation: ConversationState,
    argv: Sequence[str],
    directory: Path,
    *,
    budget_bytes: int = DEFAULT_BUDGET,
    timeout: float = TIMEOUT,
) -> Summary:
    """Have a command summarize a conversation; ours is the answer where it fails, is late, or says nothing.

    The command gets one JSON object on its standard input: ``v`` (1), ``budget_bytes``, ``conversation`` as a state has it, and
    ``summary``, which is ours. What it writes is taken as UTF-8, without control characters, and cut where it is longer than its budget.

    Args:
        conversation: The conversation, without its secrets.
        argv: The command and its arguments; none for ours.
        directory: A private one, where the JSON is while the command reads it.
        budget_bytes: Bytes of UTF-8.
        timeout: Seconds that it may take.

    **Cancellation:** kills the command with everything that it has started, and waits for that.
    """
    ours = summary(conversation.digest, budget_bytes)
    if not argv:
        return Summary(ours, True)
    file = directory / f"conversation-{os.getpid()}-{next(_numbers)}.json"
    said = bytearray()

    def collect(chunk: bytes) -> None:
        # one more than fits shows that it was longer
        said.extend(chunk[: max(0, budget_bytes + 1 - len(said))])

    try:
        data = {"v": 1, "budget_bytes": budget_bytes, "conversation": conversation.to_dict(), "summary": ours}
        write_atomic(file, canonical(data), durable=False)
    except StateWriteFailed as error:
        return Summary(ours, True, str(error))
    try:
        fault = await run_program(argv, timeout, stdin=file, stdout=collect, path=("guardian", "summarizer"))
    finally:
        file.unlink(missing_ok=True)
    if fault is not None:
        return Summary(ours, True, fault)
    text = cut(clean(said.decode(errors="replace"), budget_bytes).strip(), budget_bytes)
    return Summary(text, False) if text else Summary(ours, True, "it wrote nothing")
