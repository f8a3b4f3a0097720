"""A configuration that was made in Python, as if a file had said what of it is not as by default."""

from __future__ import annotations

from typing import Any

import attrs

from .config import AGENTS, FILE, KIND, SECTION, TABLE, C, LoadedConfig, Placed, Values
from .usage import Fault, quote


def made_config(config: C) -> LoadedConfig[C]:
    """What a configuration says, so that it can be judged by the rules for a file.

    Returns:
        The configuration, with a fault for every section that is none; nothing is raised.
    """
    faults: list[Fault] = []
    values: Values = {}
    items: dict[str, list[Values]] = {}
    for field in attrs.fields(type(config)):
        value, table = getattr(config, field.name), field.metadata.get(TABLE)
        if SECTION in field.metadata:
            values |= _said(field, value, f"{table}.", faults)
        elif AGENTS in field.metadata:
            items[table] = _listed(value, field.metadata[AGENTS], str(table), faults)
        elif KIND in field.metadata and value != field.default:
            values[table, field.name] = Placed(value, f"{table}.{field.name}", None, FILE)
    return LoadedConfig(config, faults, values, set(), items)


def _listed(value: object, cls: type, table: str, faults: list[Fault]) -> list[Values]:
    if not isinstance(value, tuple):
        faults.append(Fault(table, f"expected a tuple of {cls.__name__}, got {quote(value)}"))
        return []
    found: list[Values] = []
    for index, item in enumerate(value):
        said: Values = {}
        if isinstance(item, cls):
            for part in attrs.fields(cls):
                said |= _said(part, getattr(item, part.name), f"{table}[{index}].", faults)
        else:
            faults.append(Fault(f"{table}[{index}]", f"expected a {cls.__name__}, got {quote(item)}"))
        found.append(said)
    return found


def _said(field: attrs.Attribute[Any], section: object, prefix: str, faults: list[Fault]) -> Values:
    table, cls = field.metadata[TABLE], field.metadata[SECTION]
    if not isinstance(section, cls):
        faults.append(Fault(prefix.rstrip("."), f"expected a {cls.__name__} in {field.name}, got {quote(section)}"))
        return {}
    return {
        (table, item.name): Placed(getattr(section, item.name), f"{prefix}{item.name}", None, FILE)
        for item in attrs.fields(cls)
        if getattr(section, item.name) != item.default
    }
