"""What an sd_notify message says, by systemd's rules, and what silence is too long; nothing here is sent or waited for."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.errors import InvalidField
from supervisor.host.sd_notify import LONGEST, Notification, parse, watchdog_period
from supervisor.leaf.acknowledging import LineReadiness
from supervisor.leaf.pump import LONGEST_LINE, Route, Searched
from supervisor.leaf.readiness import ReadyLine, line, probe, readiness
from supervisor.leaf.watchdog import Watchdog

NUMBERS = st.integers(0, 2**64 - 1)
WORDS = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), max_size=40)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "READY": st.just("1"),
        "STOPPING": st.just("1"),
        "STATUS": WORDS,
        "MAINPID": st.integers(1, 2**22).map(str),
        "WATCHDOG": st.sampled_from(["1", "trigger"]),
        "WATCHDOG_USEC": NUMBERS.map(str),
        "EXTEND_TIMEOUT_USEC": NUMBERS.map(str),
        "FDNAME": WORDS,
    },
)


def seconds(text: str | None) -> float | None:
    return None if text is None else math.inf if int(text) == 2**64 - 1 else int(text) / 1e6


@given(MESSAGES, st.sampled_from(["", "\n", "\0", "\n\0"]))
def test_a_message_says_what_its_assignments_say(said: dict[str, str], end: str) -> None:
    """Each assignment by itself, whatever stands beside it; a newline or a NUL may end a message."""
    message = ("\n".join(f"{name}={value}" for name, value in said.items()) + end).encode()

    period = seconds(said.get("WATCHDOG_USEC"))
    assert parse(message) == Notification(
        ready="READY" in said,
        stopping="STOPPING" in said,
        status=said.get("STATUS"),
        main_pid=int(said["MAINPID"]) if "MAINPID" in said else None,
        ping=said.get("WATCHDOG") == "1",
        trigger=said.get("WATCHDOG") == "trigger",
        watchdog=math.inf if period == 0 else period,
        extension=seconds(said.get("EXTEND_TIMEOUT_USEC")),
    )


@given(st.binary(max_size=2 * LONGEST))
def test_no_datagram_breaks_the_parser(message: bytes) -> None:
    """Whatever arrives is a message or none."""
    said = parse(message)
    body = message.removesuffix(b"\0")
    assert (said is None) == (len(body) > LONGEST or b"\0" in body)


@pytest.mark.parametrize("value", ["", "-1", "+1", " 1", "1 ", "1_000", "0x10", "1.5", "1e6", "٣", str(2**64), "9" * 400, "soon"])
def test_numbers_are_decimal_digits(value: str) -> None:
    """Anything else is malformed, and told; the rest of the message counts."""
    said = parse(f"WATCHDOG_USEC={value}\nREADY=1\nMAINPID=0".encode())

    assert said == Notification(ready=True, malformed=("WATCHDOG_USEC", "MAINPID"))


def test_of_two_assignments_of_one_name_the_first_counts() -> None:
    """As in systemd."""
    assert parse(b"STATUS=one\nSTATUS=two\nWATCHDOG=1\nWATCHDOG=trigger") == Notification(status="one", ping=True)


def test_a_barrier_says_nothing_else() -> None:
    """As in systemd: what comes with it is ignored."""
    assert parse(b"READY=1\nBARRIER=1") == Notification(barrier=True)


def test_a_status_is_text() -> None:
    """Bytes that are no UTF-8 are malformed; an empty status is one."""
    assert parse(b"STATUS=\xff") == Notification(malformed=("STATUS",))
    assert parse(b"STATUS=") == Notification(status="")
    assert parse(b"STATUS=a=b") == Notification(status="a=b")


@pytest.mark.parametrize(
    "almost", [b"READY=0", b"READY=1 ", b"ready=1", b"READY=11", b"XREADY=1", b"READY", b"STOPPING=yes", b"WATCHDOG=0"]
)
def test_nearly_is_not(almost: bytes) -> None:
    """A word that is only like one that counts says nothing."""
    assert parse(almost) == Notification()


def test_the_period_of_our_own_watchdog() -> None:
    """Meant for us if it names us or nobody; 0, infinity and nonsense are none."""
    assert watchdog_period({"WATCHDOG_USEC": "3000000"}, 5) == 3.0
    assert watchdog_period({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "5"}, 5) == 3.0
    assert watchdog_period({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "6"}, 5) is None
    for nonsense in ("", "0", "-5", "soon", str(2**64 - 1), "1" * 30):
        assert watchdog_period({"WATCHDOG_USEC": nonsense}, 5) is None
    assert watchdog_period({}, 5) is None


# ---------------------------------------------------------------- a line of the output


class Kept(Route):
    """Where the bytes go that are looked at; it takes a chunk in several steps."""

    def __init__(self) -> None:
        self.data = b""
        self._steps = 0

    def take(self, chunk: bytes) -> None:
        assert not self.busy
        self.data += chunk
        self.busy, self._steps = True, 2

    def work(self, lines: int = 1) -> int | None:
        self._steps -= 1
        self.busy = self._steps > 0
        return 7 if self.busy else None


def fed(searched: Searched, chunk: bytes) -> None:
    searched.take(chunk)
    while searched.busy:
        searched.work(3)


@given(st.lists(st.binary(max_size=12), max_size=8), st.data())
def test_a_line_is_found_however_it_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    """What counts are the lines, not the pieces they come in; everything is passed on as it came."""
    stream = b"".join(text.replace(b"\n", b"").replace(b"\r", b"") + b"\n" for text in lines) + b"ready"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    kept, wanted = Kept(), LineReadiness(ReadyLine("^[a-m]+$|ready"))
    searched = Searched(kept, wanted.look)

    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        fed(searched, stream[start:end])

    whole = [line.decode("utf-8", "replace") for line in stream.split(b"\n")[:-1]]
    assert wanted.found == any(re.search("^[a-m]+$|ready", line) for line in whole)
    assert kept.data == stream


def test_a_line_counts_when_it_has_ended() -> None:
    """The end of a piece is no end of a line, and a carriage return belongs to the end."""
    wanted = LineReadiness(ReadyLine("^ready$"))
    searched = Searched(Kept(), wanted.look)

    told = []
    for piece in (b"not ready\nrea", b"dy", b"\r", b"\n", b""):
        fed(searched, piece)
        told.append(wanted.found)
    assert told == [False, False, False, True, True]


def test_a_long_line_is_looked_at_as_far_as_its_limit() -> None:
    """So that a line which never ends costs no more memory than that."""
    wanted = LineReadiness(ReadyLine("end"))
    searched = Searched(Kept(), wanted.look)
    for _ in range(3):
        fed(searched, b"x" * (LONGEST_LINE // 2))
    fed(searched, b"end\n")
    assert not wanted.found
    fed(searched, b"the end\n")
    assert wanted.found


def test_few_lines_are_looked_at_in_a_turn_and_none_once_it_is_found() -> None:
    """A flood of short lines does not hold up the event loop; a full output of ours is waited for when there is nothing left to look at."""
    seen: list[str] = []

    def look(line: str) -> bool:
        seen.append(line)
        return line == "5"

    searched = Searched(Kept(), look)
    searched.take(b"1\n2\n3\n4\n")
    assert searched.work(3) is None and seen == ["1", "2", "3"] and searched.busy
    searched.work(3)
    assert not searched.busy
    searched.take(b"5\n6\n")
    assert searched.work(3) == 7 and searched.busy  # the other route's descriptor
    searched.work(3)
    fed(searched, b"7\n")
    assert seen == ["1", "2", "3", "4", "5"]


def test_ways_to_be_ready() -> None:
    """A string or an object; what cannot be is refused with what can."""
    assert readiness("line:^up$") == line("^up$") == ReadyLine("^up$")
    assert str(line("^up$")) == "line:^up$"
    for wrong in ("", "ready", "LINE:x", None, 3):
        with pytest.raises(InvalidField, match="notify"):
            readiness(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidField, match="regular expression"):
        line("(")
    with pytest.raises(InvalidField, match="async function"):
        probe("up")  # type: ignore[arg-type]
    for interval in (0, -1, math.inf, math.nan, "1"):
        with pytest.raises(InvalidField, match="interval"):
            probe(nothing, interval=interval)  # type: ignore[arg-type]


async def nothing() -> None:
    """A probe that never says yes."""


# ---------------------------------------------------------------- silence


def test_silence_is_counted_from_the_last_message_and_only_while_it_is_watched() -> None:
    """Before the command is up and after it was asked to end nobody listens."""
    watchdog = Watchdog(10.0)
    watchdog.ping(0.0)
    assert watchdog.deadline == math.inf and not watchdog.is_silent(1e9)
    watchdog.begin(100.0)
    watchdog.ping(105.0)
    assert watchdog.deadline == 115.0
    assert not watchdog.is_silent(114.9) and watchdog.is_silent(115.0)
    watchdog.stop()
    watchdog.ping(116.0)
    assert watchdog.deadline == math.inf


def test_a_new_period_begins_at_once_and_time_that_was_asked_for_is_added() -> None:
    """`WATCHDOG_USEC` and `EXTEND_TIMEOUT_USEC`; an extension never shortens."""
    watchdog = Watchdog(10.0)
    watchdog.begin(0.0)
    watchdog.change(2.0, 1.0)
    assert watchdog.deadline == 3.0
    watchdog.extend(9.0)
    watchdog.extend(5.0)
    assert watchdog.deadline == 9.0
    watchdog.change(math.inf, 4.0)
    assert watchdog.deadline == math.inf
    later = Watchdog(math.inf)
    later.change(2.0, 1.0)
    later.extend(50.0)
    assert later.deadline == math.inf
    later.begin(3.0)
    assert later.deadline == 5.0


def test_our_own_absence_is_not_the_commands_silence() -> None:
    """Looked at much too late, it is watched anew."""
    watchdog = Watchdog(10.0)
    watchdog.begin(0.0)

    assert not watchdog.is_silent(3600.0)
    assert watchdog.deadline == 3610.0 and watchdog.is_silent(3611.0)
