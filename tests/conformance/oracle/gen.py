"""Seedable generator of random supervisor scenarios (plain stdlib).

    python -m tests.conformance.oracle.gen --seed 1 --count 500 > scenarios.jsonl

The same seed, count and options give the same bytes. README.md says what a scenario is made of. What keeps every trace free of time:

- `period` is 1,000,000 s (the restart window never slides) unless `--sleep`;
- a child that never stops only gets a `shutdown` of 0 or 20 ms or brutal_kill, every other a huge one, infinity or brutal_kill;
- failing starts are a finite plan of each child, so retry loops always end.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from typing import Any

HUGE = 1_000_000
STRATEGIES = ["one_for_one", "one_for_all", "rest_for_one"]
RESTARTS = ["permanent", "transient", "temporary"]
REASONS = ["abnormal", "normal", "shutdown", "shutdown_term", "kill"]
Node = dict[str, Any]


class Gen:
    def __init__(self, rng: random.Random, *, sleep: bool, features: set[str]) -> None:
        self.r = rng
        self.sleep = sleep
        self.features = features
        self.left = 0
        self.serial = 0

    # ------------------------------------------------------------- nodes
    def new_id(self, prefix: str) -> str:
        self.serial += 1
        return f"{prefix}{self.serial}"

    def starts(self, *, dyn: bool = False) -> list[list[Any]]:
        r = self.r
        no_ignore = dyn and "modern" not in self.features  # OTP < 27 kept a child without a process
        if r.random() < 0.6:
            return []
        plan: dict[int, str] = {}
        if r.random() < 0.12:
            plan[1] = r.choice(["error", "ignore", "ignore"])
        k = r.choice([2, 2, 2, 3, 4])
        for i in range(k, k + r.choice([1, 1, 2, 3, 6])):
            plan[i] = "ignore" if r.random() < 0.15 and not no_ignore else "error"
        return [[i, plan[i]] for i in sorted(plan)]

    def stopping(self, node: Node, *, tiny_ok: bool = True) -> None:
        r = self.r
        x = r.random()
        if x < 0.55:
            node["stop"] = "at_once"
        elif x < 0.67:
            node["stop"] = "slow"
        elif x < 0.82:
            node["stop"] = ["exit", r.choice(["abnormal", "normal", "shutdown_term"])]
        elif tiny_ok:
            node["stop"] = "never"
            node["shutdown"] = r.choice([0, 20, "brutal_kill"])
            return
        else:
            node["stop"] = "at_once"
        choice = r.choice([None, None, 60000, "infinity", "brutal_kill"])
        if choice is not None:
            node["shutdown"] = choice

    def child_opts(self, node: Node, auto: str) -> None:
        r = self.r
        restart = r.choice(RESTARTS)
        if not (restart == "permanent" and r.random() < 0.4):
            node["restart"] = restart
        legal = auto != "never" and restart != "permanent"
        if legal and r.random() < 0.55:
            node["significant"] = True
        elif r.random() < 0.1:
            node["significant"] = False

    def worker(self, auto: str) -> Node:
        node: Node = {"id": self.new_id("w"), "type": "worker"}
        if self.r.random() < 0.3:
            del node["type"]
        self.child_opts(node, auto)
        plan = self.starts()
        if plan:
            node["starts"] = plan
        self.stopping(node)
        return node

    def flags(self, *, root: bool) -> Node:
        r = self.r
        node: Node = {"strategy": r.choice(STRATEGIES)}
        # the root is tougher than the rest, or most scenarios would end early
        weights = [0, 1, 2, 3, 4, 5, 1000, 1000, 1000, 1000] if root else [0, 1, 1, 2, 3, 3, 5, 1000, 1000]
        node["intensity"] = r.choice(weights)
        node["period"] = 1 if self.sleep else HUGE
        auto = r.choice(["never", "never", "any_significant", "all_significant"])
        if root and r.random() < 0.7:
            auto = "never"
        if auto != "never" or r.random() < 0.3:
            node["auto_shutdown"] = auto
        return node

    def supervisor(self, depth: int, auto: str | None) -> Node:
        r = self.r
        node: Node = {"id": self.new_id("s") if auto is not None else "root", "type": "supervisor"}
        if auto is not None:
            self.child_opts(node, auto)
            if r.random() < 0.3:
                node["shutdown"] = r.choice(["infinity", 60000])
        node.update(self.flags(root=auto is None))
        if auto is not None and "dynamic" in self.features and r.random() < 0.2:
            return self.dynamic(node)
        mine = node.get("auto_shutdown", "never")
        children: list[Node] = []
        for _ in range(r.choice([1, 2, 3, 3, 4, 5] if auto is None else [0, 1, 2, 2, 3])):
            if self.left <= 0:
                break
            self.left -= 1
            if depth < 3 and r.random() < (0.45 if depth == 1 else 0.3):
                children.append(self.supervisor(depth + 1, mine))
            else:
                children.append(self.worker(mine))
        node["children"] = children
        return node

    def dynamic(self, node: Node) -> Node:
        r = self.r
        node["strategy"] = "simple_one_for_one"
        if "modern" not in self.features or r.random() < 0.9:
            node.pop("auto_shutdown", None)  # any other value is rejected since OTP 27
        mine = node.get("auto_shutdown", "never")
        tmpl: Node = {"id": "template", "type": "worker"}
        self.child_opts(tmpl, mine)
        self.stopping(tmpl)
        node["children"] = [tmpl]
        return node

    def dyn_child(self, tmpl: Node) -> Node:
        child: Node = {"id": self.new_id("d")}
        plan = self.starts(dyn=True)
        if "modern" in self.features and self.r.random() < 0.2:
            plan = [[2, "ignore"]]
        if plan:
            child["starts"] = plan
        child["stop"] = tmpl.get("stop", "at_once")
        return child

    # ----------------------------------------------------------- illegal
    def spoil(self, node: Node, auto: str) -> str:
        """Make one child specification illegal; returns what was done."""
        r = self.r
        kind = r.choice(
            [
                "permanent_significant",
                "significant_never",
                "restart",
                "shutdown",
                "shutdown_neg",
                "type",
                "significant",
                "no_id",
                "no_start",
            ]
        )
        if kind == "permanent_significant":
            node["restart"], node["significant"] = "permanent", True
        elif kind == "significant_never":
            if auto == "never":
                node["restart"], node["significant"] = "temporary", True
            else:
                node.pop("restart", None)
                node["significant"] = True
        elif kind == "restart":
            node["restart"] = "sometimes"
        elif kind == "shutdown":
            node["shutdown"] = "whenever"
        elif kind == "shutdown_neg":
            node["shutdown"] = -1
        elif kind == "type":
            node["type"] = "widget"
        elif kind == "significant":
            node["significant"] = "maybe"
        elif kind == "no_id":
            node.pop("id", None)
        elif kind == "no_start":
            node["no_start"] = True
        return kind

    def spoil_tree(self, root: Node) -> None:
        r = self.r
        sups = [root, *[n for _, n in walk(root, "root") if n.get("type") == "supervisor"]]
        sup = r.choice(sups)
        x = r.random()
        if x < 0.3:
            key, value = r.choice([("strategy", "two_for_one"), ("intensity", -1), ("period", 0), ("auto_shutdown", "sometimes")])
            sup[key] = value
            if key == "auto_shutdown" and sup["strategy"] == "simple_one_for_one":
                sup["intensity"] = -1  # checked first on every OTP release
        elif x < 0.45 and len(sup["children"]) >= 2 and sup["strategy"] != "simple_one_for_one":
            a, b = r.sample(sup["children"], 2)
            b["id"] = a["id"]
        elif sup["children"]:
            self.spoil(r.choice(sup["children"]), sup.get("auto_shutdown", "never"))
        else:
            sup["strategy"] = "two_for_one"

    # --------------------------------------------------------------- ops
    def scenario(self, ident: str) -> Node:
        r = self.r
        self.serial = 0
        self.left = r.choice([2, 4, 6, 8, 11])
        root = self.supervisor(1, None)
        illegal = r.random() < 0.08
        nodes = walk(root, "root")
        workers = [p for p, n in nodes if n.get("type", "worker") == "worker" and n["id"] != "template"]
        sups: dict[str, Node] = {"root": root}
        sups.update({p: n for p, n in nodes if n.get("type") == "supervisor"})
        kids: dict[str, list[str]] = {p: [] for p in sups}
        for p, n in nodes:
            if n["id"] != "template":
                kids[p.rsplit("/", 1)[0]].append(n["id"])
        if illegal:
            self.spoil_tree(root)
        ops: list[Node] = []
        size = r.randint(3, 14)
        while len(ops) < size:
            op = self.op(workers, sups, kids)
            ops.append(op)
            above = op["path"].rsplit("/", 1)[0] if op["op"] == "crash" else ""
            if above and sups[above]["strategy"] == "simple_one_for_one" and r.random() < 0.4:
                ops.append({"op": r.choice(["which_children", "count_children"]), "sup": above})
            if op["op"] == "terminate_child" and r.random() < 0.65:
                # come back to the terminated child, sometimes after a sibling's crash
                mine = [p for p in workers if p.rsplit("/", 1)[0] == op["sup"]]
                if mine and r.random() < 0.4:
                    ops.append({"op": "crash", "path": r.choice(mine), "reason": r.choice(REASONS)})
                if r.random() < 0.3:
                    ops.append({"op": r.choice(["which_children", "count_children"]), "sup": op["sup"]})
                again = r.choice(["restart_child", "restart_child", "delete_child", "terminate_child"])
                ops.append({"op": again, "sup": op["sup"], "id": op["id"]})
                if again == "delete_child" and r.random() < 0.5:
                    auto = sups[op["sup"]].get("auto_shutdown", "never")
                    if sups[op["sup"]]["strategy"] != "simple_one_for_one":
                        ops.append({"op": "start_child", "sup": op["sup"], "child": self.worker(auto) | {"id": op["id"]}})
        return {"id": ident, "tree": root, "ops": ops}

    def op(self, workers: list[str], sups: dict[str, Node], kids: dict[str, list[str]]) -> Node:
        r = self.r
        sup = r.choice(list(sups))
        node = sups[sup]
        dyn = node["strategy"] == "simple_one_for_one"
        auto = node.get("auto_shutdown", "never")
        x = r.random()
        if dyn and x < 0.5:
            child = self.dyn_child(node["children"][0])
            kids[sup].append(child["id"])
            workers.append(f"{sup}/{child['id']}")
            return {"op": "start_child", "sup": sup, "child": child}
        if self.sleep and x < 0.1:
            return {"op": "sleep", "ms": 2200}
        if x < 0.46 and workers:
            reason = r.choice(["abnormal", "abnormal", *REASONS])
            return {"op": "crash", "path": r.choice(workers), "reason": reason}
        if x < 0.53 and "simultaneous" in self.features:
            mine = [p for p in workers if p.rsplit("/", 1)[0] == sup]
            if len(mine) >= 2:
                picks = r.sample(mine, r.randint(2, min(3, len(mine))))
                return {"op": "crash_many", "sup": sup, "targets": [[p, r.choice(REASONS)] for p in picks]}
        ident = r.choice(kids[sup]) if kids[sup] and r.random() < 0.93 else "nobody"
        if x < 0.64:
            return {"op": "terminate_child", "sup": sup, "id": ident}
        if x < 0.74:
            return {"op": "restart_child", "sup": sup, "id": ident}
        if x < 0.80:
            return {"op": "delete_child", "sup": sup, "id": ident}
        if x < 0.87:
            if dyn:
                child = self.dyn_child(node["children"][0])
            else:
                child = self.worker(auto)
                if kids[sup] and r.random() < 0.3:
                    child["id"] = r.choice(kids[sup])
                elif r.random() < 0.2:
                    self.spoil(child, auto)
            if "id" in child and child["id"] not in kids[sup]:
                kids[sup].append(child["id"])
                workers.append(f"{sup}/{child['id']}")
            return {"op": "start_child", "sup": sup, "child": child}
        if x < 0.92:
            return {"op": "which_children", "sup": sup}
        if x < 0.95:
            return {"op": "count_children", "sup": sup}
        if x < 0.97:
            return {"op": "get_childspec", "sup": sup, "id": ident}
        if sup == "root" and r.random() < 0.8:
            sup = r.choice(list(sups))
        reason = r.choice(["normal", "shutdown", "shutdown_term", "abnormal"])
        return {"op": "stop_sup", "sup": sup, "reason": reason}


def walk(node: Node, path: str) -> list[tuple[str, Node]]:
    out: list[tuple[str, Node]] = []
    for child in node.get("children", []):
        sub = f"{path}/{child['id']}"
        out.append((sub, child))
        out.extend(walk(child, sub))
    return out


def generate(seed: int | str, numbers: range, *, modern: bool, sleep: bool = False, without: tuple[str, ...] = ()) -> Iterator[Node]:
    """Scenarios of one seed, by number.

    Args:
        seed: The same seed and options give the same scenarios.
        numbers: Which of them.
        modern: Also what changed in OTP 27; Erlang must be that new.
        sleep: A `period` of 1 s, and operations that sleep.
        without: ``dynamic`` or ``simultaneous``: no dynamic supervisors, no children that end together.
    """
    features = {"dynamic", "simultaneous"} - set(without)
    if modern:
        features.add("modern")
    for number in numbers:
        gen = Gen(random.Random(f"{seed}:{number}"), sleep=sleep, features=features)
        yield gen.scenario(f"{seed}-{number}")


def written(scenario: Node) -> str:
    """The line of a scenario."""
    return json.dumps(scenario, separators=(",", ":"))


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--count", type=int, default=500)
    ap.add_argument("--sleep", action="store_true", help="period 1 s and sleep operations (slow)")
    ap.add_argument("--without", action="append", default=[], choices=["dynamic", "simultaneous"])
    ap.add_argument("--modern", action="store_true", help="also generate what changed in OTP 27 (needs OTP >= 27)")
    args = ap.parse_args()
    for scenario in generate(args.seed, range(args.count), modern=args.modern, sleep=args.sleep, without=tuple(args.without)):
        print(written(scenario))


if __name__ == "__main__":
    main()
