"""Which part of a leaf's tree holds its memory, and which of it grew: the program itself, an MCP server, a tool, something else. Pure.

What a process is follows from where it comes from. A tool is whatever leads a session of its own below the program: each command that
Claude Code runs for a tool does, and its MCP servers do not, those are known by the words that they are configured with. Whatever
descends from one of them belongs to it, also when its parent is gone, as long as it was seen before that or stayed in its session.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

import attrs

from supervisor import Value

if TYPE_CHECKING:
    from supervisor import Lineage, ProcessId

    from .pressure import Thresholds


class Kind(Enum):
    """What a part of a tree is."""

    PROGRAM = "program"
    """The leaf's own program, with the wrapper that started it."""
    MCP = "mcp"
    """An MCP server that the program started."""
    TOOL = "tool"
    """What runs for a tool of the program's, in the background as well."""
    OTHER = "other"
    """Anything else that it started."""


ENDABLE: Final = (Kind.TOOL, Kind.MCP)
"""What can be ended while the program goes on."""


@attrs.frozen(repr=False, eq=False)
class Role(Value):
    """A part of a tree.

    Attributes:
        kind: What it is.
        name: The server's, the tool's, or the command's; empty for the program.
    """

    kind: Kind
    name: str = ""

    def in_words(self) -> str:
        """For a person."""
        what = {Kind.PROGRAM: "the program itself", Kind.MCP: "MCP server", Kind.TOOL: "tool", Kind.OTHER: "process"}[self.kind]
        return what if self.kind is Kind.PROGRAM else f"{what} {self.name}".rstrip()


PROGRAM: Final = Role(Kind.PROGRAM)


@attrs.frozen(repr=False, eq=False)
class Server(Value):
    """An MCP server as it is configured: `words` is the command with its arguments."""

    name: str
    words: tuple[str, ...]


@attrs.frozen(repr=False, eq=False)
class Member(Value):
    """What one process is part of; `head` is the process that its part descends from."""

    role: Role
    head: ProcessId


@attrs.frozen(repr=False, eq=False)
class Part(Value):
    """A part of a tree, with what it holds.

    Attributes:
        role: What it is.
        head: The process that the others descend from.
        processes: All of it that live.
        held_bytes: What they would give back.
        grew_bytes: By how much that is more than at the time that growth is measured from.
    """

    role: Role
    head: ProcessId
    processes: tuple[ProcessId, ...]
    held_bytes: int
    grew_bytes: int


@attrs.frozen(repr=False, eq=False)
class Attribution(Value):
    """A whole tree in its parts.

    Attributes:
        parts: Those that grew most come first.
        words: What grew since the life began, for a person; empty where nothing worth a word has.
    """

    parts: tuple[Part, ...] = ()
    words: str = ""


def members(
    seen: Sequence[Lineage],
    root: ProcessId,
    known: Mapping[ProcessId, Member],
    *,
    servers: Sequence[Server] = (),
    is_program: Callable[[tuple[str, ...]], bool] = lambda words: False,
    tool: str = "",
) -> dict[ProcessId, Member]:
    """What each process of a tree is part of.

    Args:
        seen: The live processes, parents before their children.
        root: The leaf's root process.
        known: What was found the last time, for those whose parent is gone since.
        servers: The MCP servers that the program may have started.
        is_program: Whether a command line is the program's own, such as of the native one below a wrapper.
        tool: What a tool is called that was not there the last time; empty: after its command.
    """
    found: dict[ProcessId, Member] = {}
    by_pid: dict[int, Member] = {}
    sessions: dict[int, Member] = {}
    home = next((one.session for one in seen if one.process == root), None)
    for one in seen:
        above = by_pid.get(one.parent)
        if one.process == root:
            member = Member(PROGRAM, root)
        elif above is None:
            member = known.get(one.process) or sessions.get(one.session) or _own(one, home, known, servers, tool)
        elif above.role.kind is not Kind.PROGRAM:
            member = above
        elif is_program(one.words) and serving(one.words, servers) is None:
            member = Member(PROGRAM, root)
        else:
            member = _own(one, home, known, servers, tool)
        found[one.process] = by_pid[one.process.pid] = member
        if member.role.kind is not Kind.PROGRAM and one.session != home:
            sessions.setdefault(one.session, member)
    return found


def _own(one: Lineage, home: int | None, known: Mapping[ProcessId, Member], servers: Sequence[Server], tool: str) -> Member:
    """A part that begins with this process."""
    command = named(one.words)
    if (server := serving(one.words, servers)) is not None:
        return Member(Role(Kind.MCP, server.name), one.process)
    if one.session in (home, 0):
        return Member(Role(Kind.OTHER, command), one.process)
    before = known.get(one.process)
    if before is not None and before.role.kind is Kind.TOOL:
        return before  # another tool is under way by now
    return Member(Role(Kind.TOOL, tool or command), one.process)


def named(words: Sequence[str]) -> str:
    """What a command is called for a person: its base name, without what could be long or secret."""
    return words[0].replace("\\", "/").rsplit("/", 1)[-1].split(" ", 1)[0][:40] if words else ""


def serving(words: Sequence[str], servers: Iterable[Server]) -> Server | None:
    """The MCP server that a command line is of: the one whose words it ends with, or holds all of.

    A script is started by its interpreter, which comes before its name, and a runner of packages shows the words that say something
    (``npm exec @scope/server /data`` for ``npx -y @scope/server /data``). Of several the one whose words it ends with, then the one with
    most.
    """
    best: tuple[tuple[bool, int], Server] | None = None
    line = [word for one in words for word in one.split()] if len(words) == 1 else list(words)
    for server in servers:
        if not server.words or not line:
            continue
        command, *arguments = server.words
        said = [word for word in arguments if not word.startswith("-")]
        starts = any(named([word]) == named([command]) for word in line[:3])
        exactly = starts and line[len(line) - len(arguments) :] == arguments
        loosely = any(len(word) > 3 for word in said) and all(word in line for word in said) and not _is_shell(line)
        if exactly or loosely:
            score = (exactly, len(arguments))
            if best is None or score > best[0]:
                best = (score, server)
    return None if best is None else best[1]


def _is_shell(line: Sequence[str]) -> bool:
    """Whether it is a shell with a text to run, which can hold anybody's words."""
    return named(line[:1]) in ("sh", "bash", "zsh", "dash") and "-c" in line[:3]


def parts(found: Mapping[ProcessId, Member], sizes: Mapping[ProcessId, int], before: Mapping[ProcessId, int]) -> tuple[Part, ...]:
    """A tree in its parts, those that grew most first.

    Args:
        found: What each process is part of.
        sizes: The bytes that each holds.
        before: The bytes that those held who were there at the time that growth is measured from.
    """
    heads: dict[ProcessId, list[ProcessId]] = {}
    roles: dict[ProcessId, Role] = {}
    for process, member in found.items():
        heads.setdefault(member.head, []).append(process)
        roles.setdefault(member.head, member.role)
    made = []
    for head, processes in heads.items():
        held = sum(sizes.get(process, 0) for process in processes)
        grew = held - sum(before.get(process, 0) for process in processes)
        made.append(Part(roles[head], head, tuple(processes), held, grew))
    return tuple(sorted(made, key=lambda part: -part.grew_bytes))


def by_role(found: Iterable[Part], *, grown: bool = True) -> dict[Role, int]:
    """What all parts of the same role hold together; or held at the time that their growth is measured from."""
    totals: dict[Role, int] = {}
    for part in found:
        totals[part.role] = totals.get(part.role, 0) + part.held_bytes - (0 if grown else part.grew_bytes)
    return totals


def culprits(found: Sequence[Part], total_bytes: int, thresholds: Thresholds, endable: Collection[Kind] = ENDABLE) -> tuple[Part, ...]:
    """The parts that can be ended, those of the kinds `endable`, and are why the leaf is at critical; empty where a restart is what helps.

    The fewest, the largest first, without which the total would be out of critical, by its hysteresis; and what they grew by has to be more
    than half of what all parts grew by: a leaf whose program grows is not helped by ending what else it does.
    """
    from .pressure import MemoryState

    line = thresholds.leave_bytes(MemoryState.CRITICAL)
    chosen: list[Part] = []
    left = total_bytes
    for part in sorted((part for part in found if part.role.kind in endable and part.grew_bytes > 0), key=lambda part: -part.held_bytes):
        if left < line:
            break
        chosen.append(part)
        left -= part.held_bytes
    if left >= line:
        return ()
    grew = sum(max(0, part.grew_bytes) for part in found)
    return tuple(chosen) if 2 * sum(part.grew_bytes for part in chosen) > grew else ()
