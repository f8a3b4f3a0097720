"""A runaway tool is ended in place of a restart, whether a turn is under way or not; once that does not help, the restart follows."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from supervisor import ProcessId
from workers.policy import effects as fx
from workers.policy.attribution import PROGRAM, Attribution, Kind, Part, Role
from workers.policy.decide import (
    Event,
    Guard,
    HostShort,
    IdleChanged,
    LeafExited,
    LeafStarted,
    Policy,
    Reconfigured,
    RestartDone,
    RestartPostponed,
    RestartRefused,
    Sampled,
    Tick,
    ToolsEnded,
    Unread,
    next_wake,
    step,
    watch,
)
from workers.policy.ending import TRIES
from workers.policy.outlook import SUSTAINED, Outlook
from workers.policy.pressure import MemoryState, Thresholds

MIB = 1 << 20
LIMITS = Thresholds(100 * MIB, 200 * MIB, 300 * MIB, leave_ratio=0.1)
POLICY = Policy(critical_samples=3, critical_grace=60.0, hold_for=2.0)


def tool(held: int, pid: int = 20, kind: Kind = Kind.TOOL) -> Part:
    head = ProcessId(pid, pid)
    return Part(Role(kind, "Bash"), head, (head,), held * MIB, held * MIB)


def seen(program: int, *tools: Part, words: str = "", generation: int = 1, held: bool = False) -> Sampled:
    own = ProcessId(10, 10)
    parts = (Part(PROGRAM, own, (own,), program * MIB, 0), *tools)
    return Sampled(sum(part.held_bytes for part in parts), generation, held, None, Attribution(parts, words))


class Leaf:
    """Feeds events to a guard and keeps what it asks for; a look that it asks for sees `truth`, or else what the last sample has seen."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.guard: Guard = watch(policy, LIMITS)
        self.now = 0.0
        self.looks = 0
        self.last: Sampled | None = None
        self.truth: Sampled | None = None
        self.send(LeafStarted(1))

    def send(self, event: Event, *, after: float = 0.1) -> list[str]:
        self.now += after
        if isinstance(event, Sampled):
            self.last = event
        self.guard, effects = step(self.guard, event, self.now)
        assert not any(isinstance(effect, fx.Look) for effect in effects[:-1])
        if effects and isinstance(effects[-1], fx.Look):
            self.looks += 1
            answer = self.truth or self.last
            assert answer is not None
            self.guard, more = step(self.guard, attrs.evolve(answer, exact=True), self.now)
            effects = (*effects[:-1], *more)
            assert not any(isinstance(effect, fx.Look) for effect in more)
        self.effects = effects
        return [type(effect).__name__ for effect in effects]

    def sample(self, program: int, *tools: Part, words: str = "", held: bool = False) -> list[str]:
        return self.send(seen(program, *tools, words=words, generation=self.guard.generation or 0, held=held))

    def samples(self, count: int, program: int, *tools: Part) -> list[str]:
        return [kind for _ in range(count) for kind in self.sample(program, *tools)]


@pytest.mark.parametrize(("kind", "idle"), [(Kind.TOOL, True), (Kind.TOOL, False), (Kind.MCP, True)])
def test_when_a_restart_is_due_the_tool_is_ended(idle: bool, kind: Kind) -> None:
    """At the sample that would have made it due, a tool also in the middle of a turn; then nothing else is asked for until that is done."""
    leaf = Leaf()
    leaf.send(IdleChanged(idle))
    assert "EndTools" not in leaf.samples(2, 80, tool(150, kind=kind))
    assert leaf.sample(80, tool(150, kind=kind)) == ["EndTools"]
    (wanted,) = leaf.effects
    assert isinstance(wanted, fx.EndTools) and not wanted.urgent and [part.held_bytes for part in wanted.parts] == [150 * MIB]
    assert leaf.samples(5, 80, tool(160, kind=kind)) == [] and leaf.send(Tick(), after=200.0) == [] and next_wake(leaf.guard) is None
    assert leaf.send(ToolsEnded()) == []
    assert leaf.sample(80) == ["LevelChanged"] and leaf.samples(5, 80) == []


def test_a_server_is_ended_between_two_turns() -> None:
    """A call of it may be under way: it is ended when the turn is over, or at the deadline of a restart, and in an emergency at once."""
    for news, after in ((IdleChanged(True), 0.1), (Tick(), POLICY.critical_grace)):
        leaf = Leaf()
        leaf.send(IdleChanged(False))
        assert "EndTools" not in leaf.samples(9, 80, tool(150, kind=Kind.MCP))
        assert leaf.send(Tick()) == [] and leaf.send(news, after=after) == ["EndTools"]
    leaf = Leaf()
    leaf.send(IdleChanged(False))
    assert "EndTools" in leaf.samples(1, 80, tool(250, kind=Kind.MCP))


def test_a_tool_that_is_not_all_of_it_waits_for_the_server() -> None:
    """The turn is not spoilt for what would not help: both together are ended when it is over."""
    leaf = Leaf()
    leaf.send(IdleChanged(False))
    parts = tool(80), tool(90, 30, Kind.MCP)
    assert "EndTools" not in leaf.samples(9, 80, *parts)
    assert leaf.send(IdleChanged(True)) == ["EndTools"]


def test_an_emergency_waits_for_no_samples() -> None:
    """It is urgent, and the leaf is not held: whoever is frozen cannot end. Restarts that are refused are no matter."""
    leaf = Leaf()
    assert leaf.sample(80, tool(240)) == ["LevelChanged", "ThresholdExceeded", "EndTools", "Prepare"]
    (wanted,) = (effect for effect in leaf.effects if isinstance(effect, fx.EndTools))
    assert wanted.urgent and "Hold" not in leaf.samples(3, 80, tool(300))

    refused = Leaf()
    refused.samples(3, 250)
    refused.send(RestartRefused("no", None))
    assert "EndTools" in refused.sample(80, tool(240))


def test_who_is_held_is_released_so_that_the_tool_can_end() -> None:
    """It was held because no tool was known to be the reason; now one is."""
    leaf = Leaf()
    assert "Hold" in leaf.sample(310)
    leaf.send(RestartPostponed(900.0))
    assert leaf.sample(80, tool(240)) == ["EndTools", "Release"]
    assert leaf.guard.holding.until is None
    leaf.send(ToolsEnded())
    assert "Hold" in leaf.sample(310), "the next emergency"


def test_when_it_does_not_help_the_restart_follows() -> None:
    """What is at critical after it is the program's own, and is sustained again."""
    leaf = Leaf()
    leaf.samples(3, 80, tool(150))
    leaf.send(ToolsEnded())
    assert leaf.samples(2, 250) == [] and leaf.sample(250) == ["Restart"]


def test_a_tool_that_cannot_be_ended_is_not_ended_again() -> None:
    """It is still there afterwards: the restart sweeps the whole tree."""
    leaf = Leaf()
    assert "EndTools" in leaf.sample(80, tool(240))
    leaf.send(ToolsEnded())
    assert "Restart" in leaf.sample(80, tool(240))


def test_one_tool_after_the_other() -> None:
    """Each is another one; not without end while the leaf is never below critical in between."""
    leaf = Leaf()
    for number in range(TRIES):
        assert "EndTools" in leaf.sample(80, tool(240, pid=30 + number)), number
        leaf.send(ToolsEnded())
    assert "Restart" in leaf.sample(80, tool(240, pid=99))

    calm = Leaf()
    for number in range(2 * TRIES):
        assert "EndTools" in calm.sample(80, tool(240, pid=30 + number)), number
        calm.send(ToolsEnded())
        calm.sample(80)


def test_what_is_not_the_tools_fault_is_a_restart() -> None:
    """The program is at critical without it; and without anybody who could tell nothing is ended."""
    leaf = Leaf()
    assert "Restart" in leaf.samples(3, 210, tool(40))
    blind = Leaf()
    assert "Restart" in [kind for _ in range(3) for kind in blind.send(Sampled(230 * MIB, 1))]


@pytest.mark.parametrize(("change", "asks"), [({"end_tools": False}, "Restart"), ({"dry_run": True}, "WouldRestart")])
def test_it_can_be_turned_off(change: dict[str, bool], asks: str) -> None:
    """Then the leaf is restarted, tools and all; a dry run says that it would be."""
    leaf = Leaf(attrs.evolve(POLICY, **change))
    kinds = leaf.samples(3, 80, tool(150))
    assert asks in kinds and "EndTools" not in kinds
    on = Leaf(attrs.evolve(POLICY, end_tools=False))
    on.send(Reconfigured(policy=POLICY))
    assert "EndTools" in on.samples(3, 80, tool(150))


def ended(leaf: Leaf) -> list[int]:
    return [part.head.pid for effect in leaf.effects if isinstance(effect, fx.EndTools) for part in effect.parts]


def test_no_more_is_ended_than_a_fresh_look_says() -> None:
    """The parts that the sample came with were seen long before it: by them two would have to go, and it is the other one that is why."""
    leaf = Leaf()
    leaf.truth = seen(80, tool(60, 20), tool(110, 21))
    old = seen(80, tool(60, 20), tool(50, 21)).attribution
    for _ in range(3):
        leaf.send(Sampled(250 * MIB, 1, attribution=old))
    assert ended(leaf) == [21] and leaf.looks == 1
    (wanted,) = (effect for effect in leaf.effects if isinstance(effect, fx.EndTools))
    assert [part.held_bytes for part in wanted.parts] == [110 * MIB] and wanted.total_bytes == 250 * MIB


def test_a_tool_that_was_not_seen_yet_is_ended() -> None:
    """By what was seen long ago the program is why; before it is restarted for that, somebody looks."""
    leaf = Leaf()
    leaf.truth = seen(80, tool(150))
    old = Attribution((Part(PROGRAM, ProcessId(10, 10), (ProcessId(10, 10),), 80 * MIB, 30 * MIB),))
    kinds = [kind for _ in range(3) for kind in leaf.send(Sampled(230 * MIB, 1, attribution=old))]
    assert ended(leaf) == [20] and "Restart" not in kinds


@pytest.mark.parametrize("urgent", [False, True])
def test_what_is_over_by_then_is_nothing(urgent: bool) -> None:
    """Samples may lie in a queue: where the tree is below critical when it is looked at, nothing is ended, held or restarted for them."""
    leaf = Leaf()
    leaf.truth = seen(80, tool(5))
    kinds = leaf.samples(1 if urgent else 3, 80, tool(240 if urgent else 150))
    assert leaf.looks == 1 and not {"EndTools", "Restart", "Hold"} & set(kinds)
    assert kinds[-1] == "LevelChanged" and leaf.guard.due_since is None and leaf.guard.critical_run == 0
    leaf.truth = None
    assert "EndTools" in leaf.samples(3, 80, tool(150))


def test_a_look_is_no_sample() -> None:
    """It counts in place of the last one: neither as one more at critical, nor as growth within no time."""
    leaf = Leaf()
    leaf.truth = seen(280)
    leaf.samples(2, 250)
    rises, count = leaf.guard.pressure.rises, len(leaf.guard.pressure.samples)
    leaf.sample(250)
    (asked,) = leaf.effects
    assert isinstance(asked, fx.Restart) and "280.0 MiB" in asked.reason and "over 3 samples" in asked.reason
    pressure = leaf.guard.pressure
    assert (pressure.rises, len(pressure.samples), pressure.known) == (rises, count + 1, 3) and pressure.total_bytes == 280 * MIB
    assert pressure.peak_bytes == 280 * MIB


def test_where_nobody_can_look_the_leaf_is_restarted() -> None:
    """The parts are unknown by then; the level counts without. An emergency is held for that as ever."""
    leaf = Leaf()
    leaf.truth = Sampled(230 * MIB, 1)
    assert "Restart" in leaf.samples(3, 80, tool(150)) and leaf.guard.attribution is None
    urgent = Leaf()
    urgent.truth = Sampled(320 * MIB, 1)
    assert urgent.sample(80, tool(240))[-2:] == ["Hold", "Restart"]


def test_nobody_looks_for_nothing() -> None:
    """While none is due, none is allowed, or memory cannot be read, a look could change nothing."""
    leaf = Leaf()
    leaf.samples(2, 250)
    leaf.sample(150)
    assert leaf.looks == 0
    leaf.samples(3, 250)
    leaf.send(RestartRefused("no", None))
    looks = leaf.looks
    leaf.samples(5, 250)
    assert leaf.looks == looks == 1
    leaf.send(Unread("no descriptors"))
    leaf.send(IdleChanged(True))
    assert leaf.looks == looks
    waiting = Leaf()
    waiting.send(IdleChanged(False))
    waiting.samples(9, 250)
    assert waiting.looks == 0
    assert waiting.send(IdleChanged(True)) == ["Restart"] and waiting.looks == 1


def foreseen(leaf: Leaf) -> None:
    """Have it that the next level will be reached soon."""
    leaf.guard = attrs.evolve(leaf.guard, outlook=Outlook(since=leaf.now - SUSTAINED, until=leaf.now))


@pytest.mark.parametrize("program", [80, 110])
def test_for_what_is_merely_foreseen_no_tool_is_ended(program: int) -> None:
    """Not even within the band below critical: the leaf is restarted for it between two turns, as one without tools."""
    leaf = Leaf(attrs.evolve(POLICY, prediction_horizon=0.0))
    leaf.sample(80)
    foreseen(leaf)
    kinds = leaf.sample(program, tool(80))
    assert "EndTools" not in kinds and "Restart" in kinds and leaf.guard.level is MemoryState.WARNING
    (asked,) = (effect for effect in leaf.effects if isinstance(effect, fx.Restart))
    assert leaf.looks == 1 and not asked.urgent


def test_after_an_end_it_has_to_be_so_anew() -> None:
    """What was foreseen, and how often it was at critical, was with the tools that are gone; a reason that is not its own stays."""
    leaf = Leaf(attrs.evolve(POLICY, prediction_horizon=0.0))
    assert "EndTools" in leaf.sample(80, tool(240))
    foreseen(leaf)
    leaf.send(ToolsEnded())
    assert leaf.guard.due_since is None and leaf.guard.critical_run == 0 and not leaf.guard.outlook.is_foreseen
    leaf.send(HostShort("the host is short"))
    due = leaf.guard.due_since
    assert due is not None and "EndTools" not in leaf.samples(1, 80)
    other = Leaf()
    other.send(IdleChanged(False))
    other.send(HostShort("the host is short"))
    due = other.guard.due_since
    assert "EndTools" in other.samples(3, 80, tool(150))
    other.send(ToolsEnded())
    assert other.guard.due_since == due is not None


def test_not_without_end_at_critical_either() -> None:
    """What was tried is forgotten below critical, and not before."""
    leaf = Leaf()
    for number in range(TRIES):
        assert "EndTools" in leaf.samples(3, 80, tool(150, pid=30 + number)), number
        leaf.send(ToolsEnded())
    assert "Restart" in leaf.samples(3, 80, tool(150, pid=99))


def test_news_of_other_lives_and_of_no_end_change_nothing() -> None:
    """What is remembered is of the present life; tools that nobody was ending have not ended."""
    leaf = Leaf()
    leaf.samples(2, 250)
    before = leaf.guard
    assert leaf.send(ToolsEnded()) == [] and leaf.guard.critical_run == 2
    assert leaf.send(seen(80, tool(150), generation=9)) == [] and leaf.guard.attribution is before.attribution
    assert "EndTools" in leaf.sample(80, tool(240))
    for news in (LeafStarted(1), LeafExited(0)):
        leaf.send(news)
        assert leaf.guard.ending.under_way and leaf.guard.attribution is not None
    leaf.send(Sampled(320 * MIB, 1))
    leaf.send(LeafExited(1))
    assert not leaf.guard.ending.under_way and leaf.guard.ending.tried == ()


def test_a_new_life_has_no_parts_before_its_first_sample() -> None:
    """Whatever is heard first of it, and of the end of the one before."""
    leaf = Leaf()
    assert "Restart" in leaf.sample(310)
    looks = leaf.looks
    assert leaf.send(RestartDone(2)) == [] and leaf.send(IdleChanged(True)) == [] and leaf.send(LeafExited(1)) == []
    assert leaf.looks == looks


def test_a_server_waits_for_the_whole_of_its_time() -> None:
    """Also where fewer samples make a restart due from now on, and up to the very end."""
    leaf = Leaf()
    leaf.send(IdleChanged(False))
    leaf.samples(2, 80, tool(150, kind=Kind.MCP))
    assert leaf.send(Reconfigured(policy=attrs.evolve(POLICY, critical_samples=2))) == [] and leaf.looks == 0
    leaf.sample(80, tool(150, kind=Kind.MCP))
    due = leaf.guard.due_since
    assert due == leaf.now
    assert leaf.send(Tick(), after=POLICY.critical_grace - 0.01) == [] and leaf.send(Tick(), after=0.01 + 1e-9) == ["EndTools"]


def test_a_reason_says_what_is_ended() -> None:
    """What the leaf has, its level, and what of that is in which part."""
    leaf = Leaf()
    leaf.samples(3, 80, tool(150))
    (wanted,) = leaf.effects
    assert isinstance(wanted, fx.EndTools) and wanted.reason == "memory is at 230.0 MiB, critical, 150.0 MiB of it in tool Bash"


def test_a_reason_says_what_grew() -> None:
    """In the words of whoever keeps account of it."""
    leaf = Leaf()
    for _ in range(3):
        leaf.sample(250, words="grew 3.1 GiB in 4 turns")
    (asked,) = leaf.effects
    assert isinstance(asked, fx.Restart) and asked.reason.endswith("over 3 samples; grew 3.1 GiB in 4 turns")


def test_a_new_life_has_tried_nothing() -> None:
    """What was ended in the life before is forgotten with it, also when that ended meanwhile."""
    leaf = Leaf()
    leaf.sample(80, tool(240))
    leaf.send(LeafExited(1))
    assert not leaf.guard.ending.under_way and leaf.guard.attribution is None
    leaf.send(LeafStarted(2))
    assert leaf.send(ToolsEnded()) == [] and "EndTools" in leaf.sample(80, tool(240))


class Endings(RuleBasedStateMachine):
    """Any order of samples and answers: a tool is never ended twice, never while a restart is under way, and the other way round; and
    whatever was seen before, what is ended is what it takes by what is so then.
    """

    @initialize()
    def begin(self) -> None:
        self.leaf = Leaf(attrs.evolve(POLICY, prediction_horizon=0.0))
        self.ended: set[ProcessId] = set()
        self.under_way = self.asked = False

    def take(self, kinds: list[str]) -> None:
        for effect in self.leaf.effects:
            if isinstance(effect, fx.EndTools):
                assert not self.under_way and not self.asked and effect.level.rank >= 2
                heads = {part.head for part in effect.parts}
                assert not heads & self.ended
                truth = self.leaf.truth
                assert truth is not None and truth.attribution is not None and truth.total_bytes == effect.total_bytes
                assert set(effect.parts) <= set(truth.attribution.parts)
                left, line = (
                    truth.total_bytes - sum(part.held_bytes for part in effect.parts),
                    self.leaf.guard.pressure.thresholds.leave_bytes(MemoryState.CRITICAL),
                )
                assert left < line <= left + min(part.held_bytes for part in effect.parts)
                self.ended |= heads
                self.under_way = True
            elif isinstance(effect, fx.Restart):
                assert not self.under_way and not self.asked
                self.asked = True
            elif isinstance(effect, fx.Hold):
                assert not self.under_way
        assert self.leaf.guard.ending.under_way is self.under_way

    @rule(
        program=st.sampled_from([50, 120, 210, 320]),
        held=st.lists(st.sampled_from([10, 100, 250]), max_size=3),
        first=st.integers(20, 24),
        before=st.none() | st.lists(st.sampled_from([10, 100, 250]), max_size=3),
    )
    def sample(self, program: int, held: list[int], first: int, before: list[int] | None) -> None:
        if program < 200 and not held:
            self.ended.clear()
        tools = [tool(size, pid=first + index) for index, size in enumerate(held)]
        total = program + sum(held)
        if total < 180:
            self.ended.clear()  # out of critical: a tool of that number would be another one
        generation = self.leaf.guard.generation or 0
        self.leaf.truth = seen(program, *tools, generation=generation)
        old = tools if before is None else [tool(size, pid=first + index) for index, size in enumerate(before)]
        attribution = seen(program, *old).attribution
        self.take(self.leaf.send(Sampled(self.leaf.truth.total_bytes, generation, attribution=attribution)))

    @rule(idle=st.booleans())
    def turn(self, idle: bool) -> None:
        self.take(self.leaf.send(IdleChanged(idle)))

    @rule(pause=st.sampled_from([0.5, 30.0, 100.0]))
    def time(self, pause: float) -> None:
        self.take(self.leaf.send(Tick(), after=pause))

    @rule()
    def tools_are_gone(self) -> None:
        self.under_way = False
        self.take(self.leaf.send(ToolsEnded()))

    @rule()
    def restarted(self) -> None:
        if self.asked:
            self.asked = self.under_way = False
            self.ended.clear()
            generation = (self.leaf.guard.generation or 0) + 1
            self.leaf.truth = None
            for event in (LeafExited(generation - 1), LeafStarted(generation), RestartDone(generation)):
                self.take(self.leaf.send(event))

    @rule()
    def refused(self) -> None:
        if self.asked:
            self.asked = False
            self.take(self.leaf.send(RestartRefused("no", 50.0)))


TestEndings = Endings.TestCase
TestEndings.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
