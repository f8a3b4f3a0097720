"""The record of restart protection on disk: what is read is what was spent, whatever clocks did and whoever wrote into it."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor import RestartHistory, Spent
from workers.config import CommandConfig, MemoryGuardianConfig, described
from workers.ledger import Ledger
from workers.roster import Roster
from workers.state import runs
from workers.state.files import StateWriteFailed
from workers.state.protection import ProtectionRecord, ProtectionUnreadable

HISTORY = RestartHistory(Spent((30.0,), 1, 5.0, 1), Spent((900.0, 100.0), 2, 40.0, 3, 1700.0))


@pytest.fixture
def record(tmp_path: Path) -> ProtectionRecord:
    return ProtectionRecord(tmp_path / "state", "project", "claude")


def changed(record: ProtectionRecord, **fields: Any) -> None:
    data = json.loads(record.path.read_text()) | fields
    record.path.write_text(json.dumps(data))


def test_it_goes_on_within_a_boot(record: ProtectionRecord) -> None:
    """Ages grow by the time that has passed by the monotonic clock, pauses shrink by it; the file is private."""
    record.save(HISTORY)
    assert stat.S_IMODE(record.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(record.path.parent.stat().st_mode) == 0o700
    changed(record, monotonic=time.monotonic() - 20.0)
    read = record.load()

    assert read.cycles.streak == 2
    assert 20.0 <= read.cycles.attempts[1] - 100.0 < 60.0
    assert read.crashes.cooldown == 0.0
    assert read.cycles.reopens_in is not None
    assert 1640.0 < read.cycles.reopens_in <= 1680.0


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_wall_clock_that_jumps_changes_nothing(record: ProtectionRecord, jump: float) -> None:
    """The time of day is written for people; set back or ahead by decades it neither lifts the protection nor keeps it up."""
    record.save(HISTORY)
    changed(record, time=time.time() + jump)
    read = record.load()
    assert read.cycles.attempts[1] == pytest.approx(100.0, abs=60.0)
    assert read.cycles.reopens_in == pytest.approx(1700.0, abs=60.0)


def test_after_a_boot_only_the_time_since_then_is_certain(record: ProtectionRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the machine was off by its clock, what counts is how long it has been up."""
    record.save(HISTORY)
    changed(record, boot="another", monotonic=time.monotonic() + 1e6, time=time.time() - 1e6)
    up = time.monotonic()
    read = record.load()
    assert read.cycles.attempts[1] == pytest.approx(100.0 + up, abs=60.0)

    monkeypatch.setattr(runs, "_boot", "")  # a host that does not say which boot this is
    record.save(HISTORY)
    assert record.load().cycles.attempts[1] == pytest.approx(100.0 + up, abs=60.0)


def test_a_clock_that_went_back_counts_nothing(record: ProtectionRecord) -> None:
    """A record from the future, of this boot, is as of now."""
    record.save(HISTORY)
    changed(record, monotonic=time.monotonic() + 1e6)
    assert record.load() == HISTORY


def test_no_record_is_nothing_spent(record: ProtectionRecord) -> None:
    """A first run begins with its whole budget."""
    assert record.load() == RestartHistory()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"[]", "it is none"),
        (b'{"format": 1}', "damaged"),
        (b'{"format": "x"}', "it is none"),
        (b'{"format": 99, "boot": "", "monotonic": 0}', "later version"),
        (b'{"format": 1, "boot": "", "monotonic": 0, "cycles": {"streak": -1}}', "streak"),
        (b'{"format": 1, "boot": "", "monotonic": "soon"}', "damaged"),
        (b'{"format": 1, "boot": "", "monotonic": 0, "cycles": ' + b"[" * 100_000, "damaged"),
        (b" " * (1 << 21), "too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_record_is_refused(record: ProtectionRecord, content: bytes, why: str) -> None:
    """The error names the file and the reason, and says that the run goes on."""
    record.save(HISTORY)
    record.path.write_bytes(content)
    with pytest.raises(ProtectionUnreadable, match=why) as caught:
        record.load()
    assert str(record.path) in str(caught.value)
    record.save(HISTORY)
    assert record.load().cycles.streak == 2


def test_links_and_pipes_are_not_followed(record: ProtectionRecord, tmp_path: Path) -> None:
    """A link is refused, and a pipe that nobody writes to is not waited for."""
    record.save(HISTORY)
    moved = tmp_path / "moved"
    record.path.rename(moved)
    record.path.symlink_to(moved)
    with pytest.raises(ProtectionUnreadable):
        record.load()
    record.path.unlink()
    os.mkfifo(record.path)
    with pytest.raises(ProtectionUnreadable):
        record.load()


def test_a_record_that_cannot_be_written_leaves_the_old_one(record: ProtectionRecord) -> None:
    """The fault names the file, and what was written before is whole."""
    record.save(HISTORY)
    before = record.path.read_bytes()
    beyond = ProtectionRecord(record.path, "project", "claude")
    with pytest.raises(StateWriteFailed):
        beyond.save(HISTORY)
    assert record.path.read_bytes() == before


@pytest.mark.anyio
async def test_what_is_written_down_at_the_end_is_as_old_as_it_is(tmp_path: Path) -> None:
    """Without workers that would write it at once, as with ``enabled = false``, the end of the run does: ages have grown until then."""
    config = MemoryGuardianConfig(enabled=False, command=CommandConfig(argv=("sleep", "1")), state_dir=str(tmp_path / "state"))
    run = described(config)
    ledger = Ledger(run, [])
    roster = Roster(ledger, pytest.fail)
    leaf = await roster.enrol(run.agents[0])
    assert leaf.record is not None
    record = leaf.record
    leaf.spent, leaf.spent_at = HISTORY, anyio.current_time() - 1000.0
    roster.close()
    ledger.close()
    read = record.load()
    assert [round(age, -2) for age in read.cycles.attempts] == [1900.0, 1100.0]
    assert (read.cycles.cooldown, read.crashes.cooldown) == (0.0, 0.0)
