"""Sizes of what Claude Code keeps beyond which it is worth a word; docs/claude-code.md cites what people have met."""

from __future__ import annotations

from typing import Final

LARGE_SETTINGS: Final = 10 << 20
"""Bytes of ``.claude.json``, which each session reads and writes as a whole."""

LARGE_TRANSCRIPT: Final = 50 << 20
"""Bytes of one conversation: going on with that many takes some 500 MB (native) or 700 MB and, on a terminal, minutes (2.0.77)."""

LARGE_TOTAL: Final = 1 << 30
"""Bytes of all conversations."""
