"""What a leaf's memory grew by in each turn, in which part of it, and which tools were used meanwhile. Pure, and bounded.

The parts are looked at when a turn begins and when it ends, and more often while memory is above normal. What has grown between two looks
is the turn's that was under way, or nobody's; of a turn's tools it is put down to those that were called since the look before, in equal
parts, or else to the one that was called last, which may go on. That is what growth *came with*, and no proof of what it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import attrs

from supervisor import Value, evolve

from .text import mib

if TYPE_CHECKING:
    from .attribution import Role

TURNS: Final = 20
"""The last turns that are remembered."""
TOOLS: Final = 16
"""The tools that are remembered: those that grew most, of those beyond."""
ROLES: Final = 8
"""The parts that are remembered of each turn: those that changed most."""
LEAST: Final = 1 << 20
"""Bytes of growth that are worth a word."""

Amounts = tuple[tuple["Role", int], ...]


@attrs.frozen(repr=False, eq=False)
class TurnGrowth(Value):
    """One turn.

    Attributes:
        number: Which, counted over all lives of the leaf.
        seconds: How long it took.
        grew_bytes: By how much the tree has grown; less than 0 where it shrank.
        by: By how much each part has, the largest change first.
        tools: How often each tool was called, by the hooks; empty where those say nothing.
    """

    number: int
    seconds: float
    grew_bytes: int
    by: Amounts
    tools: tuple[tuple[str, int], ...]


@attrs.frozen(repr=False, eq=False)
class ToolGrowth(Value):
    """One tool: how often it was called, and what the tree grew by meanwhile."""

    name: str
    calls: int = 0
    grew_bytes: int = 0


@attrs.frozen(repr=False, eq=False)
class Account(Value):
    """What is known of one leaf.

    Attributes:
        turns: The last turns, oldest first.
        tools: By tool, what grew most first.
        count: How many turns there were, over all lives.
        life_count: How many of them in earlier lives.
        idle_bytes: What this life grew by between turns.
        first: What each part held at the first look of this life; None before that.
        last: At the latest one.
        began: When the turn under way began; None when none is.
        grown: What each part has grown by in that turn so far.
        calls: How often each tool was called in it.
        fresh: The calls since the latest look.
        latest: The tool that was called last in it; empty before the first.
        opening: Whether the look at its begin is still to come.
        closing: When the turn ended, if it has and the look that closes it is still to come.
        again: When the next one began, if it has before that look.
    """

    turns: tuple[TurnGrowth, ...] = ()
    tools: tuple[ToolGrowth, ...] = ()
    count: int = 0
    life_count: int = 0
    idle_bytes: int = 0
    first: Amounts | None = None
    last: Amounts = ()
    began: float | None = None
    grown: Amounts = ()
    calls: tuple[tuple[str, int], ...] = ()
    fresh: tuple[tuple[str, int], ...] = ()
    latest: str = ""
    opening: bool = False
    closing: float | None = None
    again: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a look at the parts is wanted now, because a turn has begun or ended."""
        return self.opening or self.closing is not None

    @property
    def grew_bytes(self) -> int:
        """By how much this life has grown since its first look."""
        return sum(amount for _, amount in self.last) - sum(amount for _, amount in self.first or ())

    @property
    def grew_by(self) -> Amounts:
        """By how much each part has since then, what grew most first; parts that are gone count as far as they were there at first."""
        change = _less(self.last, self.first or ())
        return tuple(sorted(change.items(), key=lambda one: -one[1]))


def began(account: Account, now: float) -> Account:
    """A turn has begun, and with that one that was under way is over."""
    if account.began is not None:
        return evolve(account, closing=now if account.closing is None else account.closing, again=now)
    return evolve(account, began=now, grown=(), calls=(), fresh=(), latest="", opening=True, closing=None)


def used(account: Account, tool: str) -> Account:
    """A tool was called."""
    return evolve(account, calls=_counted(account.calls, tool), fresh=_counted(account.fresh, tool), latest=tool)


def ended(account: Account, now: float) -> Account:
    """The turn has ended."""
    if account.again is not None:
        return evolve(account, again=None)  # one of which nothing was seen
    return account if account.began is None or account.closing is not None else evolve(account, closing=now)


def renewed(account: Account) -> Account:
    """A new life: what the one before grew by is remembered, by turns and tools."""
    return Account(account.turns, account.tools, account.count, account.count)


def looked(account: Account, held: Mapping[Role, int], before: Mapping[Role, int] | None = None) -> Account:
    """The parts were looked at: take what has grown since the last time, and close a turn that has ended.

    Args:
        account: Before the look.
        held: What each part holds.
        before: What each is known to have held earlier in this life, for its first look: what grows quickly has grown by then.
    """
    now_held = tuple(held.items())
    if account.first is None:
        first = now_held if before is None else tuple(before.items())
        account = evolve(account, first=first, last=first)
    change = _less(now_held, account.last)
    grew = sum(change.values())
    # a turn that was over before anybody looked is what has happened since the last look
    if account.began is None or (account.opening and account.closing is None):
        account = evolve(account, idle_bytes=account.idle_bytes + grew)
    else:
        grown = dict(account.grown)
        for role, amount in change.items():
            grown[role] = grown.get(role, 0) + amount
        account = evolve(account, grown=tuple(grown.items()), tools=_put_down(account, grew), fresh=())
    account = evolve(account, last=now_held, opening=False)
    return account if account.closing is None else _closed(account, account.closing)


def in_words(account: Account) -> str:
    """What this life grew by, for a person: ``grew 3.1 GiB in 4 turns, 2.9 GiB of it in MCP server chroma``; empty where it did not."""
    grew = account.grew_bytes
    if account.first is None or grew < LEAST:
        return ""
    turns = account.count - account.life_count + (account.began is not None)
    within = f" in {turns} turn{'' if turns == 1 else 's'}" if turns else ""
    most = next(iter(account.grew_by), None)
    share = f", {mib(most[1])} of it in {most[0].in_words()}" if most is not None and most[1] >= LEAST else ""
    return f"grew {mib(grew)}{within}{share}"


def _closed(account: Account, at: float) -> Account:
    assert account.began is not None
    grew = sum(amount for _, amount in account.grown)
    by = tuple((role, amount) for role, amount in _ordered(dict(account.grown)) if amount)[:ROLES]
    turn = TurnGrowth(account.count + 1, max(0.0, at - account.began), grew, by, account.calls)
    turns = (*account.turns, turn)[-TURNS:]
    cleared = {"grown": (), "calls": (), "latest": "", "closing": None, "again": None}
    return evolve(account, turns=turns, count=account.count + 1, began=account.again, **cleared)


def _put_down(account: Account, grew: int) -> tuple[ToolGrowth, ...]:
    calls = account.fresh or (((account.latest, 0),) if account.latest else ())
    if not calls:
        return account.tools
    known = {tool.name: tool for tool in account.tools}
    whole = sum(count for _, count in calls)
    for name, count in calls:
        before = known.get(name, ToolGrowth(name))
        share = max(0, grew) * count // whole if whole else max(0, grew)
        known[name] = ToolGrowth(name, before.calls + count, before.grew_bytes + share)
    return tuple(sorted(known.values(), key=lambda tool: (-tool.grew_bytes, -tool.calls)))[:TOOLS]


def _counted(calls: tuple[tuple[str, int], ...], tool: str) -> tuple[tuple[str, int], ...]:
    counts = dict(calls)
    if tool in counts or len(counts) < TOOLS:
        counts[tool] = counts.get(tool, 0) + 1
    return tuple(counts.items())


def _less(after: Iterable[tuple[Role, int]], before: Iterable[tuple[Role, int]]) -> dict[Role, int]:
    change = dict(after)
    for role, amount in before:
        change[role] = change.get(role, 0) - amount
    return change


def _ordered(change: Mapping[Role, int]) -> Amounts:
    return tuple(sorted(change.items(), key=lambda one: -abs(one[1])))
