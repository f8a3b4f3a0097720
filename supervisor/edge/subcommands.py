"""What the program does beside ``run``: each subcommand in a line, for the help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OWN: Final = {
    "app": "Run a tree of your own until it ends or a signal stops it.",
    "check": "Say what a configuration file and the environment, or a tree of your own, amount to, or everything that is wrong.",
    "demo": "Show a leaking program under the guardian; ends by itself.",
    "doctor": "Say what this host offers, what is missing, and the remedy; exit code 1 when something required is missing.",
}
"""Those that talk to no run and are the program's own."""


def listed(own: Mapping[str, str], told: Mapping[str, str], program: str, width: int) -> str:
    """The subcommands with what they do, one under the other.

    Args:
        own: What talks to no run, by name.
        told: What talks to a run or about earlier ones, by name.
        program: What the program is called.
        width: Columns.
    """
    import textwrap  # only for those who ask

    widest = max(map(len, [*own, *told])) + 4
    lines = ["subcommands, each with --help:"]
    for some in (own, told):
        for name, description in some.items():
            said = textwrap.wrap(description, max(20, width - widest - 2))
            lines += [f"  {name if number == 0 else '':<{widest - 2}}{line}" for number, line in enumerate(said)]
    return "\n".join([*lines, "", f"What is none of these is a command: {program} [options] -- COMMAND [ARG ...]"])
