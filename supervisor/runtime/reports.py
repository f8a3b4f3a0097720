"""The tree's reports in a log of the standard ``logging`` module."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..core.event import ChildExited, ChildStartFailed, Record, SupervisorGaveUp
from ..core.report import Severity, report_of
from .bus import Sink


def log_reports(
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger] | None = None,
    *,
    progress: int = logging.INFO,
    requested: int = logging.DEBUG,
    tracebacks: bool = False,
    output: bool = True,
    redact: Callable[[Any], Any] | None = None,
) -> Sink:
    """A sink that writes one line for each report of OTP's supervisor: ``tree.add_sink(log_reports())``.

    Errors of children (``child_terminated``, ``start_error``, ``shutdown_error``) and a supervisor that gives up (``shutdown``) are at
    ERROR, a deferred restart at WARNING, progress at the levels below. Ends that were asked for and came are no reports.

    Each log record has `extra` attributes: ``report`` (the context), ``event``, ``run``, ``seq``, ``path``, ``generation``, and ``data``,
    the event's own fields as in the event stream, the child's specification among them.

    Args:
        logger: Where to; default: the logger ``supervisor``. Its handlers run on the tree's own task: one that may wait belongs behind
            a ``logging.handlers.QueueHandler``.
        progress: The level of starts and restarts by the supervisor.
        requested: The level of starts by ``start_child`` and ``restart_child``, whose callers know.
        tracebacks: Whether what a child raised comes with its traceback, below the line.
        output: Whether the last lines that a command wrote before it failed come below the line, indented. They can hold secrets, and are
            in `data` in any case.
        redact: Takes secrets out of the line and of `data`, which is JSON data; ``workers.redaction.redact_value`` does. A traceback that
            the formatter of a handler writes is not among them.
    """
    log = logger if logger is not None else logging.getLogger("supervisor")
    levels = {Severity.INFO: progress, Severity.DEBUG: requested}

    def write(record: Record) -> None:
        event = record.event
        report = report_of(event)
        if report is None:
            return
        level = levels.get(report.severity, report.severity.value)
        if not log.isEnabledFor(level):
            return
        exit = event.exit if isinstance(event, ChildExited | ChildStartFailed | SupervisorGaveUp) else None
        error = exit.exception if tracebacks and exit is not None else None
        about = {
            "report": report.context,
            "event": event.name,
            "run": record.run,
            "seq": record.seq,
            "path": event.path,
            "generation": event.generation,
            "data": event.as_data() if redact is None else redact(event.as_data()),
        }
        text = "\n    ".join((report.text, *report.details)) if output else report.text
        if redact is not None:
            text = redact(text)
        log.log(level, "%s", text, extra=about, exc_info=error)

    return write
