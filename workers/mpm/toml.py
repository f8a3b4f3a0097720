"""A configuration of ours, written down as TOML. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from supervisor import Size

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def written(value: Any) -> str:
    """A value, as a file has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, Size | Enum):
        return _text(str(value.value if isinstance(value, Enum) else value))
    if isinstance(value, Mapping):
        inside = ", ".join(f"{name if _BARE.fullmatch(name) else _text(name)} = {written(one)}" for name, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return _text(str(value))


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but for characters beyond the first plane, which stand for themselves, and DEL
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
