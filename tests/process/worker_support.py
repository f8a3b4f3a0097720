"""What the tests of workers share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from supervisor import ChildSpec, Event, Exit, Record, Restart, Supervisor, worker

METHODS = ["fork_server", "fresh"]
methods = pytest.mark.parametrize("method", METHODS)


@attrs.define
class Watched:
    """A tree and its events."""

    root: Supervisor
    records: list[Record]

    def events(self, kind: type[Any]) -> list[Any]:
        return [record.event for record in self.records if isinstance(record.event, kind)]

    @property
    def all(self) -> list[Event]:
        return [record.event for record in self.records]


def child(
    function: str, *args: Any, method: str = "auto", id: str = "child", restart: Restart = Restart.TEMPORARY, **fields: Any
) -> ChildSpec:
    """A worker that runs a function of children/working.py."""
    launch = worker(f"tests.children.working:{function}", *args, start_method=method)  # type: ignore[arg-type]
    return ChildSpec(id, launch, restart=restart, **fields)


@asynccontextmanager
async def tree(*children: ChildSpec, **flags: Any) -> AsyncIterator[Watched]:
    """Run a tree with these children, and note its events."""
    root = Supervisor("root", children, **flags)
    watched = Watched(root, [])
    root.add_sink(watched.records.append)
    async with root:
        yield watched


def exits(watched: Watched) -> list[Exit]:
    """How lives have ended so far."""
    from supervisor import ChildExited

    return [event.exit for event in watched.events(ChildExited)]
