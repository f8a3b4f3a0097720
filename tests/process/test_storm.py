"""A grandchild that forks again and again while its leaf ends: with a cgroup and without."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from supervisor import Limits, command
from supervisor.host.procstat import read_stat
from supervisor.host.proctree import marked

from ..children.storm import FORKS
from ..support import eventually
from ..support_ticket import living
from .conftest import Enclosed
from .host_support import CHILDREN, PYTHON, reported, zombies

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


@pytest.mark.parametrize("how", ["terminate", "crash", "kill"])
async def test_nothing_of_a_storm_of_forks_survives_its_leaf(tmp_path: Path, how: str, cgroup: Enclosed) -> None:
    """In the middle of it, in many sessions, deaf to SIGTERM: all of them go. (There are at most 150, whatever happens here.)"""
    report = tmp_path / "report"
    limits = None if cgroup == "never" else Limits(pids_max=FORKS + 10, required=False)
    script = f"{PYTHON} {CHILDREN / 'storm.py'} {report} & wait"
    async with living(command("sh", "-c", script, cgroup=cgroup, limits=limits)) as life:
        await eventually(lambda: reported(report))
        await eventually(lambda: len(life.handle.members()) > 10)
        if how == "crash":
            os.kill(life.handle.pid, signal.SIGKILL)
        else:
            getattr(life.handle, how)()
        await life.ticket.wait_exit()
        assert marked(life.handle.marker) == ()
    assert zombies() == [] and read_stat(reported(report)["storm"]) is None
