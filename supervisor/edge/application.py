"""The seam between the launcher and the application that it runs; the launcher knows the application by name only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

from ..core.exits import describe
from ..core.value import Value
from .redactor import NOTHING, Redactor
from .service import ServiceManager
from .usage import UsageError

if TYPE_CHECKING:
    from .control.listening import Control
    from .event_file import EventFile
    from .signals import StopRequest


@attrs.frozen(repr=False, eq=False)
class Session(Value):
    """What the launcher gives a run.

    Attributes:
        run: The run's id, a random UUID as 32 hexadecimal digits.
        backend: ``"trio"`` or ``"asyncio"``.
        stop: Set by the signals; the application may set it as well.
        service: The service manager above us, to be told when the run is up; may be nobody.
        control: What clients on the control socket are served by, see `Control`; None for nothing. The launcher opens and closes it.
        redactor: What every way out of the run goes through.
        event_file: The open file of ``--events``, or None. The launcher closes it.
        stdin_is_terminal: Whether standard input is a terminal.
        stdout_is_terminal: Whether standard output is one.
        stderr_is_terminal: Whether standard error is one.
    """

    run: str
    backend: str
    stop: StopRequest
    service: ServiceManager = attrs.field(factory=ServiceManager, kw_only=True)
    control: Control | None = attrs.field(default=None, kw_only=True)
    redactor: Redactor = attrs.field(default=NOTHING, kw_only=True)
    event_file: EventFile | None = None
    stdin_is_terminal: bool = False
    stdout_is_terminal: bool = False
    stderr_is_terminal: bool = False

    @property
    def is_interactive(self) -> bool:
        """Whether a person types into the run and sees what it prints."""
        return self.stdin_is_terminal and self.stdout_is_terminal


def new_run_id() -> str:
    """A random UUID (version 4) as 32 hexadecimal digits."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return raw.hex()


def is_attribute(name: str) -> bool:
    """Whether a name is of the form ``MODULE:ATTRIBUTE``."""
    module_name, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module_name.split("."), *attribute.split(".")])


def load_attribute(name: str) -> object:
    """Import ``MODULE:ATTRIBUTE``; the attribute may be dotted.

    Raises:
        UsageError: There is no such thing, or importing it failed; the text says where.
    """
    from importlib import import_module

    module_name, _, attribute = name.partition(":")
    if not is_attribute(name):
        raise UsageError([f"expected MODULE:ATTRIBUTE, such as mytree:root, got {name[:80]!r}"])
    try:
        value: object = import_module(module_name)
    except Exception as error:  # whatever a user's module raises becomes one line with its place
        raise UsageError([f"{name}: cannot import {module_name}: {describe(error)}{where_raised(error)}"]) from error
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise UsageError([f"{name}: {module_name} has no attribute {attribute!r}"]) from None
    return value


def where_raised(error: BaseException) -> str:
    """The place of the innermost frame of an exception that is not the import system's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    at, frame = "", error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if not file.startswith("<") and file != __file__ and "importlib" not in file:
            at = f" ({file}:{frame.tb_lineno})"
        frame = frame.tb_next
    return at
