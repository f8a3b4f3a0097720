"""``hooks.on_event``: a command that gets each event as one line of JSON on its standard input."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor import Event, Record, encoded

from ..redactor import REDACTOR
from ..state.files import StateWriteFailed, write_atomic
from .channel import Channel
from .program import run_program

if TYPE_CHECKING:
    from ..config import HooksConfig


def hook(config: HooksConfig, directory: Path, emit: Callable[[Event], object]) -> Channel:
    """The channel of the hook command.

    Args:
        config: The command, its time, and how many may run at once.
        directory: A private one, where an event is while the command reads it.
        emit: Publishes an event.
    """
    numbers = itertools.count(1)

    async def tell(record: Record) -> str | None:
        file = directory / f"event-{next(numbers)}.json"
        try:
            write_atomic(file, encoded(record, REDACTOR), durable=False)
        except StateWriteFailed as error:
            return str(error)
        try:
            return await run_program(config.on_event, config.timeout, stdin=file, path=("guardian", "hook"))
        finally:
            try:
                os.unlink(file)
            except FileNotFoundError:
                pass  # somebody tidied up; the command has it open

    return Channel("hook", tell, emit, concurrency=config.concurrency)
