"""Ways of breaking the machine, one rule each; `test_sharpness.py` shows that none goes unnoticed.

A mutant is a change of the text of one function. Where that text is no longer there, the mutant fails and is to be written anew.
"""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FunctionType
from typing import Any

import attrs

from supervisor.core import calls, intensity, jobs, machine, restarts, spec, strategy
from supervisor.core.draft import Draft
from supervisor.core.exits import Exit

from . import test_dynamic_supervisor_suite as dynamic_suite
from . import test_reconfigure_suite as reconfigure_suite
from . import test_supervisor_suite as suite

RECORDED = "the recorded traces"

Judge = Callable[[], Any] | str


@attrs.frozen
class Mutant:
    """One way of breaking the machine.

    Attributes:
        name: What is wrong with it.
        function: Where.
        before: A text that is in it once.
        after: What stands there instead.
        judge: Who notices: `RECORDED`, or a ported case.
        also: A second change that belongs to it.
    """

    name: str
    function: Any
    before: str
    after: str
    judge: Judge = RECORDED
    also: Mutant | None = None

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Break the machine within the block."""
        with self.also.alive() if self.also is not None else nullcontext(), self._changed():
            yield

    @contextmanager
    def _changed(self) -> Iterator[None]:
        function = self.function
        assert isinstance(function, FunctionType)
        text = textwrap.dedent(inspect.getsource(function))
        text = text[text.index("def ") :]  # a property's getter without its decorator
        assert text.count(self.before) == 1, f"{self.name}: {self.before!r} is {text.count(self.before)} times in {function.__qualname__}"
        code = compile(text.replace(self.before, self.after), "<mutant>", "exec", flags=__future__.annotations.compiler_flag)
        made: dict[str, Any] = {}
        exec(code, function.__globals__, made)
        whole, function.__code__ = function.__code__, made[function.__name__].__code__
        try:
            yield
        finally:
            function.__code__ = whole


def getter(found: Any) -> Any:
    """The function of a property."""
    return found.fget


TEMPORARY = "child.spec.restart is Restart.TEMPORARY"
ALIVE = "child.spec.significant and child.phase is not Phase.UNDEFINED"
COUNT = "draft.crash = evolve(draft.crash, window=draft.crash.window.record(draft.now))"
HISTORY = """kept = request_restart.__dict__.setdefault("kept", {})
    draft.crash = evolve(draft.crash, window=kept.get(draft.path, draft.crash.window))
    kept[draft.path] = draft.crash.window.record(draft.now)"""


MUTANTS = (
    # restart types and exits
    Mutant(
        "a permanent child is not restarted when it ends normally", restarts.wants_restart, "restart is Restart.PERMANENT or", "False or"
    ),
    Mutant("a transient child is restarted on shutdown", restarts.wants_restart, "not exit.is_clean", "exit.kind.value != 'normal'"),
    Mutant("a transient child is never restarted", restarts.wants_restart, "not exit.is_clean", "False"),
    Mutant("a temporary child is restarted", restarts.wants_restart, "restart is Restart.TRANSIENT", "True"),
    Mutant(
        "killed is clean",
        getter(Exit.is_clean),
        "self.kind is not ExitKind.ABNORMAL",
        "self.kind is not ExitKind.ABNORMAL or self.reason == 'killed'",
    ),
    Mutant(
        "{shutdown, Term} is abnormal",
        getter(Exit.is_clean),
        "self.kind is not ExitKind.ABNORMAL",
        "self.kind is not ExitKind.ABNORMAL and not self.term",
    ),
    Mutant("a temporary child keeps its specification", Draft.down, "child.spec.restart is Restart.TEMPORARY or", ""),
    Mutant(
        "a transient child that ended cleanly is forgotten",
        restarts.ended_by_itself,
        "draft.down(child, exit)",
        "draft.drop(child.spec.id)",
    ),
    # strategies
    Mutant(
        "one_for_all restarts only what comes after",
        strategy.affected,
        "            return ids\n",
        "            return ids[ids.index(failed) :]\n",
    ),
    Mutant("rest_for_one restarts what came before", strategy.affected, "ids[ids.index(failed) :]", "ids[: ids.index(failed) + 1]"),
    Mutant("a group stops in start order", restarts.request_restart, "reversed(ids)", "ids"),
    Mutant("a group starts in reverse order", jobs.group_steps, "for id in starts if", "for id in starts[::-1] if"),
    Mutant(
        "a group leaves down what was down",
        restarts.request_restart,
        "group_steps(draft, stops, ids)",
        "group_steps(draft, stops, [o for o in ids if o == id or draft.children[o].is_live])",
    ),
    Mutant(
        "a group starts its temporary members again",
        jobs.group_steps,
        "is not Restart.TEMPORARY",
        "is not None",
        also=Mutant("and keeps them until then", Draft.down, TEMPORARY, f"{TEMPORARY} and not self.comes_back(child.spec.id)"),
    ),
    Mutant(
        "an end that a group restart has consumed is served again",
        machine.receive,
        "child = draft.life(id, generation)\n            if child is not None and child.phase is Phase.EXITED:",
        "child = draft.children.get(id)\n            if child is not None:",
    ),
    # intensity
    Mutant("one restart too many is admitted", intensity.Window.admits, "self.size < intensity", "self.size <= intensity"),
    Mutant("one restart too few is admitted", intensity.Window.admits, "self.size < intensity", "self.size + 1 < intensity"),
    Mutant(
        "each child of a group is counted",
        restarts.request_restart,
        "ids = draft.group(id)\n",
        f"ids = draft.group(id)\n    for _ in ids[1:]: {COUNT}\n",
    ),
    Mutant(
        "restart_child counts",
        calls.call,
        "draft.job = Job(Purpose.RESTART_CHILD,",
        f"{COUNT}\n            draft.job = Job(Purpose.RESTART_CHILD,",
    ),
    Mutant(
        "the window excludes its end",
        intensity.Window.pruned,
        "+ period < now",
        "+ period <= now",
        suite.test_the_window_includes_both_of_its_ends,
    ),
    Mutant("the window never slides", intensity.Window.pruned, "while size and", "while False and", suite.test_multiple_restarts),
    Mutant(
        "the window begins anew with each period",
        intensity.Window.pruned,
        "size = min(size - 1, len(times))",
        "times, size = EMPTY_QUEUE, 0",
        suite.test_the_window_slides,
    ),
    Mutant(
        "a supervisor's history survives its restart",
        restarts.request_restart,
        "    draft.review_all()\n",
        f"    {HISTORY}\n",
        suite.test_a_restarted_supervisor_begins_with_an_empty_history,
    ),
    # giving up
    Mutant(
        "giving up is abnormal",
        restarts.give_up,
        "close(draft, Exit.shutdown(exception=error), error)",
        "close(draft, Exit.failed(error), error)",
    ),
    Mutant(
        "giving up has the child's reason",
        restarts.give_up,
        "close(draft, Exit.shutdown(exception=error), error)",
        "close(draft, exit, error)",
    ),
    Mutant("children are stopped in start order", jobs.close, "reversed(draft.ordered())", "draft.ordered()"),
    # a restart that fails
    Mutant(
        "a restart that fails is not tried again",
        restarts.start_failed,
        "job.subject, draft.flags, draft.now)\n            draft.retry(child, draft.now)\n        case Purpose.CYCLE",
        "job.subject, draft.flags, draft.now)\n        case Purpose.CYCLE",
    ),
    Mutant(
        "a further attempt is free",
        machine.tick,
        "request_restart(draft, child, child.exit)",
        "spent = draft.crash; request_restart(draft, child, child.exit); draft.crash = spent",
    ),
    Mutant(
        "the next attempt begins at the child that crashed first",
        restarts.start_failed,
        "draft.crash = draft.crash.failed(job.subject, draft.flags, draft.now)\n            draft.retry(child, draft.now)",
        "draft.retry(evolve(draft.children[job.subject], phase=Phase.UNDEFINED, exit=exit), draft.now)",
    ),
    Mutant(
        "restart_child tries again",
        restarts.start_failed,
        "        case _:\n            pass\n",
        "        case Purpose.RESTART_CHILD:\n            draft.retry(child, draft.now)\n",
    ),
    Mutant(
        "an attempt goes on after its child was terminated",
        jobs.begin_stop,
        "draft.cancel_retry(child.spec.id)",
        "pass",
        suite.test_hanging_restart_loop,
    ),
    Mutant(
        "what restarts is present for restart_child",
        calls.require_down,
        "if child.phase is Phase.RESTARTING:",
        "if False:",
        suite.test_hanging_restart_loop,
    ),
    # starts that decline or fail
    Mutant("a permanent child that declines is forgotten", machine.declined, "draft.down(child, None)", "draft.drop(child.spec.id)"),
    Mutant(
        "a temporary child that declines is kept",
        machine.declined,
        "draft.down(child, None)",
        "draft.put(evolve(child, phase=Phase.UNDEFINED, pid=None))",
    ),
    Mutant(
        "the same, for the ported case",
        machine.declined,
        "draft.down(child, None)",
        "draft.put(evolve(child, phase=Phase.UNDEFINED, pid=None))",
        suite.test_sup_start_ignore_temporary_child,
    ),
    Mutant(
        "a start_child that fails keeps its specification",
        restarts.start_failed,
        "draft.drop(id)",
        "pass",
        suite.test_sup_start_child_returns_error,
    ),
    # calls
    Mutant("delete_child keeps the child", calls.call, "draft.drop(id)", "pass"),
    Mutant("already_present is already_started", calls.start_child, "if present.is_live else", "if not present.is_live else"),
    Mutant("a child that was terminated is forgotten", machine.stopped, "draft.down(child, exit)", "draft.drop(child.spec.id)"),
    Mutant(
        "a new child is the first in start order", calls.start_child, "Child(spec, draft.positions,", "Child(spec, -draft.positions - 1,"
    ),
    Mutant("a running child can be deleted", calls.require_down, "if child.is_live:", "if False:"),
    # significant children
    Mutant("any_significant waits for all", restarts.auto_shutdown, "rule is AutoShutdown.ANY_SIGNIFICANT or not alive", "not alive"),
    Mutant("all_significant waits for one", restarts.auto_shutdown, "rule is AutoShutdown.ANY_SIGNIFICANT or not alive", "True"),
    Mutant(
        "all_significant takes a child that restarts for dead",
        restarts.auto_shutdown,
        ALIVE,
        f"{ALIVE} and child.phase is not Phase.RESTARTING",
        suite.test_significant_transient_in_its_retry_loop,
    ),
    Mutant(
        "any child is significant",
        restarts.ended_by_itself,
        "if child.spec.significant:",
        "if draft.flags.auto_shutdown is not AutoShutdown.NEVER:",
    ),
    Mutant(
        "a significant child that is restarted ends its supervisor",
        restarts.ended_by_itself,
        "if wants_restart(child, exit):",
        "if wants_restart(child, exit) and not child.spec.significant:",
    ),
    Mutant(
        "terminate_child of a significant child ends its supervisor",
        machine.stopped,
        "draft.down(child, exit)",
        "draft.down(child, exit)\n    if job.purpose is Purpose.TERMINATE_CHILD and child.spec.significant: close(draft, Exit.shutdown())",
    ),
    # validation
    Mutant(
        "a permanent child may be significant",
        spec.ChildSpec.__attrs_post_init__,
        "self.significant and self.restart is Restart.PERMANENT",
        "False",
    ),
    Mutant(
        "a significant child needs no auto_shutdown",
        spec.check_childspecs,
        "spec.significant and auto_shutdown is AutoShutdown.NEVER",
        "False",
    ),
    Mutant("ids may repeat", spec.check_childspecs, "if spec.id in seen:", "if False:"),
    # dynamic supervisors
    Mutant("a dynamic supervisor keeps who ended", Draft.down, "or (self.flags.dynamic and not self.comes_back(child.spec.id))", ""),
    Mutant("a dynamic supervisor knows restart_child", calls.require_down, "if draft.flags.dynamic:", "if False:"),
    Mutant(
        "a child that restarts has no place",
        calls.start_child,
        "len(draft.children) >=",
        "sum(child.is_live for child in draft.children.values()) >=",
        dynamic_suite.test_restarting_on_init_children_counted_in_max_children,
    ),
    # stopping
    Mutant(
        "who is dead already is asked to stop",
        jobs.begin_stop,
        "Phase.RESTARTING, Phase.EXITED)",
        "Phase.RESTARTING)",
        suite.test_sup_stop_race,
    ),
    # code_change
    Mutant(
        "code_change clears the history",
        calls.reconfigure,
        "draft.crash.under(flags), draft.cycle",
        "FRESH, draft.cycle",
        reconfigure_suite.test_the_history_survives_a_code_change,
    ),
    Mutant(
        "code_change forgets who is not named",
        calls.reconfigure,
        "if child.spec.id not in named]",
        "if False]",
        reconfigure_suite.test_code_change,
    ),
    Mutant("code_change keeps the old flags", calls.reconfigure, "draft.flags = flags\n", "pass\n", reconfigure_suite.test_code_change),
)
