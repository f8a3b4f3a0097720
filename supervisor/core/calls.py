"""The calls, with OTP's answers; each is served while the supervisor is idle."""

from __future__ import annotations

from rpds import HashTrieMap

from .budget import FRESH, Refused, Verdict, Wait
from .draft import Draft
from .errors import (
    AlreadyPresent,
    AlreadyStarted,
    BadCombination,
    ChildNotFound,
    ChildNotRunning,
    ChildRestarting,
    ChildRunning,
    MaxChildren,
    RestartPostponed,
    RestartRefused,
    SimpleOneForOne,
)
from .event import RestartDeferred
from .jobs import group_steps
from .message import CycleChild, DeleteChild, Reconfigure, Reply, Request, ResetBudgets, RestartChild, StartChild, TerminateChild
from .spec import ChildSpec, Restart, SupervisorFlags, check_childspecs
from .state import Child, Job, Phase, Purpose, State
from .value import evolve


def call(draft: Draft, ref: int, request: Request) -> None:
    """Serve a request, or begin the job whose end will answer it.

    Raises:
        CallError: The answer is no.
        SpecError: The specification cannot be under this supervisor.
    """
    match request:
        case StartChild(spec=spec):
            start_child(draft, ref, spec)
        case TerminateChild(id=id):
            spec = find(draft, id).spec
            draft.job = Job(Purpose.TERMINATE_CHILD, (("stop", id),), subject=id, ref=ref, value=spec)
        case RestartChild(id=id):
            require_down(draft, id)
            draft.job = Job(Purpose.RESTART_CHILD, (("start", id),), subject=id, ref=ref)
        case DeleteChild(id=id):
            require_down(draft, id)
            draft.drop(id)
            draft.effects.append(Reply(ref))
        case CycleChild(id=id, reason=reason):
            cycle_child(draft, ref, id, reason)
        case Reconfigure(flags=changes, specs=specs):
            reconfigure(draft, evolve(draft.flags, **changes), specs)
            draft.effects.append(Reply(ref))
        case ResetBudgets():
            draft.crash = draft.cycle = FRESH
            draft.failures = ()
            draft.retries = tuple((min(at, draft.now), id) for at, id in draft.retries)
            draft.effects.append(Reply(ref))


def start_child(draft: Draft, ref: int, spec: ChildSpec) -> None:
    """Add a child at the end of the start order and start it."""
    check_childspecs([spec], draft.flags.auto_shutdown, where="/".join(draft.path))
    present = draft.children.get(spec.id)
    if draft.flags.dynamic:
        if len(draft.children) >= draft.flags.max_children:
            raise MaxChildren(draft.path, spec.id, draft.flags.max_children)
        spec = instance(draft, spec)
    elif present is not None:
        raise AlreadyStarted(draft.path, spec.id, present.pid) if present.is_live else AlreadyPresent(draft.path, spec.id)
    draft.put(Child(spec, draft.positions, generation=draft.buried))
    draft.positions += 1
    draft.job = Job(Purpose.START_CHILD, (("start", spec.id),), subject=spec.id, ref=ref)


def instance(draft: Draft, spec: ChildSpec) -> ChildSpec:
    """The specification under an id that no other child has; the number in it is never used again."""
    id, number = spec.id, draft.positions + 1
    while id in draft.children:
        id = f"{spec.id}-{number}"
        number += 1
    return spec if id == spec.id else evolve(spec, id=id)


def cycle_child(draft: Draft, ref: int, id: str, reason: str) -> None:
    """Stop and start a running child and those that restart with it, if the budget for controlled restarts admits it."""
    child = find(draft, id)
    if child.phase is Phase.RESTARTING:
        raise ChildRestarting(draft.path, id)
    if child.phase is not Phase.RUNNING:
        raise ChildNotRunning(draft.path, id)
    if child.spec.restart is Restart.TEMPORARY:
        raise RestartRefused(draft.path, id, "a temporary child is never restarted", None)
    draft.review_all()
    draft.cycle, verdict = draft.cycle.admit(id, child.generation + 1, draft.flags, draft.now, draft.random())
    if isinstance(verdict, Wait):
        remaining = verdict.until - draft.now
        left = draft.cycle.left(draft.flags, draft.now)
        path, life = draft.path_of(id), child.generation
        draft.emit(RestartDeferred(path, reason, True, remaining, generation=life, spec=child.spec, budget_left=left))
        raise RestartPostponed(draft.path, id, remaining)
    if isinstance(verdict, Refused):
        raise RestartRefused(draft.path, id, verdict.reason, None if verdict.until is None else verdict.until - draft.now)
    ids = draft.group(id)
    draft.job = Job(Purpose.CYCLE, group_steps(draft, ids[::-1], ids), subject=id, reason=reason, ref=ref)


def find(draft: Draft, id: str) -> Child:
    """The child of that id, or `ChildNotFound`."""
    child = draft.children.get(id)
    if child is None:
        raise ChildNotFound(draft.path, id)
    return child


def require_down(draft: Draft, id: str) -> None:
    """Refuse a call that only makes sense for a child that is not running."""
    if draft.flags.dynamic:
        raise SimpleOneForOne(draft.path, id)
    child = find(draft, id)
    if child.phase is Phase.RESTARTING:
        raise ChildRestarting(draft.path, id)
    if child.is_live:
        raise ChildRunning(draft.path, id)


def reconfigure(draft: Draft, flags: SupervisorFlags, specs: tuple[ChildSpec, ...]) -> None:
    """Take new flags and specifications as OTP's ``code_change`` does.

    Known ids get their new specification and stay as they are, new ones are added and not started, and those that are
    no longer named are kept, after the others in the start order. A restart that waits is done, as in OTP also of a child that is temporary
    from now on.
    """
    checked = flags.check(specs, where="/".join(draft.path))
    if flags.dynamic is not draft.flags.dynamic:
        raise BadCombination(
            {"strategy": flags.strategy, "before": draft.flags.strategy},
            "a supervisor is dynamic, or it is not",
            where="/".join(draft.path),
        )
    named = {spec.id: spec for spec in checked}
    rows = [
        evolve(draft.children[id], spec=spec) if id in draft.children else Child(spec, draft.positions, generation=draft.buried)
        for id, spec in named.items()
    ]
    rows += [child for child in draft.ordered() if child.spec.id not in named]
    draft.children = HashTrieMap({child.spec.id: evolve(child, position=position) for position, child in enumerate(rows)})
    draft.touched += draft.children
    draft.positions = max(draft.positions, len(rows))
    draft.flags = flags
    draft.crash, draft.cycle = draft.crash.under(flags), draft.cycle.under(flags)


def cycle_verdict(state: State, now: float) -> Verdict:
    """What the budget for controlled restarts would answer at `now`; asking changes nothing."""
    draft = Draft(state, now)
    draft.review_all()
    return draft.cycle.verdict(draft.flags, now)
