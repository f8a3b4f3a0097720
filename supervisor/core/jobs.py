"""Jobs: stopping and starting children one at a time, each awaited before the next."""

from __future__ import annotations

import attrs

from .draft import Draft
from .errors import NoProc
from .event import ChildTerminated, ChildUnresponsive
from .exits import Exit
from .fifo import EMPTY_QUEUE
from .message import AbandonChild, AskChild, Call, Finish, KillChild, LaunchChild, Ready, Reply
from .spec import Restart, Shutdown
from .state import Child, Job, Lifecycle, Operation, Phase, Purpose


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
    if operation == "start":
        begin_start(draft, job, draft.children[id])
    else:
        begin_stop(draft, job, draft.children[id])


def begin_start(draft: Draft, job: Job, child: Child) -> None:
    """A new life, with the next generation."""
    born = attrs.evolve(child, phase=Phase.STARTING, generation=child.generation + 1, since=draft.now)
    draft.put(born)
    draft.effects.append(LaunchChild(born.spec.id, born.generation))
    draft.job = attrs.evolve(job, waiting=True, began=draft.now, deadline=draft.now + born.spec.start_timeout)


def begin_stop(draft: Draft, job: Job, child: Child) -> None:
    """Ask a living child to end, or kill it where its specification says so; one that is dead already is only written down."""
    if child.phase in (Phase.UNDEFINED, Phase.RESTARTING, Phase.EXITED):
        draft.cancel_retry(child.spec.id)
        draft.down(child, None)
        draft.next_step()
        return
    draft.review(child.spec.id)
    shutdown = child.spec.shutdown
    draft.put(attrs.evolve(child, phase=Phase.STOPPING))
    if draft.brutal or isinstance(shutdown, Shutdown):
        draft.effects.append(KillChild(child.spec.id, child.generation))
        killed, patience = True, child.spec.start.kill_timeout
    else:
        draft.effects.append(AskChild(child.spec.id, child.generation))
        killed, patience = False, shutdown
    draft.job = attrs.evolve(job, waiting=True, killed=killed, began=draft.now, deadline=draft.now + patience)


def insist(draft: Draft, job: Job, child: Child) -> None:
    """Kill the child that the job waits for; from here on the job waits for its end."""
    draft.effects.append(KillChild(child.spec.id, child.generation))
    draft.put(attrs.evolve(child, phase=Phase.STOPPING))
    draft.job = attrs.evolve(job, killed=True, deadline=draft.now + child.spec.start.kill_timeout)


def overdue(draft: Draft, job: Job) -> Child | None:
    """The deadline of a waiting job is over: kill, or give up on, the child. Returns a child that was given up."""
    operation, id = job.steps[job.index]
    child = draft.children[id]
    if operation == "start":
        silence = TimeoutError(f"no acknowledgement within {child.spec.start_timeout:g} s")
        # the job ends with the child's end: its other steps are of no use any more
        insist(draft, attrs.evolve(job, steps=(*job.steps[: job.index], ("stop", id)), failure=Exit.failed(silence)), child)
    elif not job.killed:
        insist(draft, job, child)
    else:
        waited = draft.now - job.began
        draft.emit(ChildUnresponsive(draft.path_of(id), generation=child.generation, pid=child.pid, waited=waited))
        draft.effects.append(AbandonChild(id, child.generation))
        return child
    return None


def complete(draft: Draft, job: Job) -> None:
    """All steps are done."""
    draft.job = None
    match job.purpose:
        case Purpose.BOOT:
            draft.lifecycle = Lifecycle.RUNNING
            draft.effects.append(Ready())
        case Purpose.TERMINATE_CHILD:
            draft.emit(ChildTerminated(draft.path_of(job.subject)))
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
    """Stop every child, in reverse start order, and finish. What is under way is abandoned, its caller told so."""
    if draft.lifecycle in (Lifecycle.CLOSING, Lifecycle.FINISHED):
        return
    draft.lifecycle = Lifecycle.CLOSING
    stops: list[tuple[Operation, str]] = [("stop", child.spec.id) for child in reversed(draft.ordered())]
    closing = Job(Purpose.CLOSE, tuple(stops), exit=exit, error=error)
    job = draft.job
    if job is not None:
        draft.reply(job, error=NoProc(draft.path))
        present = job.steps[job.index]
        if present in stops:
            # it has been asked already: its own ladder goes on, before the others'
            steps = (present, *(stop for stop in stops if stop != present))
            closing = attrs.evolve(closing, steps=steps, waiting=True, began=job.began, deadline=job.deadline, killed=job.killed)
    draft.job = closing


def hurry(draft: Draft, exit: Exit) -> None:
    """Kill everything that lives, now; the order in which the ends are awaited stays."""
    close(draft, exit)
    if draft.brutal:
        return
    draft.brutal = True
    for child in reversed(draft.ordered()):
        if child.phase in (Phase.STARTING, Phase.RUNNING, Phase.STOPPING):
            draft.effects.append(KillChild(child.spec.id, child.generation))
    job = draft.job
    if job is not None and job.waiting and not job.killed:
        patience = draft.children[job.steps[job.index][1]].spec.start.kill_timeout
        draft.job = attrs.evolve(job, killed=True, deadline=draft.now + patience)
