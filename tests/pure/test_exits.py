"""How a life ended."""

from __future__ import annotations

import pytest

from supervisor.core.exits import Exit, ExitKind, describe, signal_name


def test_the_three_kinds() -> None:
    """normal and shutdown are clean; killed is abnormal."""
    assert Exit.normal() == Exit(ExitKind.NORMAL, "normal")
    assert Exit.shutdown() == Exit(ExitKind.SHUTDOWN, "shutdown")
    assert Exit.killed() == Exit(ExitKind.ABNORMAL, "killed")
    assert [exit.is_clean for exit in (Exit.normal(), Exit.shutdown(), Exit.shutdown("x"), Exit.killed())] == [True, True, True, False]


def test_shutdown_with_a_term() -> None:
    """OTP's {shutdown, Term}: the term is kept, and said; an exception alone is no term."""
    assert Exit.shutdown("done").term == "done"
    assert Exit.shutdown("done").reason == "shutdown: done"
    error = RuntimeError("x")
    quiet = Exit.shutdown(exception=error)
    assert (quiet.reason, quiet.exception, quiet.term, quiet.kind) == ("shutdown", error, None, ExitKind.SHUTDOWN)
    both = Exit.shutdown("done", exception=error)
    assert (both.reason, both.exception, both.term) == ("shutdown: done", error, "done")


def test_a_failure_says_what_was_raised() -> None:
    """Abnormal, with the exception; the reason is its line unless another is given."""
    error = ValueError("too big\nby far")
    exit = Exit.failed(error)

    assert (exit.kind, exit.reason, exit.exception) == (ExitKind.ABNORMAL, "ValueError: too big", error)
    assert Exit.failed(error, reason="no").reason == "no"
    assert Exit.failed(error) == Exit.failed(ValueError("too big"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("x"), "ValueError: x"),
        (ValueError(), "ValueError"),
        (ValueError("\n  \n"), "ValueError"),
        (KeyError("k"), "KeyError: 'k'"),
    ],
)
def test_an_exception_in_one_line(error: Exception, expected: str) -> None:
    """Its type, and its first line where it has one."""
    assert describe(error) == expected


def test_a_term_is_no_part_of_the_comparison() -> None:
    """Exits are compared by what they say; a term may be anything."""

    class Term:
        def __str__(self) -> str:
            return "x"

    assert Exit.shutdown(Term()) == Exit.shutdown(Term())


def test_signal_names() -> None:
    """POSIX names; unknown numbers are said as numbers."""
    assert signal_name(11) == "SIGSEGV"
    assert signal_name(200) == "signal 200"


def test_as_data_says_what_is_known_and_no_more() -> None:
    """Unknown is left out, false is said."""
    assert Exit.normal().as_data() == {"kind": "normal", "reason": "normal"}
    crashed = Exit(ExitKind.ABNORMAL, "killed by SIGSEGV", signal=11, core_dumped=False, out_of_memory=False)
    assert crashed.as_data() == {
        "kind": "abnormal",
        "reason": "killed by SIGSEGV",
        "signal": "SIGSEGV",
        "core_dumped": False,
        "out_of_memory": False,
    }
    assert Exit(ExitKind.NORMAL, "exit code 0", code=0).as_data() == {"kind": "normal", "reason": "exit code 0", "code": 0}
