"""Plays a recorded scenario of the Erlang supervisor on the pure machine, and writes the trace that Erlang wrote.

No event loop and no clock: a tree of machines, children that answer at once, and time that jumps to the next `wake_at`.
`tests/conformance/data` says what a scenario and a trace are made of.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from supervisor.core.exits import Exit
from supervisor.core.launch import ChildType
from supervisor.core.machine import step
from supervisor.core.message import (
    Acknowledged,
    AskChild,
    Boot,
    Call,
    Declined,
    DeleteChild,
    Effect,
    Ended,
    Finish,
    Input,
    KillChild,
    LaunchChild,
    Ready,
    Reply,
    Request,
    RestartChild,
    StartChild,
    Stop,
    TerminateChild,
    Tick,
)
from supervisor.core.state import Child, Phase, in_start_order, initial, wake_at
from tests.conformance.words import (
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

MOST_INPUTS = 10_000
"""Inputs that one scenario may take; it takes far less unless the machine goes round in circles."""


def play(scenario: Json) -> list[Any]:
    """The trace of one scenario on this machine."""
    return World(scenario).run()


class Scripted:
    """A launch that only carries the scenario's words about a child."""

    kill_timeout = math.inf

    def __init__(self, words: Json) -> None:
        self.words = words
        self.type = ChildType.SUPERVISOR if words.get("type") == "supervisor" else ChildType.WORKER

    def launch(self, ticket: object) -> Any:
        raise NotImplementedError

    def describe(self) -> Json:
        return self.words


class Node:
    """A supervisor of the scenario; performs its machine's effects."""

    def __init__(self, world: World, words: Json, path: str, above: tuple[Node, str, int] | None) -> None:
        self.world, self.path, self.above = world, path, above
        self.inbox: deque[Input] = deque()
        self.busy = False
        self.up = False
        self.lives: dict[str, Node | Worker] = {}
        self.replies: dict[int, Reply] = {}
        self.checked = flags(words)
        specs, self.template = children(words, self.checked, Scripted)
        self.state = initial(tuple(path.split("/")), self.checked, specs)

    def feed(self, event: Input) -> None:
        self.inbox.append(event)
        if not self.busy:
            self.drain()

    def drain(self) -> None:
        self.busy = True
        while self.inbox:
            self.world.inputs += 1
            assert self.world.inputs < MOST_INPUTS, "it goes round in circles"
            self.state, effects = step(self.state, self.inbox.popleft(), self.world.now)
            for effect in effects:
                self.perform(effect)
        self.busy = False

    def call(self, request: Request) -> Reply:
        ref = len(self.replies) + 1
        self.feed(Call(ref, request))
        self.world.settle()
        return self.replies[ref]

    def perform(self, effect: Effect) -> None:
        match effect:
            case LaunchChild(id=id, generation=generation):
                self.launch(id, generation)
            case AskChild(id=id):
                self.lives[id].ask()
            case KillChild(id=id):
                self.lives[id].kill()
            case Reply(ref=ref):
                assert ref not in self.replies
                self.replies[ref] = effect
            case Ready():
                self.up = True
                self.world.sups[self.path] = self
                self.world.log("sup_started", self.path)
                if self.above is not None:
                    node, id, generation = self.above
                    node.feed(Acknowledged(id, generation, value="up"))
            case Finish(exit=exit, error=error):
                self.finish(exit, error)

    def launch(self, id: str, generation: int) -> None:
        child = self.state.children[id].spec
        assert isinstance(child.start, Scripted)
        words, path = child.start.words, f"{self.path}/{id}"
        if child.type is ChildType.SUPERVISOR:
            try:
                self.lives[id] = self.world.boot(words, path, (self, id, generation))
            except (FlagsRefused, SpecsRefused) as error:
                self.feed(Ended(id, generation, Exit.failed(error)))
            return
        match self.world.next_start(path, words):
            case "error":
                self.world.log("init_failed", path)
                self.feed(Ended(id, generation, Exit.failed(Refused())))
            case "ignore":
                self.world.log("init_ignored", path)
                self.feed(Declined(id, generation))
            case _:
                self.lives[id] = self.world.workers[path] = Worker(self, words, path, id, generation)
                self.world.log("started", path)
                self.feed(Acknowledged(id, generation, value="up"))

    def finish(self, exit: Exit, error: Exception | None) -> None:
        self.world.nodes.remove(self)
        if self.up:
            del self.world.sups[self.path]
            self.world.log("sup_stopped", self.path, word(exit))
        else:
            assert error is not None
            self.world.log("sup_start_failed", self.path, error_class(error))
        if self.above is not None:
            node, id, generation = self.above
            node.feed(Ended(id, generation, exit if error is None or self.up else Exit.failed(error)))

    def ask(self) -> None:
        self.feed(Stop(Exit.shutdown()))

    def kill(self) -> None:
        raise AssertionError("the scenarios never kill a supervisor")


class Worker:
    """A living worker of the scenario."""

    def __init__(self, node: Node, words: Json, path: str, id: str, generation: int) -> None:
        self.node, self.path, self.id, self.generation = node, path, id, generation
        self.stop = words.get("stop", "at_once")
        self.alive = True

    def ask(self) -> None:
        match self.stop:
            case "at_once" | "slow":
                self.end(REASONS["shutdown"])
            case ["exit", reason]:
                self.end(REASONS[reason])

    def kill(self) -> None:
        self.end(REASONS["kill"])

    def end(self, exit: Exit) -> None:
        if self.alive:
            self.alive = False
            self.node.world.log("stopped", self.path, word(exit))
            self.node.feed(Ended(self.id, self.generation, exit))


class World:
    """One scenario under way."""

    def __init__(self, scenario: Json) -> None:
        self.scenario = scenario
        self.now = 0.0
        self.trace: list[Any] = []
        self.nodes: list[Node] = []
        self.sups: dict[str, Node] = {}
        self.workers: dict[str, Worker] = {}
        self.starts: dict[str, int] = {}
        self.dynamic: set[str] = set()
        self.inputs = 0

    def log(self, *event: Any) -> None:
        self.trace.append(list(event))

    def next_start(self, path: str, words: Json) -> str:
        self.starts[path] = count = self.starts.get(path, 0) + 1
        return str(dict(words.get("starts", [])).get(count, "ok"))

    def boot(self, words: Json, path: str, above: tuple[Node, str, int] | None) -> Node:
        self.log("sup_starting", path)
        try:
            node = Node(self, words, path, above)
        except (FlagsRefused, SpecsRefused) as error:
            self.log("sup_start_failed", path, error_class(error))
            raise
        self.nodes.append(node)
        if node.checked.dynamic:
            self.dynamic.add(path)
        node.feed(Boot())
        return node

    def settle(self) -> None:
        """Let time pass until nothing is due any more."""
        while self.nodes:
            node = min(self.nodes, key=lambda node: wake_at(node.state))
            at = wake_at(node.state)
            if at == math.inf:
                return
            self.now = max(self.now, at)
            node.feed(Tick())

    def run(self) -> list[Any]:
        self.log("op", 0, "start")
        result: list[Any] = ["ok"]
        try:
            self.boot(self.scenario["tree"], "root", None)
            self.settle()
        except (FlagsRefused, SpecsRefused) as error:
            result = ["error", error_class(error)]
        if result == ["ok"] and "root" not in self.sups:
            result = ["error", self.trace[-1][-1]]
        self.log("result", 0, *result)
        number = 0
        for number, op in enumerate(self.scenario["ops"], 1):
            self.log("op", number, op["op"])
            result = self.do(op)
            self.settle()
            self.log("result", number, *result)
        self.log("op", number + 1, "final_shutdown")
        result = self.do({"op": "stop_sup", "sup": "root", "reason": "shutdown"})
        self.settle()
        self.log("result", number + 1, *result)
        assert not self.nodes
        assert not any(worker.alive for worker in self.workers.values())
        return normalized(self.trace, self.dynamic)

    def crash(self, path: str, reason: str) -> list[Any]:
        worker = self.workers.get(path)
        if worker is None or not worker.alive:
            return ["error", "not_alive"]
        worker.end(REASONS[reason])
        return ["ok"]

    def about(self, node: Node, id: str, answer: list[Any], dead: list[Any], stranger: str) -> list[Any]:
        had_process = f"{node.path}/{id}" in self.workers
        return about_a_process(answer, dynamic=node.checked.dynamic, had_process=had_process, dead=dead, stranger=stranger)

    def do(self, op: Json) -> list[Any]:
        if op["op"] == "crash":
            return self.crash(op["path"], op["reason"])
        node = self.sups.get(op["sup"])
        if node is None:
            return ["error", "noproc"]
        match op["op"]:
            case "crash_many":
                node.busy = True
                results = [self.crash(path, reason)[-1] for path, reason in op["targets"]]
                node.drain()
                return [results]
            case "start_child":
                try:
                    request: Request = StartChild(spec({**node.template, **op["child"]}, Scripted))
                except ValueError as error:
                    return ["error", error_class(error)]
                return started(node.call(request))
            case "restart_child":
                return started(node.call(RestartChild(op["id"])))
            case "terminate_child":
                return self.about(node, op["id"], plain(node.call(TerminateChild(op["id"]))), ["ok"], "simple_one_for_one")
            case "delete_child":
                return plain(node.call(DeleteChild(op["id"])))
            case "which_children":
                rows = [[child.spec.id, phase(child), child.spec.type.value] for child in reversed(in_start_order(node.state))]
                return ["ok", listed(rows, dynamic=node.checked.dynamic)]
            case "count_children":
                table = in_start_order(node.state)
                supervisors = sum(child.spec.type is ChildType.SUPERVISOR for child in table)
                specs = specifications(len(table), dynamic=node.checked.dynamic)
                return ["ok", [specs, sum(child.is_live for child in table), supervisors, len(table) - supervisors]]
            case "get_childspec":
                child = node.state.children.get(op["id"])
                answer = ["error", "not_found"] if child is None else ["ok", fields(child.spec)]
                dead = ["ok", fields(spec(node.template, Scripted))] if node.template else []
                return self.about(node, op["id"], answer, dead, "not_found")
            case "stop_sup":
                node.feed(Stop(REASONS[op["reason"]]))
                return ["ok"]
        raise AssertionError(op)


def plain(reply: Reply) -> list[Any]:
    return ["ok"] if reply.error is None else refused(reply.error)


def started(reply: Reply) -> list[Any]:
    return ["ok_ignored"] if reply.error is None and reply.value is None else plain(reply)


def phase(child: Child) -> str:
    match child.phase:
        case Phase.RESTARTING | Phase.UNDEFINED:
            return str(child.phase.value)
    return "running"
