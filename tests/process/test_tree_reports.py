"""A running tree in a log of the standard `logging` module."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from supervisor import ChildSpec, Lines, Restart, RestartIntensityExceeded, StartFailed, Supervisor, command, log_reports, subtree
from tests.play import Crash, Play
from tests.support import eventually

pytestmark = pytest.mark.anyio

WORKER = "permanent worker, task tests.play:Play._run"


class Kept(logging.Handler):
    """A handler that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [f"{record.levelname} {record.getMessage()}" for record in self.records]

    def errors(self) -> list[str]:
        return [record.getMessage() for record in self.records if record.levelno == logging.ERROR]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """What the logger `supervisor` is told, at every level."""
    logger, handler = logging.getLogger("supervisor"), Kept()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.fixture
def play() -> Play:
    """Children that do as told."""
    return Play()


def logged(root: Supervisor, **options: Any) -> Supervisor:
    root.add_sink(log_reports(**options))
    return root


async def test_the_story_of_a_tree_as_a_log(play: Play, kept: Kept) -> None:
    """Starts, a crash with its restart, a start by call, an orderly end: one line for each report, and none for the rest."""
    root = logged(Supervisor("root", [play.child("a"), play.child("b", restart=Restart.TRANSIENT)], intensity=3, period=60.0))
    async with root:
        play.crash("a")
        await play.saw("up a", 2)
        await root.start_child(play.child("c", restart=Restart.TEMPORARY))
        play.tell("b")
        await play.saw("end b")
        await root.terminate_child("b")
        await root.restart_child("b")
    text = [line.replace("tests.play:Play._run", "run") for line in kept.lines]
    assert text[0] == "INFO progress root/a: started (permanent worker, task run)"
    assert text[1] == "INFO progress root/b: started (transient worker, task run)"
    assert text[2].startswith("ERROR child_terminated root/a: Crash: a after ")
    assert text[2].endswith(" s (permanent worker, task run, 3 restarts left)")
    assert text[3:] == [
        ("INFO progress root/a: restarted after a failure, number 1 in the window: Crash: a (permanent worker, task run, 2 restarts left)"),
        "DEBUG progress root/c: started (temporary worker, task run)",
        "DEBUG progress root/b: started (transient worker, task run)",
    ]


async def test_a_log_record_has_what_the_line_says_as_data(play: Play, kept: Kept) -> None:
    """For a formatter that writes JSON, or a filter: the context, the path, and the event's own data with the specification."""
    root = logged(Supervisor("root", [play.child("a")], intensity=3))
    async with root:
        play.crash("a")
        await play.saw("up a", 2)
    crashed = kept.records[1]
    assert (crashed.name, crashed.report, crashed.event, crashed.path) == ("supervisor", "child_terminated", "child_exited", ("root", "a"))
    assert (crashed.run, crashed.generation, crashed.exc_info) == (root.run_id, 1, None)
    assert crashed.seq > kept.records[0].seq
    assert crashed.data["exit"] == {"kind": "abnormal", "reason": "Crash: a"}
    assert crashed.data["budget_left"] == 3
    assert crashed.data["spec"] == root._block._specs[0].as_data()


async def test_tracebacks_where_they_are_wanted(play: Play, kept: Kept) -> None:
    """Below the line of a child that raised; nothing where nothing was raised."""
    async with logged(Supervisor("root", [play.child("a")], intensity=3), tracebacks=True):
        play.crash("a")
        await play.saw("up a", 2)
    assert [record.exc_info[0] if record.exc_info else None for record in kept.records] == [None, Crash, None]


@pytest.mark.parametrize("wanted", [True, False])
async def test_last_words_below_the_line(kept: Kept, wanted: bool) -> None:
    """What a command wrote before it failed, unless it is not wanted there; as data it is there in any case."""
    leaf = ChildSpec("a", command("sh", "-c", "echo last; echo words; exit 3", stdout=Lines()), restart=Restart.TEMPORARY)
    async with logged(Supervisor("root", [leaf]), output=wanted):
        await eventually(kept.errors)
    (error,) = kept.errors()
    assert error.startswith("child_terminated root/a: exit code 3")
    assert error.splitlines()[1:] == (["    last", "    words"] if wanted else [])
    assert kept.records[-1].data["exit"]["output"] == ["last", "words"]


async def test_giving_up_in_a_nested_tree_is_told_by_both_supervisors(play: Play, kept: Kept) -> None:
    """The inner one with its child's reason, the outer one with the shutdown of the inner one, which it counts."""
    inner = subtree([play.child("a")], intensity=0)
    root = logged(Supervisor("root", [ChildSpec("inner", inner)], intensity=0))

    async def crashing() -> None:
        async with root:
            play.crash("a")
            await play.rest()

    with pytest.raises(RestartIntensityExceeded):
        await crashing()
    spent = "reached_max_restart_intensity: 0 restarts within 5 s, 0 allowed"
    errors = [error.partition(" after 0")[0] for error in kept.errors()]
    assert errors == [
        "child_terminated root/inner/a: Crash: a",
        f"shutdown root/inner: {spent}; a: Crash: a ({WORKER}, 0 restarts left)",
        "child_terminated root/inner: shutdown",
        f"shutdown root: {spent}; inner: shutdown (permanent supervisor, one_for_one, 0 restarts left)",
    ]


async def test_a_failed_start_is_a_start_error(play: Play, kept: Kept) -> None:
    """At boot, and by a call, whose caller is told as well."""
    play.refuse("a", Crash("not today"))
    with pytest.raises(StartFailed):
        async with logged(Supervisor("root", [play.child("a")])):
            pass
    assert kept.errors() == [f"start_error root/a: Crash: not today ({WORKER}, 1 restart left)"]
    kept.records.clear()
    play.refuse("b", Crash("nor this"))
    async with logged(Supervisor("root")) as root:
        with pytest.raises(StartFailed):
            await root.start_child(play.child("b"))
    assert [(record.report, record.data["purpose"]) for record in kept.records] == [("start_error", "start_child")]


async def test_levels_and_logger_are_the_users(play: Play, kept: Kept) -> None:
    """A logger of one's own, progress where one wants it, and nothing is rendered that nobody would see."""
    logger = logging.getLogger("supervisor.mine")
    async with logged(Supervisor("root", [play.child("a")]), logger=logger, progress=5, requested=logging.WARNING) as root:
        await root.start_child(play.child("b"))
    assert [(record.name, record.levelno, record.report) for record in kept.records] == [("supervisor.mine", logging.WARNING, "progress")]
