"""The guardian's `Redactor`: what every way out of a run goes through. The table of secrets is imported when something is suspected."""

from __future__ import annotations

from typing import Any, Final

from supervisor import Redactor

from .redaction.keywords import may_hold, may_hold_data


def redacted_text(text: str) -> str:
    """See `redaction.redact_text`."""
    if not may_hold(text.encode("utf-8", "surrogatepass")):
        return text
    from .redaction.text import redact_text

    return redact_text(text)


def redacted_data(data: Any) -> Any:
    """See `redaction.redact_value`."""
    from .redaction.values import redact_value

    return redact_value(data)


REDACTOR: Final = Redactor(redacted_text, redacted_data, may_hold_data)
