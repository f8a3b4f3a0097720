"""A program in a sandbox where the kernel refuses some system calls, as a container's can: seccomp answers EPERM.

sandboxed.py CALL,CALL PROGRAM [ARG ...]
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

NUMBERS = {
    "x86_64": {"prctl": 157, "pidfd_send_signal": 424, "pidfd_open": 434, "clone3": 435},
    "aarch64": {"prctl": 167, "pidfd_send_signal": 424, "pidfd_open": 434, "clone3": 435},
}
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
REFUSE, ALLOW = 0x00050001, 0x7FFF0000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER = 22, 38, 2


def refuse(names: list[str]) -> None:
    """Have the kernel refuse these calls to this process and all that it starts."""
    instructions = [struct.pack("HBBI", LOAD, 0, 0, 0)]  # the call's number
    for name in names:
        instructions.append(struct.pack("HBBI", JUMP_IF_EQUAL, 0, 1, NUMBERS[platform.machine()][name]))
        instructions.append(struct.pack("HBBI", RETURN, 0, 0, REFUSE))
    instructions.append(struct.pack("HBBI", RETURN, 0, 0, ALLOW))
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = ctypes.create_string_buffer(struct.pack("H6xQ", len(instructions), ctypes.addressof(code)))
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or library.prctl(PR_SET_SECCOMP, FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp")


if __name__ == "__main__":
    refuse(sys.argv[1].split(","))
    os.execv(sys.argv[2], sys.argv[2:])
