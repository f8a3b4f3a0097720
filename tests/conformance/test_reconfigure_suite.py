"""Cases of OTP's own ``supervisor_SUITE`` about ``code_change``, under their names; `reconfigure` is what it is called here."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from supervisor import (
    AutoShutdown,
    BadCombination,
    Breaker,
    ChildSpec,
    DynamicSupervisor,
    Exit,
    GiveUp,
    InvalidField,
    Restart,
    RestartIntensityExceeded,
    Strategy,
    Supervisor,
)
from supervisor.testing import Hang, Scripted, settle

from .casting import states

pytestmark = pytest.mark.anyio


async def test_code_change() -> None:
    """Flags and specifications are replaced; known children keep running, new ones are not started, those no longer named stay, last."""
    one, two, three = Scripted(), Scripted(), Scripted()
    async with Supervisor("sup", intensity=0, period=1) as sup:
        await sup.reconfigure([], intensity=1, period=3)

        await sup.reconfigure([ChildSpec("child1", one, shutdown=2.0), ChildSpec("child2", two)])
        assert states(sup) == [("child2", "undefined"), ("child1", "undefined")]
        await sup.restart_child("child1")
        await sup.restart_child("child2")
        assert states(sup) == [("child2", "running"), ("child1", "running")]
        assert sup.get_childspec("child1").shutdown == 2.0

        await sup.reconfigure([ChildSpec("child1", one, shutdown=1.0), ChildSpec("child3", three)])
        assert states(sup) == [("child2", "running"), ("child3", "undefined"), ("child1", "running")]
        assert sup.get_childspec("child1").shutdown == 1.0

        one.crash()  # the new intensity admits it
        assert states(sup) == [("child2", "running"), ("child3", "undefined"), ("child1", "running")]
    assert (one.starts, two.starts, three.starts) == (2, 1, 0)


@pytest.mark.parametrize(
    ("specs", "flags", "error"),
    [
        ([ChildSpec("child2", Scripted()), "no specification"], {}, InvalidField),
        ([ChildSpec("child2", Scripted())], {"intensity": "faulty"}, InvalidField),
        ([ChildSpec("child2", Scripted())], {"strategy": "faulty"}, InvalidField),
        ([ChildSpec("child2", Scripted(), restart=Restart.TRANSIENT, significant=True)], {}, BadCombination),
        ([], {"strategy": Strategy.SIMPLE_ONE_FOR_ONE}, BadCombination),
    ],
)
async def test_code_change_with_something_faulty(specs: list[Any], flags: Any, error: type[Exception]) -> None:
    """It is refused, and the old state stays."""
    child = Scripted()
    async with Supervisor("sup", [ChildSpec("child1", child)]) as sup:
        before = sup.state
        with pytest.raises(error):
            await sup.reconfigure(specs, **flags)
        assert sup.state == before


async def test_changes_that_wait_for_each_other_are_all_made() -> None:
    """While the supervisor is busy: each is made on what the one before it has left, and judged by it."""
    child, hanging = Scripted(), Scripted([Hang()])
    async with Supervisor("sup", [ChildSpec("child1", child)]) as sup, anyio.create_task_group() as tasks:
        tasks.start_soon(sup.start_child, ChildSpec("child2", hanging))
        await settle()
        for flags in ({"intensity": 7}, {"period": 9.0}, {"breaker": Breaker()}, {"on_give_up": GiveUp.HOLD}):
            tasks.start_soon(partial(sup.reconfigure, [ChildSpec("child1", child)], **flags))
            await settle()
        with pytest.raises(TypeError, match="nonsense"):
            await sup.reconfigure([], nonsense=1)  # type: ignore[call-arg]
        hanging.acknowledge()
        await settle()
        changed = sup.state.flags
        assert (changed.intensity, changed.period, changed.breaker, changed.on_give_up) == (7, 9.0, Breaker(), GiveUp.HOLD)


async def test_code_change_simple() -> None:
    """A dynamic supervisor takes flags, and no children: each of its has a specification of its own, where OTP's have one template."""
    async with DynamicSupervisor("sup") as sup:
        await sup.start_child(ChildSpec("a", Scripted()))
        await sup.reconfigure([], max_children=1)
        with pytest.raises(InvalidField):
            await sup.reconfigure([ChildSpec("b", Scripted())])
        with pytest.raises(BadCombination):
            await sup.reconfigure([], strategy=Strategy.ONE_FOR_ONE)
        assert states(sup) == [("a", "running")]


async def test_the_history_survives_a_code_change() -> None:
    """What was spent stays spent, and is held against the new intensity."""
    child = Scripted()

    async def three_crashes() -> None:
        async with Supervisor("sup", [ChildSpec("child1", child)], intensity=3, period=100) as sup:
            child.crash()
            child.crash()
            await sup.reconfigure([], intensity=2)
            child.crash()
            await anyio.sleep(1)

    with pytest.raises(RestartIntensityExceeded):
        await three_crashes()
    assert child.starts == 3


# ---------------------------------------------------------------- the flag auto_shutdown, changed under significant children


class Pair:
    """A supervisor with two transient children that begin as `before` says; significant wherever that is allowed."""

    def __init__(self, before: AutoShutdown) -> None:
        self.one, self.two = Scripted(), Scripted()
        self.sup = Supervisor("sup", self.specs(significant=before is not AutoShutdown.NEVER), auto_shutdown=before)

    def specs(self, *, significant: bool) -> list[ChildSpec]:
        pair = {"child1": self.one, "child2": self.two}
        return [ChildSpec(id, child, restart=Restart.TRANSIENT, significant=significant) for id, child in pair.items()]

    async def ended_by(self, after: AutoShutdown) -> int | None:
        """Change the flag, and the children's where that is allowed; then let them end, and say how many ends it took, None for never."""
        ended = 0
        async with self.sup:
            # under a supervisor that never shuts itself down they can no longer be named as significant, and keep what they are
            await self.sup.reconfigure(self.specs(significant=True) if after is not AutoShutdown.NEVER else [], auto_shutdown=after)
            for child in (self.one, self.two):
                child.end(Exit.normal())
                ended += 1
                await settle()
            return None
        return ended


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [
        pytest.param(AutoShutdown.NEVER, AutoShutdown.ANY_SIGNIFICANT, 1, id="significant_upgrade_never_any"),
        pytest.param(AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.NEVER, None, id="significant_upgrade_any_never"),
        pytest.param(AutoShutdown.NEVER, AutoShutdown.ALL_SIGNIFICANT, 2, id="significant_upgrade_never_all"),
        pytest.param(AutoShutdown.ALL_SIGNIFICANT, AutoShutdown.NEVER, None, id="significant_upgrade_all_never"),
        pytest.param(AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT, 2, id="significant_upgrade_any_all"),
        pytest.param(AutoShutdown.ALL_SIGNIFICANT, AutoShutdown.ANY_SIGNIFICANT, 1, id="significant_upgrade_all_any"),
    ],
)
async def test_significant_upgrade(before: AutoShutdown, after: AutoShutdown, ends: int | None) -> None:
    """What counts for later ends is the new flag."""
    pair = Pair(before)
    assert await pair.ended_by(after) == ends
    assert pair.sup.exit == Exit.shutdown()


async def test_significant_upgrade_all_any_after_one_has_ended() -> None:
    """What ended under the old flag is not looked at again: only the next end counts."""
    pair, seen = Pair(AutoShutdown.ALL_SIGNIFICANT), []
    async with pair.sup:
        pair.one.end(Exit.normal())
        await pair.sup.reconfigure([], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
        await settle()
        seen.append(states(pair.sup))
        pair.two.end(Exit.normal())
        await settle()
        pytest.fail("it goes on")
    assert seen == [[("child2", "running"), ("child1", "undefined")]]


async def test_significant_upgrade_child() -> None:
    """A living child becomes significant, or is no longer: what counts when it ends is what it is then."""
    plain, special, seen = Scripted(), Scripted(), []

    def specs(*, significant: bool) -> list[ChildSpec]:
        return [
            ChildSpec("plain", plain, restart=Restart.TRANSIENT, significant=not significant),
            ChildSpec("special", special, restart=Restart.TRANSIENT, significant=significant),
        ]

    async with Supervisor("sup", specs(significant=False), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT) as sup:
        await sup.reconfigure(specs(significant=True))
        plain.end(Exit.normal())
        await settle()
        seen.append(states(sup))
        special.end(Exit.normal())
        await settle()
        pytest.fail("it goes on")
    assert seen == [[("special", "running"), ("plain", "undefined")]]
