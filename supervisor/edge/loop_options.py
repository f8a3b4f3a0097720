"""The options of whatever runs in an event loop, and what can be wrong with them."""

from __future__ import annotations

import argparse
from typing import Final

from .usage import Fault, quote

BACKENDS: Final = ("trio", "asyncio")


def add_loop_options(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument("--backend", metavar="trio|asyncio", default="trio", help="the event loop; default: trio")
    parser.add_argument("--events", metavar="FILE", help="append all events to FILE as JSON Lines")
    parser.add_argument("--no-control", action="store_true", help="do without the socket that status, events, restart and stop talk to")


def loop_faults(options: argparse.Namespace) -> list[Fault]:
    """What is wrong with the options that the launcher itself reads."""
    faults: list[Fault] = []
    if options.backend not in BACKENDS:
        faults.append(Fault("--backend", f"expected trio or asyncio, got {quote(options.backend)}"))
    if options.events is not None:
        from .event_file import EventFile

        fault = EventFile.fault(options.events)
        faults += [fault] if fault else []
    return faults
