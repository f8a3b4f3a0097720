"""What is looked at for the health of a host: against psutil, on a real tree of processes, and where nothing can be read."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import psutil
import pytest

from supervisor import ProcessId, identify
from workers.config.host import memory_of_groups
from workers.health import looks as looks_module
from workers.health import portable
from workers.health.looks import Looks
from workers.health.metrics import DiskSpace, HealthMetrics, Looker, Stall, Subject, disk_space

from ..support import ROOT, eventually_sync, no_descriptors

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
if sys.platform == "linux":
    from workers.health import linux

MIB = 1 << 20

TREE = """
import os, subprocess, sys, threading, time
files = [open(os.devnull) for _ in range(40)]
for _ in range(3):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def tree() -> Iterator[ProcessId]:
    """A process with 40 more descriptors, 3 more threads and a third of a second of processor time."""
    with subprocess.Popen([sys.executable, "-S", "-E", "-c", TREE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        found = identify(process.pid)
        assert found is not None
        yield found


@linux_only
def test_the_host_as_psutil_sees_it() -> None:
    """Memory, swap, load, network and uptime are what psutil says, give or take what happened in between."""
    about = linux.host()
    memory = psutil.virtual_memory()
    counters = [one for name, one in psutil.net_io_counters(pernic=True).items() if name != "lo"]
    assert about["memory_total_bytes"] <= memory.total
    if about["memory_total_bytes"] == memory.total:
        assert abs(about["memory_available_bytes"] - memory.available) < memory.total / 10
    assert about["swap_total_bytes"] == psutil.swap_memory().total
    assert about["uptime"] == pytest.approx(time.time() - psutil.boot_time(), abs=30)
    assert about["load"] == pytest.approx(os.getloadavg(), abs=5)
    if counters:
        assert 0 <= sum(one.bytes_recv for one in counters) - about["received_bytes"] < 100 * MIB
    assert 0 < about["open_files"] < about["open_files_limit"] and 0 < about["threads"] < about["threads_limit"]
    assert 0 < about["own_open_files"] < 1


def test_the_portable_source_has_the_same_fields() -> None:
    """Where there is no /proc, the same values come from psutil, as far as there are any."""
    with tree() as process:
        looked = HealthMetrics(0.0, **{name: value for name, value in portable.host().items() if name != "cpu_times"})
        leaf, times = portable.leaf(Subject("a", (process, ProcessId(process.pid, process.created - 1))))
    assert looked.memory_total_bytes and looked.memory_available_bytes and looked.uptime
    assert (leaf.processes, leaf.threads) == (1, 4) and list(times) == [process]
    assert leaf.open_files is not None and leaf.open_files >= 43
    assert leaf.cpu_seconds is not None and leaf.cpu_seconds >= 0.3
    assert portable.leaf(Subject("a", (ProcessId(2**22 + 1, 1),)))[0].processes == 0
    if sys.platform == "linux":
        assert set(portable.host()) <= set(linux.host())


@linux_only
def test_a_tree_of_processes() -> None:
    """Its threads, descriptors and processor time are summed over its processes; who has its pid now and is not it does not count."""
    own = identify(os.getpid())
    assert own is not None
    with tree() as process:
        alone, times = linux.leaf(Subject("a", (process,)))
        both, _ = linux.leaf(Subject("a", (process, own)))
        recycled, none = linux.leaf(Subject("a", (ProcessId(process.pid, process.created + 1),)))
    assert (alone.processes, alone.threads) == (1, 4)
    assert alone.open_files is not None and alone.open_files >= 43
    assert alone.fullest is not None and 0 < alone.fullest < 1
    assert times[process] >= 0.3
    assert both.processes == 2 and both.threads is not None and both.threads > 4
    assert recycled.processes == 0 and recycled.threads is None and none == {}
    gone, _ = linux.leaf(Subject("a", (process,)))
    assert gone.processes == 0 and gone.cpu_seconds is None


@linux_only
def test_processor_time_is_a_share_of_the_time_between_two_looks() -> None:
    """The first look knows none; a process that is new counts with all it has used."""
    with tree() as process:
        looker = Looker()
        first = looker.look(0.0, [Subject("a", ())])
        second = looker.look(1.0, [Subject("a", (process,))])
        third = looker.look(2.0, [Subject("a", (process,))])
    assert first.cpu is None and first.leaves[0].cpu is None
    assert second.leaves[0].cpu is not None and 0.3 <= second.leaves[0].cpu < 5
    assert third.leaves[0].cpu is not None and 0 <= third.leaves[0].cpu < 1
    assert third.cpu is None or 0 <= third.cpu <= 1


@linux_only
def test_what_the_kernel_does_not_tell_is_unknown(tmp_path: Path) -> None:
    """Without PSI, without /proc at all: None, never zero."""
    proc = str(tmp_path)
    assert linux.stall("memory", proc) == Stall(None, None)
    seen = linux.memory(proc)
    assert (seen.available_bytes, seen.total_bytes, seen.stall) == (None, None, None)
    about = linux.host(proc)
    assert {value for name, value in about.items() if not name.startswith("stall")} == {None}
    readings = HealthMetrics(0.0).readings()
    assert all(getattr(reading, "used", None) is None for reading in readings)


@linux_only
def test_pressure_is_a_ratio(tmp_path: Path) -> None:
    """The share of the last ten seconds, from per cent."""
    (tmp_path / "pressure").mkdir()
    lines = "some avg10=12.50 avg60=1.00 avg300=0.00 total=9\nfull avg10=3.20 avg60=0.00 avg300=0.00 total=4\n"
    (tmp_path / "pressure" / "memory").write_text(lines)
    assert linux.stall("memory", str(tmp_path)) == Stall(0.125, 0.032)


@linux_only
def test_a_leaf_waits_by_itself(tmp_path: Path) -> None:
    """What the kernel says of its control group is the leaf's; without one, or where that says nothing, it is unknown."""
    own = identify(os.getpid())
    assert own is not None
    (tmp_path / "memory.pressure").write_text(
        "some avg10=12.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=2.00 avg60=0.00 avg300=0.00 total=1\n"
    )
    groups = (str(tmp_path), str(tmp_path / "none"), None)
    seen = [linux.leaf(Subject("leaf", (own,), group))[0].stall_memory for group in groups]
    assert seen == [Stall(0.125, 0.02), Stall(), Stall()]


@linux_only
@pytest.mark.parametrize(
    ("limit", "used", "cache", "expected"), [(400, 350, 100, 150), (400, 500, 0, 0), (900, 100, 0, 600), (4000, 100, 0, 600)]
)
def test_a_container_has_what_its_group_has_left(tmp_path: Path, limit: int, used: int, cache: int, expected: int) -> None:
    """In a container of 400 MiB the memory is the container's, unused file pages not counted; never more than the machine has."""
    group = tmp_path / "group"
    (tmp_path / "self").mkdir()
    group.mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/\n")
    (tmp_path / "self" / "mountinfo").write_text(f"30 23 0:26 / {group} rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "meminfo").write_text(f"MemTotal: {1000 * 1024} kB\nMemAvailable: {600 * 1024} kB\n")
    (group / "memory.max").write_text(f"{limit * MIB}\n")
    (group / "memory.current").write_text(f"{used * MIB}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {cache * MIB}\nactive_file 7\n")
    assert list(memory_of_groups(str(tmp_path))) == [(limit * MIB, (used - cache) * MIB)]
    seen = linux.memory(str(tmp_path))
    assert (seen.total_bytes, seen.available_bytes) == (min(limit, 1000) * MIB, expected * MIB)


def test_disks_each_once(tmp_path: Path) -> None:
    """Paths on one file system are one entry with all their names; a path that is not there yet counts where it will be."""
    (found,) = disk_space([("state directory", str(tmp_path / "a" / "b")), ("temporary directory", str(tmp_path))])
    assert found.what == "state directory, temporary directory"
    usage = psutil.disk_usage(str(tmp_path))
    assert found.total_bytes is not None and found.free_bytes is not None
    assert abs(found.free_bytes - usage.free) < 500 * MIB
    assert found.total_bytes == pytest.approx(usage.used + usage.free, rel=0.01)


@pytest.mark.anyio
async def test_a_whole_look() -> None:
    """Everything at once, in a thread of its own that has ended afterwards."""
    own = identify(os.getpid())
    assert own is not None
    looked = await Looks([("here", os.getcwd())], patience=10.0).everything(5.0, [("a", (own,)), ("b", ())])
    assert looked is not None and looked.at == 5.0
    assert [leaf.name for leaf in looked.leaves] == ["a"] and [disk.what for disk in looked.disks] == ["here"]
    assert {"cpu", "memory", "here", "open files of a"} <= {reading.what for reading in looked.readings()}


@pytest.mark.anyio
async def test_a_disk_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it longer than the patience; it keeps a thread or two however often it is looked at; the others are still known, and
    once it answers it is known again.
    """
    answer = threading.Event()
    whole: Callable[..., tuple[DiskSpace, ...]] = disk_space

    def stuck(paths: list[tuple[str, str]]) -> tuple[DiskSpace, ...]:
        if any(what == "dead" for what, _ in paths):
            assert answer.wait(30)
        return whole(paths)

    monkeypatch.setattr(looks_module, "disk_space", stuck)
    looks = Looks([("dead", "/"), ("alive", "/")], patience=0.1)

    def looking() -> list[str]:
        """Threads by name: those of an event loop come and go by themselves."""
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("health look at ")]

    try:
        for _ in range(4):
            with anyio.fail_after(10):
                dead, alive = await looks.disks()
            assert dead.what == "dead" and dead.total_bytes is None
            assert alive.what == "alive" and alive.total_bytes is not None
        assert sorted(looking()) == ["health look at dead /", "health look at disks"]
    finally:
        answer.set()
    eventually_sync(lambda: not looking(), what="the threads' end")
    await looks.disks()
    (both,) = await looks.disks()
    assert both.what == "dead, alive" and both.total_bytes is not None


@pytest.mark.anyio
async def test_a_look_that_cannot_be_begun_is_unknown() -> None:
    """Out of descriptors nothing is known, and nothing is raised; what nobody has thought of is raised to who looks."""
    looks = Looks([("here", "/")], patience=5.0)
    with no_descriptors():
        assert await looks.everything(0.0, []) is None
        assert await looks.disks() == (DiskSpace("here", "/"),)
    assert (await looks.disks())[0].total_bytes is not None

    def broken() -> object:
        raise ZeroDivisionError("nobody thought of that")

    with pytest.raises(ZeroDivisionError, match="nobody thought"):
        await looks._in_time("x", broken)


def test_no_look_connects_to_anything() -> None:
    """No socket connects or sends, and no name is resolved, while the host and a leaf are looked at."""
    done = subprocess.run([sys.executable, "-c", UNCONNECTED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "['looked', 'looked']\n"), done.stderr


UNCONNECTED = """
import os, sys, anyio
from supervisor import identify
from workers import HealthMonitor
from workers.health.looks import Looks

async def main():
    looks = Looks([("here", ".")], patience=5.0)
    seen = await looks.everything(anyio.current_time(), [("leaf", (identify(os.getpid()),))])
    report = await HealthMonitor().check()
    print([one and "looked" for one in (seen, report)])

def heard(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"):
        os.write(2, f"{event} {arguments}".encode())
        os._exit(1)

sys.addaudithook(heard)
anyio.run(main, backend="trio")
"""
