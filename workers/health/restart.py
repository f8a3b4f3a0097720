"""The controlled restart of a leaf: protection admits, state is captured, the supervisor cycles the leaf."""

from __future__ import annotations

import math
import os
import shutil
from typing import TYPE_CHECKING, Final

import anyio

from supervisor import (
    Admitted,
    CallError,
    ChildNotRunning,
    ChildRestarting,
    NoProc,
    Refused,
    Restart,
    RestartDeferred,
    RestartRefused,
    StartFailed,
    Wait,
)

from ..event import RestartInitiated, mib
from ..ledger import CaptureRequest, Leaf, Ledger, RestartRequest
from ..policy import decide, effects
from .holding import let_end

if TYPE_CHECKING:
    from .turns import Turn


AGAIN: Final = 30.0
"""Seconds after which it is looked again whether another life could start."""


async def restart(ledger: Ledger, leaf: Leaf, wanted: effects.Restart, turn: Turn) -> None:
    """Restart a leaf when it is its turn; the decision is told how it went, exactly once. Never raises.

    What protection refuses waits for no turn. Where the turn was withdrawn, whoever did that tells the decision.

    **Cancellation:** leaves the wait; once the supervisor was asked, the restart goes on there.
    """
    with turn:
        if admissible(ledger, leaf, wanted) is None or not await turn.come():
            return
        left = admissible(ledger, leaf, wanted)
        if left is not None:
            await admitted(ledger, leaf, wanted, attempt=attempt_of(leaf, left))


def admissible(ledger: Ledger, leaf: Leaf, wanted: effects.Restart) -> int | None:
    """How many restarts protection admits, this one included; None when it does not admit it now, which the decision has been told."""
    leaf.restart_reason = wanted.reason
    try:
        above, id = ledger.above(leaf), leaf.path[-1]
        temporary = above.get_childspec(id).restart is Restart.TEMPORARY
        verdict, left = above.cycle_verdict(id), above.cycles_left()
    except CallError as error:
        ledger.tell(leaf, broken(error))
        return None
    now = anyio.current_time()
    match verdict:
        case _ if leaf.not_owned:
            ledger.tell(leaf, decide.RestartRefused(leaf.not_owned))
        case _ if temporary:
            ledger.tell(leaf, decide.RestartRefused('the configuration says restart = "never"'))
        case _ if why := unstartable(leaf):
            ledger.tell(leaf, decide.RestartRefused(why, AGAIN))
        case Refused(reason=reason, until=until):
            ledger.tell(leaf, decide.RestartRefused(reason, None if until is None else until - now))
        case Wait(until=until):
            remaining, generation = until - now, leaf.guard.generation
            ledger.emit(RestartDeferred(leaf.path, wanted.reason, True, remaining, generation=generation))
            ledger.tell(leaf, decide.RestartPostponed(remaining))
        case _:
            return left
    return None


async def requested(ledger: Ledger, request: RestartRequest) -> None:
    """Restart a leaf because somebody asks for it: under the same protection, with the same capture and judgement. Never raises.

    It waits for the end of the turn that the leaf is in, as one for its memory does, and then for its own turn among the others. What
    protection says is an answer to whoever asks, and no reason to degrade.

    **Cancellation:** as of `restart`.
    """
    leaf = request.leaf
    request.error = RestartRefused(leaf.path[:-1], leaf.path[-1], "the worker that would do it was restarted meanwhile", None)
    try:
        if why := leaf.not_owned or unstartable(leaf):
            raise RestartRefused(leaf.path[:-1], leaf.path[-1], why, None)
        # what is refused waits for nothing, and is looked at again when its time has come
        if not request.at_once and is_admissible(ledger, leaf):
            await between_turns(ledger, leaf, request.reason)
        assert ledger.turns is not None
        with ledger.turns.join(leaf) as turn:
            ledger.turns.grant()
            if not is_admissible(ledger, leaf) or not await turn.come() or not is_admissible(ledger, leaf):
                await ledger.above(leaf).cycle_child(leaf.path[-1], reason=request.reason)  # which raises what there is to say
                request.error = None
                return
            total = None if leaf.guard.blind else leaf.guard.pressure.total_bytes
            wanted = effects.Restart(request.reason, False, leaf.guard.level, total)
            leaf.restart_reason = request.reason
            left = ledger.above(leaf).cycles_left()
            request.error = await admitted(ledger, leaf, wanted, attempt=attempt_of(leaf, left))
    except (CallError, StartFailed) as error:
        request.error = error
    finally:
        leaf.asked = False
        leaf.put_off(anyio.current_time())
        request.done.set()


async def between_turns(ledger: Ledger, leaf: Leaf, reason: str) -> None:
    """Wait for the end of the turn that a leaf is in, and have no other one begin where somebody can see to that.

    **Cancellation:** at any time; whoever asked takes back what was asked.
    """
    leaf.asked = True
    leaf.put_off(anyio.current_time())
    if leaf.in_turn:
        patience, why = leaf.guard.policy.critical_grace, f"{reason}: at the end of the turn"
        ledger.emit(RestartDeferred(leaf.path, why, True, patience, generation=leaf.guard.generation))
        await ledger.turn_over(leaf)


def is_admissible(ledger: Ledger, leaf: Leaf) -> bool:
    """Whether protection admits a controlled restart of a leaf now.

    Raises:
        CallError: It does not run, or a restart is under way already or not judged yet.
    """
    above, id = ledger.above(leaf), leaf.path[-1]
    if leaf.guard.phase is decide.Phase.JUDGING:
        left = leaf.due - anyio.current_time()
        why = "it was restarted a moment ago, and the first sample has to say whether that helped"
        raise RestartRefused(leaf.path[:-1], id, why, max(0.0, left) if math.isfinite(left) else None)
    if leaf.guard.is_under_way:
        raise ChildRestarting(leaf.path[:-1], id)
    if above.which_child(id).state != "running":
        raise ChildNotRunning(leaf.path[:-1], id)
    return above.get_childspec(id).restart is not Restart.TEMPORARY and isinstance(above.cycle_verdict(id), Admitted)


def unstartable(leaf: Leaf) -> str:
    """What keeps another life from starting, so that the one that works is not ended; empty for nothing. Blocks for a few calls."""
    wanted = leaf.agent.command
    directory, program = wanted.working_directory, wanted.argv[0]
    if not os.path.isdir(directory):
        return f"no other life could start: the working directory {directory!r} is gone"
    search = wanted.env.get("PATH", os.environ.get("PATH"))
    if shutil.which(os.path.join(directory, program) if os.path.dirname(program) else program, path=search) is None:
        return f"no other life could start: the command {program!r} is gone"
    return ""


def attempt_of(leaf: Leaf, left: int) -> int:
    """The number of the next controlled restart within its window, where so many are left."""
    return max(1, leaf.agent.restart_policy.max_attempts - left + 1)


async def admitted(ledger: Ledger, leaf: Leaf, wanted: effects.Restart, attempt: int) -> Exception | None:
    """Protection admits it: capture first, then act; returns why it came to nothing after all."""
    ledger.tell(leaf, decide.RestartAdmitted(attempt))
    leaf.attempt, leaf.restarting_since = attempt, anyio.current_time()
    leaf.workload = leaf.workload.outgrew()
    memory_mb, generation = None if wanted.total_bytes is None else mib(wanted.total_bytes), leaf.guard.generation
    ledger.emit(RestartInitiated(leaf.path, wanted.reason, memory_mb, attempt, wanted.level, wanted.urgent, generation=generation))
    await capture(ledger, leaf, wanted)
    let_end(leaf, urgent=wanted.urgent)
    try:
        life = await ledger.above(leaf).cycle_child(leaf.path[-1], reason=wanted.reason)
    except (CallError, StartFailed) as error:  # a refusal, too: it was admitted, and something came in between while state was captured
        ledger.tell(leaf, broken(error))
        return error
    ledger.tell(leaf, decide.RestartDone(life.generation))
    return None


def broken(error: CallError | StartFailed) -> decide.RestartBroken:
    """Why it came to nothing, for a person."""
    return decide.RestartBroken("the supervisor above it was stopped meanwhile" if isinstance(error, NoProc) else str(error))


async def capture(ledger: Ledger, leaf: Leaf, wanted: effects.Restart) -> None:
    """Have the state captured before the leaf is stopped; one that takes too long counts as failed, and the restart goes on."""
    monitoring = ledger.run.config.monitoring
    patience = monitoring.emergency_capture_timeout if wanted.urgent else monitoring.capture_timeout
    request = CaptureRequest(leaf, wanted.reason)
    ledger.captures.put(request)
    await ledger.captured(request, patience)
