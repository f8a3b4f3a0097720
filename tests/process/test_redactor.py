"""Each way out passes the redaction: event file, ring, answers, logs, titles; and fails closed. Secrets are made up at run time."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.planted import planted
from supervisor import (
    ChildExited,
    ChildSpec,
    Console,
    ControlExtension,
    ControlMethod,
    Event,
    Exit,
    ExitKind,
    Record,
    Redactor,
    Renderer,
    Supervisor,
    encoded,
    log_reports,
    task,
)
from supervisor.edge.control.ring import FRESH, Ring
from supervisor.edge.event_file import EventFile
from workers.event import RestartRefused
from workers.log import log_events
from workers.monitoring import warn
from workers.redaction import redact_value
from workers.redactor import REDACTOR
from workers.running import titled

from .control_support import Asker, controlled
from .test_control import forever

SECRET = next(one.secret for one in planted(Random(12)) if one.kind == "npm-token")
MARK = "[redacted: npm-token]"
PATH = ("guardian", "agents", "claude", "leaf")
EVENTS: list[Event] = [
    RestartRefused(PATH, f"it holds {SECRET}", wanted="critical"),
    ChildExited(PATH, exit=Exit(ExitKind.ABNORMAL, f"RuntimeError: {SECRET}", output=(f"npm: {SECRET} denied",)), generation=2),
]


def record(event: Event, seq: int = 1) -> Record:
    return Record("5f1c", seq, 1.0, 1767323045.0, event)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_the_event_stream_is_redacted_in_its_own_fields(event: Event, tmp_path: Path) -> None:
    """File, ring and hooks have the same line, without the secret, with the path and everything else as it was."""
    file, ring = EventFile(str(tmp_path / "events"), redactor=REDACTOR), Ring(redactor=REDACTOR)
    one = record(event)
    assert file.write(one)
    ring.keep(one)
    file.close()
    line = (tmp_path / "events").read_bytes()
    assert ring.after(0, 1 << 20)[0] == [line] and encoded(one, REDACTOR) == line
    assert encoded(one) != line  # what was made for one redactor is not handed to another
    assert SECRET not in line.decode() and MARK in line.decode()
    assert json.loads(line) == {**json.loads(encoded(one)), "data": redact_value(event.as_data())}


def test_what_cannot_be_redacted_is_not_written(tmp_path: Path) -> None:
    """A redactor that fails costs the event, which is counted and told as lost; it is never written as it is."""

    def fails(data: object) -> object:
        raise RecursionError("too much")

    file = EventFile(str(tmp_path / "events"), redactor=Redactor(data=fails, suspects=lambda line: SECRET.encode() in line))
    assert not file.write(record(EVENTS[0], 1))
    assert file.write(record(RestartRefused(PATH, "harmless"), 2))
    file.close()
    text = (tmp_path / "events").read_text()
    assert SECRET not in text
    assert [json.loads(line)["event"] for line in text.splitlines()] == ["events_lost", "restart_refused"]
    assert (file.lost, file.failure) == (1, None)


def test_the_ring_redacts_what_it_makes_ahead() -> None:
    """Lines that are made because there are many are redacted like those that are made for a reader."""
    ring = Ring(redactor=REDACTOR)
    for seq in range(1, FRESH + 3):
        ring.keep(record(EVENTS[0], seq))
    assert all(SECRET.encode() not in line for line in ring.after(0, 1 << 20)[0])


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform == "win32", reason="needs sockets in the file system")
async def test_answers_are_redacted_and_ids_are_the_clients_own(tmp_path: Path) -> None:
    """Results and errors come without secrets; an id is handed back as it came, or nobody could tell whose answer it is."""

    class Leaking(ControlExtension):
        def methods(self) -> dict[str, ControlMethod]:
            async def leak() -> dict[str, Any]:
                return {"said": f"it is {SECRET}", "count": 3}

            async def fail() -> None:
                raise ZeroDivisionError(SECRET)

            return {"leak": ControlMethod(leak), "fail": ControlMethod(fail)}

    tree = Supervisor("root", [ChildSpec("one", task(forever))])
    async with controlled(tree, tmp_path, Leaking, redactor=REDACTOR) as run:
        with Asker(run.control) as asker:
            assert await asker.call("leak") == {"said": f"it is {MARK}", "count": 3}
            assert await asker.error("fail") == (-32603, f"internal error: ZeroDivisionError: {MARK}")
            code, message = await asker.error(SECRET)
            assert (code, SECRET in message) == (-32601, False)
            await asker.send(json.dumps({"jsonrpc": "2.0", "id": SECRET, "method": "ping"}).encode() + b"\n")
            assert await asker.line() == {"jsonrpc": "2.0", "id": SECRET, "result": "pong"}


def test_logs_are_redacted(caplog: pytest.LogCaptureFixture) -> None:
    """The guardian's log is redacted by itself, line and data; OTP's reports when they are told how; and so are warnings."""
    sinks = [log_events(logging.getLogger("of.guardian")), log_reports(logging.getLogger("of.tree"), redact=redact_value)]
    with caplog.at_level(logging.DEBUG):
        for event in EVENTS:
            for sink in sinks:
                sink(record(event))
        warn(f"no hook: {SECRET}")
    assert len(caplog.records) == 4
    for entry in caplog.records:
        assert SECRET not in entry.getMessage() + repr(vars(entry))
        assert MARK in entry.getMessage()


def test_what_a_person_reads_is_redacted(capfd: pytest.CaptureFixture[str]) -> None:
    """Lines for the screen and for the service manager, the summary, and what a desktop shows."""
    renderer = Renderer(redact=REDACTOR.text)
    line = renderer.line(record(EVENTS[1]))
    assert line is not None and SECRET not in line and line.count(MARK) == 2
    console = Console(is_terminal=False, environ={}, redact=REDACTOR.text)
    console.say(f"end: RuntimeError: {SECRET}")
    console.close()
    assert capfd.readouterr().err == f"end: RuntimeError: {MARK}\n"
    assert titled(EVENTS[0])[1].count(MARK) == 1


def test_nothing_is_loaded_for_what_holds_no_keyword(tmp_path: Path) -> None:
    """A run that says nothing of secrets never loads the table of them."""
    program = (
        "import sys; from workers.redactor import REDACTOR; REDACTOR.text('12:00:01  claude  started (pid 4711)');"
        "REDACTOR.line({'v': 1, 'event': 'child_started', 'path': ['guardian', 'agents'], 'data': {'pid': 4711}});"
        "assert not [name for name in sys.modules if name in ('workers.redaction.engine', 'ahocorasick_rs')];"
        f"assert REDACTOR.text('x ' + {SECRET[:9]!r} + {SECRET[9:]!r}).endswith(']')"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2], timeout=60)
