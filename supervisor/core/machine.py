"""The supervisor as a pure machine: `step(state, event, now) -> (state, effects)`.

The semantics are OTP's, clause by clause (``supervisor.erl`` of OTP 29). A job is what OTP's supervisor process does inside one
message: it stops and starts children one at a time and serves nothing else meanwhile; what arrives is kept in the mailbox
and taken in order afterwards. Where this machine differs, on purpose, it is because a Python tree must end in bounded time:
a request to stop is served at once, also in the middle of a start, and a child that survives its kill is given up.

`draft` is a step in the making, `jobs` stops and starts, `restarts` decides what an end means, `calls` serves requests.
"""

from __future__ import annotations

from .calls import call
from .draft import Draft
from .errors import CallError, NoProc, SpecError
from .event import ChildExited, ChildRestarted, ChildStarted
from .exits import Exit
from .jobs import advance, close, extend, failed_to_start, had_to_be_killed, hurry, overdue
from .message import Acknowledged, Boot, Call, Declined, Effect, Ended, Extend, Hurry, Input, Judge, Reply, Stop, Tick
from .restarts import ended_by_itself, report_failed_start, request_restart, settle, start_failed
from .state import Child, Job, Lifecycle, Phase, Purpose, State
from .value import evolve

__all__ = ["step"]


def step(state: State, event: Input, now: float) -> tuple[State, tuple[Effect, ...]]:
    """Take one input.

    Args:
        state: From `initial` or from the last call.
        event: What happened or is asked for.
        now: Monotonic seconds; never less than in the last call.

    Returns:
        The new state, and what is to be done, in order.
    """
    draft = Draft(state, now)
    take(draft, event)
    run(draft)
    return draft.state(), tuple(draft.effects)


def take(draft: Draft, event: Input) -> None:
    """Serve an input now if it concerns the job under way or must not wait, else leave it in the mailbox."""
    match event:
        case Acknowledged():
            acknowledged(draft, event)
        case Ended():
            ended(draft, event)
        case Declined():
            declined(draft, event)
        case Extend(id=id, generation=generation, seconds=seconds):
            extend(draft, id, generation, seconds)
        case Tick():
            tick(draft)
        case Stop(exit=exit):
            close(draft, exit)
        case Hurry(exit=exit):
            hurry(draft, exit)
        case Boot():
            if draft.lifecycle is Lifecycle.NEW:
                draft.lifecycle = Lifecycle.BOOTING
                draft.job = Job(Purpose.BOOT, tuple(("start", child.spec.id) for child in draft.ordered()))
        case Call(ref=ref) if draft.lifecycle in (Lifecycle.CLOSING, Lifecycle.FINISHED):
            draft.effects.append(Reply(ref, error=NoProc(draft.path)))
        case Call() | Judge():
            draft.mailbox = draft.mailbox.enqueue(event)


def run(draft: Draft) -> None:
    """Advance the job, then take what waits, until there is something to wait for."""
    while True:
        if draft.job is not None:
            if draft.job.waiting:
                return
            advance(draft, draft.job)
        elif draft.lifecycle is Lifecycle.RUNNING and not draft.mailbox.is_empty():
            event = draft.mailbox.peek()
            draft.mailbox = draft.mailbox.dequeue()
            receive(draft, event)
        else:
            return


def receive(draft: Draft, event: Input) -> None:
    """Take an input out of the mailbox; the supervisor is idle."""
    match event:
        case Ended(id=id, generation=generation, exit=exit):
            child = draft.life(id, generation)
            if child is not None and child.phase is Phase.EXITED:
                ended_by_itself(draft, child, exit)
        case Call(ref=ref, request=request):
            try:
                call(draft, ref, request)
            except (CallError, SpecError) as error:
                draft.effects.append(Reply(ref, error=error))
        case Judge(id=id, generation=generation, success=success):
            if draft.life(id, generation) is not None:
                draft.cycle = draft.cycle.judged(id, generation, draft.flags, draft.now, success=success)
        case _:
            pass


def acknowledged(draft: Draft, event: Acknowledged) -> None:
    """A child is up."""
    child = draft.life(event.id, event.generation)
    if child is None or child.phase is not Phase.STARTING:
        return
    job = draft.awaits_start(event.id)
    again = job is not None and job.purpose in (Purpose.RESTART, Purpose.CYCLE)
    draft.put(evolve(child, phase=Phase.RUNNING, pid=event.pid, since=draft.now, restarts=child.restarts + again))
    purpose = job.purpose if job is not None else ""
    draft.emit(ChildStarted(draft.path_of(event.id), event.pid, generation=event.generation, spec=child.spec, purpose=purpose))
    if job is None:
        return
    if again:
        draft.emit(restarted(draft, job, event, child))
    draft.next_step(value=event.value if event.id == job.subject else None)


def restarted(draft: Draft, job: Job, event: Acknowledged, child: Child) -> ChildRestarted:
    controlled = job.purpose is Purpose.CYCLE
    budget = draft.cycle if controlled else draft.crash
    return ChildRestarted(
        draft.path_of(event.id),
        generation=event.generation,
        reason=job.reason,
        controlled=controlled,
        attempt=budget.window.size,
        budget_left=budget.left(draft.flags, draft.now),
        spec=child.spec,
    )


def declined(draft: Draft, event: Declined) -> None:
    """A child declined to start: it keeps its place unless it is temporary, and the job goes on."""
    child = draft.life(event.id, event.generation)
    if child is None:
        return
    if child.phase is Phase.STARTING:
        draft.down(child, None)
        if draft.awaits_start(event.id) is not None:
            draft.next_step()
    elif child.phase is Phase.STOPPING:
        # it had been asked to end, or was overdue, before it declined: nothing runs, and nothing more will be heard
        stopped(draft, child, None)


def ended(draft: Draft, event: Ended) -> None:
    """A life is over: as asked, before it was acknowledged, or by itself."""
    child = draft.life(event.id, event.generation)
    if child is None:
        return
    match child.phase:
        case Phase.STARTING:
            job = draft.awaits_start(event.id)
            if job is not None:
                start_failed(draft, job, child, event.exit)
            else:
                # the supervisor was told to stop meanwhile: nobody waits for this start any more
                report_failed_start(draft, child, event.exit, "")
                draft.down(child, event.exit)
        case Phase.STOPPING:
            exited(draft, child, event.exit, expected=True, killed=had_to_be_killed(draft, child))
            stopped(draft, child, event.exit)
        case Phase.RUNNING:
            exited(draft, child, event.exit, expected=draft.brutal, budget_left=draft.crashes_left())
            settle(draft, child, event.exit)
            if draft.job is None:
                ended_by_itself(draft, child, event.exit)
            else:
                draft.put(evolve(child, phase=Phase.EXITED, exit=event.exit))
                draft.mailbox = draft.mailbox.enqueue(event)
        case _:
            pass


def exited(draft: Draft, child: Child, exit: Exit, *, expected: bool, killed: bool = False, budget_left: int | None = None) -> None:
    draft.emit(
        ChildExited(
            draft.path_of(child.spec.id),
            child.pid,
            expected,
            draft.now - child.since,
            exit=exit,
            generation=child.generation,
            spec=child.spec,
            killed=killed,
            budget_left=budget_left,
        )
    )


def stopped(draft: Draft, child: Child, exit: Exit | None) -> None:
    """The child that the job was waiting for is gone: the job goes on, or its start has failed."""
    job = draft.job
    assert job is not None
    if job.failure is not None:
        failure = explained(job.failure, exit)
        if job.purpose is not Purpose.CLOSE:
            start_failed(draft, job, child, failure)
            return
        if failed_to_start(job, child):
            # it was being killed for its silence when the supervisor was told to stop
            exit = failure
            report_failed_start(draft, child, exit, "")
    draft.down(child, exit)
    if not job.waves or not draft.children:
        draft.next_step()


def explained(failure: Exit, exit: Exit | None) -> Exit:
    """Why a start took too long, with the child's own failure as the cause where it had one."""
    if exit is None or exit.exception is None:
        return failure
    return Exit.failed(exit.exception, reason=f"{failure.reason}; {exit.reason}")


def tick(draft: Draft) -> None:
    """Time has passed: a wait is over its deadline, or restarts are due."""
    job = draft.job
    if job is not None:
        if draft.now >= job.deadline:
            for abandoned in overdue(draft, job):
                stopped(draft, abandoned, Exit.killed())
        return
    while draft.job is None and draft.retries and draft.retries[0][0] <= draft.now:
        id = draft.retries[0][1]
        draft.retries = draft.retries[1:]
        child = evolve(draft.children[id], phase=Phase.UNDEFINED)
        draft.put(child)
        assert child.exit is not None  # what waits for a restart has ended, or has failed to start
        request_restart(draft, child, child.exit)
