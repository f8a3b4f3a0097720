"""The journal of a transcript: what was captured is rebuilt bit by bit, whatever happens to the transcript, to the journal and to us."""

from __future__ import annotations

import io
import json
import os
import random
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import ROOT
from workers.state import journal, journal_frames, journal_segment
from workers.state.files import StateWriteFailed
from workers.state.journal import Journal, Mark
from workers.state.keys import Keys
from workers.state.lock import try_lock
from workers.state.model import StateInvalid
from workers.state.seal import KeySeal

POSIX = sys.platform != "win32"
ONE, TWO = bytes(32), bytes([1]) * 32


def seal(*keys: bytes) -> KeySeal:
    pytest.importorskip("cryptography")
    return KeySeal(Keys(keys or (ONE,)))


def rebuilt(place: Journal, mark: Mark) -> bytes:
    into = io.BytesIO()
    place.rebuild(mark, into)
    return into.getvalue()


def record(number: int) -> bytes:
    return (
        json.dumps({"type": "user", "uuid": f"{number:032x}", "message": {"role": "user", "content": "x" * (number % 50)}}).encode() + b"\n"
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A transcript with three records."""
    path = tmp_path / "session.jsonl"
    path.write_bytes(b"".join(map(record, range(3))))
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of 64 bytes, so that a few lines are many."""
    for module in (journal, journal_frames, journal_segment):
        monkeypatch.setattr(module, "PIECE", 64)


def files(place: Journal) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(place.directory.iterdir())}


def test_an_append_costs_what_is_new(tmp_path: Path, source: Path) -> None:
    """The first append has everything; later ones add behind it, and nothing where nothing is new; each moment stays."""
    place = Journal(tmp_path / "j")
    moments = {place.append(source): source.read_bytes()}
    before = files(place)
    assert place.append(source) == next(iter(moments)) and files(place) == before
    for number in range(3, 6):
        with source.open("ab") as file:
            file.write(record(number))
        moments[place.append(source)] = source.read_bytes()
    ((name, text),) = files(place).items()
    assert text.startswith(before[name])
    assert [(mark.segment, mark.members, mark.bytes) for mark in moments] == [(1, n, len(was)) for n, was in enumerate(moments.values(), 1)]
    assert {mark: rebuilt(Journal(place.directory), mark) for mark in moments} == moments
    assert (place.marks(), place.verify()) == (tuple(moments), ())


def test_a_torn_line_is_kept_aside(tmp_path: Path, source: Path) -> None:
    """A last line without an end is part of its moment and not of the members: whether it is completed or dropped, the segment goes on."""
    place, whole = Journal(tmp_path / "j"), source.read_bytes()
    torn = record(3)[:9]
    moments = {}
    for text in (whole + torn, whole + record(3), whole + record(3) + torn, whole + record(3) + record(4)):
        source.write_bytes(text)
        moments[place.append(source)] = text
    assert [(mark.segment, mark.torn_bytes) for mark in moments] == [(1, 9), (1, 0), (1, 9), (1, 0)]
    assert {mark: rebuilt(place, mark) for mark in moments} == moments
    assert place.verify() == ()
    source.write_bytes(torn)
    lone = Journal(tmp_path / "lone").append(source)
    assert (lone.members, lone.torn_bytes, rebuilt(Journal(tmp_path / "lone"), lone)) == (0, 9, torn)
    source.write_bytes(b"")
    empty = Journal(tmp_path / "empty").append(source)
    assert (empty, rebuilt(Journal(tmp_path / "empty"), empty)) == (Mark(1), b"")


def test_a_line_without_end_is_a_member_at_last(small: None, tmp_path: Path, source: Path) -> None:
    """Only so much is kept aside: a line that is longer than a member becomes members."""
    place = Journal(tmp_path / "j")
    source.write_bytes(b"a\n" + b"b" * 63)
    assert place.append(source).torn_bytes == 63
    source.write_bytes(b"a\n" + b"b" * 1000)
    mark = place.append(source)
    assert (mark.segment, mark.bytes, mark.torn_bytes) == (1, 1002, 0)
    assert rebuilt(place, mark) == source.read_bytes()


def truncated(source: Path) -> None:
    os.truncate(source, len(record(0)))


def rotated(source: Path) -> None:
    source.unlink()
    source.write_bytes(record(7) * 9)


def rewritten(source: Path) -> None:
    with source.open("r+b") as file:
        file.write(b"\0" * source.stat().st_size)


def replaced(source: Path) -> None:
    """Another file that differs only in its middle."""
    text = bytearray(source.read_bytes() * 2000)
    source.write_bytes(text)
    Journal(source.parent / "j").append(source)
    text[100] ^= 1
    source.rename(source.with_name("old"))
    source.write_bytes(text)


@pytest.mark.parametrize("change", [truncated, rotated, rewritten, replaced])
def test_what_does_not_go_on_begins_a_segment(change: Callable[[Path], None], tmp_path: Path, source: Path) -> None:
    """Truncated, replaced by another file, rewritten in place, or another file that differs somewhere: the old moments stay."""
    place, text = Journal(tmp_path / "j"), source.read_bytes()
    mark = place.append(source)
    change(source)
    after = place.append(source)
    assert (after.segment, rebuilt(place, after), rebuilt(place, mark)) == (2, source.read_bytes(), text)


def test_the_same_transcript_in_another_file_goes_on(tmp_path: Path, source: Path) -> None:
    """A copy, or one that was put back, is compared as a whole and then known."""
    place = Journal(tmp_path / "j")
    mark, text = place.append(source), source.read_bytes()
    source.rename(tmp_path / "old")
    source.write_bytes(text)
    assert place.append(source) == mark
    source.write_bytes(text + record(3))
    assert place.append(source).segment == 1
    assert place.append(source, fresh=True).segment == 2


def test_a_change_in_the_middle_is_seen_by_a_thorough_look(tmp_path: Path, source: Path) -> None:
    """Behind the last 64 KiB a rewrite in the same file is seen when all is compared; nothing else is."""
    place = Journal(tmp_path / "j")
    source.write_bytes(record(1) * 2000)
    mark, text = place.append(source), source.read_bytes()
    with source.open("r+b") as file:
        file.write(b"?")
    assert place.append(source) == mark
    after = place.append(source, thorough=True)
    assert (after.segment, rebuilt(place, after), rebuilt(place, mark)) == (2, source.read_bytes(), text)


lines = st.lists(st.binary(max_size=30), max_size=8).map(lambda found: b"".join(line + b"\n" for line in found))
changes = st.one_of(
    st.tuples(st.just("more"), lines),
    st.tuples(st.just("more"), st.binary(max_size=90)),
    st.tuples(st.just("cut"), st.integers(0, 300)),
    st.tuples(st.just("other"), lines),
    st.tuples(st.just("copied"), lines),
    st.tuples(st.just("rewritten"), st.integers(0, 300)),
    st.tuples(st.just("killed"), st.integers(1, 200)),
)


def test_any_captured_moment_is_rebuilt(small: None) -> None:
    """Under random growth, torn lines, cuts, rotations, rewrites and unfinished appends, each mark rebuilds its moment bit by bit."""
    closing = seal()

    @given(st.lists(changes, max_size=12), st.sampled_from([None, closing]))
    def check(script: list[tuple[str, bytes | int]], sealed: KeySeal | None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            source, directory = Path(folder, "s.jsonl"), Path(folder, "j")
            source.write_bytes(b"")
            moments: dict[Mark, bytes] = {}
            for change, value in script:
                text = source.read_bytes()
                if change == "killed":
                    left_by_a_kill(directory, int(value))
                elif isinstance(value, bytes):
                    if change != "more":
                        source.unlink()
                    source.write_bytes((b"" if change == "other" else text) + value)
                elif change == "cut":
                    os.truncate(source, min(value, len(text)))
                elif text:
                    with source.open("r+b") as file:
                        file.seek(value % len(text))
                        file.write(b"!")
                moments[Journal(directory, sealed).append(source)] = source.read_bytes()
            place = Journal(directory, sealed)
            assert {mark: rebuilt(place, mark) for mark in moments} == moments
            assert set(place.marks()) == set(moments)
            assert place.verify() == ()

    check()


def left_by_a_kill(directory: Path, count: int) -> None:
    """Some bytes of an append that never came to its mark."""
    newest = max(directory.glob("*.journal*"), default=None)
    if newest is not None:
        frame = journal_frames.framed(journal_frames.Place("j", 1), journal_frames.Kind.LINES, 0, bytes(range(100)), None)
        with newest.open("ab") as file:
            file.write(frame[:count])


@pytest.mark.deadline(120)
@pytest.mark.parametrize("action", ["append", "begin", "reseal", "restore"])
@pytest.mark.parametrize("kind", ["kill", "fail"])
@pytest.mark.skipif(not POSIX, reason="forks")
def test_an_interruption_at_any_system_call(kind: str, action: str, tmp_path: Path) -> None:
    """Killed, or without space, at each call: all earlier moments are rebuilt, nothing is damaged, and the next append goes on."""
    pytest.importorskip("cryptography")
    script = ROOT / "tests" / "children" / "journal_faults.py"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script, tmp_path, kind, action], capture_output=True, env=environ, timeout=100)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["interrupted"] >= 12


def test_appends_at_the_same_time(tmp_path: Path, source: Path) -> None:
    """Two processes and some threads append the same growing transcript: each mark is right, and no byte is written twice."""
    place = Journal(tmp_path / "j")
    text = b"".join(map(record, range(200)))
    appends = f"""
import sys
from pathlib import Path
from workers.state.journal import Journal
for count in range(1, 41):
    with open({str(source)!r}, "ab") as file:
        file.write(b'{{"by": %d}}\\n' % count)
    print(Journal({str(place.directory)!r}).append({str(source)!r}).bytes)
"""
    source.write_bytes(text)
    with (
        subprocess.Popen([sys.executable, "-c", appends], cwd=ROOT, stdout=subprocess.PIPE) as other,
        ThreadPoolExecutor(3) as threads,
    ):
        marks = list(threads.map(lambda _: place.append(source), range(60)))
        told = [int(line) for line in other.communicate(timeout=60)[0].split()]
    assert other.returncode == 0 and told == sorted(told) and len(told) == 40
    final, whole = place.append(source), source.read_bytes()
    assert (final.segment, final.bytes) == (1, len(whole))
    for mark in {*marks, final}:
        assert rebuilt(place, mark) == whole[: mark.bytes]
    assert place.verify() == ()


def test_an_append_waits_only_so_long(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the journal's lock is waited for, but not for ever; readers do not wait."""
    place = Journal(tmp_path / "j")
    mark = place.append(source)
    monkeypatch.setattr(journal, "PATIENCE", 0.02)
    lock = try_lock(place.directory / "lock")
    assert lock is not None
    try:
        with pytest.raises(StateWriteFailed, match="still writing to the journal"):
            place.append(source)
        assert rebuilt(place, mark) == source.read_bytes()
    finally:
        lock.release()


@pytest.mark.skipif(not POSIX, reason="modes of POSIX")
@pytest.mark.parametrize(("given", "found"), [(0o644, 0o600), (0o600, 0o600), (0o200, 0o200)])
def test_the_journal_is_never_wider_than_the_transcript(given: int, found: int, tmp_path: Path, source: Path) -> None:
    """At most what its owner may do with the transcript, and nobody else; also when it becomes narrower."""
    if given == 0o200 and os.geteuid() != 0:
        pytest.skip("only root reads what it has no permission for")
    place = Journal(tmp_path / "j")
    place.append(source)
    source.chmod(given)
    with source.open("ab") as file:
        file.write(record(3))
    place.append(source)
    (path,) = place.directory.iterdir()
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, place.directory)] == [found, 0o700]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_the_journal_belongs_to_the_owner_of_the_transcript(tmp_path: Path, source: Path) -> None:
    """Root's journal of another's transcript is that other's; another's transcript is not journalled by whoever can read it."""
    os.chown(source, 65534, 65534)
    place = Journal(tmp_path / "j")
    place.append(source)
    (path,) = place.directory.iterdir()
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # that of the tests is for root alone
    try:
        folder.chmod(0o777)
        other = folder / "s.jsonl"
        other.write_bytes(record(1))
        other.chmod(0o644)
        os.seteuid(65534)
        try:
            with pytest.raises(StateInvalid, match="somebody else"):
                Journal(folder / "j").append(other)
        finally:
            os.seteuid(0)
    finally:
        subprocess.run(["rm", "-r", folder], check=True)


@pytest.mark.skipif(not POSIX, reason="pipes and links of POSIX")
def test_what_is_no_transcript_is_refused(tmp_path: Path, source: Path) -> None:
    """A pipe waits for nobody, a directory is none, a missing one is told; a segment is never followed through a link."""
    place = Journal(tmp_path / "j")
    os.mkfifo(tmp_path / "pipe")
    for wrong in (tmp_path / "pipe", tmp_path):
        with pytest.raises(StateInvalid, match="no regular file"):
            place.append(wrong)
    with pytest.raises(FileNotFoundError):
        place.append(tmp_path / "missing")
    mark = place.append(source)
    path = place.directory / "000001.journal"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateInvalid, match="cannot be read"):
        rebuilt(place, mark)
    with pytest.raises(StateInvalid, match="no segment 2"):
        rebuilt(place, Mark(2))


def test_a_transcript_that_is_cut_while_it_is_read(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at again; only if that never ends is it given up, and nothing half is left."""
    place, text = Journal(tmp_path / "j"), source.read_bytes()
    place.append(source)
    source.write_bytes(text + record(3) + record(4))
    real, cuts = journal_segment.settled, iter([len(text) + 5, 20])

    def cutting(fd: int, start: int, size: int) -> int:
        end = real(fd, start, size)
        for cut in cuts:
            os.truncate(source, cut)
            break
        return end

    monkeypatch.setattr(journal, "settled", cutting)
    mark = place.append(source)
    assert rebuilt(place, mark) == source.read_bytes() == text[:20]
    assert place.verify() == ()

    def always_cutting(fd: int, start: int, size: int) -> int:
        os.truncate(source, size - 1)
        return real(fd, start, size)

    monkeypatch.setattr(journal, "settled", always_cutting)
    before = files(place)
    with pytest.raises(StateInvalid, match="again and again"):
        place.append(source)
    assert files(place) == before


def test_damage_is_never_taken_for_a_transcript(tmp_path: Path, source: Path) -> None:
    """Whichever byte of a journal is changed: each moment is rebuilt as it was or not at all, it is told, and the next append is sound."""
    place = Journal(tmp_path / "j")
    moments = {place.append(source): source.read_bytes()}
    with source.open("ab") as file:
        file.write(record(3) + b"torn")
    moments[place.append(source)] = source.read_bytes()
    path = place.directory / "000001.journal"
    good = path.read_bytes()
    told = 0
    chosen = random.Random(7)
    for at in range(0, len(good), 3):
        bad = bytearray(good)
        bad[at] ^= chosen.randrange(1, 256)
        path.write_bytes(bad)
        for mark, text in moments.items():
            try:
                assert rebuilt(place, mark) == text
            except StateInvalid:
                told += 1
        damage = place.verify()
        after = place.append(source, fresh=bool(damage))
        assert rebuilt(place, after) == source.read_bytes()
        for later in place.directory.glob("00000[2-9].journal"):
            later.unlink()
    assert told > len(good) / 6


def test_damage_before_the_last_mark_is_not_written_over(tmp_path: Path, source: Path) -> None:
    """What cannot be read, but has a mark somewhere behind it, is no append that was cut short: it stays, and a new segment begins."""
    place = Journal(tmp_path / "j")
    for number in range(3, 5):
        place.append(source)
        with source.open("ab") as file:
            file.write(record(number))
    path = place.directory / "000001.journal"
    good = path.read_bytes()
    for bad in (b"\0" * 30 + good[30:] + b"junk", b"\0" * 30 + good[30:-1] + b"?", b"another format"):
        path.write_bytes(bad)
        assert place.append(source).segment == 2
        assert path.read_bytes() == bad
        (place.directory / "000002.journal").unlink()
    second = good.index(b"MGJ1M") + good[good.index(b"MGJ1M") :].index(b"1JGM") + 4
    bad = good[:second] + b"\0" * 9 + good[second + 9 :] + b"junk"
    path.write_bytes(bad)
    assert (place.append(source).segment, path.read_bytes()) == (2, bad)
    (place.directory / "000002.journal").unlink()
    path.write_bytes(good + b"MGJ1" * 1000)
    assert place.append(source).segment == 1
    assert path.stat().st_size < len(good) + 1000 and path.read_bytes().endswith(b"1JGM")


def test_another_transcript_is_never_given_for_the_captured_one(tmp_path: Path, source: Path) -> None:
    """A mark of another history, or of members that are not there, is refused although the journal is whole."""
    place = Journal(tmp_path / "j")
    mark = place.append(source)
    for other in ({"running_hash": "00" * 32}, {"members": 2}, {"torn_bytes": 1, "torn_hash": "00" * 32}):
        with pytest.raises(StateInvalid, match=r"another transcript|does not have this moment"):
            rebuilt(place, attrs.evolve(mark, **other))


def test_members_are_on_disk_before_their_mark(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synced between the last member and the mark, and behind the mark; of a new segment the name too."""
    calls: list[str] = []
    for name, real in (("write", os.write), ("fsync", os.fsync)):

        def call(*args: Any, real: Callable[..., Any] = real, name: str = name) -> Any:
            if stat.S_ISDIR(os.fstat(args[0]).st_mode):
                calls.append("directory")
            else:
                calls.append("mark" if name == "write" and bytes(args[1])[4:5] == b"M" else name)
            return real(*args)

        monkeypatch.setattr(os, name, call)
    place = Journal(tmp_path / "j")
    place.append(source)
    assert calls == ["write", "fsync", "mark", "fsync", "directory"]
    calls.clear()
    with source.open("ab") as file:
        file.write(record(3) + b"torn")
    place.append(source)
    assert calls == ["write", "write", "fsync", "mark", "fsync"]


@given(st.binary(max_size=300), st.booleans())
def test_no_journal_does_anything_else(noise: bytes, good: bool) -> None:
    """Whatever is in a segment: marks are read or refused in the one way, and an append goes on beside it or behind it."""
    with tempfile.TemporaryDirectory() as folder:
        source, place = Path(folder, "s.jsonl"), Journal(Path(folder, "j"))
        source.write_bytes(b"one\ntwo\n")
        first = place.append(source)
        path = place.directory / "000001.journal"
        text = path.read_bytes() if good else b""
        framed = journal_frames.framed(journal_frames.Place("j", 1), journal_frames.Kind.MARK, 2 if good else 0, noise, None)
        for more in (noise, framed, b"MGJ1M" + noise):
            path.write_bytes(text + more)
            for call in (place.marks, place.verify):
                try:
                    call()
                except StateInvalid:
                    pass
            after = place.append(source)
            assert rebuilt(place, after) == b"one\ntwo\n"
            assert not good or rebuilt(place, first) == b"one\ntwo\n"


def test_a_sealed_journal_shows_nothing(tmp_path: Path, source: Path) -> None:
    """Encrypted: no text, no hash of it; without the key, or under another name, no moment; switched on later it begins a segment."""
    place, plain = Journal(tmp_path / "j", seal()), Journal(tmp_path / "j")
    old = plain.append(source)
    mark = place.append(source)
    path = place.directory / "000002.journal.enc"
    text = path.read_bytes()
    assert mark.segment == 2 and rebuilt(place, mark) == rebuilt(place, old) == source.read_bytes()
    assert b"user" not in text and bytes.fromhex(mark.running_hash) not in text and mark.running_hash.encode() not in text
    with pytest.raises(StateInvalid, match=r"is encrypted; encryption\.key says"):
        rebuilt(plain, mark)
    with pytest.raises(StateInvalid, match="not among the configured ones"):
        rebuilt(Journal(place.directory, seal(TWO)), mark)
    # a key that was lost must not end the captures
    after = Journal(place.directory, seal(TWO)).append(source)
    assert (after.segment, path.read_bytes()) == (3, text)
    assert rebuilt(Journal(place.directory, seal(TWO)), after) == rebuilt(place, mark)
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "000002.journal.enc").write_bytes(text)
    with pytest.raises(StateInvalid, match="is not what its place says"):
        rebuilt(Journal(tmp_path / "k", seal()), mark)


def test_keys_are_changed(tmp_path: Path, source: Path) -> None:
    """A new key closes from now on and the old one still opens; sealed anew, also what was plain, nothing needs the old one any more."""
    moments = {}
    for number, sealing in enumerate((None, seal(), seal(TWO, ONE))):
        with source.open("ab") as file:
            file.write(record(number) + b"torn")
        moments[Journal(tmp_path / "j", sealing).append(source)] = source.read_bytes()
    place = Journal(tmp_path / "j", seal(TWO, ONE))
    assert {mark: rebuilt(place, mark) for mark in moments} == moments
    assert (place.reseal(), place.reseal()) == (2, 0)
    new = Journal(tmp_path / "j", seal(TWO))
    assert {mark: rebuilt(new, mark) for mark in moments} == moments
    assert sorted(files(new)) == ["000001.journal.enc", "000002.journal.enc"] and new.verify() == ()
    assert new.append(source) == list(moments)[-1]
    with pytest.raises(StateInvalid, match="nothing to encrypt with"):
        Journal(tmp_path / "j").reseal()


def test_what_no_mark_needs_is_removed(tmp_path: Path, source: Path) -> None:
    """Segments that no kept moment is in go, but never the newest one."""
    place = Journal(tmp_path / "j")
    marks = [place.append(source, fresh=True) for _ in range(4)]
    freed = place.prune([marks[1]])
    assert freed > 0 and sorted(files(place)) == ["000002.journal", "000004.journal"]
    assert rebuilt(place, marks[1]) == rebuilt(place, marks[3]) == source.read_bytes()
    place.prune([])
    assert place.append(source) == marks[3]


@pytest.fixture
def measured() -> list[str]:
    """A program that appends a transcript of so many MiB, and prints by how many bytes that grew its memory at the most."""
    program = """
import os, sys
from workers.state.journal import Journal
path, place = sys.argv[1] + "/s.jsonl", Journal(sys.argv[1] + "/j")
line = b'{"text": "' + os.urandom(500).hex().encode() + b'"}\\n'
with open(path, "wb") as file:
    for _ in range(int(sys.argv[2]) << 10):
        file.write(line)
place.append(path)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    return [sys.executable, "-c", program]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_transcript(tmp_path: Path, measured: list[str]) -> None:
    """Sixteen times the transcript takes no more memory than one that fills a few members."""
    peaks = []
    for size in (6, 96):
        (tmp_path / str(size)).mkdir()
        done = subprocess.run([*measured, tmp_path / str(size), str(size)], cwd=ROOT, capture_output=True, check=True, timeout=60)
        peaks.append(int(done.stdout) << 10)
    assert peaks[1] - peaks[0] < 6 << 20, peaks
