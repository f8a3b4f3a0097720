"""What keeps secrets out of whatever is written or shown: by what they look like, by the name that they are kept under, and by chance.

rule.py, tokens.py, shapes.py   the table of what is known: tokens with a prefix, and what is told by its surroundings
checks.py, names.py             whether a value is drawn at random, whether a name says secret
keywords.py                     whether a text may hold a secret at all, without the table
engine.py, scan.py              keywords in a text, matches around them, marks in their place
text.py, values.py, stream.py   texts, environments, arguments; JSON data; texts of any length

Pure, but for what is compiled when it is first needed; the table is imported when the first of these names is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import engine_in_use as engine_in_use
    from .keywords import may_hold as may_hold
    from .keywords import may_hold_data as may_hold_data
    from .names import names_secret as names_secret
    from .stream import TextRedactor as TextRedactor
    from .stream import redact_chunks as redact_chunks
    from .text import redact_arguments as redact_arguments
    from .text import redact_bytes as redact_bytes
    from .text import redact_environment as redact_environment
    from .text import redact_text as redact_text
    from .values import redact_value as redact_value

_MODULES = {
    "engine": "engine_in_use",
    "keywords": "may_hold may_hold_data",
    "names": "names_secret",
    "stream": "TextRedactor redact_chunks",
    "text": "redact_arguments redact_bytes redact_environment redact_text",
    "values": "redact_value",
}

_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
