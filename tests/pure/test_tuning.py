"""How often a leaf is restarted before its tree gives up: the arithmetic, against the machine itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.backoff import Backoff
from supervisor.core.breaker import Breaker
from supervisor.core.event import SupervisorGaveUp
from supervisor.core.launch import ChildType
from supervisor.core.spec import ChildSpec, GiveUp, Restart, Strategy, SupervisorFlags
from supervisor.core.state import Phase, wake_at
from supervisor.core.text import duration
from supervisor.core.tuning import (
    MANY_RESTARTS,
    MANY_TIMES,
    Ends,
    Level,
    Outlook,
    describe_worst,
    nested_budgets,
    outlook,
    sustained,
    worst_cases,
)

from .launches import Asking, Working, dynamic, subtree
from .machine_driver import Play, Scripted, child

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
ELIXIR: dict[str, Any] = {"intensity": 3, "period": 5.0}
HOLDING: dict[str, Any] = {"on_give_up": GiveUp.HOLD, "breaker": Breaker(3, 60.0)}


def leaf(id: str = "leaf", restart: Restart = PERMANENT) -> ChildSpec:
    return ChildSpec(id, Working(), restart=restart)


def levels(*flags: SupervisorFlags, restart: Restart = PERMANENT) -> list[Level]:
    """Supervisors above a leaf, from the one directly above it up; the paths are as deep."""
    return [Level(tuple("abcdef"[: len(flags) - number]), flag, restart if number == 0 else PERMANENT) for number, flag in enumerate(flags)]


def elixir(depth: int, **flags: Any) -> list[Level]:
    return levels(*[SupervisorFlags(**{**ELIXIR, **flags})] * depth)


# ---------------------------------------------------------------- one supervisor, against the machine


def played(flags: SupervisorFlags, life: float, attempts: int) -> tuple[int, float] | None:
    """Play a child of which every life lasts so long: its restarts and the time until its supervisor gives up; None if it does not."""
    play = Play([child("a")], flags)
    play.boot()
    while play.row("a").restarts <= attempts:
        play.wait(life)
        play.crash("a")
        if any(isinstance(event, SupervisorGaveUp) for event in play.events):
            return len(play.restarted()), play.now
        if play.row("a").phase is Phase.RESTARTING:
            play.wait(wake_at(play.state) - play.now)
    return None


@given(
    intensity=st.integers(0, 6),
    period=st.integers(1, 60),
    life=st.integers(0, 12),
    pauses=st.none() | st.tuples(st.integers(0, 8), st.sampled_from([1.0, 2.0, 3.0]), st.integers(0, 40)),
    failures=st.none() | st.integers(1, 8),
    stability=st.integers(1, 15),
    hold=st.booleans(),
)
def test_one_supervisor_does_what_was_computed(
    intensity: int,
    period: int,
    life: int,
    pauses: tuple[int, float, int] | None,
    failures: int | None,
    stability: int,
    hold: bool,
) -> None:
    """With any intensity, period, backoff and breaker: as many restarts in as much time, or no end."""
    backoff = Backoff(pauses[0], pauses[1], pauses[0] + pauses[2]) if pauses is not None else None
    breaker = Breaker(failures) if failures is not None else None
    flags = SupervisorFlags(
        intensity=intensity,
        period=float(period),
        backoff=backoff,
        breaker=breaker,
        stability=float(stability),
        on_give_up=GiveUp.HOLD if hold and breaker is not None else GiveUp.ESCALATE,
    )
    computed = outlook([Level(("root",), flags)], float(life))

    seen = played(flags, float(life), attempts=25)

    if computed.ends is Ends.NEVER:
        assert seen is None
    else:
        assert seen == (computed.restarts, computed.seconds)
        assert (computed.ends is Ends.HOLDS) == (flags.on_give_up is GiveUp.HOLD)


# ---------------------------------------------------------------- several


@pytest.mark.parametrize(("depth", "restarts"), [(1, 3), (2, 15), (3, 63), (4, 255), (5, 1023)])
def test_budgets_multiply_down_a_tree(depth: int, restarts: int) -> None:
    """Three in five seconds, Elixir's default, at each level."""
    worst = outlook(elixir(depth))
    assert worst == Outlook(Ends.GIVES_UP, ("a",), (4,) * depth, restarts, 0.0)


def test_different_budgets_multiply() -> None:
    """From the leaf up; intensity 0 is a factor of one."""
    worst = outlook(levels(*(SupervisorFlags(intensity=intensity) for intensity in (1, 0, 4))))
    assert (worst.starts, worst.restarts, worst.at) == ((2, 1, 5), 9, ("a",))


def test_a_slow_failure_may_never_end_a_tree() -> None:
    """At a level whose window it does not fill; what is below that gives up again and again."""
    assert outlook(elixir(1), 5 / 3).ends is Ends.GIVES_UP
    assert outlook(elixir(1), 1.7) == Outlook(Ends.NEVER, ("a",), (), math.inf, math.inf, 1.7)
    assert outlook(elixir(2), 0.4).ends is Ends.GIVES_UP
    slow = outlook(elixir(2), 0.5)
    assert (slow.ends, slow.at, slow.starts, slow.every) == (Ends.NEVER, ("a",), (4,), 0.5)


def test_a_give_up_of_each_level_takes_its_time() -> None:
    """Each life of the leaf counts, the last one of all included."""
    assert outlook(elixir(1), 1.0).seconds == 4.0
    assert outlook(levels(*[SupervisorFlags(intensity=3, period=100.0)] * 2), 1.0).seconds == 16.0
    assert outlook(levels(SupervisorFlags(intensity=0)), 1.0).seconds == 1.0


def test_a_supervisor_that_is_not_permanent_stays_down() -> None:
    """It ends with a shutdown, which is clean: a transient one is not restarted either, however small the budget below it."""
    for intensity, restarts in ((3, 3), (0, 0)):
        inner, outer = SupervisorFlags(intensity=intensity), SupervisorFlags(intensity=9)
        for restart in (TRANSIENT, TEMPORARY):
            worst = outlook([Level(("a", "b"), inner), Level(("a",), outer, restart)])
            assert (worst.ends, worst.at, worst.restarts, worst.starts) == (Ends.STAYS_DOWN, ("a",), restarts, (intensity + 1,))


def test_a_leaf_that_is_not_restarted() -> None:
    """A temporary one; a transient one that fails is restarted as a permanent one is."""
    assert outlook(levels(SupervisorFlags(), restart=TEMPORARY)) == Outlook(Ends.STAYS_DOWN, ("a",), (), 0, 0.0)
    assert outlook(levels(SupervisorFlags(), restart=TRANSIENT)).restarts == 1


def test_a_supervisor_that_holds_ends_the_product() -> None:
    """It stays up and tries once each time its circuit half-opens; what is above it hears nothing."""
    worst = outlook(levels(SupervisorFlags(**ELIXIR), SupervisorFlags(**ELIXIR, **HOLDING), SupervisorFlags(intensity=1000)))
    assert worst == Outlook(Ends.HOLDS, ("a", "b"), (4, 4), 15, 0.0, 60.0)


def test_a_backoff_stretches_a_burst_and_may_outlast_the_window() -> None:
    """The first restart is immediate; from there on each attempt waits for the end of the pause that the last one began."""
    pauses = Backoff(30.0, 2.0, 300.0)
    agent = levels(SupervisorFlags(intensity=3, period=3600.0, backoff=pauses))
    assert (outlook(agent).restarts, outlook(agent).seconds) == (3, 90.0)
    endless = outlook(levels(SupervisorFlags(intensity=3, period=5.0, backoff=pauses)))
    assert (endless.ends, endless.every) == (Ends.NEVER, 300.0)


def test_a_life_that_lasts_ends_the_growth_of_the_pauses() -> None:
    """One of exactly `stability` seconds lasts."""
    agent = levels(SupervisorFlags(intensity=3, period=3600.0, backoff=Backoff(30.0, 2.0, 300.0), stability=20.0))
    assert outlook(agent, 20.0).seconds == 100.0
    assert outlook(agent, 19.0).seconds == 128.0
    assert played(agent[0].flags, 20.0, attempts=9) == (3, 100.0)


def test_a_child_is_permanent_where_nothing_else_is_said() -> None:
    """At every level."""
    assert outlook([Level(("a", "b"), SupervisorFlags()), Level(("a",), SupervisorFlags())]).ends is Ends.GIVES_UP


def test_a_supervisor_whose_children_are_not_known_is_a_leaf() -> None:
    """Whatever it is that its launch starts."""
    unknown = ChildSpec("s", Scripted(ChildType.SUPERVISOR))
    assert [case.path for case in worst_cases("root", SupervisorFlags(), [unknown])] == [("root", "s")]


def test_a_long_series_of_equal_pauses_is_not_counted_one_by_one() -> None:
    """A budget of a thousand million restarts is computed at once."""
    assert outlook(levels(SupervisorFlags(intensity=10**9, period=1e12, backoff=Backoff(1.0, 2.0, 8.0)))).seconds == 8e9 - 25
    assert outlook(levels(SupervisorFlags(intensity=10**9))).restarts == 1e9


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 100)), min_size=1, max_size=4),
    st.floats(0.001, 100.0),
)
def test_what_a_tree_bears_for_ever_is_the_border(flags: list[tuple[int, int]], life: float) -> None:
    """Failures that come faster than that end the tree, slower ones never do."""
    tree = levels(*(SupervisorFlags(intensity=intensity, period=float(period)) for intensity, period in flags))
    rate = sustained(tree)
    if rate * life > 1 + 1e-9:
        assert outlook(tree, life).ends is Ends.NEVER
    elif rate * life < 1 - 1e-9:
        assert outlook(tree, life).ends is Ends.GIVES_UP


@pytest.mark.parametrize(("depth", "rate"), [(1, 0.6), (2, 2.4), (3, 9.6), (4, 38.4)])
def test_the_sustained_rate_multiplies_too(depth: int, rate: float) -> None:
    """Each level lets through what fills the one below it again and again."""
    assert sustained(elixir(depth)) == pytest.approx(rate)


def test_the_sustained_rate_counts_as_far_as_a_failure_climbs() -> None:
    """Not above a supervisor that holds, or that is not restarted; nothing for a leaf that is not."""
    hold = SupervisorFlags(intensity=3, period=5.0, **HOLDING)
    assert sustained(levels(hold, SupervisorFlags(intensity=1000))) == pytest.approx(0.6)
    assert sustained([*elixir(1), Level(("a",), SupervisorFlags(intensity=1000), TRANSIENT)]) == pytest.approx(0.6)
    assert sustained(levels(SupervisorFlags(), restart=TEMPORARY)) == 0
    assert sustained([*levels(SupervisorFlags(**ELIXIR), restart=TRANSIENT)]) == pytest.approx(0.6)
    assert sustained(levels(SupervisorFlags(intensity=0))) == 0


# ---------------------------------------------------------------- whole trees


def nested(depth: int, *leaves: ChildSpec, **flags: Any) -> tuple[str, SupervisorFlags, list[ChildSpec]]:
    """Supervisors of the same flags, one below the other, and the leaves at the bottom."""
    specs = list(leaves or [leaf()])
    for number in range(depth - 1):
        specs = [ChildSpec(f"s{depth - 1 - number}", subtree(specs, **flags))]
    return "root", SupervisorFlags(**flags), specs


def test_every_leaf_of_a_tree() -> None:
    """In start order, at all depths, with the supervisors above it; a dynamic supervisor stands for its children."""
    inner = subtree([leaf("x"), leaf("y", TEMPORARY)], **ELIXIR)
    specs = [leaf("a"), ChildSpec("inner", inner, restart=TRANSIENT), ChildSpec("many", dynamic(intensity=9, period=60.0))]
    cases = worst_cases("root", SupervisorFlags(), specs)
    assert [("/".join(case.path), case.outlook.restarts, case.outlook.ends) for case in cases] == [
        ("root/a", 1, Ends.GIVES_UP),
        ("root/inner/x", 3, Ends.STAYS_DOWN),
        ("root/inner/y", 0, Ends.STAYS_DOWN),
        ("root/many/*", 19, Ends.GIVES_UP),
    ]
    assert [(level.path, level.restart) for level in cases[1].levels] == [(("root", "inner"), PERMANENT), (("root",), TRANSIENT)]
    assert cases[1].sustained == pytest.approx(0.6)
    assert [case.path for case in worst_cases("root", SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE), [])] == [("root", "*")]


def test_children_that_are_asked_for_at_the_start_are_one_that_is_not_known() -> None:
    """Their supervisor's budget counts all the same."""
    asking = Asking(ChildType.SUPERVISOR, flags=SupervisorFlags(intensity=9, period=60.0))
    (case,) = worst_cases("root", SupervisorFlags(), [ChildSpec("asking", asking)])
    assert (case.path, case.outlook.restarts) == (("root", "asking", "*"), 19)
    assert [level.path for level in case.levels] == [("root", "asking"), ("root",)]


@pytest.mark.parametrize(
    ("depth", "flags", "warned"),
    [
        (3, ELIXIR, False),
        (4, ELIXIR, True),
        (2, {"intensity": 10, "period": 60.0}, True),
        (2, {"intensity": 9, "period": 60.0}, False),
        (1, {"intensity": 100_000, "period": 60.0}, False),
        (6, {}, False),
        (7, {}, True),
        (5, {**ELIXIR, **HOLDING}, False),
    ],
)
def test_what_is_beyond_reason(depth: int, flags: dict[str, Any], warned: bool) -> None:
    """More than a hundred restarts, of which no supervisor meant more than a tenth."""
    cases = worst_cases(*nested(depth, **flags))
    assert bool(nested_budgets(cases)) == warned
    assert (cases[0].outlook.restarts > MANY_RESTARTS) >= warned


def test_a_large_budget_that_was_meant_is_no_warning() -> None:
    """The others multiply it by less than ten, whether they are above it or below; one that admits none multiplies nothing."""
    meant = ChildSpec("busy", subtree([leaf()], intensity=100, period=60.0))
    assert worst_cases("root", SupervisorFlags(intensity=8), [meant])[0].outlook.restarts == 908
    assert nested_budgets(worst_cases("root", SupervisorFlags(intensity=8), [meant])) == ()
    assert len(nested_budgets(worst_cases("root", SupervisorFlags(intensity=9), [meant]))) == 1
    silent = ChildSpec("silent", subtree([leaf()], intensity=0))
    assert worst_cases("root", SupervisorFlags(intensity=5000), [silent])[0].outlook.restarts == 5000
    assert nested_budgets(worst_cases("root", SupervisorFlags(intensity=5000), [silent])) == ()
    small = ChildSpec("small", subtree([leaf()], intensity=8))
    assert nested_budgets(worst_cases("root", SupervisorFlags(intensity=100), [small])) == ()
    small = ChildSpec("small", subtree([leaf()], intensity=9))
    assert len(nested_budgets(worst_cases("root", SupervisorFlags(intensity=100), [small]))) == 1
    often = ChildSpec("often", subtree([leaf()], intensity=15))
    assert worst_cases("root", SupervisorFlags(intensity=8), [often])[0].outlook.restarts == 143
    assert nested_budgets(worst_cases("root", SupervisorFlags(intensity=8), [often])) == ()
    assert (MANY_RESTARTS, MANY_TIMES) == (100, 10)


def test_what_goes_on_for_ever_is_no_product() -> None:
    """Its restarts are without number, and its budgets do not multiply to that."""
    slow = SupervisorFlags(intensity=3, backoff=Backoff(30.0, 2.0, 300.0))
    (case,) = worst_cases("root", slow, [ChildSpec("inner", subtree([leaf()], **ELIXIR))])
    assert (case.outlook.ends, case.outlook.starts, case.outlook.restarts) == (Ends.NEVER, (4,), math.inf)
    assert nested_budgets([case]) == ()


def test_a_warning_says_where_and_how_it_comes_about() -> None:
    """One line for the leaves of one supervisor that come to the same, with the product from the top down."""
    flags = SupervisorFlags(intensity=1)
    inner = subtree([leaf("x"), leaf("y"), leaf("z", TEMPORARY)], intensity=6)
    middle = subtree([ChildSpec("inner", inner)], intensity=9)
    assert nested_budgets(worst_cases("root", flags, [ChildSpec("middle", middle)])) == (
        ("root/middle/inner/x and 1 sibling: restarted 139 times before root gives up: nested budgets multiply (2 x 10 x 7 starts)"),
    )


def test_the_worst_bursts_in_words() -> None:
    """How often, in which time, and what then."""
    pauses = Backoff(30.0, 2.0, 300.0)

    def said(flags: SupervisorFlags, *specs: ChildSpec) -> list[str]:
        return list(describe_worst(worst_cases("root", flags, specs)))

    assert said(SupervisorFlags(), leaf("a"), leaf("b"), leaf("c"), leaf("d", TEMPORARY)) == [
        "root/a and 2 siblings: restarted 1 time before root gives up",
        "root/d: never restarted",
    ]
    assert said(SupervisorFlags(intensity=3, period=3600.0, backoff=pauses, **HOLDING), leaf()) == [
        "root/leaf: restarted 3 times within 1 min 30 s before root holds and tries once every 1 min 00 s"
    ]
    assert said(SupervisorFlags(intensity=3, backoff=pauses), leaf()) == [
        "root/leaf: restarted for ever, every 5 min 00 s at last: the window of root never fills"
    ]
    twins = [ChildSpec(id, subtree([leaf()])) for id in "st"]
    assert said(SupervisorFlags(), *twins) == [f"root/{id}/leaf: restarted 3 times before root gives up" for id in "st"]
    down = ChildSpec("s", subtree([leaf()], **ELIXIR), restart=TRANSIENT)
    assert said(SupervisorFlags(), down) == ["root/s/leaf: restarted 3 times and then root leaves down what gave up"]


# ---------------------------------------------------------------- the page

PAGE = Path(__file__).parents[2] / "docs" / "tuning.md"
ROWS = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
NAMES = {"S": SupervisorFlags, "Backoff": Backoff, "Breaker": Breaker, "GiveUp": GiveUp}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]}")
def test_the_numbers_of_the_page_are_computed(row: list[str]) -> None:
    """Restarts, time, what then, and what the tree bears, for every row of every table of docs/tuning.md."""
    expression, life, *said = row
    flags = eval(expression.strip("`"), dict(NAMES))
    tree = levels(*(flags if isinstance(flags, list) else [flags]))
    computed = outlook(tree, float(life.removesuffix(" s")))
    every = f", one every {duration(computed.every)}" if computed.every is not None else ""
    assert said == [
        "for ever" if computed.restarts == math.inf else f"{computed.restarts:.0f}",
        "-" if computed.seconds == math.inf else duration(computed.seconds),
        f"{computed.ends.value.replace('_', ' ')}{every}",
        f"{sustained(tree) * 3600:,.0f}",
    ]


def test_the_page_has_tables() -> None:
    """And a bound that is the one of the code."""
    assert len(ROWS) > 30
    assert f"more than {MANY_RESTARTS} restarts of one leaf" in PAGE.read_text()
