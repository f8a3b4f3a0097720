"""Values that cross the border of a process: to JSON data and back, without loss.

What JSON has goes as it is. The rest is an object with the key ``!``: tuples, sets, bytes, dictionaries whose keys are no strings,
members of enums, attrs values, exceptions, functions of modules. A class or function is looked up among the modules that are
loaded already: what comes from another process must not make this one run code that it had not imported by itself.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Final

import attrs

from .errors import StartFailed, SupervisorError
from .event import Event, jsonable
from .exits import Exit
from .extra_errors import WorkerFailed
from .fits import fits, misfit
from .value import Value

TAG: Final = "!"


class NotPortable(TypeError):
    """A value that cannot leave its process; the text says which and why."""


@attrs.frozen(repr=False, eq=False)
class ForeignValue(Value):
    """A value of a class that is not loaded in this process: its `kind` is ``module:class``, its `fields` by name."""

    kind: str
    fields: dict[str, Any]


@attrs.frozen(repr=False, eq=False)
class ForeignEvent(Event):
    """An event of a class that is not loaded in this process: `name` is that of the event, `as_data` its own fields.

    Attributes:
        kind: The class, as ``module:class``.
        data: What its own `as_data` says.
    """

    kind: str = ""
    data: dict[str, Any] = attrs.field(factory=dict)

    def as_data(self) -> dict[str, Any]:
        """The event's own fields, as the process that published it has made them."""
        return self.data


def encode(value: object) -> Any:
    """A value as JSON data.

    Raises:
        NotPortable: It, or something in it, is of a class that cannot cross, holds what its class does not declare, or contains itself.
    """
    try:
        return _encode(value)
    except RecursionError:
        raise NotPortable(f"{type(value).__name__} cannot leave its process: it contains itself, or too many levels of values") from None


def _encode(value: object) -> Any:
    kind: Any = type(value)
    match value:
        case Enum():
            return {TAG: _name_of(type(value)), "v": _encode(value.value)}
        case None | bool() | int() | float() | str() if type(value) in _PLAIN:
            return value
        case list() if type(value) is list:
            return [_encode(item) for item in value]
        case dict() if type(value) is dict:
            if TAG not in value and all(type(key) is str for key in value):
                return {key: _encode(item) for key, item in value.items()}
            return {TAG: "dict", "v": [[_encode(key), _encode(item)] for key, item in value.items()]}
        case tuple() | set() | frozenset() if type(value) in _SEQUENCES.values():
            return {TAG: type(value).__name__, "v": [_encode(item) for item in value]}
        case bytes() if type(value) is bytes:
            return {TAG: "bytes", "v": base64.b64encode(value).decode()}
        case BaseException():
            return _encode_exception(value)
        case FunctionType() | BuiltinFunctionType() | MethodType() | type():
            name = _name_of(value)
            if name.startswith("__main__:"):
                raise NotPortable(f"{value!r} cannot leave its process: another one has another __main__; define it in a module")
            return {TAG: "name", "v": name}
        case _ if attrs.has(kind):
            if (wrong := misfit(value)) is not None:
                raise NotPortable(f"{wrong}, which its class does not declare; it would be refused elsewhere")
            fields = {field.alias: _encode(getattr(value, field.name)) for field in attrs.fields(kind) if field.init}
            data = {TAG: _name_of(kind), "v": fields}
            if isinstance(value, Event):
                data |= {"n": value.name, "d": jsonable(value.as_data())}
            return data
        case _:
            raise NotPortable(
                f"{value!r} cannot leave its process; JSON data, tuples, sets, bytes, enums, exceptions,"
                " functions and attrs values of classes that can be imported can"
            )


def decode(data: Any) -> Any:
    """The value that `encode` made this of; of a class that is not loaded here a `ForeignValue` or `ForeignEvent`.

    Raises:
        ValueError: Something that `encode` does not make.
    """
    if type(data) is list:
        return [decode(item) for item in data]
    if type(data) is not dict:
        return data
    if TAG not in data:
        return {key: decode(item) for key, item in data.items()}
    try:
        return _decode_tagged(data[TAG], data)
    except ValueError:
        raise
    except Exception as error:  # whatever a class says to fields that are not its own
        raise ValueError(f"no {data[TAG]!r} can be made of this") from error


def modules(data: Any) -> Iterator[str]:
    """The modules that the classes and functions in what `encode` made are from."""
    if type(data) is list:
        for item in data:
            yield from modules(item)
    elif type(data) is dict:
        for key, item in data.items():
            yield from modules(item)
            name = item if key in (TAG, "of") or (key == "v" and data.get(TAG) == "name") else None
            if isinstance(name, str) and ":" in name:
                yield name.partition(":")[0]


def trimmed(text: str, limit: int) -> str:
    """The end of a text that is too long, where the reason stands."""
    return text if len(text) <= limit else f"...{text[-limit:]}"


_PLAIN: Final = frozenset((type(None), bool, int, float, str))
_SEQUENCES: Final[dict[str, Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
TEXT_LIMIT: Final = 65536
"""The longest text of an exception, of its traceback and of a log record that crosses, in characters."""


def _decode_tagged(tag: Any, data: dict[str, Any]) -> Any:
    inner = data.get("v")
    if tag in _SEQUENCES:
        return _SEQUENCES[tag](decode(item) for item in inner)  # type: ignore[union-attr]
    if tag == "dict":
        return {decode(key): decode(item) for key, item in inner}  # type: ignore[union-attr]
    if tag == "bytes":
        return base64.b64decode(inner, validate=True)  # type: ignore[arg-type]
    if tag == "exception":
        return _decode_exception(data)
    if tag == "name":
        found = _loaded(inner)
        if not callable(found):
            raise ValueError(f"{inner!r} is not loaded")
        return found
    kind = _loaded(tag)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(decode(inner))
    fields = decode(inner)
    if not isinstance(fields, dict):
        raise ValueError(f"{tag!r} has no fields")
    if isinstance(kind, type) and attrs.has(kind):
        return _fitting(kind(**fields))
    if "n" in data:
        named: Any = _named(str(data["n"]))
        return _fitting(named(tuple(fields["path"]), str(tag), dict(data["d"]), generation=fields.get("generation")))
    return ForeignValue(str(tag), fields)


def _fitting(value: Any) -> Any:
    if (wrong := misfit(value)) is not None:
        raise ValueError(wrong)
    return value


_foreign: dict[str, type[ForeignEvent]] = {}
_FOREIGN_NAMES: Final = 1000


def _named(name: str) -> type[ForeignEvent]:
    """The name of an event is its class's; so many classes and no more, for a process that invents names must not fill this one."""
    if name not in _foreign:
        if len(_foreign) >= _FOREIGN_NAMES:
            return ForeignEvent
        _foreign[name] = type("ForeignEvent", (ForeignEvent,), {"name": name, "__slots__": (), "__module__": __name__})
    return _foreign[name]


def _name_of(named: Any) -> str:
    """Under which a class or function is found by whoever imports its module."""
    module, name = named.__module__, named.__qualname__
    if _find(module, name) != named:
        raise NotPortable(f"{name} cannot leave its process: it is not to be found in the module {module}")
    return f"{module}:{name}"


def _loaded(tag: Any) -> object:
    module, _, name = str(tag).partition(":")
    return _find(module, name)


def _find(module: str, name: str) -> object:
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _encode_exception(error: BaseException) -> dict[str, Any]:
    import traceback

    data: dict[str, Any] = {TAG: "exception", "type": type(error).__name__, "text": trimmed(str(error), TEXT_LIMIT)}
    if isinstance(error, WorkerFailed):
        return {**data, "type": error.type, "text": error.text, "trace": error.trace}
    if isinstance(error, SupervisorError):
        try:
            data |= {"of": _name_of(type(error)), "v": _encode(dict(vars(error)))}
        except NotPortable:
            pass  # its type and text still can
    return {**data, "trace": trimmed("".join(traceback.format_exception(error)), TEXT_LIMIT)}


def _decode_exception(data: dict[str, Any]) -> BaseException:
    if "of" in data:
        kind = _loaded(data["of"])
        if isinstance(kind, type) and issubclass(kind, SupervisorError):
            error = kind.__new__(kind)
            error.args = (_text(data["text"]),)
            held = {name: decode(item) for name, item in data["v"].items() if not name.startswith("__")}
            if kind.__module__.startswith("supervisor."):
                _check_held(held)
            vars(error).update(held)
            if isinstance(error, StartFailed):
                error.__cause__ = error.exit.exception
            return error
    return WorkerFailed(*(_text(data[name]) for name in ("type", "text", "trace")))


def _check_held(held: dict[str, Any]) -> None:
    """Whoever handles an error of ours relies on what it holds."""
    for name in held.keys() & _HELD.keys():
        if not _HELD[name](held[name]):
            raise ValueError(f"an error's {name} is {held[name]!r:.80}")


_HELD: Final = {
    name: fits(kind)
    for name, kind in {
        "path": tuple[str, ...],
        "id": str | None,
        "exit": Exit,
        "exits": tuple[tuple[str, Exit], ...],
        "reason": str | None,
        "timeout": float,
        "remaining": float,
        "retry_in": float | None,
    }.items()
}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value
