"""What a leaf grew by is kept account of by turns, tools and parts, whatever order the news comes in."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from workers.policy.account import ROLES, TOOLS, TURNS, Account, began, ended, in_words, looked, renewed, used
from workers.policy.attribution import PROGRAM, Kind, Role

MIB = 1 << 20
CHROMA = Role(Kind.MCP, "chroma")
BASH = Role(Kind.TOOL, "Bash")


def turn(account: Account, program: int, chroma: int, *tools: str, at: float = 0.0) -> Account:
    """One turn that leaves so many MiB behind; it begins as the last one ended."""
    account = began(account, at)
    account = looked(account, dict(account.last) or {PROGRAM: 100 * MIB})
    for tool in tools:
        account = used(account, tool)
    account = ended(account, at + 5.0)
    return looked(account, {PROGRAM: program * MIB, CHROMA: chroma * MIB})


def test_turns_and_what_they_came_with() -> None:
    """The words of a restart's reason, and the turns and tools behind them."""
    account = turn(Account(), 110, 90, "mcp", "mcp", "Read")
    account = turn(account, 120, 190, "mcp")
    account = turn(account, 120, 190)
    assert in_words(account) == "grew 210.0 MiB in 3 turns, 190.0 MiB of it in MCP server chroma"
    assert [(one.number, one.seconds, one.grew_bytes // MIB, dict(one.tools)) for one in account.turns] == [
        (1, 5.0, 100, {"mcp": 2, "Read": 1}),
        (2, 5.0, 110, {"mcp": 1}),
        (3, 5.0, 0, {}),
    ]
    assert account.turns[1].by == ((CHROMA, 100 * MIB), (PROGRAM, 10 * MIB))
    assert [(tool.name, tool.calls) for tool in account.tools] == [("mcp", 3), ("Read", 1)]
    assert account.tools[1].grew_bytes == 100 * MIB // 3 and account.tools[0].grew_bytes == 200 * MIB // 3 + 110 * MIB


def test_a_tool_that_goes_on_has_what_comes_later() -> None:
    """It was called before the look before, and nothing was called since."""
    account = looked(used(looked(began(Account(), 0.0), {PROGRAM: 0}), "Bash"), {PROGRAM: 0, BASH: 10 * MIB})
    account = looked(account, {PROGRAM: 0, BASH: 300 * MIB})
    assert [(tool.name, tool.calls, tool.grew_bytes) for tool in account.tools] == [("Bash", 1, 300 * MIB)]
    assert in_words(account) == "grew 300.0 MiB in 1 turn, 300.0 MiB of it in tool Bash"


def test_what_has_grown_before_anybody_looked() -> None:
    """It is growth where it is known what there was earlier in this life; and only the first look has to know."""
    account = looked(Account(), {PROGRAM: 20 * MIB, BASH: 300 * MIB}, {PROGRAM: 15 * MIB})
    assert in_words(account) == "grew 305.0 MiB, 300.0 MiB of it in tool Bash" and account.idle_bytes == 305 * MIB
    assert looked(account, {PROGRAM: 20 * MIB, BASH: 300 * MIB}, {}).grew_bytes == 305 * MIB
    assert in_words(looked(Account(), {PROGRAM: 300 * MIB})) == ""


def test_only_the_last_turns_and_the_largest_tools_are_kept() -> None:
    """However long the session."""
    account = Account()
    for number in range(TURNS + TOOLS):
        account = turn(account, 100 + number * number, 0, f"t{number}")
    assert [one.number for one in account.turns] == list(range(TOOLS + 1, TOOLS + TURNS + 1))
    assert [tool.name for tool in account.tools] == [f"t{number}" for number in range(TURNS + TOOLS - 1, TURNS - 1, -1)]


def test_what_grows_between_turns_is_nobodys() -> None:
    """A leak of an idle program is no turn's."""
    account = turn(Account(), 110, 0, "Bash")
    account = looked(account, {PROGRAM: 150 * MIB})
    account = looked(began(account, 9.0), {PROGRAM: 160 * MIB})
    account = looked(ended(account, 10.0), {PROGRAM: 165 * MIB})
    assert account.idle_bytes == 50 * MIB and [one.grew_bytes // MIB for one in account.turns] == [10, 5]


def test_prompts_that_waited_are_turns_of_their_own() -> None:
    """The next one begins as the last one ends, before anybody has looked."""
    account = looked(began(Account(), 0.0), {PROGRAM: MIB})
    account = looked(began(account, 4.0), {PROGRAM: 3 * MIB})
    account = looked(ended(account, 6.0), {PROGRAM: 4 * MIB})
    assert [(one.seconds, one.grew_bytes // MIB) for one in account.turns] == [(4.0, 2), (2.0, 1)]
    account = began(ended(began(account, 7.0), 8.0), 9.0)
    account = looked(ended(looked(account, {PROGRAM: 4 * MIB}), 10.0), {PROGRAM: 4 * MIB})
    assert [one.seconds for one in account.turns[2:]] == [1.0, 1.0] and account.began is None


def test_a_turn_that_was_over_before_anybody_looked() -> None:
    """What has come since is put down to it."""
    account = looked(began(Account(), 0.0), {PROGRAM: MIB})
    account = looked(ended(account, 1.0), {PROGRAM: MIB})
    account = ended(began(account, 2.0), 3.0)
    assert [one.grew_bytes for one in looked(account, {PROGRAM: 5 * MIB}).turns] == [0, 4 * MIB]


def test_what_was_called_between_turns_is_of_none() -> None:
    """The turn that comes has its own calls, and nothing is put down to a tool that was called before it."""
    account = looked(used(Account(), "Bash"), {PROGRAM: 0})
    account = looked(began(account, 1.0), {PROGRAM: 0})
    account = looked(ended(account, 2.0), {PROGRAM: 50 * MIB})
    assert account.turns[-1].tools == () and account.turns[-1].grew_bytes == 50 * MIB
    assert account.tools == ()


def test_when_a_look_is_wanted() -> None:
    """When a turn has begun, and when it has ended, until there was one; and it ends when that is said first."""
    account = Account()
    assert not account.is_waiting
    account = began(account, 1.0)
    assert account.is_waiting
    account = looked(account, {PROGRAM: 0})
    assert not account.is_waiting
    account = ended(ended(account, 3.0), 9.0)
    assert account.is_waiting
    account = looked(account, {PROGRAM: 0})
    assert not account.is_waiting and account.turns[-1].seconds == 2.0


def test_a_turn_of_which_nothing_was_seen() -> None:
    """It began before the look that ends the one before, and was over by then."""
    account = looked(began(Account(), 0.0), {PROGRAM: 0})
    account = looked(ended(began(account, 4.0), 5.0), {PROGRAM: MIB})
    assert account.began is None and [one.seconds for one in account.turns] == [4.0]


def test_only_so_many_tools_of_a_turn_are_counted() -> None:
    """Those that were called first, and each of their calls."""
    account = looked(began(Account(), 0.0), {PROGRAM: 0})
    for _ in range(2):
        for number in range(TOOLS + 4):
            account = used(account, f"t{number}")
    account = looked(ended(account, 1.0), {PROGRAM: 0})
    assert dict(account.turns[-1].tools) == {f"t{number}": 2 for number in range(TOOLS)}


def test_a_new_life_begins_anew() -> None:
    """It has grown by nothing; what was found before is remembered."""
    account = renewed(turn(Account(), 300, 90, "Bash"))
    assert in_words(account) == "" and account.grew_bytes == 0 and len(account.turns) == 1
    account = looked(began(account, 50.0), {PROGRAM: 100 * MIB})
    assert in_words(looked(account, {PROGRAM: 130 * MIB})) == "grew 30.0 MiB in 1 turn, 30.0 MiB of it in the program itself"


def test_what_shrank_is_not_told_of() -> None:
    """A garbage collector has been there."""
    account = turn(Account(), 50, 0, "Bash")
    assert in_words(account) == "" and account.tools[0].grew_bytes == 0


roles = st.sampled_from([PROGRAM, CHROMA, BASH, *(Role(Kind.OTHER, f"p{number}") for number in range(12))])
news = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.booleans()),
        st.tuples(st.just("used"), st.integers(0, 40).map(lambda number: f"t{number}")),
        st.tuples(st.just("looked"), st.dictionaries(roles, st.integers(0, 1000), max_size=14)),
        st.tuples(st.just("renewed"), st.none()),
    ),
    max_size=120,
)


@given(news)
def test_nothing_is_lost_and_nothing_grows_without_bound(told: list[tuple[str, object]]) -> None:
    """All growth of a life is some turn's or nobody's, tools have no more than turns grew by, and what is kept is bounded."""
    account, rises, life_turns, now = Account(), 0, 0, 0.0
    for what, value in told:
        now += 1.0
        match what, value:
            case "turn", bool(busy):
                account = began(account, now) if busy else ended(account, now)
            case "used", str(tool):
                account = used(account, tool)
            case "looked", dict(held):
                before, counted = (
                    sum(amount for _, amount in account.last) if account.first is not None else sum(held.values()),
                    account.count,
                )
                account = looked(account, held)
                rises += max(0, sum(held.values()) - before)
                if account.count != counted:
                    life_turns += account.turns[-1].grew_bytes
            case _:
                account, life_turns = renewed(account), 0
        assert account.grew_bytes == account.idle_bytes + life_turns + sum(amount for _, amount in account.grown)
        assert sum(amount for _, amount in account.grew_by) == account.grew_bytes
        assert sum(tool.grew_bytes for tool in account.tools) <= rises
        assert len(account.turns) <= TURNS and len(account.tools) <= TOOLS and len(account.calls) <= TOOLS
        assert all(len(one.by) <= ROLES and 0 <= one.seconds < math.inf for one in account.turns)
