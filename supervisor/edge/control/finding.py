"""Which launchers run, by the names of their files: they tell what a killed run has left from what a living one listens on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from ...host.identity import ProcessId, is_alive
from .place import Place, checked, directories, reachable, unix_socket

_NAME: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,10})-([0-9]{1,20})(\.sock|\.port)")


def found(environ: Mapping[str, str]) -> list[Place]:
    """The places of all runs of this user whose process lives, the oldest first; nothing is connected to."""
    places = []
    for directory in directories(environ):
        with suppress(OSError):
            checked(directory)
            places += [place for place in _places(directory) if is_alive(place.process)]
    return sorted(places, key=lambda place: (place.process.created, place.process.pid, place.run))


def remove_stale(directory: str) -> None:
    """Remove the files of runs whose process is dead and that nobody answers for."""
    with suppress(OSError):
        for place in _places(directory):
            if not is_alive(place.process) and not _answers(place):
                with suppress(FileNotFoundError):
                    os.unlink(place.file)


def _places(directory: str) -> Iterator[Place]:
    for name in os.listdir(directory):
        if (match := _NAME.fullmatch(name)) is not None:
            yield Place(directory, name, match[1], ProcessId(int(match[2]), int(match[3])))


def _answers(place: Place) -> bool:
    """Whether somebody listens there after all: in another pid namespace a process that lives is nobody here."""
    if not place.is_socket:
        return False
    with unix_socket() as asking:
        asking.setblocking(False)
        try:
            with reachable(place.directory, place.name) as path:
                asking.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # its queue is full, so there is one
    return True
