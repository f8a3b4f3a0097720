"""What the fork server imports for its workers, and what they have that it has not."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import anyio
import pytest

from supervisor import ChildSpec, DynamicSupervisor, InvalidField, Restart, StartFailed, subtree, task, worker
from supervisor.host import reaper
from tests.children import working
from tests.process.worker_support import child, tree

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")]

MODULE = """
import os, threading, time
{first}
IMPORTER = os.getpid()
async def main(*, task_status):
    import anyio
    task_status.started((IMPORTER, os.getpid()))
    await anyio.sleep_forever()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where workers find modules."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def module(folder: Path, name: str, first: str = "") -> str:
    (folder / f"{name}.py").write_text(MODULE.format(first=first))
    return f"{name}:main"


async def started(root: DynamicSupervisor, function: str, *, preload: bool = True, start_timeout: float = 30.0) -> tuple[int, int]:
    """Who has imported the module of a worker that is started, and the worker."""
    launch = worker(function, start_method="fork_server", preload=preload)
    spec = ChildSpec("worker", launch, restart=Restart.TEMPORARY, start_timeout=start_timeout)
    value = (await root.start_child(spec)).value
    assert isinstance(value, tuple)
    importer, pid = value
    return importer, pid


def server() -> int:
    (pid,) = reaper._servers
    return pid


async def test_the_server_imports_what_it_is_asked_to(folder: Path) -> None:
    """Once, for all lives to come, those from the reserve included; and nothing that it is not asked to."""
    function, other = module(folder, "preloaded_one"), module(folder, "preloaded_other")
    async with DynamicSupervisor("root") as root:
        importer, pid = await started(root, other, preload=False)
        assert importer == pid
        for _ in range(3):
            importer, pid = await started(root, function)
            assert importer == server() != pid
            await anyio.sleep(0.3)  # a reserve is made in the quiet; with it or without, the module is there
        importer, pid = await started(root, other, preload=False)
        assert importer == pid


@pytest.mark.parametrize(
    "first", ["threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "os.path.exists({flag!r}) and os._exit(3)"]
)
async def test_a_module_that_a_server_cannot_have_is_left_to_the_workers(
    folder: Path, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With threads it must not fork: another server takes its place, which is not asked again."""
    flag = folder / "flag"
    flag.touch()
    function = module(
        folder, "preloaded_badly", first.format(flag=str(flag)).replace("os._exit(3)", f"(os.unlink({str(flag)!r}), os._exit(3))")
    )
    async with DynamicSupervisor("root") as root:
        with caplog.at_level(logging.WARNING, "supervisor.worker"):
            importer, pid = await started(root, function)
        assert importer == pid
        assert "preloaded_badly" in caplog.text
        here = server()
        importer, pid = await started(root, function)
        assert (importer, server()) == (pid, here)


async def test_an_import_that_fails_fails_in_the_worker(folder: Path) -> None:
    """Whoever runs the function is told why it cannot be had."""
    function = module(folder, "preloaded_in_vain", "raise RuntimeError('not today')")
    async with DynamicSupervisor("root") as root:
        with pytest.raises(StartFailed) as caught:
            await started(root, function)
        assert "not today" in str(caught.value)


async def test_who_waits_no_more_leaves_the_import_to_the_next(folder: Path) -> None:
    """A start that is given up while the server imports does not disturb the answers to those that follow."""
    flag = folder / "flag"
    function = module(folder, "preloaded_late", f"while not os.path.exists({str(flag)!r}): time.sleep(0.01)")
    async with DynamicSupervisor("root") as root:
        await root.start_child(child("up", id="first", method="fork_server"))
        with pytest.raises(StartFailed):
            await started(root, function, start_timeout=0.2)
        flag.touch()
        importer, pid = await started(root, function)
        assert importer == server() != pid


async def test_what_is_placed_in_a_process_can_be_preloaded() -> None:
    """The modules of its functions are."""
    below = subtree([ChildSpec("up", task(working.up))])
    async with tree(ChildSpec("below", worker(below, start_method="fork_server", preload=True))) as watched:
        assert [row.id for row in watched.root.supervisor("below").which_children()] == ["up"]


async def test_a_variable_that_is_gone_is_gone_in_the_next_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs from the environment of the server's start crosses, removals included."""
    monkeypatch.setenv("A_VARIABLE", "early")
    async with tree(child("up", method="fork_server")) as watched:
        assert (await watched.root.call("child", "surroundings"))["variable"] == "early"
        monkeypatch.delenv("A_VARIABLE")
        await watched.root.start_child(child("up", id="later", method="fork_server"))
        assert (await watched.root.call("later", "surroundings"))["variable"] is None


def test_preload_is_true_or_false() -> None:
    """And nothing else."""
    with pytest.raises(InvalidField, match="preload"):
        worker("m:f", preload="m")  # type: ignore[arg-type]
