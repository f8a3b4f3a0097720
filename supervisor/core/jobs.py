"""Jobs: stopping and starting children one at a time, each awaited before the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .draft import Draft
from .errors import NoProc
from .event import ChildTerminated, ChildUnresponsive
from .exits import Exit
from .fifo import EMPTY_QUEUE
from .message import AbandonChild, AskChild, Call, Finish, KillChild, LaunchChild, Ready, Reply
from .spec import ChildSpec, Restart, Shutdown
from .state import Child, Job, Lifecycle, Operation, Phase, Purpose, Wave
from .value import evolve


def group_steps(draft: Draft, stops: list[str], starts: list[str]) -> tuple[tuple[Operation, str], ...]:
    """Stops in the given order, then starts of every member that will still be there: temporary ones are forgotten."""
    steps: list[tuple[Operation, str]] = [("stop", id) for id in stops]
    steps += [("start", id) for id in starts if draft.children[id].spec.restart is not Restart.TEMPORARY]
    return tuple(steps)


def advance(draft: Draft, job: Job) -> None:
    """Begin the next step of a job that waits for nothing, or complete it."""
    if job.index == len(job.steps):
        complete(draft, job)
        return
    operation, id = job.steps[job.index]
    match operation:
        case "start":
            begin_start(draft, job, draft.children[id])
        case "stop":
            begin_stop(draft, job, draft.children[id])
        case "stop_all":
            begin_stop_all(draft, job)


def begin_start(draft: Draft, job: Job, child: Child) -> None:
    """A new life, with the next generation."""
    born = evolve(child, phase=Phase.STARTING, generation=child.generation + 1, since=draft.now)
    draft.put(born)
    draft.effects.append(LaunchChild(born.spec.id, born.generation))
    draft.job = evolve(job, waiting=True, began=draft.now, deadline=draft.now + born.spec.start_timeout)


def begin_stop(draft: Draft, job: Job, child: Child) -> None:
    """Ask a living child to end, or kill it where its specification says so; one that is dead already is only written down."""
    if child.phase in (Phase.UNDEFINED, Phase.RESTARTING, Phase.EXITED):
        draft.cancel_retry(child.spec.id)
        draft.down(child, None)
        draft.next_step()
        return
    deadline, killed = ask(draft, child)
    draft.job = evolve(job, waiting=True, killed=killed, began=draft.now, deadline=deadline)


def ask(draft: Draft, child: Child) -> tuple[float, bool]:
    """Ask a living child to end, or kill it where its specification says so. Returns its deadline, and whether it was killed."""
    draft.review(child.spec.id)
    draft.put(evolve(child, phase=Phase.STOPPING))
    shutdown = child.spec.shutdown
    if draft.brutal or isinstance(shutdown, Shutdown):
        draft.effects.append(KillChild(child.spec.id, child.generation))
        return draft.now + child.spec.start.kill_timeout, True
    draft.effects.append(AskChild(child.spec.id, child.generation))
    return draft.now + shutdown, False


def begin_stop_all(draft: Draft, job: Job) -> None:
    """Ask all children at the same time; those that have as long have one timer, as in Elixir's ``DynamicSupervisor``."""
    timers: dict[tuple[float, bool], list[str]] = {}
    draft.retries = ()
    for child in draft.ordered():
        id = child.spec.id
        if child.phase in (Phase.UNDEFINED, Phase.RESTARTING, Phase.EXITED):
            draft.down(child, None)
        elif child.phase is Phase.STOPPING and not draft.brutal:
            # it has been asked already: its own ladder goes on
            timers.setdefault((job.deadline, job.killed), []).append(id)
        else:
            timers.setdefault(ask(draft, child), []).append(id)
    if timers:
        waves = [Wave(*timer, frozenset(ids)) for timer, ids in timers.items()]
        draft.job = in_waves(evolve(job, waiting=True, began=draft.now), waves)
    else:
        draft.next_step()


def in_waves(job: Job, waves: Iterable[Wave]) -> Job:
    """The job with these timers."""
    waves = tuple(sorted(waves, key=lambda wave: wave.deadline))
    return evolve(job, waves=waves, deadline=waves[0].deadline)


def expire(draft: Draft, job: Job, due: Callable[[Wave], bool]) -> list[Child]:
    """Timers have run out: kill who is left of those that were asked, and return who survived its kill."""
    waves: dict[float, list[str]] = {}
    survivors: list[Child] = []
    for wave in filter(due, job.waves):
        left = filter(None, map(draft.children.get, wave.ids))
        for child in sorted(left, key=lambda child: child.position):
            if wave.killed:
                survivors.append(give_up_on(draft, job, child))
            else:
                draft.effects.append(KillChild(child.spec.id, child.generation))
                waves.setdefault(draft.now + child.spec.start.kill_timeout, []).append(child.spec.id)
    kept = [wave for wave in job.waves if not due(wave)]
    kept += [Wave(deadline, True, frozenset(ids)) for deadline, ids in waves.items()]
    if kept:
        draft.job = in_waves(job, kept)
    return survivors


def extend(draft: Draft, id: str, generation: int, seconds: float) -> None:
    """A child asks for time to start or to stop: the wait for it ends no sooner than so many seconds from now.

    No effect on one that nobody waits for, that has been killed, or whose specification gives it no time at all.
    """
    job, until = draft.job, draft.now + seconds
    if job is None or draft.life(id, generation) is None:
        return
    for wave in job.waves:
        if id in wave.ids and not wave.killed and until > wave.deadline:
            rest = wave.ids - {id}
            waves = [other for other in job.waves if other is not wave] + ([evolve(wave, ids=rest)] if rest else [])
            draft.job = in_waves(job, [*waves, Wave(until, False, frozenset({id}))])
            return
    if not job.killed and job.steps[job.index] in (("start", id), ("stop", id)) and until > job.deadline:
        draft.job = evolve(job, deadline=until)


def insist(draft: Draft, job: Job, child: Child) -> None:
    """Kill the child that the job waits for; from here on the job waits for its end."""
    draft.effects.append(KillChild(child.spec.id, child.generation))
    draft.put(evolve(child, phase=Phase.STOPPING))
    draft.job = evolve(job, killed=True, deadline=draft.now + child.spec.start.kill_timeout)


def had_to_be_killed(draft: Draft, child: Child) -> bool:
    """Whether a child that the job stops did not end within its `shutdown`; one that is not asked, or never acknowledged, has none."""
    job = draft.job
    assert job is not None
    if draft.brutal or isinstance(child.spec.shutdown, Shutdown) or failed_to_start(job, child):
        return False
    return any(wave.killed and child.spec.id in wave.ids for wave in job.waves) if job.waves else job.killed


def failed_to_start(job: Job, child: Child) -> bool:
    """Whether the child is stopped because it was silent for too long."""
    # a job that closes has other children to stop than the one that its subject names
    return job.failure is not None and (job.purpose is not Purpose.CLOSE or job.subject == child.spec.id)


def give_up_on(draft: Draft, job: Job, child: Child) -> Child:
    """It did not end when it was killed: nobody waits for it any longer."""
    path, waited = draft.path_of(child.spec.id), draft.now - job.began
    # first, so that who hears of it finds nothing of that life any more
    draft.effects.append(AbandonChild(child.spec.id, child.generation))
    draft.emit(ChildUnresponsive(path, generation=child.generation, pid=child.pid, waited=waited, spec=child.spec))
    return child


def overdue(draft: Draft, job: Job) -> list[Child]:
    """The deadline of a waiting job is over: kill, or give up on, whom it waits for. Returns the children that were given up."""
    operation, id = job.steps[job.index]
    if operation == "stop_all":
        return expire(draft, job, lambda wave: wave.deadline <= draft.now)
    child = draft.children[id]
    if operation == "start":
        silence = TimeoutError(f"no acknowledgement within {job.deadline - job.began:g} s")
        # the job ends with the child's end: its other steps are of no use any more
        insist(draft, evolve(job, steps=(*job.steps[: job.index], ("stop", id)), failure=Exit.failed(silence)), child)
    elif not job.killed:
        insist(draft, job, child)
    else:
        return [give_up_on(draft, job, child)]
    return []


def complete(draft: Draft, job: Job) -> None:
    """All steps are done."""
    draft.job = None
    match job.purpose:
        case Purpose.BOOT:
            draft.lifecycle = Lifecycle.RUNNING
            draft.effects.append(Ready())
        case Purpose.TERMINATE_CHILD:
            assert isinstance(job.value, ChildSpec)
            draft.emit(ChildTerminated(draft.path_of(job.subject), spec=job.value))
            job = evolve(job, value=None)
        case Purpose.CLOSE:
            finish(draft, job)
        case _:
            pass
    draft.reply(job, value=job.value)


def finish(draft: Draft, job: Job) -> None:
    """All children are gone: whoever still waits for an answer hears that, and so does the owner."""
    draft.lifecycle = Lifecycle.FINISHED
    for event in draft.mailbox:
        if isinstance(event, Call):
            draft.effects.append(Reply(event.ref, error=NoProc(draft.path)))
    draft.mailbox = EMPTY_QUEUE
    assert job.exit is not None
    draft.effects.append(Finish(job.exit, job.error))


def close(draft: Draft, exit: Exit, error: Exception | None = None) -> None:
    """Stop every child, in reverse start order or, if they are dynamic, all at once, and finish. Whoever called is told so."""
    if draft.lifecycle in (Lifecycle.CLOSING, Lifecycle.FINISHED):
        return
    draft.lifecycle = Lifecycle.CLOSING
    stops: list[tuple[Operation, str]] = [("stop_all", "")]
    if not draft.flags.dynamic:
        stops = [("stop", child.spec.id) for child in reversed(draft.ordered())]
    closing = Job(Purpose.CLOSE, tuple(stops), exit=exit, error=error)
    job = draft.job
    if job is not None:
        draft.reply(job, error=NoProc(draft.path))
        present = job.steps[job.index]
        if job.failure is not None:
            closing = evolve(closing, failure=job.failure, subject=present[1])
        if present in stops:
            # it has been asked already: its own ladder goes on, before the others'
            steps = (present, *(stop for stop in stops if stop != present))
            closing = evolve(closing, steps=steps, waiting=True, began=job.began, deadline=job.deadline, killed=job.killed)
        elif draft.flags.dynamic:
            closing = evolve(closing, deadline=job.deadline, killed=job.killed)
    draft.job = closing


def hurry(draft: Draft, exit: Exit) -> None:
    """Kill everything that lives, now; the order in which the ends are awaited stays."""
    close(draft, exit)
    if draft.brutal:
        return
    draft.brutal = True
    job = draft.job
    if draft.flags.dynamic:
        # one that has not begun has no timers, and kills them when it begins
        if job is not None:
            expire(draft, job, lambda wave: not wave.killed)
        return
    for child in reversed(draft.ordered()):
        if child.phase in (Phase.STARTING, Phase.RUNNING, Phase.STOPPING):
            draft.effects.append(KillChild(child.spec.id, child.generation))
    if job is not None and job.waiting and not job.killed:
        patience = draft.children[job.steps[job.index][1]].spec.start.kill_timeout
        draft.job = evolve(job, killed=True, deadline=draft.now + patience)
