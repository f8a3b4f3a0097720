"""Sizes as people write them: ``"12GiB"``, ``"1.5 GB"``, ``"80%"``, and a bare number, which is MiB."""

from __future__ import annotations

import math
import re

import attrs

from ..core.value import Value
from .usage import quote

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
LARGEST_BYTES = 1 << 60
UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
EXPECTED = 'a size such as "12GiB", "512 MiB", "1.5GB" or "80%", or a number of MiB'

_WRITTEN = re.compile(r"([+-]?)([0-9]{1,40})(?:\.([0-9]{1,40}))?\s*([A-Za-z]{1,8}|%)?", re.ASCII)
_BY_LOWER = {name.lower(): factor for name, factor in UNITS.items()}
_SHORT = {"k": "KiB", "m": "MiB", "g": "GiB", "t": "TiB", "ki": "KiB", "mi": "MiB", "gi": "GiB", "ti": "TiB"}


@attrs.frozen(repr=False, eq=False)
class Size(Value):
    """An amount of memory or disk: bytes, or a share of a whole that is known later.

    Exactly one of the two is set.

    Attributes:
        amount_bytes: Bytes, from 0 to 1 EiB.
        ratio: A share from 0 to 1.
    """

    amount_bytes: int | None = None
    ratio: float | None = None

    def __attrs_post_init__(self) -> None:
        if (self.amount_bytes is None) == (self.ratio is None):
            raise ValueError("a size is either bytes or a share")
        if self.amount_bytes is not None and not 0 <= self.amount_bytes <= LARGEST_BYTES:
            raise ValueError("expected 0 to 1 EiB")
        if self.ratio is not None and not 0 <= self.ratio <= 1:
            raise ValueError("expected 0 % to 100 %")

    def of(self, whole_bytes: int | None) -> int | None:
        """The size in bytes.

        Args:
            whole_bytes: What a share is taken of; None when that is unknown.

        Returns:
            Bytes; None for a share of an unknown whole.
        """
        if self.ratio is None:
            return self.amount_bytes
        return None if whole_bytes is None else int(self.ratio * whole_bytes)

    def __str__(self) -> str:
        if self.ratio is not None:
            return f"{self.ratio * 100:.10g}%"
        amount = self.amount_bytes or 0
        for name, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
            if amount and amount % factor == 0:
                return f"{amount // factor}{name}"
        return f"{amount}B"


def parse_size(value: object, *, zero: bool = False) -> Size:
    """Read a size.

    Args:
        value: A string with a unit or ``%``; a bare number, as a number or as digits, is MiB. A `Size` is returned as it is.
        zero: Whether 0 is a size.

    Raises:
        ValueError: It is none; the text says what was expected.
    """
    if isinstance(value, Size):
        size = value
    elif isinstance(value, bool):
        raise ValueError(f"expected {EXPECTED}, got {quote(value)}")
    elif isinstance(value, int):
        size = _bytes(value * MIB, value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"expected {EXPECTED}, got {value}")
        size = _bytes(value * MIB, value)
    elif isinstance(value, str):
        size = _parse(value)
    else:
        raise ValueError(f"expected {EXPECTED}, got {quote(value)}")
    if not zero and not (size.amount_bytes or size.ratio):
        raise ValueError(f"must be more than zero, got {quote(value) if not isinstance(value, Size) else value}")
    return size


def format_bytes(amount: float) -> str:
    """Bytes for a person, three or four figures in binary units: ``1.2 GiB``, ``512 MiB``, ``17 B``."""
    sign, rest = ("-", -amount) if amount < 0 else ("", amount)
    if rest < KIB:
        return f"{sign}{rest:.0f} B"
    value, name = rest / KIB, "KiB"
    for larger in ("MiB", "GiB", "TiB", "PiB", "EiB"):
        # what would be shown as 1024 of a unit is 1.0 of the next
        if value < 1023.5:
            break
        value, name = value / 1024, larger
    return f"{sign}{value:.1f} {name}" if value < 99.95 else f"{sign}{value:.0f} {name}"


def _parse(text: str) -> Size:
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected {EXPECTED}, got {quote(text)}")
    sign, whole, fraction, unit = match[1], match[2], match[3] or "", match[4]
    digits = int(whole + fraction)
    if sign == "-" and digits:
        raise ValueError(f"a size cannot be negative, got {quote(text)}")
    if unit == "%":
        # by digits, so that 100.000000000000000000001 % is too much as well
        if digits > 100 * 10 ** len(fraction):
            raise ValueError(f"expected at most 100 %, got {quote(text)}")
        return Size(ratio=digits / (100 * 10 ** len(fraction)))
    factor = MIB if unit is None else _BY_LOWER.get(unit.lower())
    if factor is None:
        near = _SHORT.get(unit.lower())
        remedy = f"; write {whole}{'.' + fraction if fraction else ''}{near}" if near else f"; the units are {', '.join(UNITS)} and %"
        raise ValueError(f"unknown unit {unit!r} in {quote(text)}{remedy}")
    amount = digits * factor // 10 ** len(fraction)
    if digits and not amount:
        raise ValueError(f"expected at least one byte, got {quote(text)}")
    return _bytes(amount, text)


def _bytes(amount: float, written: object) -> Size:
    if amount < 0:
        raise ValueError(f"a size cannot be negative, got {quote(written)}")
    if amount > LARGEST_BYTES:
        raise ValueError(f"expected at most 1 EiB, got {quote(written)}")
    if 0 < amount < 1:
        raise ValueError(f"expected at least one byte, got {quote(written)}")
    return Size(amount_bytes=int(amount))
