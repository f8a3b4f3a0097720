"""Change the pure core in every small way, one change at a time, and see whether its tests notice.

    python tools/mutation.py [--file supervisor/core/jobs.py ...] [--limit N] [--jobs N] [--json FILE]
    python tools/mutation.py --only-survivors FILE        # run again what survived the run that wrote FILE

Each mutant runs in a fork of this process, which has imported the test tools but nothing of the project, so that one costs
little more than the tests that kill it. Hypothesis is seeded: two runs of one tree say the same. Survivors that are known
to be equivalent stand in ``tools/equivalent.toml``, each with the reason; the exit code is 1 if there are others, or if a
whole run notices one of these.

No mutants are made of what decides nothing: annotations, docstrings, assertions (they are there for the type checker), texts
for people, imports and exports, ``kw_only=`` and decorators. The words of enums are no such case: other programs read them.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import re
import resource
import select
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "supervisor" / "core"
EQUIVALENT = ROOT / "tools" / "equivalent.toml"
AT_IMPORT = {
    "Value.__attrs_init_subclass__",
    "Entity.__attrs_init_subclass__",
    "_lighten",
    "_shared",
    "_alone",
    "_keep_what_is_used",
}
"""Functions that make classes."""
NO_DECISIONS = {"__init__.py", "ports.py", "launch.py", "fifo.py"}

FIRST = ["test_machine_otp.py", "test_machine_protection.py"]
"""These notice the most."""
LAST = ["test_machine.py"]
"""This one takes the longest."""
OF_THE_CORE = re.compile(r"^from (?:\.|supervisor(?:\.core\b| import))", re.MULTILINE)
EXAMPLES = 120
CPU_SECONDS = 120
MEMORY_BYTES = 2 << 30

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Mod: ast.Mult,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutant:
    """One small change: `before` stands at `line` of `file`, and becomes `after`."""

    file: str
    line: int
    number: int
    what: str
    before: str
    after: str
    start: int
    end: int
    text: str
    function: str

    def source(self, original: bytes) -> bytes:
        """The whole changed file."""
        return original[: self.start] + self.text.encode() + original[self.end :]


@dataclass
class Outcome:
    """What became of a mutant (None: of the unchanged core): killed, survived or timeout; `by` is the first test that failed."""

    mutant: Mutant | None
    result: str
    by: str
    seconds: float


# ---------------------------------------------------------------- making mutants


def enum_members() -> dict[str, list[str]]:
    """The members of every enum of the core, by class."""
    members: dict[str, list[str]] = {}
    for path in CORE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(isinstance(base, ast.Name) and base.id == "Enum" for base in node.bases):
                names = [part.targets[0].id for part in node.body if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name)]
                members[node.name] = names
    return members


class Finder(ast.NodeVisitor):
    """Collects (node, what, replacement, function) for every mutation of a module."""

    def __init__(self, enums: dict[str, list[str]]) -> None:
        self.enums = enums
        self.found: list[tuple[ast.AST, str, ast.AST | None, str]] = []
        self.scope: list[str] = []
        self.function = ""

    def add(self, node: ast.AST, what: str, change: Callable[[Any], None] | ast.AST | None) -> None:
        """Note a mutation: a node put in the place of another, or a change made to a copy of it, or nothing (a deletion)."""
        if callable(change):
            clone = copy.deepcopy(node)
            change(clone)
            self.found.append((node, what, clone, self.function))
        else:
            self.found.append((node, what, change, self.function))

    def body(self, node: ast.AST) -> None:
        """Visit statements, without docstrings."""
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "bases", "type_params"):
                continue
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, ast.AST):
                    self.visit(part)

    generic_visit = body

    def visit_Expr(self, node: ast.Expr) -> None:
        """A call for its effect."""
        if isinstance(node.value, ast.Constant):
            return
        self.add(node, "delete statement", None)
        self.body(node)

    def statement(self, node: ast.Assign | ast.AugAssign | ast.Raise) -> None:
        """A statement that can be missing."""
        self.add(node, "delete statement", None)
        self.body(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """A binding of an attribute can be missing."""
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id in ("__slots__", "__all__", "T"):
            return
        if not self.function and isinstance(node.value, ast.BinOp | ast.Subscript):
            return  # a type alias
        # deleting a name's first binding only ever raises NameError; what it is bound to is changed elsewhere
        if isinstance(node.targets[0], ast.Attribute):
            self.add(node, "delete statement", None)
        self.body(node)

    visit_AugAssign = statement
    visit_Raise = statement

    def visit_Assert(self, node: ast.Assert) -> None:
        """An assertion is there for the type checker."""

    def visit_Import(self, node: ast.Import) -> None:
        """Nothing to change."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Nothing to change."""

    def visit_Return(self, node: ast.Return) -> None:
        """Something, or nothing."""
        if node.value is None:
            self.add(node, "delete statement", None)
        elif not isinstance(node.value, ast.Constant):
            self.add(node.value, "return None", ast.Constant(None))
        self.body(node)

    def visit_If(self, node: ast.If) -> None:
        """The condition, unless it is about types."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self.negate(node.test)
        self.body(node)

    def visit_While(self, node: ast.While) -> None:
        """The condition."""
        self.negate(node.test)
        self.body(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        """The condition."""
        self.negate(node.test)
        self.body(node)

    def negate(self, test: ast.expr) -> None:
        """The opposite condition, where no other operator makes it."""
        if not isinstance(test, ast.UnaryOp) and not (isinstance(test, ast.Compare) and len(test.ops) == 1):
            self.add(test, "negate condition", ast.UnaryOp(ast.Not(), test))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """Without it."""
        if isinstance(node.op, ast.Not):
            self.add(node, "remove not", node.operand)
        elif isinstance(node.op, ast.USub):
            self.add(node, "change sign", node.operand)
        self.body(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Each operator and its neighbours."""
        for index, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:

                def change(clone: ast.Compare, index: int = index, other: type[ast.cmpop] = other) -> None:
                    clone.ops[index] = other()

                self.add(node, "change comparison", change)
        self.body(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """The other connective, and each operand missing."""

        def swap(clone: ast.BoolOp) -> None:
            clone.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()

        self.add(node, "swap and/or", swap)
        for index in range(len(node.values)):

            def drop(clone: ast.BoolOp, index: int = index) -> None:
                del clone.values[index]

            if len(node.values) > 2:
                self.add(node, "drop operand", drop)
            else:
                self.add(node, "drop operand", node.values[1 - index])
        self.body(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """The opposite operation."""

        def change(clone: ast.BinOp) -> None:
            clone.op = ARITHMETIC[type(node.op)]()

        if type(node.op) in ARITHMETIC:
            self.add(node, "change operator", change)
        self.body(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Each keyword missing."""
        for index, keyword in enumerate(node.keywords):

            def drop(clone: ast.Call, index: int = index) -> None:
                del clone.keywords[index]

            if keyword.arg not in (None, "kw_only"):
                self.add(node, f"drop {keyword.arg}=", drop)
        self.body(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Its neighbours; texts are for people, words are not."""
        value = node.value
        if isinstance(value, bool):
            self.add(node, "flip constant", ast.Constant(not value))
        elif isinstance(value, int | float):
            self.add(node, "constant + 1", ast.Constant(value + 1))
            self.add(node, "constant - 1", ast.UnaryOp(ast.USub(), ast.Constant(1 - value)) if value < 1 else ast.Constant(value - 1))
        elif isinstance(value, str) and value.isidentifier():
            self.add(node, "change word", ast.Constant("other"))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Texts are for people."""

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """The next member of its enum."""
        if isinstance(node.value, ast.Name) and node.attr in self.enums.get(node.value.id, ()):
            members = self.enums[node.value.id]

            def change(clone: ast.Attribute) -> None:
                clone.attr = members[(members.index(node.attr) + 1) % len(members)]

            self.add(node, "swap enum member", change)
        self.body(node)

    def visit_match_case(self, node: ast.match_case) -> None:
        """Without its guard."""
        if node.guard is not None:
            self.add(node.guard, "drop guard", ast.Constant(True))
        self.body(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class adds to the qualified names within it."""
        self.scope.append(node.name)
        self.body(node)
        self.scope.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Defaults belong to the module, the body to the function."""
        for part in [*node.args.defaults, *(default for default in node.args.kw_defaults if default is not None)]:
            self.visit(part)
        outer, self.function = self.function, self.function or ".".join([*self.scope, node.name])
        for statement in node.body:
            self.visit(statement)
        self.function = outer


def mutants(path: Path, enums: dict[str, list[str]]) -> Iterator[Mutant]:
    """All mutants of a file, in the order of their places."""
    original = path.read_bytes()
    starts = [0]
    for line in original.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    finder = Finder(enums)
    finder.visit(ast.parse(original))
    seen = set()
    for number, (node, what, replacement, function) in enumerate(finder.found):
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        if replacement is None:
            text = "pass"
        else:
            text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(replacement)))
            text = text if isinstance(replacement, ast.Constant | ast.Attribute | ast.Call) else f"({text})"
        if (start, end, text) in seen or original[start:end].decode() == text:
            continue
        seen.add((start, end, text))
        first, last = starts[node.lineno - 1], starts[node.end_lineno]
        changed = (original[first:start] + text.encode() + original[end:last]).decode()
        try:
            compile(original[:start] + text.encode() + original[end:], str(path), "exec")
        except SyntaxError:
            continue
        before = " ".join(original[first:last].decode().split())
        if "super()" in before or function in AT_IMPORT:
            function = ""  # without it the code has another closure, and cannot be grafted; or it has been called already
        yield Mutant(str(path.relative_to(ROOT)), node.lineno, number, what, before, " ".join(changed.split()), start, end, text, function)


# ---------------------------------------------------------------- running them


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from the mutant's source, and leaves all others alone."""

    def __init__(self, mutant: Mutant) -> None:
        self.path = ROOT / mutant.file
        self.name = module_name(mutant)
        self.code = compiled(mutant)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The mutated module, if that is the one."""
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        """Run the mutant."""
        exec(self.code, module.__dict__)


def module_name(mutant: Mutant) -> str:
    """The module that a mutant changes."""
    return mutant.file.removesuffix(".py").replace("/", ".")


def compiled(mutant: Mutant) -> CodeType:
    """The code of the whole changed module."""
    path = ROOT / mutant.file
    return compile(mutant.source(path.read_bytes()), str(path), "exec")


def graft(mutant: Mutant) -> None:
    """Put the changed code into the function that is imported already; everybody who has the function has the mutant."""
    function: Any = sys.modules[module_name(mutant)]
    for name in mutant.function.split("."):
        function = function.__dict__[name]
    function = getattr(function, "fget", None) or getattr(function, "__func__", function)
    function = getattr(function, "__wrapped__", function)
    pending = [compiled(mutant)]
    while pending:
        code = pending.pop()
        if code.co_qualname == mutant.function:
            function.__code__ = code
            return
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    raise LookupError(mutant.function)


Killers = dict[tuple[str, str], list[str]]
"""By file and function, and by file: the tests that have killed a mutant there, the latest first."""


class Loop:
    """A pytest plugin: instead of running the tests once, it runs them in forks of itself, each with another mutant."""

    def __init__(
        self,
        todo: Sequence[Mutant | None],
        killers: Killers,
        done: Callable[[Outcome], None],
        *,
        jobs: int = 1,
        cpu_seconds: int = CPU_SECONDS,
    ) -> None:
        self.todo, self.jobs, self.done, self.cpu_seconds = todo, jobs, done, cpu_seconds
        self.failed = ""
        self.killers = killers

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Remember the first test that failed."""
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_runtestloop(self, session: Any) -> bool:
        """Fork for each mutant, and keep `jobs` forks busy."""
        if session.testsfailed:  # a module that cannot be imported
            for mutant in self.todo:
                self.judge(mutant, "import", 0.0)
            return True
        todo = list(reversed(self.todo))
        running: dict[int, tuple[int, Mutant | None, float]] = {}
        try:
            while todo or running:
                while todo and len(running) < self.jobs:
                    mutant = todo.pop()
                    inner, outer = os.pipe()
                    pid = os.fork()
                    if pid == 0:
                        self.child(session.items, mutant, outer)
                    os.close(outer)
                    running[inner] = (pid, mutant, time.monotonic())
                for inner in select.select(list(running), [], [])[0]:
                    pid, mutant, began = running.pop(inner)
                    answer = os.read(inner, 65536).decode()
                    os.close(inner)
                    os.waitpid(pid, 0)
                    self.judge(mutant, answer, time.monotonic() - began)
        finally:
            for pid, _, _ in running.values():
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        return True

    def judge(self, mutant: Mutant | None, answer: str, seconds: float) -> None:
        """What a fork's last word means; without one it was ended for taking too long."""
        result = "survived" if answer == "survived" else "killed" if answer else "timeout"
        if mutant is not None and result == "killed":
            remember(self.killers, mutant, answer)
        self.done(Outcome(mutant, result, answer, seconds))

    def child(self, items: list[Any], mutant: Mutant | None, out: int) -> None:
        """Run the tests until one fails, those first that have killed a neighbour."""
        try:
            os.write(out, self.verdict(items, mutant).encode())
        finally:
            os._exit(0)

    def verdict(self, items: list[Any], mutant: Mutant | None) -> str:
        """Survived, or the first test that failed."""
        resource.setrlimit(resource.RLIMIT_CPU, (self.cpu_seconds, self.cpu_seconds))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silence, descriptor)
        if mutant is not None:
            try:
                graft(mutant)
            except (AttributeError, LookupError):
                return "survived"  # what cannot be put in its place is shown, not taken for a kill
        try:
            items = sorted(items, key=self.order(mutant))
            for item, after in zip(items, [*items[1:], None], strict=True):
                # a mutant that loops for ever is ended by the processor time it takes, which does not depend on what else the machine does
                signal.setitimer(signal.ITIMER_PROF, 0 if item.path.name in LAST else max(5, self.cpu_seconds / 4))
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
                if self.failed:
                    return self.failed
        except BaseException as error:  # a mutant may break the test tools as well: that is a kill, and said as one
            return type(error).__name__
        return "survived"

    def order(self, mutant: Mutant | None) -> Callable[[Any], tuple[int, bool]]:
        """A key for tests: who killed a neighbour, in the function before the file; then those that are named after the file."""
        if mutant is None:
            recent, own = self.killers.get(ALONE, []), ""
        else:
            recent = [name for place in (mutant.function, FILE) for name in self.killers.get((mutant.file, place), [])[:8]]
            own = f"test_{Path(mutant.file).name}"
        return lambda item: (recent.index(item.nodeid) if item.nodeid in recent else len(recent), item.path.name != own)


ALONE = ("", "")
FILE = "*"
"""In the place of a function: any of the file."""


def remember(killers: Killers, mutant: Mutant, name: str) -> None:
    """Note who killed a mutant, for its neighbours."""
    for place in (mutant.function, FILE):
        recent = killers.setdefault((mutant.file, place), [])
        if name not in recent[:8]:
            recent.insert(0, name)


def session(plugin: object, names: Sequence[str]) -> int:
    """Collect these tests in this process, and let the plugin decide what becomes of them."""
    import hypothesis
    import pytest

    hypothesis.settings.register_profile(
        "mutation",
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=EXAMPLES,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
    )
    hypothesis.settings.load_profile("mutation")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    arguments = ["--noconftest", "--assert=plain", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:terminal", f"--rootdir={ROOT}"]
    return int(pytest.main([*arguments, *(str(ROOT / "tests" / "pure" / name) for name in names)], plugins=[plugin]))


def test_files() -> list[str]:
    """The pure tests that import something of the core, in the order in which they run."""
    paths = sorted((ROOT / "tests" / "pure").glob("test_*.py"))
    names = [path.name for path in paths if OF_THE_CORE.search(path.read_text())]
    return [*FIRST, *(name for name in names if name not in (*FIRST, *LAST)), *LAST]


def run(todo: Sequence[Mutant], jobs: int, cpu_seconds: int, done: Callable[[Outcome], None]) -> None:
    """Run every mutant: those outside of functions change what an import does, and need a process that has imported nothing."""
    killers: Killers = {}
    inside = [mutant for mutant in todo if mutant.function]
    outside = [mutant for mutant in todo if not mutant.function]
    running: dict[int, int] = {}
    waiting = list(reversed(outside))
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            inner, outer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(inner)
                alone(mutant, killers.get((mutant.file, FILE), [])[:8], cpu_seconds, outer)
            os.close(outer)
            running[inner] = pid
        for inner in select.select(list(running), [], [])[0]:
            os.waitpid(running.pop(inner), 0)
            answer = os.read(inner, 65536).decode()
            os.close(inner)
            name, result, by, seconds = json.loads(answer) if answer else ("", "", "", 0.0)
            if answer:
                mutant = next(mutant for mutant in outside if key(mutant) == name)
                if result == "killed":
                    remember(killers, mutant, by)
                done(Outcome(mutant, result, by, seconds))
    session(Loop(inside, killers, done, jobs=jobs, cpu_seconds=cpu_seconds), test_files())


def key(mutant: Mutant) -> str:
    """A name for a mutant within one run."""
    return f"{mutant.file}:{mutant.start}:{mutant.end}:{mutant.text}"


def alone(mutant: Mutant, first: list[str], cpu_seconds: int, out: int) -> None:
    """One mutant of an import, in a process of its own: a module that cannot be imported is a kill."""
    sys.meta_path.insert(0, Mutated(mutant))
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    outcomes: list[Outcome] = []
    every = test_files()
    own = [name for name in every if name == f"test_{Path(mutant.file).name}"]
    for names in [own, every] if own else [every]:  # to import all tests costs more than most kills
        outcomes.clear()
        session(Loop([None], {ALONE: first}, outcomes.append, cpu_seconds=cpu_seconds), names)
        if not outcomes or outcomes[0].result != "survived":
            break
    outcome = outcomes[0] if outcomes else Outcome(mutant, "killed", "import", 0.0)
    os.write(out, json.dumps([key(mutant), outcome.result, outcome.by, outcome.seconds]).encode())
    os._exit(0)


# ---------------------------------------------------------------- the program


def known() -> dict[tuple[str, str, str], str]:
    """Survivors that are equivalent: (file, before, after) to the reason."""
    if not EQUIVALENT.exists():
        return {}
    entries = tomllib.loads(EQUIVALENT.read_text())["equivalent"]
    return {(f"supervisor/core/{entry['file']}", entry["before"], entry["after"]): entry["why"] for entry in entries}


def say(text: str) -> None:
    """A line for whoever waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def chosen(options: argparse.Namespace) -> list[Mutant]:
    """The mutants that the options ask for."""
    paths = [(ROOT / name).resolve() for name in options.file] or [
        path for path in sorted(CORE.glob("*.py")) if path.name not in NO_DECISIONS
    ]
    enums = enum_members()
    every = [mutant for path in paths for mutant in mutants(path, enums)]
    if options.only_survivors:
        summary = json.loads(Path(options.only_survivors).read_text())
        wanted = {(entry["file"], entry["before"], entry["after"]) for entry in summary["survivors"]}
        every = [mutant for mutant in every if (mutant.file, mutant.before, mutant.after) in wanted]
    if options.limit and options.limit < len(every):
        every = [every[index * len(every) // options.limit] for index in range(options.limit)]
    return every


def main() -> int:
    """Run the mutants that were asked for, and report."""
    parser = argparse.ArgumentParser(description="mutation run over supervisor/core")
    parser.add_argument("--file", action="append", default=[], help="only this file; may be repeated")
    parser.add_argument("--limit", type=int, help="at most so many mutants, spread evenly")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--only-survivors", metavar="FILE", help="the survivors of an earlier run's --json")
    parser.add_argument("--json", metavar="FILE", help="write a summary")
    options = parser.parse_args()
    began = time.monotonic()
    todo = chosen(options)
    import attrs  # noqa: F401  # once, here, instead of in every fork
    import hypothesis.stateful  # noqa: F401
    import pytest  # noqa: F401
    import rpds  # noqa: F401

    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.devnull)
    outcomes: list[Outcome] = []

    def done(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) % 100 == 0:
            say(f"  {len(outcomes)} of {len(todo)}, {time.monotonic() - began:.0f} s")

    pid = os.fork()
    if pid == 0:
        healthy: list[Outcome] = []
        session(Loop([None], {}, healthy.append), test_files())
        if healthy and healthy[0].result == "killed":
            say(f"fails without a mutant: {healthy[0].by}")
        os._exit(0 if healthy and healthy[0].result == "survived" else 1)
    _, status, usage = os.wait4(pid, 0)
    if status:
        return 2
    cpu = usage.ru_utime + usage.ru_stime
    say(f"{len(todo)} mutants; the tests without one take {cpu:.1f} s of processor time")
    run(todo, options.jobs, max(5, round(2 * cpu)), done)
    if len(outcomes) != len(todo):
        say(f"only {len(outcomes)} mutants were run")
        return 2
    whole = not (options.file or options.limit or options.only_survivors)
    return report(outcomes, time.monotonic() - began, options.json, whole=whole)


def report(outcomes: Sequence[Outcome], seconds: float, file: str | None, *, whole: bool) -> int:
    """Print what survived and why that is no fault, or that it is one."""
    equivalent = known()
    counts = Counter(outcome.result for outcome in outcomes)
    survivors = sorted(
        (o.mutant for o in outcomes if o.mutant and o.result == "survived"), key=lambda mutant: (mutant.file, mutant.line, mutant.number)
    )
    unknown = [mutant for mutant in survivors if (mutant.file, mutant.before, mutant.after) not in equivalent]
    for mutant in unknown:
        say(f"\n{mutant.file}:{mutant.line}: {mutant.what}\n- {mutant.before}\n+ {mutant.after}")
    survived = {(mutant.file, mutant.before, mutant.after) for mutant in survivors}
    noticed = [entry for entry in equivalent if whole and entry not in survived]
    for name, before, after in noticed:
        say(f"\n{name}: listed as equivalent, and did not survive\n- {before}\n+ {after}")
    per_file: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        if outcome.mutant is not None:
            per_file.setdefault(outcome.mutant.file, Counter())[outcome.result] += 1
    say("\nfile                                 mutants  killed  timeout  survived")
    for name, one in sorted(per_file.items()):
        say(f"{name:36} {one.total():7} {one['killed']:7} {one['timeout']:8} {one['survived']:9}")
    say(f"{'all':36} {counts.total():7} {counts['killed']:7} {counts['timeout']:8} {counts['survived']:9}")
    say(f"{len(survivors)} survivors, {len(survivors) - len(unknown)} of them known to be equivalent; {seconds:.0f} s")
    if file:
        killers = Counter(outcome.by.split("::")[0] for outcome in outcomes if outcome.result == "killed")
        summary = {
            "seconds": round(seconds, 1),
            "mutants": counts.total(),
            "killed": counts["killed"],
            "timeout": counts["timeout"],
            "survived": counts["survived"],
            "equivalent": len(survivors) - len(unknown),
            "killers": dict(killers.most_common()),
            "survivors": [asdict(mutant) for mutant in survivors],
            "timeouts": [asdict(o.mutant) for o in outcomes if o.mutant and o.result == "timeout"],
        }
        Path(file).write_text(json.dumps(summary, indent=1) + "\n")
    return 1 if unknown or noticed else 0


if __name__ == "__main__":
    sys.exit(main())
