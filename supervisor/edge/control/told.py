"""Events as they came over a connection, in words again."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, get_type_hints

import attrs

from ...core.event import Event, Record
from ...core.exits import Exit, ExitKind
from ...core.text import printable
from ..render import Renderer


def line(data: Mapping[str, Any], renderer: Renderer) -> str | None:
    """An event's data as a line for a person; None when there is nothing to say.

    One that a later version made, and that this one does not know, is told by its fields.
    """
    kind = next((kind for kind in renderer.kinds if kind.name == data.get("event")), None)
    if kind is not None:
        try:
            return renderer.line(_record(data, kind))
        except (TypeError, ValueError, KeyError, AttributeError):
            pass  # fields are other than they were
    fields = " ".join(f"{key}={value}" for key, value in dict(data.get("data", {})).items() if not isinstance(value, dict | list))
    return printable("  ".join(filter(None, [str(data.get("time", ""))[11:19], "/".join(data["path"][1:]), str(data["event"]), fields])))


def _record(data: Mapping[str, Any], kind: type[Event]) -> Record:
    hints = get_type_hints(kind, None, {"ChildSpec": object})
    said: dict[str, Any] = dict(data["data"])
    if kind.name == "events_lost":
        said = {"first": said["from"], "last": said["to"]}
    given = {
        field.name: _value(said[field.name], hints[field.name])
        for field in attrs.fields(kind)
        if field.name in said and field.name != "spec"
    }
    event = kind(tuple(data["path"]), generation=data["generation"], **given)
    return Record(data["run"], data["seq"], data["monotonic"], datetime.fromisoformat(data["time"]).timestamp(), event)


def _value(value: Any, hint: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if isinstance(value, dict) and "kind" in value:
        number = getattr(signal, value["signal"], None) if "signal" in value else None
        return Exit(ExitKind(value["kind"]), value["reason"], value.get("code"), number, output=tuple(value.get("output", ())))
    return tuple(value) if isinstance(value, list) else value
