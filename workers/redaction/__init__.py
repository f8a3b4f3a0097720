"""What keeps secrets out of whatever is written or shown: by what they look like, by the name that they are kept under, and by chance.

rule.py, tokens.py, shapes.py   the table of what is known: tokens with a prefix, and what is told by its surroundings
checks.py, names.py             whether a value is drawn at random, whether a name says secret
engine.py, scan.py              keywords in a text, matches around them, marks in their place
text.py, values.py, stream.py   texts, environments, arguments; JSON data; texts of any length

Pure, but for what is compiled when it is first needed.
"""

from .engine import engine_in_use
from .names import names_secret
from .stream import TextRedactor, redact_chunks
from .text import redact_arguments, redact_bytes, redact_environment, redact_text
from .values import redact_value

__all__ = [
    "TextRedactor",
    "engine_in_use",
    "names_secret",
    "redact_arguments",
    "redact_bytes",
    "redact_chunks",
    "redact_environment",
    "redact_text",
    "redact_value",
]
