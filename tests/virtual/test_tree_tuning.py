"""Nested budgets in a running tree: what `outlook` computes is what happens."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from supervisor import (
    Backoff,
    Breaker,
    ChildSpec,
    Ends,
    GiveUp,
    Registry,
    RestartIntensityExceeded,
    Supervisor,
    SupervisorFlags,
    nested_budgets,
    outlook,
    partitions,
    registered,
    subtree,
    task,
    tasks,
    worst_cases,
)

pytestmark = pytest.mark.anyio

AMPLE: dict[str, Any] = {"intensity": 3, "period": 1000.0}


class Failing:
    """A child of which every life lasts `life` seconds.

    Attributes:
        lives: How many there were.
    """

    def __init__(self, life: float) -> None:
        self.life, self.lives = life, 0

    async def run(self) -> None:
        self.lives += 1
        await anyio.sleep(self.life)
        raise RuntimeError("always")


@pytest.mark.parametrize(
    ("life", "budgets"),
    [
        (0.0, [{"intensity": 3}, {"intensity": 3}, {"intensity": 3}]),
        (1.0, [AMPLE, AMPLE]),
        (1.0, [{"intensity": 0}, AMPLE]),
        (2.0, [{**AMPLE, "backoff": Backoff(4.0, 2.0, 16.0)}, {"intensity": 1, "period": 1000.0}]),
        (0.0, [{**AMPLE, "breaker": Breaker(2)}, AMPLE]),
    ],
)
async def test_a_leaf_is_restarted_as_often_as_computed(life: float, budgets: list[dict[str, Any]]) -> None:
    """Until the root gives up, and after as many seconds."""
    leaf = Failing(life)
    specs = [ChildSpec("leaf", task(leaf.run))]
    for flags in budgets[:-1]:
        specs = [ChildSpec("s", subtree(specs, **flags))]
    root = Supervisor("root", specs, **budgets[-1])
    (worst,) = worst_cases(root.id, root.flags, root.specs)

    computed = outlook(worst.levels, life)
    began = anyio.current_time()
    with pytest.raises(RestartIntensityExceeded):
        async with root:
            await anyio.sleep_forever()
    assert computed.ends is Ends.GIVES_UP
    assert leaf.lives == computed.restarts + 1
    assert anyio.current_time() - began == pytest.approx(computed.seconds)


async def test_a_tree_that_holds_tries_once_in_a_while() -> None:
    """The product ends at the supervisor that holds; from there on it is one trial each time the circuit half-opens."""
    leaf = Failing(0.0)
    hold: dict[str, Any] = {"intensity": 3, "period": 60.0, "on_give_up": GiveUp.HOLD, "breaker": Breaker(3, 100.0)}
    root = Supervisor("root", [ChildSpec("s", subtree([ChildSpec("leaf", task(leaf.run))], **hold))], intensity=1000)
    (worst,) = worst_cases(root.id, root.flags, root.specs)
    async with root:
        await anyio.sleep(99.0)
        assert leaf.lives == worst.outlook.restarts + 1 == 4
        await anyio.sleep(worst.outlook.every or 0.0)
        assert leaf.lives == 5
        await anyio.sleep(worst.outlook.every or 0.0)
        assert leaf.lives == 6


async def test_failures_just_slower_than_the_sustained_rate_never_end_a_tree() -> None:
    """The inner supervisor gives up again and again, the outer one's window never fills."""
    flags: dict[str, Any] = {"intensity": 3, "period": 5.0}
    leaf = Failing(0.42)
    root = Supervisor("root", [ChildSpec("s", subtree([ChildSpec("leaf", task(leaf.run))], **flags))], **flags)
    (worst,) = worst_cases(root.id, root.flags, root.specs)
    assert 1 / worst.sustained == pytest.approx(5 / 12)
    async with root:
        await anyio.sleep(420.0)
        assert leaf.lives > 900


async def test_a_circuit_is_shown_with_the_time_that_it_stays_open() -> None:
    """Open for so long, and half-open during its trial, when there is no such time."""
    leaf = Failing(0.0)
    hold: dict[str, Any] = {"intensity": 1, "period": 60.0, "on_give_up": GiveUp.HOLD, "breaker": Breaker(3, 100.0)}
    async with Supervisor("root", [ChildSpec("leaf", task(leaf.run))], **hold) as root:
        await anyio.sleep(40.0)
        leaf.life = 10.0
        seen = [root.tree().supervisor]
        await anyio.sleep(65.0)
        seen.append(root.tree().supervisor)
    told = [(info.circuit.value, info.reopens_in) for info in seen if info is not None]
    assert told == [("open", pytest.approx(60.0)), ("half_open", None)]


def test_what_is_wrapped_is_looked_through() -> None:
    """What is registered, however often, is what it starts; partitions and task supervisors are supervisors like any."""
    registry: Registry[str, None] = Registry()
    flags: dict[str, Any] = {"intensity": 4}
    specs = [ChildSpec("leaf", task(anyio.sleep_forever))]
    for number in range(3):
        specs = [ChildSpec("s", registered(registered(subtree(specs, **flags), registry, f"a{number}"), registry, f"b{number}"))]
    root = Supervisor("root", specs, **flags)
    (worst,) = worst_cases(root.id, root.flags, root.specs)
    assert (worst.path, worst.outlook.starts) == (("root", "s", "s", "s", "leaf"), (5, 5, 5, 5))
    assert len(nested_budgets([worst])) == 1

    pools = partitions(ChildSpec("any", registered(tasks(intensity=2), registry, "tasks")), 2, intensity=3)
    leaves = worst_cases("root", SupervisorFlags(intensity=4), [ChildSpec("p", pools)])
    assert [("/".join(leaf.path), leaf.outlook.starts) for leaf in leaves] == [(f"root/p/{number}/*", (3, 4, 5)) for number in (0, 1)]
