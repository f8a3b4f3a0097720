"""The public names of `supervisor`: imported when first used, the same for people, type checkers and machines."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import supervisor
import workers

FILE = Path(supervisor.__file__)


def typed_names(file: Path = FILE) -> dict[str, str]:
    """Return what the `TYPE_CHECKING` block imports, as name to module."""
    (block,) = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.If)]
    names: dict[str, str] = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom) and statement.level == 1
        for alias in statement.names:
            assert alias.asname == alias.name, f"{alias.name} is not re-exported for type checkers"
            assert alias.name not in names, f"{alias.name} is imported twice"
            names[alias.name] = statement.module or ""
    return names


def test_the_lazy_table_and_the_block_for_type_checkers_agree() -> None:
    """Both name the same things, from the same modules."""
    assert typed_names() == supervisor._HOME


def test_the_names_of_workers_do_as_well() -> None:
    """The guardian's classes are imported when they are first used, each by the name that its module has for it."""
    assert typed_names(Path(workers.__file__)) == workers._HOME
    for name in workers.__all__:
        assert getattr(workers, name) is getattr(importlib.import_module(f"workers.{workers._HOME[name]}"), name)
    assert imported_by("import workers") == {"workers"}
    with pytest.raises(AttributeError, match="'workers' has no attribute 'SessionManager'"):
        workers.SessionManager  # noqa: B018


def test_every_name_is_there_once_and_listed() -> None:
    """The table names nothing twice, and `__all__` and `dir` list it in order."""
    listed = [name for names in supervisor._MODULES.values() for name in names.split()]
    assert len(listed) == len(set(listed))
    assert sorted(listed) == supervisor.__all__ == dir(supervisor)


@pytest.mark.parametrize("name", supervisor.__all__)
def test_every_name_imports(name: str) -> None:
    """What is listed exists, and is what its module calls by that name."""
    value = getattr(supervisor, name)
    assert value is getattr(importlib.import_module(f"supervisor.{supervisor._HOME[name]}"), name)
    assert getattr(supervisor, name) is value


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    """A typing mistake fails as in any module."""
    with pytest.raises(AttributeError, match="'supervisor' has no attribute 'Supervizor'"):
        supervisor.Supervizor  # noqa: B018
    with pytest.raises(ImportError):
        exec("from supervisor import Supervizor")


def imported_by(statement: str) -> set[str]:
    """Return the modules of ours and of the event loops that a fresh interpreter has after a statement."""
    program = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-c", program], cwd=FILE.parent.parent, capture_output=True, text=True, check=True, timeout=50)
    watched = ("supervisor", "workers", "anyio", "trio", "asyncio", "attr", "rpds", "psutil", "cattrs")
    return {name for name in output.stdout.split() if name.partition(".")[0] in watched}


def test_importing_the_package_imports_nothing_else() -> None:
    """`import supervisor` costs nothing: no module of ours, no event loop, no library."""
    assert imported_by("import supervisor") == {"supervisor"}


def test_specifications_need_no_event_loop() -> None:
    """A tree can be described and checked where no event loop is ever imported."""
    names = imported_by("from supervisor import ChildSpec, Restart, StartFailed, Strategy, SupervisorFlags, check_childspecs, Exit")
    assert not {name for name in names if name.partition(".")[0] in ("anyio", "trio", "asyncio", "psutil", "cattrs")}


def test_trio_is_not_imported_for_asyncio() -> None:
    """A tree that runs on asyncio does not pay for trio."""
    names = imported_by(
        "import anyio\nfrom supervisor import ChildSpec, Supervisor, task\n"
        "async def main():\n    async with Supervisor('root', [ChildSpec('a', task(anyio.sleep_forever))]): pass\n"
        "anyio.run(main, backend='asyncio')"
    )
    assert "supervisor.runtime.block" in names
    assert not {name for name in names if name.partition(".")[0] in ("trio", "psutil", "cattrs")}
