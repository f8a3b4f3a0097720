"""Plays a scenario on the library: real supervisors, real launches and a real event loop, in virtual time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import attrs
from anyio.abc import TaskGroup, TaskStatus

from supervisor import (
    CallError,
    ChildExited,
    ChildInfo,
    ChildSpec,
    ChildStarted,
    ChildStartFailed,
    ChildType,
    Handle,
    Ignore,
    Launch,
    NoProc,
    Record,
    RestartIntensityExceeded,
    SpecError,
    StartFailed,
    Supervisor,
    SupervisorRef,
    Ticket,
    dynamic,
    subtree,
    task,
)
from supervisor.core.spec import SupervisorFlags
from supervisor.testing import Entry, Scripted, settle, together

from .parts import PLAN, SLOW, Actor, Boom, Part, killers, stop_of
from .words import (
    REASONS,
    FlagsRefused,
    Json,
    Refused,
    SpecsRefused,
    about_a_process,
    children,
    error_class,
    fields,
    flags,
    listed,
    normalized,
    refused,
    spec,
    specifications,
    word,
)

MOST_WAITS = 1000
"""Deadlines that may pass until a tree is at rest."""


@attrs.frozen
class Below:
    """A supervisor under another: its flags and children are looked at when it starts, as in OTP."""

    stage: Stage
    words: Json
    path: str
    type: ChildType = ChildType.SUPERVISOR
    kill_timeout: float = float("inf")

    def launch(self, ticket: Ticket) -> Handle:
        """Start it, with everything of the library's own."""
        checked, specs = self.stage.begin(self.words, self.path)
        if checked.dynamic:
            return dynamic(intensity=checked.intensity, period=checked.period).launch(ticket)
        return subtree(specs, **told(checked)).launch(ticket)

    def describe(self) -> dict[str, Any]:
        """The scenario's words."""
        return self.words


class Stage:
    """One scenario under way.

    Args:
        tasks: Whether children are real tasks where a task can do what the scenario wants of them.
    """

    def __init__(self, scenario: Json, *, tasks: bool) -> None:
        self.scenario, self.tasks = scenario, tasks
        self.trace: list[Any] = []
        self.root: Supervisor | None = None
        self.starts: Counter[str] = Counter()
        self.lives: dict[str, Part | Actor] = {}
        self.begun: dict[str, Json] = {}
        self.present: set[str] = set()
        self.up: set[str] = set()
        self.dynamic: set[str] = set()
        self.seen: list[list[str]] = []
        self.done: list[list[str]] = []
        self.killers = killers(scenario)

    def log(self, *event: Any) -> None:
        """Write into the trace."""
        self.trace.append(list(event))

    # ------------------------------------------------------------ the tree

    def gone(self, event: str, path: str, how: Any) -> None:
        """A supervisor is no longer there, or did not come up."""
        self.present.discard(path)
        self.up.discard(path)
        self.log(event, path, how)

    def begin(self, words: Json, path: str) -> tuple[SupervisorFlags, tuple[ChildSpec, ...]]:
        """A supervisor begins to start: what it is made of, or `FlagsRefused`, or `SpecsRefused`."""
        self.log("sup_starting", path)
        self.present.add(path)
        checked = flags(words)
        specs, template = children(words, checked, self.launches(path))
        self.begun[path] = template
        self.dynamic.discard(path)
        if checked.dynamic:
            self.dynamic.add(path)
        return checked, specs

    def launches(self, above: str) -> Callable[[Json], Launch]:
        """What makes the launch of a child of this supervisor."""

        def launch(words: Json) -> Launch:
            path = f"{above}/{words.get('id')}"
            if words.get("type") == "supervisor":
                return Below(self, words, path)
            if self.tasks and not self.beyond_a_task(words, path):
                return task(self.act, words, path)
            return self.scripted(words, path)

        return launch

    def beyond_a_task(self, words: Json, path: str) -> bool:
        """Whether it must be killed, or end with a `shutdown` that nobody asked for: no task can."""
        stop = words.get("stop", "at_once")
        return path in self.killers or stop in ("never", ["exit", "shutdown_term"]) or words.get("shutdown") == "brutal_kill"

    def heard(self, record: Record) -> None:
        """The tree's own news: what it says of supervisors is the trace, what it says of workers is compared with them."""
        event = record.event
        path = "/".join(event.path)
        match event:
            case ChildStarted() if path in self.begun:
                self.up.add(path)
                self.log("sup_started", path)
            case ChildExited(exit=exit) if path in self.begun:
                self.gone("sup_stopped", path, word(exit))
            case ChildStartFailed(exit=exit) if path in self.begun:
                assert exit.exception is not None
                self.gone("sup_start_failed", path, error_class(exit.exception))
            case ChildStartFailed(exit=exit) if isinstance(exit.exception, FlagsRefused | SpecsRefused):
                self.gone("sup_start_failed", path, error_class(exit.exception))
            case ChildStarted():
                self.seen.append(["started", path])
            case ChildExited(exit=exit):
                self.seen.append(["stopped", path, word(exit)])
            case ChildStartFailed():
                self.seen.append(["init_failed", path])

    async def own(self, root: Supervisor) -> None:
        """Be the root's block."""
        try:
            async with root:
                self.up.add("root")
                self.log("sup_started", "root")
                await anyio.sleep_forever()
        except StartFailed as error:
            self.gone("sup_start_failed", "root", error_class(error))
            return
        except RestartIntensityExceeded:
            pass
        assert root.exit is not None
        self.gone("sup_stopped", "root", word(root.exit))

    # ------------------------------------------------------------ its workers

    def begin_worker(self, path: str) -> None:
        """One more start of a worker, where there may have been a supervisor before."""
        self.starts[path] += 1
        self.begun.pop(path, None)

    def worker(self, *event: str) -> None:
        """A worker says what it does."""
        self.log(*event)
        if event[0] != "init_ignored":
            self.done.append(list(event))

    def scripted(self, words: Json, path: str) -> Scripted:
        """A worker without a task; its plan counts the starts of its path over the whole scenario."""
        so_far = self.starts[path]
        plan = {k - so_far: PLAN[what] for k, what in words.get("starts", []) if k > so_far}

        def watch(entry: Entry) -> None:
            match entry.what:
                case "start":
                    self.begin_worker(path)
                case "up":
                    self.lives[path] = Actor(child.at(*entry.path))
                    self.worker("started", path)
                case "failed":
                    self.worker("init_failed", path)
                case "declined":
                    self.worker("init_ignored", path)
                case "ended":
                    assert entry.exit is not None
                    self.worker("stopped", path, word(entry.exit))

        child = Scripted(plan, stop=stop_of(words), watch=watch)
        return child

    async def act(self, words: Json, path: str, *, task_status: TaskStatus[None]) -> None:
        """A worker as a task."""
        self.begin_worker(path)
        match dict(words.get("starts", [])).get(self.starts[path]):
            case "error":
                self.worker("init_failed", path)
                raise Refused
            case "ignore":
                self.worker("init_ignored", path)
                raise Ignore
        part = self.lives[path] = Part()
        part.reason = "shutdown"
        self.worker("started", path)
        task_status.started()
        try:
            await part.told.wait()
        except anyio.get_cancelled_exc_class():
            match words.get("stop", "at_once"):
                case "slow":
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(SLOW)
                case ["exit", reason]:
                    part.reason = reason
            if part.reason == "shutdown":
                raise
        finally:
            part.alive = False
            self.worker("stopped", path, word(REASONS[part.reason]))
            part.over.set()
        if part.reason == "abnormal":
            raise Boom

    # ------------------------------------------------------------ the play

    async def play(self) -> list[Any]:
        """The trace."""
        async with anyio.create_task_group() as tasks:
            self.log("op", 0, "start")
            self.log("result", 0, *await self.start(tasks))
            number = 0
            for number, op in enumerate(self.scenario["ops"], 1):
                self.log("op", number, op["op"])
                result = await self.do(op)
                await self.rest()
                self.log("result", number, *result)
            self.log("op", number + 1, "final_shutdown")
            result = await self.do({"op": "stop_sup", "sup": "root", "reason": "shutdown"})
            await self.rest()
            self.log("result", number + 1, *result)
        assert not self.present
        assert not any(life.alive for life in self.lives.values())
        self.compare_news()
        return normalized(self.trace, self.dynamic)

    def compare_news(self) -> None:
        """What the tree said of its workers is what they did."""
        assert by_path(self.seen) == by_path(self.done)

    async def start(self, tasks: TaskGroup) -> list[Any]:
        try:
            checked, specs = self.begin(self.scenario["tree"], "root")
        except (FlagsRefused, SpecsRefused) as error:
            self.gone("sup_start_failed", "root", error_class(error))
            return ["error", error_class(error)]
        self.root = Supervisor("root", specs, **told(checked))
        self.root.add_sink(self.heard)
        tasks.start_soon(self.own, self.root)
        await self.rest()
        return ["ok"] if "root" in self.up else ["error", self.trace[-1][-1]]

    async def rest(self) -> None:
        """Wait until nothing goes on; let time pass where somebody waits for it."""
        for _ in range(MOST_WAITS):
            left = await settle()
            if not self.busy():
                return
            assert left < math.inf, f"nothing will ever happen: {self.trace[-10:]}"
            await anyio.sleep(left)
        raise AssertionError(f"it never comes to rest: {self.trace[-10:]}")

    def busy(self) -> bool:
        """Whether a supervisor stops, starts or is about to restart something."""
        for path in self.present:
            try:
                state = self.supervisor(path).state
            except NoProc:
                return True  # on its way, with the one above
            if state.job is not None or state.retries or not state.mailbox.is_empty():
                return True
        return False

    def supervisor(self, path: str) -> SupervisorRef:
        assert self.root is not None
        return self.root.supervisor(*path.split("/")[1:])

    async def crash(self, path: str, reason: str) -> list[Any]:
        life = self.lives.get(path)
        if life is None or not life.alive:
            return ["error", "not_alive"]
        await life.end(reason)
        return ["ok"]

    async def do(self, op: Json) -> list[Any]:
        """Carry out one operation; its result."""
        match op["op"]:
            case "crash":
                return await self.crash(op["path"], op["reason"])
            case "sleep":
                await anyio.sleep(op["ms"] / 1000)
                return ["ok"]
        if op["sup"] not in self.up:
            return ["error", "noproc"]
        try:
            return await self.ask(self.supervisor(op["sup"]), op)
        except (CallError, SpecError, StartFailed) as error:
            return refused(error)

    async def ask(self, ref: SupervisorRef, op: Json) -> list[Any]:
        path, is_dynamic = op["sup"], op["sup"] in self.dynamic
        match op["op"]:
            case "crash_many":
                with together(ref):
                    return [[(await self.crash(*target))[-1] for target in op["targets"]]]
            case "start_child":
                return started(await ref.start_child(spec({**self.begun[path], **op["child"]}, self.launches(path))))
            case "restart_child":
                return started(await ref.restart_child(op["id"]))
            case "terminate_child":
                try:
                    await ref.terminate_child(op["id"])
                except CallError as error:
                    return self.about(op, refused(error), ["ok"], "simple_one_for_one")
                return ["ok"]
            case "delete_child":
                await ref.delete_child(op["id"])
                return ["ok"]
            case "which_children":
                rows = [[child.id, child.state, child.type.value] for child in ref.which_children()]
                return ["ok", listed(rows, dynamic=is_dynamic)]
            case "count_children":
                counts = ref.count_children()
                specs = specifications(counts.specs, dynamic=is_dynamic)
                return ["ok", [specs, counts.active, counts.supervisors, counts.workers]]
            case "get_childspec":
                try:
                    return ["ok", fields(ref.get_childspec(op["id"]))]
                except CallError as error:
                    template = self.begun[path]
                    dead = ["ok", fields(spec(template, self.launches(path)))] if template else []
                    return self.about(op, refused(error), dead, "not_found")
            case "stop_sup":
                ref.stop(REASONS[op["reason"]])
                return ["ok"]
        raise AssertionError(op)

    def about(self, op: Json, answer: list[Any], dead: list[Any], stranger: str) -> list[Any]:
        had_process = f"{op['sup']}/{op['id']}" in self.lives
        return about_a_process(answer, dynamic=op["sup"] in self.dynamic, had_process=had_process, dead=dead, stranger=stranger)


def told(checked: SupervisorFlags) -> Any:
    """Flags, as the arguments of `Supervisor` and `subtree`."""
    return {name: getattr(checked, name) for name in ("strategy", "intensity", "period", "auto_shutdown")}


def started(child: ChildInfo) -> list[Any]:
    """The result of a call that started a child, or found that it declined."""
    return ["ok_ignored"] if child.state == "undefined" else ["ok"]


def by_path(events: list[list[str]]) -> dict[str, list[str]]:
    """What happened to each child, in order."""
    result: dict[str, list[str]] = {}
    for what, path, *more in events:
        result.setdefault(path, []).append(" ".join([what, *more]))
    return result
