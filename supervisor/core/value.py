"""What all values have in common, made once.

attrs would generate a text, a comparison and a hash for each class, which for the 140 classes of an idle guardian is 0.7 MB.
"""

from __future__ import annotations

from typing import Any

import attrs


class Value:
    """Base of frozen attrs classes that are declared with ``repr=False, eq=False``: shown, compared and hashed by their fields."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in _fields(type(self)) if field.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, field.name) == getattr(other, field.name) for field in _fields(type(self)) if field.eq)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, field.name) for field in _fields(type(self)) if field.eq)))


def _fields(kind: Any) -> tuple[attrs.Attribute[Any], ...]:
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(kind)
    return fields
