"""Log records of a worker: caught there, and logged again where its supervisor is."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..core.term import TEXT_LIMIT, trimmed
from ..core.wire import Logged


class RecordHandler(logging.Handler):
    """In the worker: hands every record on, as a message."""

    def __init__(self, send: Callable[[Logged], None]) -> None:
        super().__init__()
        self._send = send
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one record; the message is made here, for its arguments may be anything."""
        try:
            trace = record.exc_text or (self._formatter.formatException(record.exc_info) if record.exc_info else None)
            self._send(
                Logged(
                    record.name,
                    record.levelno,
                    trimmed(record.getMessage(), TEXT_LIMIT),
                    record.created,
                    record.pathname,
                    record.lineno,
                    record.funcName,
                    record.threadName,
                    None if trace is None else trimmed(trace, TEXT_LIMIT),
                )
            )
        except Exception:  # the boundary where a record that cannot be made is reported as logging does that
            self.handleError(record)


def emit_record(message: Logged, path: tuple[str, ...]) -> None:
    """Log a worker's record here, as if by the logger of that name, with the child's path as `child` and as the process's name."""
    name, loggers = message.logger, logging.root.manager.loggerDict
    # loggers are never freed: a worker that invents names must not fill this process with them
    while name and name not in loggers:
        name = name.rpartition(".")[0]
    logger = logging.getLogger(name or None)
    # not by isEnabledFor, which remembers its answer for each level that was ever asked for
    if logger.disabled or not max(logger.manager.disable + 1, logger.getEffectiveLevel()) <= message.level:
        return
    child = "/".join(path)
    record = logging.makeLogRecord(
        {
            "name": message.logger,
            "levelno": message.level,
            "levelname": logging.getLevelName(message.level),
            "msg": message.text,
            "created": message.created,
            "msecs": (message.created % 1) * 1000,
            "pathname": message.pathname,
            "filename": message.pathname.rpartition("/")[2],
            "module": message.pathname.rpartition("/")[2].rpartition(".")[0],
            "lineno": message.line,
            "funcName": message.function,
            "threadName": message.thread,
            "processName": child,
            "exc_text": message.exception,
            "child": child,
        }
    )
    logger.handle(record)
