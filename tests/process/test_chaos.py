"""A short piece of the chaos run, and whether its invariants can be broken at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor import ChildSpec, Supervisor, command
from supervisor.host.marker import VARIABLE, value_in
from tests.chaos.invariants import Broken, Invariants
from tests.support import ROOT, running

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


@pytest.mark.deadline(90)
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_tree_of_real_processes_survives_random_faults(backend: str) -> None:
    """Under signals, calls, stalls and exhaustion every live process belongs to a living child, and at the end nothing is left."""
    with running(sys.executable, "-m", "tests.chaos", "--seconds", "4", "--backend", backend, cwd=ROOT) as program:
        finished = program.wait(80)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert f"--backend {backend}: " in finished.stdout


async def test_the_invariants_notice_a_stray() -> None:
    """A live process that carries the mark of a life that is not there is a broken invariant; so is one that outlives its tree."""
    root = Supervisor("root", [ChildSpec("leaf", command("sleep", "60", stdin="null"))])
    invariants = Invariants(root)
    async with root:
        invariants.look()
        leaf = root.which_child("leaf")
        life = value_in(Path(f"/proc/{leaf.pid}/environ").read_bytes())  # noqa: ASYNC240 (it does not block)
        environment = {**os.environ, VARIABLE: life.removesuffix(":1") + ":7"}
        with subprocess.Popen(["sleep", "60"], env=environment) as stray:  # noqa: ASYNC220 (the same)
            try:
                with pytest.raises(Broken, match="its child is at 1"):
                    invariants.look()
            finally:
                stray.kill()
