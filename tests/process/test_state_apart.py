"""The process that captures: what it brings, and that its end, whenever it comes, costs the capture under way and nothing else."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from supervisor import ChildExited, ChildStarted, ChildTerminated
from workers.config import MonitoringConfig
from workers.event import CaptureFailed, DegradationChanged, StateCaptured
from workers.ledger import CaptureRequest
from workers.policy.decide import Reconfigured
from workers.policy.pressure import MemoryState, Thresholds
from workers.state import files, lock
from workers.state.conversation import ConversationState, Progress
from workers.state.following import DIGEST
from workers.state.journals import journal_of, mark_of
from workers.state.model import CompleteState
from workers.state.store import StateStore, project_key

from ..support import eventually
from ..transcripts import answered, conversation, said
from .guardian_inside import OFTEN, Inside, inside

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="a worker needs an inherited socket")]

SESSION = "0b5c1d2e-3f40-4a51-8b62-7c8d9e0f1a2b"


def transcript(run: Inside, content: bytes) -> Path:
    """Give the leaf a conversation with this transcript."""
    path = run.folder / f"{SESSION}.jsonl"
    path.write_bytes(content)
    run.leaf.session, run.leaf.transcript = SESSION, str(path)
    return path


def lines(seed: int = 1, count: int = 40) -> bytes:
    return b"".join(line + b"\n" for line in conversation(seed, count))


def asked(run: Inside) -> CaptureRequest:
    request = CaptureRequest(run.leaf, "to keep")
    run.ledger.captures.put(request)
    return request


async def captured(run: Inside) -> CompleteState:
    """Capture, and read the state."""
    request = asked(run)
    with anyio.fail_after(20):
        await request.done.wait()
    assert request.ok, request.cause
    return latest(run)


def latest(run: Inside) -> CompleteState:
    store = StateStore(run.folder / "state")
    return store.load(store.list(run.folder)[-1])


def archive(run: Inside) -> int:
    """The process that captures."""
    pid = run.of(ChildStarted, "services", "archive")[-1].pid
    assert isinstance(pid, int) and pid != os.getpid()
    return pid


def rebuilt(run: Inside, state: CompleteState) -> bytes:
    """The transcript as it was at a state."""
    assert state.journal is not None
    into = io.BytesIO()
    journal_of(StateStore(run.folder / "state"), project_key(run.folder), SESSION).rebuild(mark_of(state.journal), into)
    return into.getvalue()


def place(run: Inside) -> Path:
    return run.folder / "state" / project_key(run.folder) / "journals" / SESSION


async def stuck(run: Inside) -> tuple[lock.Lock, CaptureRequest]:
    """A capture that waits in its middle, for whoever holds the lock of the journal."""
    files.private_directory(place(run), place(run).parent)
    held = lock.try_lock(place(run) / "lock")
    assert held is not None
    before = len(run.of(ChildStarted, "archive"))
    request = asked(run)
    if not before:
        await run.wait(ChildStarted, "archive")
    await eventually(lambda: has_open(archive(run), f"{SESSION}.jsonl"), 20, what="a capture that has begun")
    return held, request


def has_open(pid: int, name: str) -> bool:
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}").endswith(name) for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


async def test_a_state_has_the_conversation_and_the_mark_of_its_journal(tmp_path: Path) -> None:
    """Of 20 MB with a torn last line: the digest of its whole lines, and the transcript can be had again bit by bit; a second capture
    adds what is new. The leaf's limits, open files and memory are there too, and nothing of it all was read by the guardian.
    """
    async with inside(tmp_path, "stay") as run:
        big = b"".join(said(f"{number} " + "many words " * 90_000) + b"\n" for number in range(20))
        path = transcript(run, big + lines() + said("What is torn?")[:40])
        await eventually(lambda: run.leaf.sample, 20)
        first = await captured(run)
        told = ConversationState.from_dict(first.conversation)
        assert (told.session_id, told.size, told.torn) == (SESSION, path.stat().st_size, 40)
        assert told.folded == told.size - 40 and told.digest.turns > 20 and told.messages
        assert rebuilt(run, first) == path.read_bytes()
        assert first.process.limits is not None and "Max open files" in first.process.limits
        assert first.process.memory and first.process.environment["PATH"] == os.environ["PATH"]
        assert first.project.open_files == ()
        with path.open("ab") as file:
            file.write(said("What is torn?")[40:] + b"\n" + answered("Nothing any more.") + b"\n")
        size = sum(entry.stat().st_size for entry in os.scandir(place(run)))
        second = await captured(run)
        assert rebuilt(run, second) == path.read_bytes()
        assert ConversationState.from_dict(second.conversation).digest.last_prompt == "What is torn?"
        assert sum(entry.stat().st_size for entry in os.scandir(place(run))) - size < 10_000
        assert len(run.of(ChildStarted, "archive")) == 1 and not run.of(CaptureFailed)
        assert not {"workers.state.following", "workers.state.journal"} & loaded_by(run)


def loaded_by(run: Inside) -> set[str]:
    """What the guardian has imported; this test's own imports are its process's too, so another interpreter is asked."""
    import subprocess

    code = "import sys, workers.guardian, workers.state.worker, workers.state.apart, workers.state.messages; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


async def test_a_leaf_of_which_nothing_was_sampled_yet_is_captured_whole(tmp_path: Path) -> None:
    """Its environment, its limits, and what it has open in the project, by the process that its supervisor knows."""
    never = MonitoringConfig(normal_interval=600.0, warning_interval=600.0, critical_interval=600.0, emergency_interval=600.0)
    words = ("sh", "-c", "exec 3> notes; : > up; exec sleep 60")
    async with inside(tmp_path, argv=words, monitoring=never) as run:
        await eventually((tmp_path / "up").exists, 20)
        run.leaf.sample = None
        state = await captured(run)
        assert state.process.pid == run.pids()[0] and state.process.environment["PATH"] == os.environ["PATH"]
        assert state.project.open_files == ("notes",) and state.conversation is None and state.journal is None
        assert not run.of(CaptureFailed)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
async def test_killed_or_hung_it_costs_one_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blow: signal.Signals) -> None:
    """In the middle of a capture: that one has failed, at once or when it takes too long, and says so once. The state before it is whole,
    the next capture has a process again, and neither the leaf nor the worker that is asked was restarted.
    """
    monkeypatch.setattr("workers.state.apart.END", 0.3)
    monkeypatch.setattr("workers.state.apart.ANSWER", 0.3)
    patient = attrs.evolve(OFTEN, capture_timeout=20.0 if blow == signal.SIGKILL else 2.0)
    async with inside(tmp_path, "stay", monitoring=patient) as run:
        path = transcript(run, lines())
        before = await captured(run)
        first = archive(run)
        path.write_bytes(path.read_bytes() + said("more") + b"\n")
        held, request = await stuck(run)
        os.kill(first, blow)
        with anyio.fail_after(20):
            await request.done.wait()
        await run.wait(ChildExited, "archive")
        held.release()
        assert not request.ok and len(run.of(CaptureFailed)) == 1
        assert latest(run).metadata.state_id == before.metadata.state_id
        after = await captured(run)
        assert archive(run) != first and rebuilt(run, after) == path.read_bytes()
        assert len(run.of(ChildStarted, "state")) == len(run.of(ChildStarted, "leaf")) == 1
        assert len(run.of(CaptureFailed)) == 1


async def test_what_takes_too_long_goes_on_and_costs_nobody_else(tmp_path: Path) -> None:
    """It has failed for whoever waited; it is done all the same, by the same process, and the capture of another leaf does not wait."""
    slow = MonitoringConfig(capture_timeout=1.0)
    async with inside(tmp_path, "stay", monitoring=slow, others={"other": ("stay",)}) as run:
        path = transcript(run, lines())
        await run.wait(ChildStarted, "leaf", count=2)
        held, request = await stuck(run)
        with anyio.fail_after(20):
            await request.done.wait()
        assert not request.ok and "longer than 1 s" in run.of(CaptureFailed)[0].cause
        other = CaptureRequest(run.ledger.leaves[1], "another")
        run.ledger.captures.put(other)
        with anyio.fail_after(20):
            await other.done.wait()
        assert other.ok
        held.release()
        await run.wait(StateCaptured, run.leaf.name, "leaf")
        assert len(run.of(CaptureFailed)) == len(run.of(ChildStarted, "archive")) == 1
        assert rebuilt(run, [state for state in states(run) if state.journal][-1]) == path.read_bytes()


def states(run: Inside) -> list[CompleteState]:
    store = StateStore(run.folder / "state")
    return [store.load(path) for path in store.list(run.folder)]


async def test_a_run_that_ends_waits_for_what_is_being_written(tmp_path: Path) -> None:
    """The capture under way is on disk when the run is over, and its event was told."""
    async with inside(tmp_path, "stay") as run:
        path = transcript(run, lines())
        held, _ = await stuck(run)
        run.stop.request()
        await run.wait(ChildExited, "leaf")
        held.release()
        await eventually(lambda: run.outcome is not None, 20)
    assert len(run.of(StateCaptured)) == 1 and rebuilt(run, latest(run)) == path.read_bytes()


async def test_a_full_disk_costs_what_does_not_fit(tmp_path: Path) -> None:
    """Where nothing can be written the capture has failed, and what was there is whole; with room it works again, in the same process."""
    import resource

    async with inside(tmp_path, "stay") as run:
        path = transcript(run, lines())
        before = await captured(run)
        content = path.read_bytes()
        path.write_bytes(content + said("more") + b"\n")
        _, hard = resource.prlimit(archive(run), resource.RLIMIT_FSIZE)
        resource.prlimit(archive(run), resource.RLIMIT_FSIZE, (0, hard))
        request = asked(run)
        with anyio.fail_after(20):
            await request.done.wait()
        assert not request.ok and "cannot write" in run.of(CaptureFailed)[0].cause
        assert latest(run).metadata.state_id == before.metadata.state_id and rebuilt(run, before) == content
        resource.prlimit(archive(run), resource.RLIMIT_FSIZE, (hard, hard))
        assert rebuilt(run, await captured(run)) == path.read_bytes()
        assert len(run.of(ChildStarted, "archive")) == 1


async def test_a_part_that_fails_costs_only_that_part(tmp_path: Path) -> None:
    """Without a journal there are the digest and the rest, without a transcript what is known of the session; an event names the part,
    and nobody is degraded for it. A transcript that is gone has the mark of its last moment.
    """
    async with inside(tmp_path, "stay") as run:
        path = transcript(run, lines())
        files.private_directory(place(run).parent.parent, tmp_path / "state")
        place(run).parent.write_text("no directory")
        state = await captured(run)
        assert state.journal is None and ConversationState.from_dict(state.conversation).digest.turns
        (fault,) = run.of(CaptureFailed)
        assert (fault.part, fault.path) == ("journal", run.leaf.path) and "no directory" not in fault.cause
        place(run).parent.unlink()
        state = await captured(run)
        assert len(run.of(CaptureFailed)) == 1
        path.unlink()
        gone = await captured(run)
        assert gone.journal == state.journal
        assert gone.conversation == {"session_id": SESSION, "transcript": str(path)}
        assert [fault.part for fault in run.of(CaptureFailed)[1:]] == ["journal", "conversation"]
        assert not run.of(DegradationChanged)


async def test_how_far_a_conversation_was_read_outlives_the_process(tmp_path: Path) -> None:
    """It is beside the journal, and what is there is believed: a new process folds only what is new."""
    async with inside(tmp_path, "stay") as run:
        filler = b"".join(said("word " * 60_000) + b"\n" for _ in range(5))
        path = transcript(run, filler + lines())
        turns = ConversationState.from_dict((await captured(run)).conversation).digest.turns
        os.kill(archive(run), signal.SIGKILL)
        await run.wait(ChildExited, "archive")
        change(place(run) / DIGEST, turns=1000)
        path.write_bytes(path.read_bytes() + said("One more?") + b"\n")
        told = ConversationState.from_dict((await captured(run)).conversation)
        assert turns < 1000 and told.digest.turns == 1001 and told.folded == path.stat().st_size


def change(path: Path, **more: Any) -> None:
    import json

    from workers.state import codec
    from workers.state.model import canonical

    data = json.loads(codec.decompress(path.read_bytes(), 1 << 22))
    progress = Progress.from_dict(data)
    changed = attrs.evolve(progress, digest=attrs.evolve(progress.digest, **more))
    path.write_bytes(codec.compress(canonical(changed.to_dict(lambda text: text))))


async def test_it_leaves_when_nothing_is_captured_and_comes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle guardian has no process but its leaf's."""
    monkeypatch.setattr("workers.state.worker.IDLE", 0.3)
    async with inside(tmp_path, "stay") as run:
        await captured(run)
        await run.wait(ChildTerminated, "archive")
        await captured(run)
        assert len(run.of(ChildStarted, "archive")) == 2 and not run.of(CaptureFailed)
        assert all(event.exit.is_clean for event in run.of(ChildExited, "archive"))


async def test_it_stays_while_an_emergency_may_be_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a warning it was captured ahead, and what captures is there when it is needed at once; it leaves when memory is normal again."""
    monkeypatch.setattr("workers.state.worker.IDLE", 0.2)
    async with inside(tmp_path, "grow:45", "stay") as run:
        await run.wait(StateCaptured)
        until = anyio.current_time() + 1.0
        await eventually(lambda: run.leaf.sample and run.leaf.sample.at > until, 20, what="a second at warning")
        assert run.leaf.level is MemoryState.WARNING and not run.of(ChildExited, "archive")
        run.ledger.tell(run.leaf, Reconfigured(Thresholds(1 << 40, 1 << 41, 1 << 42)))
        await run.wait(ChildExited, "archive")
        assert run.ledger.leaves[0].level is MemoryState.NORMAL


@pytest.mark.parametrize("off", ["persist_state", "dry_run"])
async def test_where_nothing_is_to_be_kept_nothing_is(tmp_path: Path, off: str) -> None:
    """Whoever asks goes on; there is no process for it, and nothing on disk."""
    async with inside(tmp_path, "stay") as run:
        config = run.ledger.run.config
        run.ledger.run = (
            attrs.evolve(run.ledger.run, dry_run=True)
            if off == "dry_run"
            else attrs.evolve(run.ledger.run, config=attrs.evolve(config, persist_state=False))
        )
        transcript(run, lines())
        request = asked(run)
        with anyio.fail_after(20):
            await request.done.wait()
        assert request.ok and not run.of(ChildStarted, "archive") and not run.of(StateCaptured)
        assert not list((tmp_path / "state").glob("**/*.json.*")) and not place(run).exists()
