"""Interrupts each system call of the journal once, in forked processes, and says what was found afterwards.

    journal_faults.py DIRECTORY kill|fail append|begin|reseal|restore

Prints one JSON object: how often it was interrupted, and what was wrong after which interruption.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers.state import journal, journal_frames, journal_segment
from workers.state.files import StateWriteFailed
from workers.state.journal import Journal, Mark
from workers.state.keys import Keys
from workers.state.seal import KeySeal

CHANGES = ("open", "write", "fsync", "ftruncate", "fchmod", "replace", "unlink", "close", "mkdir", "link")
OLD, NEW = KeySeal(Keys((bytes(32),))), KeySeal(Keys((bytes([1] * 32), bytes(32))))
LONG = b"".join(b'{"n": %d}\n' % number for number in range(40))


def interrupting(kind: str, count: int) -> Callable[[], bool]:
    """From here on, the call of that number is the last one, or fails; gives what tells whether it has come."""
    calls = 0

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == count:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                if kind == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if name == "close":
                    real(*args)
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args, **kwargs)

        return call

    # between two changes it does not matter when it is killed, but what is read may fail as well
    for name in CHANGES if kind == "kill" else (*CHANGES, "lseek", "read"):
        setattr(os, name, wrapped(name, getattr(os, name)))
    return lambda: calls >= count


def rebuilt(place: Journal, mark: Mark) -> bytes:
    into = io.BytesIO()
    place.rebuild(mark, into)
    return into.getvalue()


def main(folder: Path, kind: str, action: str) -> None:
    for module in (journal, journal_frames, journal_segment):
        vars(module)["PIECE"] = 100 if action != "reseal" else 1000
    source = folder / "session.jsonl"
    first = Journal(folder / "journal", OLD)
    moments: dict[Mark, bytes] = {}
    for text in (b"one\n" * 30 + b"to", b"one\n" * 30 + b"torn and ended\n", b"another\n" * 20):
        source.write_bytes(text)
        moments[first.append(source)] = text
    if action == "append":
        source.write_bytes(source.read_bytes() + LONG + b"torn")
    elif action == "begin":
        source.write_bytes(LONG)
    elif action == "restore":
        source.write_bytes(b"damage")
    now = source.read_bytes()
    found: dict[str, Any] = {"interrupted": 0, "wrong": []}
    while True:
        work = folder / "work"
        shutil.copytree(folder / "journal", work / "journal")
        shutil.copy2(source, work / "session.jsonl")
        count = found["interrupted"] + 1
        pid = os.fork()
        if pid == 0:
            os._exit(interrupted(work, kind, action, count, next(iter(moments))))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code in (3, 4):
            found["wrong"] += ["it fails without being interrupted"] if code == 4 else []
            break
        if code != (-signal.SIGKILL if kind == "kill" else 0):
            found["wrong"].append(f"{count}: ended with {code}")
        found["wrong"] += [f"{count}: {what}" for what in wrong(work, action, moments, now)]
        found["interrupted"] += 1
        shutil.rmtree(work)
    print(json.dumps(found))


def interrupted(work: Path, kind: str, action: str, count: int, mark: Mark) -> int:
    """Do it, to be interrupted; 3 says that it was not."""
    place = Journal(work / "journal", NEW)
    came = interrupting(kind, count)
    try:
        if action in ("append", "begin"):
            place.append(work / "session.jsonl")
        elif action == "reseal":
            place.reseal()
        else:
            place.restore(mark, work / "session.jsonl")
    except (StateWriteFailed, OSError, ValueError):
        return 0 if came() else 4
    except BaseException:
        return 5
    return 0 if came() else 3


def wrong(work: Path, action: str, moments: dict[Mark, bytes], now: bytes) -> list[str]:
    """What is not as it has to be afterwards."""
    place, source, told = Journal(work / "journal", NEW), work / "session.jsonl", []
    try:
        told += [f"{mark} is another" for mark, text in moments.items() if rebuilt(place, mark) != text]
        told += [str(damage) for damage in place.verify()]
        if action == "restore":
            text = source.read_bytes()
            told += [] if text in (now, next(iter(moments.values()))) else ["the transcript is a part"]
            told += [] if text == now or (work / "session.jsonl.replaced-1").read_bytes() == now else ["the replaced one is lost"]
            return told
        if action == "reseal":
            place.reseal()
            told += [f"{mark} is another" for mark, text in moments.items() if rebuilt(Journal(place.directory, NEW), mark) != text]
        mark = place.append(source)
        told += [] if rebuilt(place, mark) == now else ["the next append is another"]
        told += [] if mark.segment == 2 or (action == "begin" and mark.segment in (3, 4)) else ["the next append did not go on"]
        left = {path.name for path in place.directory.iterdir()} - {f"00000{number}.journal.enc" for number in range(1, mark.segment + 1)}
        told += [f"left {name}" for name in left if name != "lock" and not name.endswith(".tmp")]
    except Exception as error:  # whatever it is, it is reported
        told.append(repr(error))
    return told


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
