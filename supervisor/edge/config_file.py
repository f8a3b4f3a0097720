"""Reading a configuration file: TOML, or YAML by its name, to plain tables. A malformed file is named with line and column."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..core.text import printable
from .usage import Fault, UsageError

LARGEST_FILE_BYTES = 1 << 20


def read_config_file(file: str) -> dict[str, object]:
    """Read a configuration file.

    Args:
        file: Its path; ``.yaml`` and ``.yml`` are YAML, everything else is TOML.

    Returns:
        The top-level table.

    Raises:
        UsageError: It cannot be read, is malformed (with line and column), or holds no table.
    """
    written = _read(file)
    # any exception of the two parsers is about the text of this file, and becomes a fault
    if file.lower().endswith((".yaml", ".yml")):
        return _yaml(file, written)
    return _toml(file, written)


def read_toml_value(written: str) -> object:
    """The value that a text means in TOML, such as ``5``, ``true`` or ``["a", "b"]``.

    Raises:
        ValueError: It means none, or more than one.
    """
    import tomllib

    try:
        table = tomllib.loads(f"value = {written}")
    except (ValueError, RecursionError):
        raise ValueError("no value") from None
    if list(table) != ["value"]:
        raise ValueError("more than one value")
    return table["value"]


def _read(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            raw = stream.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError([Fault("", f"the configuration file cannot be read: {reason}", file)]) from None
    if len(raw) > LARGEST_FILE_BYTES:
        raise UsageError([Fault("", "the configuration file is larger than 1 MiB", file)])
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise UsageError([Fault("", f"no UTF-8 text: {error.reason}", f"{file}:{line}:{column}")]) from None


_AT = re.compile(r"^(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.DOTALL)


def _toml(file: str, written: str) -> dict[str, object]:
    import tomllib

    try:
        return tomllib.loads(written)
    except tomllib.TOMLDecodeError as error:
        found = _AT.match(str(error))
        if found is None:
            raise UsageError([Fault("", f"malformed TOML: {error}", file)]) from None
        lines = written.split("\n")
        line, column = found["line"] or len(lines), found["column"] or len(lines[-1]) + 1
        raise UsageError([Fault("", f"malformed TOML: {_sentence(found['what'])}", f"{file}:{line}:{column}")]) from None
    except (ValueError, RecursionError) as error:
        # an integer of thousands of digits, or brackets nested a thousand deep
        raise UsageError([Fault("", f"malformed TOML: {_sentence(str(error))}", file)]) from None


def _yaml(file: str, written: str) -> dict[str, object]:
    from importlib import import_module

    try:
        yaml = import_module("yaml")
    except ModuleNotFoundError:
        raise UsageError([Fault("", "reading YAML needs the extra: pip install 'memory-guardian[yaml]'; or write TOML", file)]) from None
    try:
        value = yaml.safe_load(written)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark is not None else file
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError([Fault("", f"malformed YAML: {_sentence(what)}", place)]) from None
    except Exception as error:  # the constructors of dates, integers and keys raise what they like; each is this file's fault
        raise UsageError([Fault("", f"malformed YAML: {_sentence(str(error))}", file)]) from None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError([Fault("", "expected tables at the top level", file)])
    return dict(value)


def _sentence(what: str) -> str:
    return printable(what[:1].lower() + what[1:200])
