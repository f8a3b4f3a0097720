"""The control socket of a tree: what can be asked, what it answers, and that nothing of it outlives the run."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor import (
    Breaker,
    ChildRestarted,
    ChildSpec,
    ChildStarted,
    ChildTerminated,
    Client,
    Control,
    ControlError,
    ControlExtension,
    ControlMethod,
    ControlUnavailable,
    Event,
    GiveUp,
    StatusColumn,
    Supervisor,
    UsageError,
    command,
    subtree,
    task,
)
from supervisor.edge.control import finding, place
from supervisor.edge.control.client import chosen
from supervisor.host.identity import ProcessId

from ..support import eventually, no_descriptors
from .control_support import RUN, Asker, controlled, sockets_below

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="needs sockets in the file system")]


async def forever(*, task_status: Any) -> None:
    """Run until cancelled."""
    task_status.started()
    await anyio.sleep_forever()


def tree() -> Supervisor:
    """One task, and below a supervisor a command."""
    leaf = ChildSpec("leaf", command("sleep", "1000"), shutdown=5.0)
    return Supervisor("root", [ChildSpec("idle", task(forever)), ChildSpec("below", subtree([leaf], intensity=3, period=60.0))])


async def test_a_tree_is_told_as_the_tree_itself_says_it(tmp_path: Path) -> None:
    """`tree` is the data of `SupervisorRef.tree`, `status` has it with what happens next, `version` says who answers."""
    async with controlled(tree(), tmp_path) as run:
        with Asker(run.control) as asker:
            told = await asker.call("tree")
            status = await asker.call("status")
            version = await asker.call("version")
            assert await asker.call("ping") == "pong"
            expected = json.loads(json.dumps(run.tree.tree().as_data()))

    for one in (told, expected, status["tree"]):
        forget_times(one)
    assert told == expected
    assert [child["id"] for child in told["children"]] == ["idle", "below"]
    assert status["tree"]["children"][1]["children"][0].pop("next") is None
    assert (status["run"], status["pid"], status["kind"], status["backend"]) == (RUN, os.getpid(), "app", "test")
    assert (version["run"], version["pid"], version["names"], version["protocol"]) == (RUN, os.getpid(), ["root"], 1)
    assert {"ping", "version", "status", "tree", "events", "resolve", "restart", "stop"} == set(version["methods"])


def forget_times(node: dict[str, Any]) -> None:
    """What differs from moment to moment."""
    node["uptime"] = None
    for child in node.get("children", ()):
        forget_times(child)


async def test_a_restart_is_asked_for_and_answered(tmp_path: Path) -> None:
    """By path, by the end of it, or as a list of ids: the supervisor cycles the child, and the answer is its new life."""
    async with controlled(tree(), tmp_path) as run:
        with Asker(run.control) as asker:
            for number, path in enumerate(("root/below/leaf", "leaf", ["below", "leaf"]), start=2):
                row = await asker.call("restart", path=path, reason=f"try {number}")
                assert (row["path"], row["state"], row["generation"]) == (["root", "below", "leaf"], "running", number)
            code, message = await asker.error("restart", path="leaf")
            assert code == -32003 and "restart" in message

    assert [(event.reason, event.controlled) for event in run.of(ChildRestarted)] == [(f"try {n}", True) for n in (2, 3, 4)]


async def test_a_restart_that_protection_postpones_says_for_how_long(tmp_path: Path) -> None:
    """In words and as data; the child was left alone."""
    leaf = ChildSpec("leaf", task(forever))
    flags: Any = {"intensity": 1, "period": 100.0, "breaker": Breaker(1, 50.0), "on_give_up": GiveUp.HOLD}
    async with controlled(Supervisor("root", [leaf], **flags), tmp_path) as run:
        with Asker(run.control) as asker:
            await asker.call("restart", path="leaf")
            answer = await asker.answer("restart", {"path": "leaf"})

    assert answer["error"]["data"]["error"] in ("RestartRefused", "RestartPostponed")
    assert 0 < answer["error"]["data"]["retry_in"] <= 100


async def test_a_child_is_stopped_and_started_again(tmp_path: Path) -> None:
    """`stop` with a path is terminate_child; `restart` of one that is down starts it."""
    async with controlled(tree(), tmp_path) as run:
        with Asker(run.control) as asker:
            assert await asker.call("stop", path="idle") == {"path": ["root", "idle"], "stopping": None}
            status = await asker.call("status")
            assert status["tree"]["children"][0]["state"] == "undefined"
            assert (await asker.call("restart", path="idle"))["state"] == "running"

    assert [event.path for event in run.of(ChildTerminated)] == [("root", "idle")]


async def test_the_whole_run_is_stopped(tmp_path: Path) -> None:
    """`stop` without a path asks the run, as a signal does, and `status` says so."""
    async with controlled(tree(), tmp_path) as run:
        with Asker(run.control) as asker:
            assert (await asker.call("stop"))["stopping"] == "now"
            with anyio.fail_after(5):
                await run.stop.wait()
            assert (await asker.call("status"))["stopping"] == "now"
            assert (await asker.error("restart", path="root"))[0] == -32003


async def test_a_stop_when_idle_waits_for_the_turn_and_not_for_the_client(tmp_path: Path) -> None:
    """Who asked may hang up; reading says what is waited for."""
    turn = anyio.Event()

    class Busy(ControlExtension):
        async def idle(self) -> None:
            await turn.wait()

    async with controlled(tree(), tmp_path, Busy) as run:
        with Asker(run.control) as asker:
            assert (await asker.call("stop", when_idle=True))["stopping"] == "when_idle"
        with Asker(run.control) as asker:
            assert (await asker.call("status"))["stopping"] == "when_idle"
            assert (await asker.error("stop", path="idle", when_idle=True))[0] == -32602
        assert not run.stop.requested
        turn.set()
        with anyio.fail_after(5):
            await run.stop.wait()


async def test_who_follows_gets_what_was_and_what_comes(tmp_path: Path) -> None:
    """From the number that was asked for, without a gap, until the run is over: its last event is among them."""
    seen: list[dict[str, Any]] = []

    async def follow(asker: Asker) -> None:
        while (message := await asker.line()) is not None:
            assert message["method"] == "event"
            seen.append(message["params"])

    async with anyio.create_task_group() as tasks, controlled(tree(), tmp_path) as run:
        asker = Asker(run.control)
        assert (await asker.call("events", since=2, follow=True))["since"] == 2
        tasks.start_soon(follow, asker)
        assert (await asker_again(run.control)) == -32600
        await run.tree.supervisor("below").cycle_child("leaf", reason="seen")
    asker.socket.close()

    assert [event["seq"] for event in seen] == list(range(3, run.records[-1].seq + 1))
    assert [event["event"] for event in seen] == [record.event.name for record in run.records[2:]]
    assert seen[0].keys() == {"v", "run", "seq", "time", "monotonic", "event", "path", "generation", "data"}


async def asker_again(control: Control) -> int:
    """Follow twice over one connection."""
    with Asker(control) as asker:
        await asker.call("events", follow=True)
        while "error" not in (answer := await asker.answer("events", {"follow": True})):
            pass
        code: int = answer["error"]["code"]
        return code


async def test_events_are_read_in_pages(tmp_path: Path) -> None:
    """Each says where the next begins; a number that is yet to come is refused, for it belongs to another run."""
    async with controlled(tree(), tmp_path) as run:
        for number in range(40):
            run.tree.emit(Long(("root",), f"{number}" * 10_000))
        with Asker(run.control) as asker:
            since, seen, pages = 0, [], 0
            while since < run.records[-1].seq:
                page = await asker.call("events", since=since)
                seen += [event["seq"] for event in page["events"]]
                since, pages = page["since"], pages + 1
            code, message = await asker.error("events", since=since + 1)

    assert seen[0] == 1 and seen == list(range(1, len(seen) + 1))
    assert pages > 1
    assert code == -32602 and "numbers begin anew" in message


class Long(Event):
    """An event with much to say."""

    name = "long"

    def __init__(self, path: tuple[str, ...], said: str) -> None:
        super().__init__(path)
        object.__setattr__(self, "said", said)

    def as_data(self) -> dict[str, Any]:
        """What it says."""
        return {"said": self.said}  # type: ignore[attr-defined]


async def test_errors_are_json_rpc_s(tmp_path: Path) -> None:
    """Unknown methods, parameters and children, with what was meant; a batch is answered as one, a notification not at all."""
    async with controlled(tree(), tmp_path) as run:
        with Asker(run.control) as asker:
            assert await asker.error("statsu") == (-32601, "no method is called 'statsu' (did you mean 'status'?)")
            assert (await asker.error("restart"))[0] == -32602
            assert await asker.error("restart", path="leef") == (-32002, "there is no child 'leef' (did you mean 'leaf'?)")
            await asker.send(b'nonsense\n\n  \n{"jsonrpc": "2.0", "method": "ping"}\n')
            assert (await asker.line())["error"]["code"] == -32700
            await asker.send(
                b'[{"jsonrpc": "2.0", "id": "a", "method": "ping"}, 7, {"jsonrpc": "2.0", "method": "ping"},'
                b'{"jsonrpc": "2.0", "id": 2.5, "method": "restart", "params": ["nobody"]}]\n[{"jsonrpc": "2.0", "method": "ping"}]\n'
            )
            batch = await asker.line()
            assert [answer["id"] for answer in batch] == ["a", None, 2.5]
            assert batch[0]["result"] == "pong" and batch[1]["error"]["code"] == -32600 and batch[2]["error"]["code"] == -32002
            assert await asker.call("ping") == "pong"


async def test_an_ambiguous_child_is_not_guessed(tmp_path: Path) -> None:
    """Both are named, and a full path means one of them."""
    twins = [ChildSpec(name, subtree([ChildSpec("leaf", task(forever))])) for name in ("one", "two")]
    async with controlled(Supervisor("root", twins), tmp_path) as run:
        with Asker(run.control) as asker:
            code, message = await asker.error("restart", path="leaf")
            assert (await asker.call("restart", path="two/leaf"))["path"] == ["root", "two", "leaf"]

    assert code == -32602
    assert "root/one/leaf, root/two/leaf" in message


async def test_a_fault_of_a_method_is_an_answer(tmp_path: Path) -> None:
    """An exception that nobody foresaw reaches whoever asked, as an internal error, and no one else."""

    class Faulty(ControlExtension):
        columns = (StatusColumn("weight", "weight", "bytes"),)

        def methods(self) -> dict[str, ControlMethod]:
            async def fail() -> None:
                raise ZeroDivisionError("nobody thought of that")

            async def reject() -> None:
                raise UsageError(["one", "two"])

            return {"fail": ControlMethod(fail), "fail_changing": ControlMethod(fail, changes=True), "reject": ControlMethod(reject)}

        def about(self, path: tuple[str, ...]) -> dict[str, Any]:
            return {"weight": len(path)}

    async with controlled(tree(), tmp_path, Faulty) as run:
        with Asker(run.control) as asker:
            for method in ("fail", "fail_changing"):
                assert await asker.error(method) == (-32603, "internal error: ZeroDivisionError: nobody thought of that")
            assert (await asker.answer("reject"))["error"]["data"] == {"faults": ["one", "two"]}
            status = await asker.call("status")

    assert status["columns"] == [{"key": "weight", "title": "weight", "unit": "bytes"}]
    assert status["tree"]["children"][1]["children"][0]["weight"] == 3
    assert not run.of(ControlUnavailable)


async def test_a_slow_request_holds_up_no_other(tmp_path: Path) -> None:
    """While a restart is under way, the same connection is answered what can be answered."""
    release = anyio.Event()

    class Slow(ControlExtension):
        async def restart(self, path: tuple[str, ...], reason: str) -> bool:
            await release.wait()
            return True

    async with controlled(tree(), tmp_path, Slow) as run:
        with Asker(run.control) as asker:
            await asker.send(b'{"jsonrpc": "2.0", "id": "slow", "method": "restart", "params": ["leaf"]}\n')
            assert await asker.call("ping") == "pong"
            release.set()
            assert (await asker.line())["id"] == "slow"


async def test_a_client_that_closes_its_side_is_still_answered(tmp_path: Path) -> None:
    """As ``echo ... | nc -U`` does."""
    async with controlled(tree(), tmp_path) as run:
        with Asker(run.control) as asker:
            await asker.send(
                b'{"jsonrpc": "2.0", "id": 1, "method": "restart", "params": ["leaf"]}\n{"jsonrpc": "2.0", "id": 2, "method": "ping"}\n'
            )
            asker.socket.shutdown(1)
            assert {(await asker.line())["id"], (await asker.line())["id"]} == {1, 2}
            assert await asker.line() is None


async def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    """While the run lasts the socket is there for its user alone; then it is gone, with its directory, and so are the connections."""
    async with controlled(tree(), tmp_path) as run:
        (name,) = sockets_below(tmp_path)
        file = tmp_path / "memory-guardian" / name
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        asker = Asker(run.control)
        await asker.call("ping")
        assert run.connections == 1

    assert await asker.line() is None
    asker.socket.close()
    assert os.listdir(tmp_path) == []


async def test_a_stale_socket_is_removed_and_a_living_one_is_not(tmp_path: Path) -> None:
    """What a killed run has left goes at the next start; what answers stays, even where its process cannot be seen."""
    folder = tmp_path / "memory-guardian"
    folder.mkdir(mode=0o700)
    stale, foreign = folder / "aaaaaaaa-999999999-1.sock", folder / "bbbbbbbb-999999998-1.sock"
    (folder / "notes").write_text("not ours")
    with place.unix_socket() as dead, place.unix_socket() as living:
        for file, bound in ((stale, dead), (foreign, living)):
            with place.reachable(str(folder), file.name) as path:
                bound.bind(path)
        dead.close()
        living.listen()
        async with controlled(tree(), tmp_path) as run:
            assert run.control.listener is not None
            assert sockets_below(tmp_path) == sorted([foreign.name, run.control.listener.place.name])

    assert sorted(file.name for file in folder.iterdir()) == [foreign.name, "notes"]


async def test_several_runs_are_found_and_told_apart(tmp_path: Path) -> None:
    """By child, by the beginning of the run's id, by pid and by socket; when it is not plain which one is meant, all are listed."""
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    with pytest.raises(UsageError, match="no guardian runs; start one: prog -- COMMAND"):
        chosen(environ, None, "prog")
    async with controlled(Supervisor("first", [ChildSpec("a", task(forever))]), tmp_path) as one:

        async def ask(name: str | None, child: str | None = None) -> list[str]:
            return await anyio.to_thread.run_sync(named, environ, name, child)

        assert await ask(None) == ["first"]
        with Control("f" * 32, environ=environ) as second:
            other = Supervisor("second", [ChildSpec("b", task(forever))])
            async with anyio.create_task_group() as tasks, other:
                tasks.start_soon(second.serve, other, one.stop)
                await second.opened.wait()
                assert second.listener is not None
                for name in ("second", "ffff", "f" * 32, second.listener.place.file):
                    assert await ask(name) == ["second"]
                assert await ask(None, child="b") == ["second"]
                assert await ask(None, child="first/a") == ["first"]
                for wrong, said in (
                    (None, "several guardians run; name one by its child or its run: "),
                    ("frist", "no guardian is called 'frist' (did you mean 'first'?); there runs: first (run"),
                    (str(os.getpid()), "several guardians run"),
                ):
                    with pytest.raises(UsageError) as refused:
                        await ask(wrong)
                    assert said in str(refused.value)
                with pytest.raises(UsageError, match="name one with --guardian"):
                    await ask(None, child="nobody")
                tasks.cancel_scope.cancel()


def named(environ: dict[str, str], name: str | None, child: str | None) -> list[str]:
    """The names of the guardian that is meant."""
    with chosen(environ, name, "prog", child=child) as client:
        names: list[str] = client.call("version")["names"]
        return names


async def test_a_client_without_a_loop(tmp_path: Path) -> None:
    """Calls, errors with code and data, events to the end of the run."""

    def use(at: place.Place) -> list[str]:
        with Client(at) as client:
            assert client.call("ping") == "pong"
            with pytest.raises(ControlError) as refused:
                client.call("restart", path="nobody")
            assert refused.value.code == -32002
            client.call("events", since=0, follow=True)
            client_events.set()
            return [event["event"] for event in client.events()]

    import threading

    client_events = threading.Event()
    seen: list[str] = []
    async with anyio.create_task_group() as tasks, controlled(tree(), tmp_path) as run:
        assert run.control.listener is not None

        async def asked(at: place.Place) -> None:
            seen.extend(await anyio.to_thread.run_sync(use, at))

        tasks.start_soon(asked, run.control.listener.place)
        await eventually(client_events.is_set)

    assert seen == [record.event.name for record in run.records]


async def test_by_tcp_a_token_says_who_may_ask(tmp_path: Path) -> None:
    """Nothing is answered before it, the file that holds it is the user's alone, and whose socket it is is found out."""
    async with controlled(tree(), tmp_path, tcp=True) as run:
        (name,) = sockets_below(tmp_path)
        assert stat.S_IMODE((tmp_path / "memory-guardian" / name).stat().st_mode) == 0o600
        with Asker(run.control) as asker:
            for method, params in (
                ("ping", {}),
                ("authenticate", {"token": "x" * 64}),
                ("authenticate", {"token": "é"}),
                ("authenticate", {}),
            ):
                assert (await asker.answer(method, params))["error"]["code"] == -32001
        assert run.control.listener is not None

        def use(at: place.Place) -> Any:
            with Client(at) as client:
                return client.call("restart", path="leaf")

        assert (await anyio.to_thread.run_sync(use, run.control.listener.place))["generation"] == 2

    assert os.listdir(tmp_path) == []


async def test_a_run_goes_on_where_nobody_can_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place is named with what is wrong with it: a file, or somebody else's directory."""
    (tmp_path / "memory-guardian").write_text("in the way")
    monkeypatch.setattr(place, "directories", lambda environ: [str(tmp_path / "memory-guardian"), str(tmp_path / "other")])
    (tmp_path / "other").symlink_to(tmp_path)
    async with controlled(tree(), tmp_path) as run:
        assert run.control.listener is None
        assert len(run.of(ChildStarted)) == 3
    (event,) = run.of(ControlUnavailable)
    assert f"{tmp_path}/memory-guardian: " in event.reason and f"{tmp_path}/other: Not a directory" in event.reason


async def test_without_descriptors_it_waits_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that cannot be accepted is served when it can be; nothing fails and nothing spins."""
    monkeypatch.setattr("supervisor.edge.control.server.OUT_OF_DESCRIPTORS", 0.05)
    async with controlled(Supervisor("root", [ChildSpec("idle", task(forever))]), tmp_path) as run:
        with Asker(run.control) as asker:
            await asker.call("ping")
            with no_descriptors(spare=8):
                taken: list[int] = []
                with contextlib.suppress(OSError):
                    while True:
                        taken.append(os.dup(0))
                os.close(taken.pop())
                os.close(taken.pop())
                late = Asker(run.control)
                with contextlib.suppress(OSError):
                    taken.append(os.dup(0))  # a long path takes one more for a moment
                await late.send(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
                try:
                    assert await asker.call("ping") == "pong"
                    assert run.connections == 1
                finally:
                    for fd in taken:
                        os.close(fd)
            with late, anyio.fail_after(10):
                assert (await late.line())["result"] == "pong"

    assert not run.of(ControlUnavailable)


async def test_a_fault_of_its_own_is_an_event_and_the_run_goes_on(tmp_path: Path) -> None:
    """An extension that cannot be made: nobody is served any more, and the tree is as it was."""

    def broken() -> ControlExtension:
        raise ZeroDivisionError("nobody thought of that")

    async with controlled(tree(), tmp_path, broken) as run:
        with Asker(run.control) as asker:
            assert await asker.answer("ping") is None
        await eventually(lambda: run.of(ControlUnavailable))
        assert run.tree.which_child("idle").state == "running"
        assert os.listdir(tmp_path) == []

    assert "nobody thought of that" in run.of(ControlUnavailable)[0].reason


def test_a_path_may_be_longer_than_a_socket_s(tmp_path: Path) -> None:
    """The kernel takes 107 bytes; a state directory may have any number."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    environ = {"XDG_RUNTIME_DIR": str(deep)}
    listener = place.listen(RUN, environ)
    try:
        (at,) = finding.found(environ)
        assert at.file == listener.place.file and len(at.file) > 200
        with place.reachable(at.directory, at.name) as path, place.unix_socket() as asking:
            asking.connect(path)
    finally:
        listener.close()
    assert finding.found(environ) == []


def test_a_place_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a shared directory whoever comes first could be anybody; one that is open to others is closed to them first."""
    shared = tmp_path / f"memory-guardian-{os.geteuid()}"
    shared.mkdir(mode=0o755)
    environ = {"TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": "relative"}
    listener = place.listen(RUN, environ)
    try:
        assert listener.place.directory == str(shared)
        assert stat.S_IMODE(shared.stat().st_mode) == 0o700
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        assert finding.found({"TMPDIR": str(tmp_path)}) == []
        (tmp_path / "memory-guardian-4711").mkdir()
        with pytest.raises(OSError, match="belongs to somebody else"):
            place.listen(RUN, {"TMPDIR": str(tmp_path)})
    finally:
        listener.close()


def test_the_best_place_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime directory, then the user's state, then a directory of temporary files."""
    monkeypatch.setattr(sys, "platform", "linux")
    found = place.directories({"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/h/u", "TMPDIR": "/var/tmp"})
    assert found == ["/run/user/7/memory-guardian", "/h/u/.local/state/memory-guardian/run", f"/var/tmp/memory-guardian-{os.geteuid()}"]
    assert place.directories({"XDG_STATE_HOME": "/s"}) == ["/s/memory-guardian/run", f"/tmp/memory-guardian-{os.geteuid()}"]


def test_a_living_process_is_told_from_a_dead_one_by_the_name(tmp_path: Path) -> None:
    """Without connecting: the name has pid and creation time."""
    listener = place.listen(RUN, {"XDG_RUNTIME_DIR": str(tmp_path)})
    try:
        (at,) = finding.found({"XDG_RUNTIME_DIR": str(tmp_path)})
        assert at.process.pid == os.getpid() and at.run == RUN[:8]
        os.rename(at.file, Path(at.directory) / f"{RUN[:8]}-{os.getpid()}-{at.process.created + 1}.sock")
        assert finding.found({"XDG_RUNTIME_DIR": str(tmp_path)}) == []
        assert ProcessId(os.getpid(), at.process.created) == at.process
    finally:
        listener.close()
        for left in Path(listener.place.directory).iterdir():
            left.unlink()
