"""Sizes as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.edge.sizes import GIB, KIB, LARGEST_BYTES, MIB, TIB, UNITS, Size, format_bytes, parse_size


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("12GiB", 12 * GIB),
        ("512 MiB", 512 * MIB),
        ("1.5GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("2TiB", 2 * TIB),
        ("100B", 100),
        ("12gib", 12 * GIB),
        (" 7 KB ", 7000),
        ("512", 512 * MIB),
        ("1.5", 3 * MIB // 2),
        ("+3MiB", 3 * MIB),
        (512, 512 * MIB),
        (0.5, MIB // 2),
        (Size(amount_bytes=5), 5),
    ],
)
def test_amounts(written: object, amount: int) -> None:
    """A size is read exactly, and a bare number is MiB whether it is a number or digits."""
    assert parse_size(written) == Size(amount_bytes=amount)


@pytest.mark.parametrize(("written", "ratio"), [("80%", 0.8), ("0.5 %", 0.005), ("100%", 1.0)])
def test_shares(written: str, ratio: float) -> None:
    """Per cent is a share of something that is known later."""
    assert parse_size(written) == Size(ratio=ratio)
    assert parse_size(written).of(1000) == int(ratio * 1000)
    assert parse_size(written).of(None) is None


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("-5GiB", "cannot be negative"),
        (-5, "cannot be negative"),
        (-0.1, "cannot be negative"),
        ("0", "more than zero"),
        (0, "more than zero"),
        ("0%", "more than zero"),
        ("-0GiB", "more than zero"),
        (math.nan, "expected a size"),
        (math.inf, "expected a size"),
        (-math.inf, "expected a size"),
        ("nan", "expected a size"),
        ("9999999TiB", "at most 1 EiB"),
        (10**30, "at most 1 EiB"),
        pytest.param(10**5000, "at most 1 EiB", id="5001 digits"),
        ("101%", "at most 100 %"),
        ("100.0000000000000000000000001%", "at most 100 %"),
        ("12G", "write 12GiB"),
        ("1.5m", "write 1.5MiB"),
        ("12 parsecs", "the units are"),
        ("0.1B", "at least one byte"),
        (1e-9, "at least one byte"),
        ("", "expected a size"),
        ("GiB", "expected a size"),
        ("1e3GiB", "expected a size"),
        ("1,5GiB", "expected a size"),
        ("\u0663GiB", "expected a size"),
        ("1" * 5000, "expected a size"),
        (True, "got true"),
        (None, "got nothing"),
        ([1], "got a list"),
    ],
)
def test_refused(written: object, remedy: str) -> None:
    """What is no sensible size is refused with what to write instead."""
    with pytest.raises(ValueError, match=r".") as refused:
        parse_size(written)

    assert remedy in str(refused.value)


def test_zero_where_it_means_off() -> None:
    """Zero is a size only where the key says so."""
    assert parse_size("0", zero=True) == Size(amount_bytes=0)
    assert parse_size("0%", zero=True) == Size(ratio=0.0)


@given(st.integers(1, LARGEST_BYTES))
def test_written_amounts_are_read_back(amount: int) -> None:
    """What a size prints is what it reads."""
    size = Size(amount_bytes=amount)

    assert parse_size(str(size)) == size


@given(st.integers(0, 10**6), st.sampled_from(sorted(UNITS)), st.integers(0, 999))
def test_every_unit_is_exact(whole: int, unit: str, thousandths: int) -> None:
    """Decimals are not rounded through a float."""
    exact = (whole * 1000 + thousandths) * UNITS[unit]
    written = f"{whole}.{thousandths:03d}{unit}"
    if exact // 1000 in range(1, LARGEST_BYTES + 1):
        assert parse_size(written).amount_bytes == exact // 1000
    else:
        with pytest.raises(ValueError, match=r"."):
            parse_size(written)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.integers()), st.binary()))
def test_anything_else_is_a_value_error(written: object) -> None:
    """Whatever is written, the answer is a legal size or a ValueError of one line."""
    said = ""
    try:
        size = parse_size(written)
    except ValueError as error:
        said = str(error)
    else:
        assert (size.of(GIB) or 0) >= 0

    assert "\n" not in said
    assert len(said) < 300


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 B"),
        (17, "17 B"),
        (1023, "1023 B"),
        (KIB, "1.0 KiB"),
        (512 * MIB, "512 MiB"),
        (int(1.2 * GIB), "1.2 GiB"),
        (int(99.94 * MIB), "99.9 MiB"),
        (int(99.96 * MIB), "100 MiB"),
        (GIB - 1, "1.0 GiB"),
        (-3 * MIB, "-3.0 MiB"),
        (LARGEST_BYTES, "1.0 EiB"),
    ],
)
def test_for_people(amount: int, text: str) -> None:
    """Bytes are shown in the largest unit that leaves a number of at least 1."""
    assert format_bytes(amount) == text


@given(st.integers(0, LARGEST_BYTES))
def test_shown_within_rounding(amount: int) -> None:
    """What is shown is the amount within five per cent, and never 1024 of a unit."""
    number, unit = format_bytes(amount).split()
    factor = {**UNITS, "PiB": 1 << 50, "EiB": 1 << 60}[unit]

    assert abs(float(number) * factor - amount) <= max(0.05 * amount, 0.5)
    assert float(number) < 1024


@pytest.mark.parametrize("wrong", [{}, {"amount_bytes": 1, "ratio": 0.5}, {"amount_bytes": -1}, {"ratio": 1.5}, {"ratio": math.nan}])
def test_no_other_sizes_exist(wrong: dict[str, float]) -> None:
    """A size is either bytes or a share, within bounds."""
    with pytest.raises(ValueError, match=r"."):
        Size(**wrong)  # type: ignore[arg-type]
