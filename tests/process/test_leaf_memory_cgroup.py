"""A leaf whose memory is counted, and that can be frozen: what a memory guard needs of its cgroup, with real processes."""

from __future__ import annotations

import errno
import signal
import sys
from pathlib import Path

import pytest

from supervisor import Limits, cgroup_support, command
from supervisor.core.errors import BadCombination, InvalidField
from supervisor.core.exits import ExitKind
from supervisor.host.cgroup import files
from supervisor.host.cgroup import group as groups
from supervisor.host.cgroup.layout import Hierarchy
from supervisor.host.cgroup.offer import Offer
from supervisor.host.launching import Mechanism

from ..support import eventually
from ..support_ticket import Life, living
from .conftest import Enclosed
from .host_support import is_there

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")]

GREEDY = "block = bytearray(32 << 20); print('held', flush=True); import time; time.sleep(60)"


def needs_memory() -> None:
    if not cgroup_support().memory:
        pytest.skip(f"no memory controller here: {cgroup_support().reason}")


def memory_of(life: Life) -> str:
    group = life.handle.group
    assert group is not None and group.memory is not None
    return group.memory


def counted(stat: Path) -> int:
    return sum(int(line.split()[1]) for line in stat.read_text().splitlines() if line.startswith(("rss ", "anon ")))


async def test_its_memory_is_counted_from_the_first_page_on(way: Mechanism) -> None:
    """All that the tree holds, children included; the cgroups are gone with it."""
    needs_memory()
    async with living(command("sh", "-c", f'{sys.executable} -c "{GREEDY}" & {sys.executable} -c "{GREEDY}"', cgroup="memory")) as life:
        directory = memory_of(life)
        stat = Path(directory, "memory.stat")
        await eventually(lambda: counted(stat) > 64 << 20)
        assert {member.pid for member in files.members(directory)} == {member.pid for member in life.handle.members()}
        life.handle.kill()
        await life.ticket.wait_exit()
        assert not is_there(directory)


async def test_it_is_counted_only_where_that_was_asked_for() -> None:
    """On a host with version 1's memory controller it costs a cgroup more; without one that costs nothing, a leaf has it anyway."""
    needs_memory()
    async with living(command("sleep", "60")) as life:
        assert life.handle.group is not None
        assert (life.handle.group.memory is None) or "unified" not in life.handle.group.directory
    async with living(command("sleep", "60", cgroup="never")) as life:
        assert life.handle.group is None


async def test_without_room_for_a_memory_cgroup_it_runs_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel can number only so many of them: that is no reason not to start, nor to do without the other cgroup."""
    needs_memory()
    make = groups._make

    def full(found: Offer, hierarchy: Hierarchy, name: str) -> str:
        if "memory" in hierarchy.controllers:
            raise OSError(errno.ENOSPC, "No space left on device")
        return make(found, hierarchy, name)

    monkeypatch.setattr(groups, "_make", full)
    async with living(command("sh", "-c", "exit 3", cgroup="memory")) as life:
        assert life.handle.group is not None and life.handle.group.memory is None
        assert (await life.ticket.wait_exit()).code == 3
        assert life.ticket.events == []


async def test_a_frozen_leaf_does_nothing_until_it_is_thawed(cgroup: Enclosed, tmp_path: Path) -> None:
    """Freezing is no signal: nothing of it shows, and it goes on where it was."""
    count = tmp_path / "count"
    async with living(command("sh", "-c", f"while :; do echo x >> {count}; sleep 0.01; done", cgroup=cgroup)) as life:
        group = life.handle.group
        if cgroup == "never":
            assert group is None
            return
        assert group is not None
        await eventually(count.exists)
        assert group.freeze() and group.is_frozen
        state = Path(group.directory, "cgroup.events" if group.clone_into else "freezer.state")
        await eventually(lambda: "frozen 1" in state.read_text() or "FROZEN" in state.read_text())
        before = count.stat().st_size
        group.thaw()
        assert not group.is_frozen
        await eventually(lambda: count.stat().st_size > before + 4)


async def test_a_frozen_leaf_that_is_asked_to_end_can(hierarchy: str, tmp_path: Path) -> None:
    """It gets its signal, has its time, and ends by itself."""
    ready = tmp_path / "ready"
    async with living(command("sh", "-c", f'trap "exit 5" TERM; : > {ready}; while :; do sleep 0.01; done')) as life:
        await eventually(ready.exists)
        assert life.handle.group is not None and life.handle.group.freeze()
        life.handle.terminate()
        exit = await life.ticket.wait_exit()
    assert exit.code == 5 and exit.kind is not ExitKind.NORMAL


async def test_a_frozen_leaf_can_be_killed(hierarchy: str) -> None:
    """At once, without being thawed first."""
    async with living(command("sh", "-c", 'trap "" TERM; sleep 60 & sleep 60')) as life:
        await eventually(lambda: len(life.handle.members()) == 3)
        assert life.handle.group is not None and life.handle.group.freeze()
        life.handle.kill()
        assert (await life.ticket.wait_exit()).signal == signal.SIGKILL


def test_what_takes_a_cgroup_cannot_do_without() -> None:
    """Only the three words are legal, and limits of a tree need a cgroup."""
    with pytest.raises(InvalidField, match='"auto", "memory" or "never"'):
        command("true", cgroup="v2")  # type: ignore[arg-type]
    with pytest.raises(BadCombination):
        command("true", cgroup="never", limits=Limits(memory_max=1 << 30))
    assert command("true", cgroup="memory", limits=Limits(memory_max=1 << 30)).cgroup == "memory"
