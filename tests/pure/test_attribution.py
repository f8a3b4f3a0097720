"""Which part of a tree a process is, which part grew, and which one is ended."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import Lineage, ProcessId
from workers.policy.attribution import ENDABLE, PROGRAM, Kind, Member, Part, Role, Server, by_role, culprits, members, parts, serving
from workers.policy.pressure import MemoryState, Thresholds

MIB = 1 << 20
LIMITS = Thresholds(100 * MIB, 200 * MIB, 300 * MIB)
CHROMA = Server("chroma", ("npx", "-y", "@scope/chroma-mcp", "/data"))
FILES = Server("files", ("/opt/files-server", "--root", "/x"))
TOOL = Role(Kind.TOOL, "Bash")


def one(pid: int, parent: int, session: int, *words: str) -> Lineage:
    return Lineage(ProcessId(pid, pid * 10), parent, session, words)


ROOT = one(10, 1, 10, "node", "cli-wrapper.cjs")
NATIVE = one(11, 10, 10, "/x/claude", "-p")


def roles(*seen: Lineage, known: dict[ProcessId, Member] | None = None, tool: str = "Bash") -> dict[int, str]:
    is_program = lambda words: words[:1] == ("/x/claude",)  # noqa: E731
    found = members((ROOT, NATIVE, *seen), ROOT.process, known or {}, servers=(CHROMA, FILES), is_program=is_program, tool=tool)
    return {process.pid: f"{member.role.in_words()} of {member.head.pid}" for process, member in found.items() if process.pid > 11}


def test_the_wrapper_and_the_program_below_it_are_one() -> None:
    """Whoever looks at the root alone would see a script that does nothing."""
    found = members((ROOT, NATIVE), ROOT.process, {}, is_program=lambda words: words[:1] == ("/x/claude",))
    assert set(found.values()) == {Member(PROGRAM, ROOT.process)}


def test_a_tool_is_whoever_leads_a_session_below_the_program() -> None:
    """With all that descends from it, also in further sessions, and named by the hook, or else by its command."""
    seen = (one(20, 11, 20, "/bin/bash", "-c", "x"), one(21, 20, 20, "python"), one(22, 21, 22, "daemon"))
    assert roles(*seen) == {20: "tool Bash of 20", 21: "tool Bash of 20", 22: "tool Bash of 20"}
    assert roles(seen[0], tool="")[20] == "tool bash of 20"


def test_a_server_is_known_by_its_words() -> None:
    """In the program's session or in one of its own; what runs in the program's session besides is something else."""
    runner = one(20, 11, 10, "npm exec @scope/chroma-mcp /data")
    own = one(30, 11, 30, "/usr/bin/env", "/opt/files-server", "--root", "/x")
    assert roles(runner, one(21, 20, 10, "sh"), own, one(40, 11, 10, "/usr/bin/rg", "secret")) == {
        20: "MCP server chroma of 20",
        21: "MCP server chroma of 20",
        30: "MCP server files of 30",
        40: "process rg of 40",
    }


def test_an_orphan_stays_what_it_was() -> None:
    """Its parent is gone: it was seen before, or is still in the tool's session; a stranger with a session of its own is a tool."""
    head = ProcessId(20, 200)
    known = {ProcessId(21, 210): Member(TOOL, head)}
    assert roles(one(21, 1, 77, "leak"), known=known) == {21: "tool Bash of 20"}
    assert roles(one(20, 11, 20, "sh"), one(22, 1, 20, "leak"), tool="") == {20: "tool sh of 20", 22: "tool sh of 20"}
    served = {ProcessId(31, 310): Member(Role(Kind.MCP, "chroma"), ProcessId(30, 300))}
    assert roles(one(31, 1, 10, "worker"), known=served) == {31: "MCP server chroma of 30"}
    assert roles(one(23, 1, 23, "leak"), tool="") == {23: "tool leak of 23"}


def test_a_tool_keeps_its_name_while_another_is_called() -> None:
    """A command in the background goes on under the name that it began with."""
    first = members((ROOT, NATIVE, one(20, 11, 20, "sh")), ROOT.process, {}, is_program=lambda words: "claude" in words[0], tool="Bash")
    assert roles(one(20, 11, 20, "sh"), known=first, tool="Monitor") == {20: "tool Bash of 20"}


def test_a_program_that_serves_is_a_server() -> None:
    """It has the words of one: it can be ended, and what it holds is not the program's own."""
    serves = Server("self", ("/x/claude", "mcp", "serve"))
    is_program = lambda words: words[:1] == ("/x/claude",)  # noqa: E731
    seen = (ROOT, NATIVE, one(20, 11, 10, "/x/claude", "mcp", "serve"), one(30, 11, 10, "/x/claude", "-p"))
    found = members(seen, ROOT.process, {}, servers=(serves,), is_program=is_program)
    assert [found[line.process].role.in_words() for line in seen[2:]] == ["MCP server self", "the program itself"]


def test_what_is_known_of_sessions() -> None:
    """The program's own, wherever it is, makes nobody a part of the program; and where nobody tells of sessions there are no tools."""
    apart = one(11, 10, 11, "/x/claude", "-p")
    found = members((ROOT, apart, one(30, 1, 11, "leak")), ROOT.process, {}, is_program=lambda words: words[:1] == ("/x/claude",))
    assert found[apart.process] == Member(PROGRAM, ROOT.process)
    assert found[ProcessId(30, 300)].role == Role(Kind.TOOL, "leak")
    assert roles(one(20, 11, 0, "x" * 50), tool="") == {20: f"process {'x' * 40} of 20"}


def test_whose_size_is_not_known() -> None:
    """It has come since the sizes were read, and counts as nothing."""
    found = members((ROOT, one(20, 10, 20, "sh")), ROOT.process, {})
    assert [part.held_bytes for part in parts(found, {ROOT.process: 7}, {})] == [7, 0]


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "/bin/dash"])
def test_a_shell_can_hold_the_words_of_a_server(shell: str) -> None:
    """Such as those that it hands on; one that runs a script is what the script is."""
    assert serving((shell, "-c", 'exec "$@"', "sh", "@scope/chroma-mcp", "/data"), (CHROMA,)) is None
    assert serving((shell, "/opt/run.sh", "@scope/chroma-mcp", "/data"), (CHROMA,)) is CHROMA


def test_a_server_without_telling_words() -> None:
    """One without arguments, or with short ones alone, is known by its command; one without any words by nothing."""
    plain, short = Server("plain", ("srv",)), Server("short", ("npx", "abc"))
    assert serving(("rg", "abc", "x"), (plain, short, Server("odd", ()))) is None
    assert serving(("node", "/bin/srv"), (plain,)) is plain and serving(("npx", "abc"), (short,)) is short


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("npx", "-y", "@scope/chroma-mcp", "/data"), "chroma"),
        (("node", "/opt/npm/bin/chroma", "@scope/chroma-mcp", "/data"), "chroma"),
        (("/opt/files-server", "--root", "/x"), "files"),
        (("python3", "/opt/files-server", "--root", "/x"), "files"),
        (("/opt/files-server", "--root", "/y"), None),
        (("bash", "-c", "npx -y @scope/chroma-mcp /data"), None),
        (("rg", "/data"), None),
        ((), None),
    ],
)
def test_whose_words_they_are(words: tuple[str, ...], name: str | None) -> None:
    """An interpreter or a runner may come first; a shell can say anybody's words."""
    found = serving(words, (CHROMA, FILES))
    assert (None if found is None else found.name) == name


def test_the_server_with_more_words_counts() -> None:
    """Two of the same program are told apart by their arguments."""
    plain, special = Server("plain", ("python", "server.py")), Server("special", ("python", "server.py", "--special"))
    found = serving(("python", "server.py", "--special"), (plain, special))
    assert found is special and serving(("python", "server.py"), (special, plain)) is plain


def part(kind: Kind, held: int, grew: int | None = None, pid: int = 5) -> Part:
    head = ProcessId(pid, pid)
    return Part(Role(kind, "x"), head, (head,), held * MIB, (held if grew is None else grew) * MIB)


def ended(total: int, *found: Part) -> list[int]:
    return [part.held_bytes // MIB for part in culprits(found, total * MIB, LIMITS)]


def test_the_tool_is_the_culprit_when_ending_it_helps() -> None:
    """Without it the leaf is out of critical, and it is what grew."""
    assert ended(250, part(Kind.PROGRAM, 90, 5), part(Kind.TOOL, 160)) == [160]
    assert ended(250, part(Kind.PROGRAM, 90, 5), part(Kind.MCP, 160, 120)) == [160]


def test_a_restart_is_what_helps() -> None:
    """The program grew more, or is at critical without any tool; what is neither tool nor server is never ended."""
    assert ended(250, part(Kind.PROGRAM, 185, 90), part(Kind.TOOL, 65)) == []
    assert ended(250, part(Kind.PROGRAM, 195, 5), part(Kind.TOOL, 55)) == []
    assert ended(250, part(Kind.PROGRAM, 60, 5), part(Kind.OTHER, 190)) == []
    assert ended(250, part(Kind.PROGRAM, 60, 5), part(Kind.TOOL, 190, 0)) == []


def test_what_has_not_grown_is_not_ended_for_what_has() -> None:
    """It is larger, and would be enough."""
    assert ended(250, part(Kind.PROGRAM, 20, 0), part(Kind.TOOL, 120, 0, pid=1), part(Kind.TOOL, 110, 100, pid=2)) == [110]


def test_several_are_ended_when_one_is_not_enough() -> None:
    """The fewest, the largest first."""
    assert ended(280, part(Kind.PROGRAM, 80, 0), part(Kind.TOOL, 60, pid=1), part(Kind.TOOL, 110, pid=2), part(Kind.MCP, 30, pid=3)) == [
        110
    ]
    assert ended(290, part(Kind.PROGRAM, 100, 0), part(Kind.TOOL, 70, pid=1), part(Kind.TOOL, 60, pid=2), part(Kind.MCP, 60, pid=3)) == [
        70,
        60,
    ]


kinds = st.sampled_from(list(Kind))
some_parts = st.lists(
    st.builds(part, kinds, st.integers(0, 400), st.integers(-100, 400), st.integers(1, 10**6)), max_size=8, unique_by=lambda part: part.head
)


@given(some_parts, st.integers(0, 1000))
def test_what_is_ended_is_enough_and_no_more(found: list[Part], besides: int) -> None:
    """Whatever the tree: the leaf is out of critical afterwards, each one was needed, and only what can be ended and grew is."""
    total = sum(part.held_bytes for part in found) + besides * MIB
    chosen = culprits(found, total, LIMITS)
    line = LIMITS.leave_bytes(MemoryState.CRITICAL)
    if not chosen:
        return
    assert all(part.role.kind in ENDABLE and part.grew_bytes > 0 for part in chosen)
    left = total - sum(part.held_bytes for part in chosen)
    assert left < line and left + min(part.held_bytes for part in chosen) >= line
    others = sum(max(0, part.grew_bytes) for part in found if part not in chosen)
    assert sum(part.grew_bytes for part in chosen) > others


@st.composite
def trees(draw: st.DrawFn) -> list[Lineage]:
    """Trees with sessions, orphans and words of anybody's, parents first."""
    made = [ROOT]
    for pid in range(11, 11 + draw(st.integers(0, 12))):
        above = draw(st.sampled_from(made))
        parent = draw(st.sampled_from([above.process.pid, above.process.pid, 1]))
        session = draw(st.sampled_from([above.session, above.session, pid]))
        words = draw(st.sampled_from([(), ("sh",), ("/x/claude",), CHROMA.words, FILES.words]))
        made.append(Lineage(ProcessId(pid, pid * 10), parent, session, words))
    return made


@given(trees(), st.data())
def test_every_process_is_counted_once(seen: Sequence[Lineage], data: st.DataObject) -> None:
    """The parts are a partition of the tree, each with its head's role, and hold together what all hold; a second look changes nothing."""
    found = members(seen, ROOT.process, {}, servers=(CHROMA, FILES), is_program=lambda words: words == ("/x/claude",), tool="Bash")
    sizes = {line.process: data.draw(st.integers(0, 100)) for line in seen}
    made = parts(found, sizes, {})
    assert sorted(process.pid for part in made for process in part.processes) == sorted(line.process.pid for line in seen)
    assert sum(part.held_bytes for part in made) == sum(sizes.values()) == sum(by_role(made).values())
    assert sum(by_role(made, grown=False).values()) == 0
    assert found[ROOT.process] == Member(PROGRAM, ROOT.process)
    again = members(seen, ROOT.process, found, servers=(CHROMA, FILES), is_program=lambda words: words == ("/x/claude",), tool="Bash")
    assert again == found


@given(trees())
def test_growth_is_what_came_since(seen: Sequence[Lineage]) -> None:
    """Of those that were there, what they hold more; of those that were not, all."""
    found = members(seen, ROOT.process, {})
    sizes = {line.process: 100 for line in seen}
    made = parts(found, sizes, {ROOT.process: 70})
    assert sum(part.grew_bytes for part in made) == 100 * len(seen) - 70 and sum(by_role(made, grown=False).values()) == 70
