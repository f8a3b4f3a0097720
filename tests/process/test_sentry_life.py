"""The sentry's own life: when there is one, what replaces it, what it holds, and which kind it is."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from supervisor import BRUTAL_KILL, ChildSpec, SentryLost, StartFailed, Supervisor, command, sentry_in_use
from supervisor.host import sentry, sentry_choice
from supervisor.host.marker import VARIABLE
from supervisor.host.procstat import read_environment
from supervisor.host.sentry_choice import Kind

from ..support import eventually
from ..support import eventually_sync as within
from .host_support import children
from .sentry_support import KINDS, LINUX_ONLY, PATIENCE, SENTRIES, all_gone, host, leaf, now

pytestmark = LINUX_ONLY


@pytest.mark.anyio
async def test_there_is_one_while_a_command_lives() -> None:
    """None before the first and none after the last; restarts and further trees change nothing."""
    assert now() is None
    async with Supervisor("root", [leaf()], intensity=9, period=9.0) as root:
        first = now()
        assert first is not None and first.poll() is None
        async with Supervisor("other", [leaf()]):
            assert now() is first
        pid = root.which_children()[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: root.which_children()[0].generation == 2)
        assert now() is first
        await root.terminate_child("leaf")
        assert now() is None and first.returncode is not None
        await root.restart_child("leaf")
        assert now() is not None
    assert now() is None
    async with Supervisor("root", [leaf(sentry=False)]):
        assert now() is None


@pytest.mark.anyio
async def test_a_sentry_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """By one that reads the same table, also when the life that watched over it has ended; an event says so."""
    monkeypatch.setattr(sentry, "QUICK", 0.0)
    specs = [leaf(), ChildSpec("second", command("sleep", "60"), shutdown=BRUTAL_KILL)]
    async with Supervisor("root", specs) as root, root.subscribe() as events:
        for end in (None, "leaf"):
            if end is not None:
                await root.terminate_child(end)
            lost = now()
            assert lost is not None
            os.kill(lost.pid, signal.SIGKILL)
            with anyio.fail_after(10):
                async for record in events:
                    if isinstance(record.event, SentryLost):
                        break
            assert record.event == SentryLost(("root",), lost.pid, "signal 9", replaced=True)
            replaced = now()
            assert replaced is not None and replaced.poll() is None and replaced is not lost
        assert [child.state for child in root.which_children() if child.id == "second"] == ["running"]


@pytest.mark.anyio
async def test_a_sentry_that_dies_at_once_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It would die again; the tree goes on without, and says so. The next life tries anew."""
    broken = tmp_path / "sentry.sh"
    broken.write_text("exit 3\n")
    monkeypatch.setattr(sentry_choice, "_chosen", (Kind.SHELL, ""))
    monkeypatch.setattr(sentry_choice, "SCRIPT", str(broken))
    lost: list[SentryLost] = []
    root = Supervisor("root", [leaf()])
    root.add_sink(lambda record: lost.append(record.event) if isinstance(record.event, SentryLost) else None)
    async with root:
        await eventually(lambda: lost)
        assert lost[0].reason == "exit code 3, as soon as it was started" and not lost[0].replaced
        assert now() is None and root.which_children()[0].state == "running"
        monkeypatch.undo()
        await root.start_child(ChildSpec("next", command("sleep", "60"), shutdown=BRUTAL_KILL))
        process = now()
        assert process is not None and process.poll() is None


@SENTRIES
def test_the_replacement_knows_every_tree(tmp_path: Path, kind: str) -> None:
    """Also those that were started before it was, and from the moment that there is one: it may not have run its program yet."""
    with host(tmp_path, "trio", kinds=",".join(KINDS), sentry=kind) as killed:
        facts = killed.facts()
        before = {facts["sentry"], facts["leaf"], *killed.family().values()}  # some of the family come to the supervisor as orphans
        time.sleep(sentry.QUICK)  # its promise is about a sentry that has lived for so long
        os.kill(facts["sentry"], signal.SIGKILL)
        within(lambda: children(killed.program.pid) - before, PATIENCE)
        killed.kill()
        all_gone(killed)


def open_files(pid: int) -> list[str]:
    """What a process has open, without numbers."""
    return sorted(re.sub(r":\[\d+\]", "", os.readlink(file)) for file in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.anyio
async def test_the_sentry_holds_nothing_of_ours() -> None:
    """No terminal, no file, no pipe: the table and what it waits for; and it carries no marker of a life."""
    async with Supervisor("root", [leaf()]):
        process = now()
        assert process is not None
        held = open_files(process.pid)
        assert [name for name in held if not name.endswith("pidfd") and name != "anon_inode:[pidfd]"] == [
            "/dev/null", "/dev/null", "/dev/null", "/memfd:sentry (deleted)", "pipe"
        ]  # fmt: skip
        assert f"{VARIABLE}=".encode() not in read_environment(process.pid)


@pytest.mark.anyio
async def test_out_of_descriptors_the_leaf_starts_without() -> None:
    """Whatever is missing for the sentry alone is an event and no failure; whatever happens, nothing is left."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lost: list[SentryLost] = []
    async with Supervisor("root") as root:
        root.add_sink(lambda record: lost.append(record.event) if isinstance(record.event, SentryLost) else None)
        for free in range(16):
            taken: list[int] = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + free + 2, hard))
            try:
                with suppress(OSError):
                    while True:
                        taken.append(os.open(os.devnull, os.O_RDONLY))
                for fd in taken[:free]:
                    os.close(fd)
                with suppress(StartFailed):  # a leaf that could not be started either
                    await root.start_child(ChildSpec(f"leaf{free}", command("sleep", "60"), shutdown=BRUTAL_KILL))
            finally:
                for fd in taken[free:]:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert now() is not None
    assert lost and all(event.pid is None and "Too many open files" in event.reason for event in lost)


def test_what_cannot_be_executed_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentry compiled for another machine costs one failed attempt, and a shell takes its place."""
    broken = tmp_path / "_sentry"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    monkeypatch.setattr(sentry_choice, "COMPILED", str(broken))
    monkeypatch.setattr(sentry_choice, "_chosen", None)
    assert sentry_in_use().kind == "compiled"
    post = sentry.watch_over("marker")
    try:
        assert post.trouble == ""
        assert sentry_in_use() == ("sh", "the compiled one cannot be executed here: Exec format error")
    finally:
        post.close()


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        (("COMPILED",), ("sh", "none was compiled with this installation, which takes a C compiler")),
        (("COMPILED", "SHELL"), ("none", "none was compiled with this installation, which takes a C compiler, and there is no /nowhere")),
    ],
)
def test_the_choice_is_explained(monkeypatch: pytest.MonkeyPatch, absent: tuple[str, ...], expected: tuple[str, str]) -> None:
    """A person can see which sentry there is, and why not a better one; without any nothing else changes."""
    for name in absent:
        monkeypatch.setattr(sentry_choice, name, "/nowhere")
    monkeypatch.setattr(sentry_choice, "_chosen", None)
    assert sentry_in_use() == expected
    if expected[0] == "none":
        post = sentry.watch_over("marker")
        assert post.trouble == "" and now() is None
        post.close()
