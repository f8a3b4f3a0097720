"""Says to its service manager what it is told to: python notifier.py WORD..., one after the other.

send:READY=1|STATUS=up   one message, lines divided by |
raw:HEX                  these bytes as one message
await:FILE               until the file is there
ping:SECONDS             WATCHDOG=1 for ever, this often
flood:TEXT               the message for ever, as fast as it goes
fork:FILE WORD...        a child in a session of its own does the rest; its pid is in the file once it is there
print:TEXT, err:TEXT     a line of output
part:TEXT                the beginning of a line
env:FILE                 the variables of sd_notify into a file
ignore:abrt              no SIGABRT
exit:CODE, hang          the end, or none
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path


def main(words: list[str]) -> None:
    while words:
        word, _, value = words.pop(0).partition(":")
        match word:
            case "send":
                tell(value.replace("|", "\n").replace("{pid}", str(os.getpid())).encode())
            case "raw":
                tell(bytes.fromhex(value))
            case "await":
                while not os.path.exists(value):
                    time.sleep(0.005)
            case "ping":
                while True:
                    tell(b"WATCHDOG=1")
                    time.sleep(float(value))
            case "flood":
                number = 0
                while True:
                    number += 1
                    tell(f"{value}{number}".encode())
            case "fork":
                if os.fork() == 0:
                    os.setsid()
                    written(value, str(os.getpid()))
                    main(words)
                    return
                while not os.path.exists(value):
                    time.sleep(0.005)
                if words[0] == "parent-exits":
                    return
                while True:
                    signal.pause()
            case "print":
                print(value, flush=True)
            case "err":
                print(value, file=sys.stderr, flush=True)
            case "part":
                print(value, end="", flush=True)
            case "env":
                names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
                written(value, "\n".join([str(os.getpid()), *(os.environ.get(name, "-") for name in names)]))
            case "ignore":
                signal.signal(signal.SIGABRT, signal.SIG_IGN)
            case "exit":
                sys.exit(int(value))
            case "hang":
                while True:
                    signal.pause()
            case "parent-exits":
                pass
            case _:
                sys.exit(f"unknown word: {word}")


def tell(message: bytes) -> None:
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message, f"\0{address[1:]}" if address.startswith("@") else address)


def written(path: str, text: str) -> None:
    Path(f"{path}.new").write_text(text)
    os.rename(f"{path}.new", path)


if __name__ == "__main__":
    main(sys.argv[1:])
