"""What reads the memory of a process tree: readers behind one protocol, chosen once for a host and a leaf.

reader.py         the protocol and its values
choice.py         which readers there are for a leaf, and which takes over when one fails
cgroup.py         Linux: what the memory controller counts for the leaf's cgroup, version 2 or 1
procfs.py         Linux: kept descriptors on /proc/PID/statm
psutil_reader.py  everywhere else, and where /proc cannot be read
worker.py         the sweep over all leaves
desk.py           where it learns which ones live, and where its samples go
place.py          whether it has a process of its own: then server.py serves the desk, proxy.py stands for it there, messages.py crosses
wakes.py          what the kernel tells in between: alarm.py waits for all of it, crossings.py has the sources of a leaf
hold.py           holding a leaf
host.py           what the host can still give
support.py        what of this a host has
"""

from .choice import ReaderChain, ReaderChange, open_reader, reader_name, reader_names
from .reader import MemoryReader, MemorySample, NoReader, ProcessMemory

__all__ = [
    "MemoryReader",
    "MemorySample",
    "NoReader",
    "ProcessMemory",
    "ReaderChain",
    "ReaderChange",
    "open_reader",
    "reader_name",
    "reader_names",
]
