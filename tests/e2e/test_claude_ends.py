"""How the real Claude Code ends, and what each end is taken for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ..claude_code import Api, claude_code, wrapper
from .claude_run import LEAF, guarding_claude, wait_request
from .guarded import Tables

FAILURE: Tables = {"command": {"restart": "failure"}}
MANY: Tables = {"restart": {"max_attempts": 10, "circuit_failures": 10}}


@pytest.mark.parametrize(
    ("build", "backend", "options"), [("native", "trio", ()), ("node", "asyncio", ()), ("native", "asyncio", ("--no-session-persistence",))]
)
def test_a_task_that_is_done_is_not_done_again(build: str, backend: str, options: tuple[str, ...], api: Api, tmp_path: Path) -> None:
    """It ends right after its turn, before the guardian has looked for the answer on disk: a success, also where failures are restarted."""
    with guarding_claude(tmp_path, backend, api, build, "-p", *options, "hello", tables=FAILURE, streams=False) as run:
        finished = run.finish(40)

    assert (finished.returncode, finished.stdout.strip()) == (0, "ok: hello"), run.told
    (ended,) = run.named("child_exited", path=LEAF)
    assert ended["data"]["exit"] == {"kind": "normal", "reason": "exit code 0", "code": 0}


@pytest.mark.parametrize(
    ("build", "backend", "signum", "code"), [("native", "trio", signal.SIGTERM, 143), ("node", "asyncio", signal.SIGHUP, 129)]
)
def test_who_ends_it_ends_the_run(build: str, backend: str, signum: signal.Signals, code: int, api: Api, tmp_path: Path) -> None:
    """What a person sends is no crash, also in the middle of a turn; the run's exit code is its own, or tells the signal."""
    with guarding_claude(tmp_path, backend, api, build, "-p", 'FAKE: [{"hang": true}]', streams=False) as run:
        wait_request(api, "hang")
        os.kill(run.wait_for("child_started", path=LEAF)["data"]["pid"], signum)
        finished = run.finish(40)

    (ended,) = run.named("child_exited", path=LEAF)
    assert (finished.returncode, ended["data"]["exit"]["kind"]) == (code, "shutdown")


def test_each_crash_is_called_by_its_name(api: Api, tmp_path: Path) -> None:
    """As V8 and Bun crash, and as the kernel kills; the package's wrapper tells by its code. Each next life goes on."""
    crashes = {signal.SIGABRT: "V8", signal.SIGSEGV: "Bun", signal.SIGKILL: ""}
    with guarding_claude(tmp_path, "trio", api, "native", command=("node", str(wrapper())), tables=MANY) as run:
        for number, signum in enumerate(crashes, start=1):
            run.say(f"prompt {number}")
            run.wait_results(number)
            pid = run.wait_for("child_started", number, path=LEAF)["data"]["pid"]
            os.kill(int(Path(f"/proc/{pid}/task/{pid}/children").read_text()), signum)
            run.wait_for("child_restarted", number, path=LEAF)
        run.say("the last")
        run.wait_results(4)
        run.end_input()
        assert run.finish().returncode == 0

    ends = [event["data"]["exit"] for event in run.named("child_exited", path=LEAF)][:3]
    for end, (signum, word) in zip(ends, crashes.items(), strict=True):
        assert (end["kind"], end["code"]) == ("abnormal", 128 + signum) and word in end["reason"], end
    assert api.turns[-1] == ["prompt 1", "prompt 2", "prompt 3", "the last"]


@pytest.mark.deadline(150)
def test_a_heap_that_is_full(api: Api, tmp_path: Path) -> None:
    """A build on Node dies of SIGABRT by itself when an answer is too large for its heap, and is started again; the turn was cut."""
    # it starts with 85 MB; the answer does not fit into the rest several times over, whenever garbage is collected
    heap = {"NODE_OPTIONS": "--max-old-space-size=130"}
    with guarding_claude(tmp_path, "trio", api, "node", env=heap) as run:
        run.say("first")
        run.wait_results(1)
        run.say('FAKE: [{"size": 60000000, "chunks": 4000}]')
        ended = run.wait_for("child_exited", path=LEAF, timeout=90)["data"]["exit"]
        run.wait_for("conversation_started", 2)
        run.end_input()
        run.finish(40)

    assert (ended["kind"], ended["signal"]) == ("abnormal", "SIGABRT") and "V8 does when its heap is full" in ended["reason"]
    assert [(event["data"]["how"], event["data"]["cut"]) for event in run.named("conversation_started")] == [
        ("new", False),
        ("resumed", True),
    ]


def test_a_link_by_another_name_is_the_program(api: Api, tmp_path: Path) -> None:
    """Somebody calls it ``cc``: its life gets a conversation as any other does."""
    (tmp_path / "cc").symlink_to(claude_code("native"))
    with guarding_claude(tmp_path, "trio", api, "native", "-p", "hello", command=("./cc",), streams=False) as run:
        finished = run.finish(40)

    assert (finished.returncode, finished.stdout.strip()) == (0, "ok: hello"), run.told
    (begun,) = run.named("conversation_started")
    assert (begun["data"]["how"], begun["data"]["unheard"]) == ("new", "")
