"""What reads the memory of a process tree: readers behind one protocol, chosen once per host.

reader.py         the protocol, its values, and the choice
procfs.py         Linux: kept descriptors on /proc/PID/statm
psutil_reader.py  everywhere else, and where /proc cannot be read
"""

from .reader import MemoryReader, MemorySample, NoReader, ProcessMemory, open_reader, reader_name

__all__ = ["MemoryReader", "MemorySample", "NoReader", "ProcessMemory", "open_reader", "reader_name"]
