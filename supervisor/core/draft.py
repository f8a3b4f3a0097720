"""One step in the making: a supervisor's state laid out for change. Never seen outside of `machine.step`."""

from __future__ import annotations

import math
from bisect import insort

from .budget import Budget
from .errors import Path
from .event import Event
from .exits import Exit
from .message import Effect, Emit, ForgetChild, Reply
from .spec import Restart, Strategy
from .state import Child, Job, Phase, State
from .strategy import affected
from .value import evolve


class Draft:
    """The fields of `State`, and the smallest changes to them that keep it whole."""

    __slots__ = (
        "brutal",
        "buried",
        "children",
        "crash",
        "cycle",
        "effects",
        "failures",
        "flags",
        "job",
        "lifecycle",
        "mailbox",
        "now",
        "path",
        "positions",
        "retries",
        "seed",
        "touched",
    )

    def __init__(self, state: State, now: float) -> None:
        self.now = now
        self.path: Path = state.path
        self.flags, self.lifecycle = state.flags, state.lifecycle
        self.children, self.positions = state.children, state.positions
        self.job: Job | None = state.job
        self.mailbox, self.retries = state.mailbox, state.retries
        self.crash, self.cycle, self.failures = state.crash, state.cycle, state.failures
        self.brutal, self.seed, self.buried = state.brutal, state.seed, state.buried
        self.effects: list[Effect] = []
        self.touched: list[str] = []

    def state(self) -> State:
        """The finished state."""
        return State(
            self.path,
            self.flags,
            self.lifecycle,
            self.children,
            self.positions,
            self.job,
            self.mailbox,
            self.retries,
            self.crash,
            self.cycle,
            self.failures,
            self.brutal,
            self.seed,
            self.buried,
            tuple(self.touched),
        )

    # ------------------------------------------------------------ the table

    def life(self, id: str, generation: int) -> Child | None:
        """The child, if this is its present life."""
        child = self.children.get(id)
        return child if child is not None and child.generation == generation else None

    def put(self, child: Child) -> None:
        """Write a row of the table."""
        self.children = self.children.insert(child.spec.id, child)
        self.touched.append(child.spec.id)

    def drop(self, id: str) -> None:
        """Forget the child, specification and all."""
        self.buried = max(self.buried, self.children[id].generation)
        self.children = self.children.remove(id)
        if id in self.cycle.proven:
            self.cycle = evolve(self.cycle, proven=self.cycle.proven.remove(id))
        self.touched.append(id)
        self.effects.append(ForgetChild(id))

    def down(self, child: Child, exit: Exit | None) -> None:
        """It no longer runs: a temporary child is forgotten, and so is any of a dynamic supervisor; any other keeps its place."""
        if child.spec.restart is Restart.TEMPORARY or (self.flags.dynamic and not self.comes_back(child.spec.id)):
            self.drop(child.spec.id)
        else:
            self.put(evolve(child, phase=Phase.UNDEFINED, pid=None, since=self.now, exit=exit or child.exit))

    def comes_back(self, id: str) -> bool:
        """Whether the job will start the child."""
        return self.job is not None and ("start", id) in self.job.steps[self.job.index + 1 :]

    def ordered(self) -> list[Child]:
        """All children, first started first."""
        return sorted(self.children.values(), key=lambda child: child.position)

    def group(self, id: str) -> list[str]:
        """The ids that restart with `id`, in start order."""
        if self.flags.strategy in (Strategy.ONE_FOR_ONE, Strategy.SIMPLE_ONE_FOR_ONE):
            return [id]
        return list(affected(self.flags.strategy, [child.spec.id for child in self.ordered()], id))

    # ------------------------------------------------------------ what waits

    def retry(self, child: Child, at: float) -> None:
        """The child waits for its next restart; of those that wait for one moment the one that is down for the longest is the first."""
        self.put(evolve(child, phase=Phase.RESTARTING))
        retries = list(self.retries)
        insort(retries, (at, child.spec.id), key=lambda retry: (retry[0], self.children[retry[1]].since))
        self.retries = tuple(retries)

    def cancel_retry(self, id: str) -> None:
        """The child waits no longer."""
        self.retries = tuple(retry for retry in self.retries if retry[1] != id)

    def awaits_start(self, id: str) -> Job | None:
        """The job, if it waits for the start of this child, which has been launched."""
        job = self.job
        assert job is not None  # a child starts within a job, and that can only give way to another: to the one that closes
        return job if job.steps[job.index] == ("start", id) else None

    def next_step(self, value: object = None) -> None:
        """The step that was begun is done."""
        job = self.job
        assert job is not None
        self.job = evolve(job, index=job.index + 1, waiting=False, value=job.value if value is None else value)

    # ------------------------------------------------------------ what was attempted

    def review(self, id: str) -> None:
        """Judge what was attempted for a child, where time has: a life that lasted is a success, one that was cut short is none."""
        if self.crash.pending or self.cycle.pending:
            self.crash = self._reviewed(self.crash, id, self.flags.stability)
            self.cycle = self._reviewed(self.cycle, id, math.inf if self.flags.judged else self.flags.stability)

    def review_all(self) -> None:
        """Judge everything that was attempted, where time has."""
        for id in (*self.crash.pending, *self.cycle.pending):
            self.review(id)

    def _reviewed(self, budget: Budget, id: str, stability: float) -> Budget:
        generation, child = budget.pending.get(id), self.children.get(id)
        if generation is None or (child is not None and child.generation < generation):
            return budget
        if child is None or child.generation > generation or child.phase is Phase.UNDEFINED:
            return budget.voided(id)
        lasted = child.phase is Phase.RUNNING and self.now - child.since >= stability
        return budget.succeeded(id) if lasted else budget

    # ------------------------------------------------------------ what goes out

    def path_of(self, id: str) -> Path:
        """The path of a child."""
        return (*self.path, id)

    def crashes_left(self) -> int:
        """Restarts after failures that the window still admits."""
        return self.crash.left(self.flags, self.now)

    def emit(self, event: Event) -> None:
        """Publish an event."""
        self.effects.append(Emit(event))

    def reply(self, job: Job, *, value: object = None, error: Exception | None = None) -> None:
        """Answer the call that the job was for, if there was one."""
        if job.ref is not None:
            self.effects.append(Reply(job.ref, value, error, id=job.subject))

    def random(self) -> float:
        """The next number in [0, 1); Knuth's MMIX generator. Drawn only where there is a jitter to place."""
        if self.flags.backoff is not None and self.flags.backoff.jitter:
            self.seed = (self.seed * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.seed >> 11) / 2**53
