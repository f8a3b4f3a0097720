"""What the end of a child means: OTP's clauses of restart type and exit, admission, give-up, automatic shutdown."""

from __future__ import annotations

from .budget import Refused, Wait
from .draft import Draft
from .errors import RestartIntensityExceeded, StartFailed
from .event import ChildStartFailed, RestartDeferred, SupervisorGaveUp
from .exits import Exit
from .jobs import close, group_steps
from .spec import AutoShutdown, GiveUp, Restart, Strategy
from .state import FAILURES_KEPT, Child, Job, Phase, Purpose
from .text import counted
from .value import evolve


def ended_by_itself(draft: Draft, child: Child, exit: Exit) -> None:
    """A running child ended and nobody had asked it to; the supervisor is idle."""
    if wants_restart(child, exit):
        child = evolve(child, phase=Phase.UNDEFINED, pid=None, since=draft.now, exit=exit)
        draft.put(child)
        request_restart(draft, child, exit)
        return
    draft.down(child, exit)
    if child.spec.significant:
        auto_shutdown(draft)


def wants_restart(child: Child, exit: Exit) -> bool:
    """Whether a child that ended by itself is to be restarted."""
    restart = child.spec.restart
    return restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and not exit.is_clean)


def settle(draft: Draft, child: Child, exit: Exit) -> None:
    """Judge the attempt that began a life, at the moment at which that life ended by itself, where nobody has judged it yet."""
    id, generation = child.spec.id, child.generation
    draft.review(id)
    if wants_restart(child, exit):
        if draft.crash.pending.get(id) == generation:
            draft.crash = draft.crash.failed(id, draft.flags, draft.now)
        if draft.cycle.pending.get(id) == generation:
            draft.cycle = draft.cycle.failed(id, draft.flags, draft.now)


def auto_shutdown(draft: Draft) -> None:
    """A significant child ended by itself and is not restarted."""
    rule = draft.flags.auto_shutdown
    if rule is AutoShutdown.NEVER:
        return  # the flag was another when the child came
    alive = any(child.spec.significant and child.phase is not Phase.UNDEFINED for child in draft.children.values())
    if rule is AutoShutdown.ANY_SIGNIFICANT or not alive:
        close(draft, Exit.shutdown())


def request_restart(draft: Draft, child: Child, exit: Exit) -> None:
    """Restart a child that is down, if the budget admits it; its exit or its failed start is the reason."""
    id = child.spec.id
    draft.review_all()
    draft.crash, verdict = draft.crash.admit(id, child.generation + 1, draft.flags, draft.now, draft.random())
    if isinstance(verdict, Wait):
        draft.retry(child, verdict.until)
        remaining = verdict.until - draft.now
        left = draft.crashes_left()
        path, life = draft.path_of(id), child.generation
        draft.emit(RestartDeferred(path, exit.reason, False, remaining, generation=life, spec=child.spec, budget_left=left))
        return
    draft.failures = (*draft.failures, (id, exit))[-FAILURES_KEPT:]
    if isinstance(verdict, Refused):
        give_up(draft, child, exit, verdict.reason)
        return
    ids = draft.group(id)
    # one that was made temporary while it waited is restarted where it is alone, and forgotten where it is one of a group: as in OTP
    late = child.spec.restart is Restart.TEMPORARY
    stops = [other for other in reversed(ids) if other != id or late]
    steps = group_steps(draft, stops, ids)
    if late and draft.flags.strategy is Strategy.ONE_FOR_ONE:
        steps = (("start", id),)
    draft.job = Job(Purpose.RESTART, steps, subject=id, reason=exit.reason)


def give_up(draft: Draft, child: Child, exit: Exit, reason: str) -> None:
    """The budget is spent: end as OTP does, or hold and try again when the circuit half-opens."""
    flags, now = draft.flags, draft.now
    spec, left = child.spec, draft.crashes_left()
    if flags.on_give_up is GiveUp.HOLD:
        draft.crash = draft.crash.tripped(flags, now)
        until = draft.crash.circuit.reopens
        assert until is not None  # a supervisor that holds has a breaker, and its circuit is open now
        draft.retry(child, until)
        draft.emit(SupervisorGaveUp(draft.path, spec.id, reason, True, until - now, exit, spec=spec, budget_left=left))
        return
    draft.emit(SupervisorGaveUp(draft.path, spec.id, reason, exit=exit, spec=spec, budget_left=left))
    circuit = draft.crash.circuit
    if circuit.reopens is None:
        spent, why = flags.intensity, None
    else:
        # of a supervisor that held, and no longer does, the window may have opened it
        after = f" after {counted(circuit.failures, 'failed restart', 'failed restarts')} in a row" if circuit.failures else ""
        spent, why = circuit.failures, f"its breaker is open{after}"
    exits = draft.failures[-(spent + 1) :]  # the first failure of all is no restart's
    error = RestartIntensityExceeded(draft.path, exits, intensity=flags.intensity, period=flags.period, reason=why)
    close(draft, Exit.shutdown(exception=error), error)


def report_failed_start(draft: Draft, child: Child, exit: Exit, purpose: str) -> None:
    """Publish that a start failed."""
    path, life, left = draft.path_of(child.spec.id), child.generation, draft.crashes_left()
    draft.emit(ChildStartFailed(path, generation=life, exit=exit, spec=child.spec, purpose=purpose, budget_left=left))


def start_failed(draft: Draft, job: Job, child: Child, exit: Exit) -> None:
    """What a failed start means depends on what the job was for."""
    id = child.spec.id
    report_failed_start(draft, child, exit, job.purpose)
    error = StartFailed(draft.path_of(id), exit)
    child = evolve(child, phase=Phase.UNDEFINED, since=draft.now, exit=exit)
    draft.put(child)
    draft.job = None
    match job.purpose:
        case Purpose.BOOT:
            close(draft, Exit.failed(error), error)
        case Purpose.START_CHILD:
            draft.drop(id)
        case Purpose.RESTART:
            draft.crash = draft.crash.failed(job.subject, draft.flags, draft.now)
            draft.retry(child, draft.now)
        case Purpose.CYCLE:
            draft.cycle = draft.cycle.failed(job.subject, draft.flags, draft.now)
            draft.retry(child, draft.now)
        case _:
            pass
    draft.reply(job, error=error)
