"""The code of docs/testing.md runs as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import supervisor.testing

from ..support import ROOT, running

PAGE = (ROOT / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def run_block(folder: Path, block: str, *arguments: str) -> str:
    program = folder / "test_page.py"
    program.write_text(block)
    with running(sys.executable, *arguments, str(program), cwd=folder, env={"PYTHONPATH": str(ROOT)}) as ran:
        ended = ran.wait()
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    return ended.stdout


PROGRAMS = [block for block in BLOCKS if "\nrun(" in block]
QUICK = [block for block in PROGRAMS if "Backoff" not in block]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize(("block", "end"), [*((block, "") for block in PROGRAMS), *((block, ", virtual=False") for block in QUICK)])
def test_programs_run_on_both_backends(block: str, end: str, backend: str, tmp_path: Path) -> None:
    """Each program passes its own assertions; one that does not wait for an hour also does in real time."""
    written = re.sub(r'^run\(main, backend="trio"\)', f'run(main, backend="{backend}"{end})', block, flags=re.MULTILINE)
    assert f'run(main, backend="{backend}"{end})' in written
    told = run_block(tmp_path, written)
    assert ("start root/database 4\nup root/database 4\n" in told) is ("Backoff" in block)


def test_the_recipe_for_pytest_runs(tmp_path: Path) -> None:
    """Each test of the page passes on both backends."""
    (block,) = (block for block in BLOCKS if "def test_" in block)
    told = run_block(tmp_path, block, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert f"{2 * block.count('def test_')} passed" in told


def test_the_page_is_about_every_name() -> None:
    """What is public is explained, the types of what is returned excepted."""
    untold = {name for name in supervisor.testing.__all__ if not re.search(rf"\b{name}\b", PAGE)}
    assert untold == {"Control", "Entry", "NotAlive", "Place", "Start"}
