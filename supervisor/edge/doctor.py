"""``doctor``: what this host offers, what is missing, and the remedy. Nothing is started, created or changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from ..core.text import counted
from .finding import Check, Finding, find

USABLE, UNUSABLE = 0, 1
FORMAT: Final = 1
"""The version of the JSON; keys are only ever added within one."""


def examine(checks: Iterable[tuple[str, Check]]) -> tuple[Finding, ...]:
    """What all checks find, in their order."""
    return tuple(find(name, check) for name, check in checks)


def incomplete(error: Exception) -> Finding:
    """The finding that the application cannot be asked, because it cannot be imported."""
    return Finding("application", "missing", f"this installation is incomplete: {error}", "install memory-guardian again")


def exit_code(findings: Iterable[Finding]) -> int:
    """0 when a command can be guarded on this host, else 1."""
    return UNUSABLE if any(finding.state == "missing" for finding in findings) else USABLE


def as_text(findings: Sequence[Finding]) -> str:
    """One line a finding, its remedy below it, and what it all amounts to."""
    width = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:<8} {finding.name:<{width}}  {finding.says}")
        if finding.remedy is not None:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.remedy}")
    return "\n".join([*lines, _amounts_to(findings)])


def as_json(findings: Sequence[Finding], version: str) -> str:
    """One object: ``v``, ``version``, ``usable`` and ``findings``, each with ``name``, ``state``, ``says`` and ``remedy``."""
    usable = exit_code(findings) == USABLE
    return json.dumps({"v": FORMAT, "version": version, "usable": usable, "findings": [finding.as_data() for finding in findings]})


def _amounts_to(findings: Sequence[Finding]) -> str:
    missing = sum(finding.state == "missing" for finding in findings)
    limited = sum(finding.state == "limited" for finding in findings)
    if missing:
        return f"a command cannot be guarded here: {counted(missing, 'thing is', 'things are')} missing"
    if limited:
        return f"a command can be guarded here; {counted(limited, 'thing is', 'things are')} limited"
    return "a command can be guarded here, with everything there is"
