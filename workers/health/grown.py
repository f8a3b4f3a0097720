"""Which part of a leaf's tree holds its memory and what it grew by, for whoever asks: as data, and in words."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from supervisor import format_bytes

if TYPE_CHECKING:
    from ..ledger import Leaf, Ledger
    from ..policy.account import Account
    from ..policy.attribution import Attribution, Role

LISTED = 5
"""Parts that a line names."""


def looked_at(ledger: Ledger, leaf: Leaf) -> Attribution | None:
    """A look, or the latest where that was a moment ago; None of a leaf that does not run, or that nobody can see."""
    if leaf.parts is None or leaf.sample is None or not leaf.guard.alive:
        return None
    if (tree := ledger.command(leaf)) is None:
        return None
    with suppress(OSError):  # there are no descriptors
        return leaf.parts.look(tree, anyio.current_time(), sample=leaf.sample, earlier=leaf.sample, was_normal=leaf.was_normal)
    return None


def grown(ledger: Ledger, leaf: Leaf) -> dict[str, Any]:
    """``memory_by``, part by part with what it holds, and ``growth``: by turns, by tools and by parts; nothing of a leaf without parts."""
    if leaf.parts is None:
        return {}
    found = looked_at(ledger, leaf)
    by = (
        []
        if found is None
        else [
            {**_named(part.role), "pid": part.head.pid, "processes": len(part.processes), "bytes": part.held_bytes} for part in found.parts
        ]
    )
    return {"memory_by": sorted(by, key=lambda one: -one["bytes"]), "growth": told(leaf.parts.account)}


def told(account: Account) -> dict[str, Any]:
    """An account as data."""
    return {
        "grew_bytes": account.grew_bytes,
        "idle_grew_bytes": account.idle_bytes,
        "turns_in_life": account.count - account.life_count,
        "by": [{**_named(role), "grew_bytes": amount} for role, amount in account.grew_by],
        "turns": [
            {
                "number": turn.number,
                "seconds": round(turn.seconds, 3),
                "grew_bytes": turn.grew_bytes,
                "by": [{**_named(role), "grew_bytes": amount} for role, amount in turn.by],
                "tools": dict(turn.tools),
            }
            for turn in account.turns
        ],
        "tools": [{"name": tool.name, "calls": tool.calls, "grew_bytes": tool.grew_bytes} for tool in account.tools],
    }


def line(ledger: Ledger, leaf: Leaf) -> str:
    """Who holds what, and what grew, in a line; empty of a leaf of which there is nothing to say."""
    found = None if leaf.parts is None else looked_at(ledger, leaf)
    if found is None or not found.parts:
        return ""
    largest = sorted(found.parts, key=lambda part: -part.held_bytes)[:LISTED]
    held = ", ".join(f"{part.role.in_words()} {format_bytes(part.held_bytes)}" for part in largest)
    return f"{leaf.name}: {held}{found.words and f'; it {found.words}'}"


def _named(role: Role) -> dict[str, str]:
    return {"role": role.kind.value, "name": role.name}
