"""Whether the fields of a value hold what their annotations say.

A class is asked once, and of annotations only what decides structure: unions, literals, tuples and other containers, classes. What cannot
be told, a name that is imported for type checkers alone for instance, fits.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, Final, Literal, Union, get_args, get_origin

import attrs

Check = Callable[[Any], bool]

_WORD: Final = 1 << 63
"""Beyond it no number of ours means anything; a sum with one, or its text, could be anything."""


def misfit(value: Any) -> str | None:
    """The first field of an attrs value that does not hold what its annotation says, for a person; None when all do.

    Only its own fields: attrs values in them are looked at when they are made.
    """
    kind: Any = type(value)
    for name, check in _checks(kind):
        held = getattr(value, name)
        if not check(held):
            return f"{type(value).__name__}.{name} is {held!r:.80}"
    return None


def fits(annotation: Any, *, ours: bool = True) -> Check:
    """A function that says whether a value is of this type.

    Args:
        annotation: A type, not its text.
        ours: Whether it belongs to this library: then numbers have 64 bits, and a `ForeignValue` stands for nothing.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is type(None):
        return lambda value: value is None
    if annotation in (int, float):
        return _number(annotation, ours)
    if origin in (Union, types.UnionType):
        return _either([fits(each, ours=ours) for each in inner])
    if origin is Literal:
        return lambda value: any(type(value) is type(each) and value == each for each in inner)
    if origin is tuple:
        return _tuple(inner, ours)
    if isinstance(origin, type) and issubclass(origin, Mapping) and len(inner) == 2:
        key, item = (fits(each, ours=ours) for each in inner)
        return lambda value: isinstance(value, origin) and all(key(one) and item(other) for one, other in value.items())
    if isinstance(origin, type) and issubclass(origin, Collection) and len(inner) == 1:
        one = fits(inner[0], ours=ours)
        return lambda value: isinstance(value, origin) and all(map(one, value))
    kind = annotation if origin is None else origin
    return _instance(kind, ours) if kind is not object and _tells(kind) else _anything


def _tells(kind: Any) -> bool:
    """Whether it can be asked for its instances: `Any` cannot, nor most protocols."""
    try:
        isinstance(None, kind)
    except TypeError:
        return False
    return isinstance(kind, type)


def _anything(_value: object) -> bool:
    return True


def _number(kind: type, ours: bool) -> Check:
    kinds = (int,) if kind is int else (int, float)

    def check(value: Any) -> bool:
        if not isinstance(value, kinds) or isinstance(value, bool):
            return False
        if isinstance(value, int) and (ours or kind is float):
            return -_WORD <= value < _WORD
        return True

    return check


def _either(checks: list[Check]) -> Check:
    return lambda value: any(check(value) for check in checks)


def _tuple(inner: tuple[Any, ...], ours: bool) -> Check:
    if len(inner) == 2 and inner[1] is Ellipsis:
        one = fits(inner[0], ours=ours)
        return lambda value: isinstance(value, tuple) and all(map(one, value))
    checks = [fits(each, ours=ours) for each in inner]
    return lambda value: (
        isinstance(value, tuple) and len(value) == len(checks) and all(check(each) for check, each in zip(checks, value, strict=True))
    )


def _instance(kind: type, ours: bool) -> Check:
    if ours:
        return lambda value: isinstance(value, kind)

    from .term import ForeignValue

    return lambda value: isinstance(value, (kind, ForeignValue))


@cache
def _checks(kind: Any) -> tuple[tuple[str, Check], ...]:
    if kind.__module__ == "supervisor.core.message":
        return ()  # whoever serves a request says what is wrong with it
    ours = kind.__module__.startswith("supervisor.")
    found = ((field.name, fits(_annotation(kind, field), ours=ours)) for field in attrs.fields(kind) if field.init)
    return tuple((name, check) for name, check in found if check is not _anything)


def _annotation(kind: type, field: attrs.Attribute[Any]) -> Any:
    """What a field is declared as, in the words of the module that declares it; `object` where that cannot be told."""
    if not isinstance(field.type, str):
        return object if field.type is None else field.type
    owner = next((base for base in kind.__mro__ if field.name in vars(base).get("__annotations__", ())), kind)
    names = vars(sys.modules.get(owner.__module__, types))
    try:
        return eval(field.type, dict(names), _later(owner))
    except Exception:  # the boundary to annotations, which nobody has to be able to evaluate
        return object


def _later(owner: type) -> dict[str, Any]:
    """What our own modules import for type checkers alone."""
    if not owner.__module__.startswith("supervisor."):
        return {}
    from .limits import Limits
    from .spec import ChildSpec

    return {"ChildSpec": ChildSpec, "Limits": Limits}
