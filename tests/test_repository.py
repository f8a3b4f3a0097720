"""The repository's own rules, those that no linter knows."""

from __future__ import annotations

import ast
import io
import re
import shutil
import sys
import tokenize
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

import pytest

from .support import ROOT, Finished, running

PACKAGES = ("supervisor", "workers")
PURE = ("supervisor/core", "workers/policy")
LONGEST = 400
EFFECTS = {
    *("anyio", "asyncio", "concurrent", "io", "logging", "multiprocessing", "os", "pathlib", "psutil", "random", "secrets", "select"),
    *("selectors", "shutil", "socket", "subprocess", "tempfile", "threading", "time", "trio", "uuid"),
}
SUPERVISORD = {
    *("childutils", "compat", "confecho", "datatypes", "dispatchers", "events", "http", "http_client", "loggers", "medusa", "options"),
    *("pidproxy", "poller", "process", "rpcinterface", "scripts", "skel", "socket_manager", "states", "supervisorctl", "supervisord"),
    *("templating", "ui", "web", "xmlrpc"),
}
"""Modules of PyPI's `supervisor`: where both are installed, one file would overwrite the other."""

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
TEXTS = sorted(
    {
        *DOCUMENTS,
        *(path for folder in (*PACKAGES, "tests", "benchmarks", "examples", "tools") for path in (ROOT / folder).rglob("*.py")),
        *ROOT.glob("*.py"),
        *ROOT.glob("supervisor/**/*.c"),
        *ROOT.glob("benchmarks/*.erl"),
        *(ROOT / name for name in ("pyproject.toml", "Makefile", ".ci/run", ".gitignore", "LICENSE")),
    }
)


def name(path: Path) -> str:
    """A path as this repository says it."""
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Line, absolute module and names of each import in a file, wherever it stands; relative ones are resolved."""
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, []
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield node.lineno, ".".join([*base, *filter(None, [node.module])]), [alias.name for alias in node.names]


@pytest.mark.parametrize("package", PACKAGES)
def test_types_are_shipped(package: str) -> None:
    """Both packages say that they are typed."""
    assert (ROOT / package / "py.typed").is_file()


def test_no_file_is_too_long() -> None:
    """A file that passes 400 lines wants splitting."""
    long = {name(path): lines for path in SOURCES if (lines := len(path.read_text().splitlines())) > LONGEST}

    assert long == {}


def test_every_folder_says_what_lives_there() -> None:
    """Each folder with code is a package whose first line is a docstring, and no folder is empty."""
    folders = {path.parent for path in SOURCES} | {folder for path in SOURCES for folder in path.parents if ROOT in folder.parents}
    silent = [
        name(folder)
        for folder in sorted(folders)
        if not (folder / "__init__.py").is_file() or not ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    ]

    assert silent == []


def test_every_test_is_a_claim() -> None:
    """Each test has a docstring that says what it shows."""
    silent = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in TESTS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]

    assert silent == []


def test_no_module_has_a_name_of_supervisords() -> None:
    """Where both distributions are installed, neither overwrites the other's modules."""
    clashes = [name(path) for path in (ROOT / "supervisor").iterdir() if path.stem in SUPERVISORD]

    assert clashes == []


def test_pure_rooms_import_no_effects() -> None:
    """Not even inside a function or for a type checker, which import-linter would let pass."""
    effects = [
        f"{name(path)}:{line} {module}"
        for path in SOURCES
        if name(path).startswith(PURE)
        for line, module, _ in imports(path)
        if module.partition(".")[0] in EFFECTS
    ]

    assert effects == []


def test_workers_import_public_names_only() -> None:
    """What the guardian needs of the supervisor, every user can have."""
    import supervisor

    wrong = [
        f"{name(path)}:{line} {module} {', '.join(names)}"
        for path in SOURCES
        if path.is_relative_to(ROOT / "workers")
        for line, module, names in imports(path)
        if module.startswith("supervisor.") or (module == "supervisor" and not set(names) <= set(supervisor.__all__))
    ]

    assert wrong == []


def test_public_names_can_be_imported() -> None:
    """Each name that `supervisor` promises is there, and known to type checkers."""
    import supervisor

    tree = ast.parse((ROOT / "supervisor" / "__init__.py").read_text())
    typed = {alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level for alias in node.names}
    missing = [public for public in supervisor.__all__ if getattr(supervisor, public, None) is None]

    assert missing == []
    assert typed == set(supervisor.__all__)


def test_a_broad_except_says_why() -> None:
    """Catching everything is for the few borders that turn a failure into a value, and each has a comment."""
    silent = []
    for path in SOURCES:
        text = path.read_text()
        commented = {token.start[0] for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ExceptHandler) and not isinstance(node.body[-1], ast.Raise):
                kinds = {kind.id for kind in ast.walk(node.type) if isinstance(kind, ast.Name)} if node.type else {"BaseException"}
                body = range(node.lineno - 1, node.body[0].end_lineno or node.lineno)
                if kinds & {"Exception", "BaseException"} and commented.isdisjoint([*body, node.body[0].lineno]):
                    silent.append(f"{name(path)}:{node.lineno}")

    assert silent == []


def test_no_path_of_one_machine() -> None:
    """Nothing here knows where it was written."""
    pattern = re.compile(r"(?<![\w.~-])/(?:root|home|Users|work)/\w")
    found = [
        f"{name(path)}:{number} {line.strip()}"
        for path in TEXTS
        if path.is_file() and path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if pattern.search(line)
    ]

    assert found == []


def test_equivalent_mutants_name_what_is_there() -> None:
    """Each entry says a change that could be made to its file, and why no test can notice it."""
    entries = tomllib.loads((ROOT / "tools" / "equivalent.toml").read_text())["equivalent"]
    texts = {path.name: " ".join(path.read_text().split()) for path in SOURCES if path.parent == ROOT / "supervisor" / "core"}
    stale = [entry for entry in entries if entry["before"] not in texts.get(entry["file"], "")]

    assert stale == []
    assert all(
        entry.keys() == {"file", "before", "after", "why"} and entry["before"] != entry["after"] and entry["why"] for entry in entries
    )
    assert len({(entry["file"], entry["before"], entry["after"]) for entry in entries}) == len(entries)


def test_the_readme_names_the_two_commands() -> None:
    """Who reads only the first page can run it and test it."""
    text = (ROOT / "README.md").read_text()

    assert "make run" in text
    assert "make test" in text


def test_links_in_documents_resolve() -> None:
    """Each relative link leads to a file, and each anchor to a heading."""
    broken = []
    for path in DOCUMENTS:
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            found = path.parent / file if file else path
            if not found.exists() or (anchor and found.suffix == ".md" and anchor not in anchors(found)):
                broken.append(f"{name(path)}: {target}")

    assert broken == []


@pytest.mark.parametrize("page", ["semantics", "tuning", "faults"])
def test_every_test_that_a_document_names_is_there(page: str) -> None:
    """A guarantee is held by a test, or it is none."""
    named = set(re.findall(r"`([Tt]est_?[A-Za-z0-9_]+)`", (ROOT / "docs" / f"{page}.md").read_text()))
    there = {
        node.name
        for path in TESTS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    } | {"TestAnything"}  # hypothesis makes it out of a state machine

    assert named
    assert sorted(named - there) == []


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings."""
    headings = re.findall(r"^#+ +(.+?) *$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_target_of_make_is_explained() -> None:
    """`make` without a target prints one line for each."""
    with running("make", cwd=ROOT) as program:
        told = program.wait()
    listed = re.findall(r"^make ([a-z-]+) ", told.stdout, flags=re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)

    assert told.returncode == 0, told.stderr
    assert phony is not None
    assert sorted(listed) == sorted(phony.group(1).split())
    assert {"run", "test", "check", "bench", "help"} <= set(listed)


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    """`make` says what it needs, what it found and what to do."""
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\ncase "$2" in *sys.exit*) exit 1 ;; *%d.%d.%d*) echo 3.9.18 ;; *) echo 3.9 ;; esac\n')
    old.chmod(0o755)

    told = _make("run", f"PYTHON={old}", "--dry-run")
    refused = _make("run", f"PYTHON={old}")

    assert told.returncode == 0, told.stderr
    assert refused.returncode != 0
    assert f"needs Python 3.11 or newer. {old} is 3.9.18" in refused.stderr
    assert "make run PYTHON=" in refused.stderr
    assert not (ROOT / ".venv-3.9").exists()


def _make(*arguments: str) -> Finished:
    with running("make", *arguments, cwd=ROOT) as program:
        return program.wait()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it would be installed."""
    pytest.importorskip("hatchling")
    copy = tmp_path_factory.mktemp("wheel") / "source"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "_launch"))
    with running(sys.executable, "-m", "hatchling", "build", "-t", "wheel", cwd=copy) as program:
        told = program.wait()
    assert told.returncode == 0, told.stderr
    (built,) = (copy / "dist").iterdir()
    return built


def test_the_wheel_is_whole(wheel: Path) -> None:
    """It holds every module and nothing of the rest, and declares what pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
        (metadata,) = (archive.read(file).decode() for file in files if file.endswith(".dist-info/METADATA"))
    headers = HeaderParser().parsestr(metadata)

    assert {name(path) for path in SOURCES} | {"supervisor/py.typed", "workers/py.typed", "workers/examples/leaky_agent.py"} <= files
    assert {file.partition("/")[0] for file in files} == {*PACKAGES, f"memory_guardian-{project['version']}.dist-info"}
    assert headers["Name"] == "memory-guardian"
    assert headers["License-Expression"] == "MIT"
    assert headers["Requires-Python"] == ">=3.11"


def test_the_installed_program_runs_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    """Out of the wheel alone, in a directory that is not the source's, it knows its version and its own place."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)

    with running(sys.executable, "-m", "supervisor", "--version", cwd=tmp_path, env={"PYTHONPATH": str(site)}) as program:
        told = program.wait()

    assert told.returncode == 0, told.stderr
    assert "0.1.0" in told.stdout
    assert str(site / "supervisor") in told.stdout
