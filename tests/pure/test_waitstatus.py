"""From wait statuses to exits."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.exits import Exit, ExitKind
from supervisor.host.waitstatus import AbnormalExit, WaitStatus, classify, exit_code

CODES = st.integers(0, 255)
SIGNALS = st.sampled_from(sorted(signal.valid_signals()))
POLICIES = st.sampled_from(AbnormalExit)
ORDERLY = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGPIPE}


@given(CODES, POLICIES)
def test_code_is_kept_whatever_it_means(code: int, policy: AbnormalExit) -> None:
    """An exit code is never lost, and never becomes a signal."""
    end = classify(WaitStatus(code=code), policy)

    assert (end.code, end.signal, exit_code(end)) == (code, None, code)


@given(SIGNALS, POLICIES)
def test_signal_is_kept_whatever_it_means(number: int, policy: AbnormalExit) -> None:
    """A signal is never lost, and a shell's code for it is 128 more."""
    end = classify(WaitStatus(signal=number), policy)

    assert (end.code, end.signal, exit_code(end)) == (None, number, 128 + number)


@given(CODES)
def test_failure_policy_takes_every_other_code_for_a_failure(code: int) -> None:
    """Under FAILURE only 0 is clean."""
    assert classify(WaitStatus(code=code)).is_clean is (code == 0)


@given(SIGNALS)
def test_failure_policy_takes_every_signal_for_a_failure(number: int) -> None:
    """Under FAILURE no death by a signal is clean that nobody asked for."""
    assert classify(WaitStatus(signal=number)).kind is ExitKind.ABNORMAL


@given(CODES)
def test_crash_policy_passes_ordinary_codes_through(code: int) -> None:
    """Under CRASH a code is an answer, except a wrapper's form of SIGABRT, SIGKILL and SIGSEGV."""
    expected = ExitKind.NORMAL if code == 0 else ExitKind.ABNORMAL if code in (134, 137, 139) else ExitKind.SHUTDOWN

    assert classify(WaitStatus(code=code), AbnormalExit.CRASH).kind is expected


@given(SIGNALS)
def test_crash_policy_spares_signals_that_people_send(number: int) -> None:
    """Under CRASH the signals by which a person or a terminal ends a program are no crashes; all others are."""
    assert classify(WaitStatus(signal=number), AbnormalExit.CRASH).is_clean is (number in ORDERLY)


@given(SIGNALS, SIGNALS, POLICIES)
def test_death_by_the_signal_that_asked_is_a_shutdown(asked: int, number: int, policy: AbnormalExit) -> None:
    """Dying of what we sent is no failure; dying of something else meanwhile is judged as ever."""
    end = classify(WaitStatus(signal=number), policy, asked=asked)

    assert end.kind is (ExitKind.SHUTDOWN if number == asked else classify(WaitStatus(signal=number), policy).kind)


@given(st.sampled_from([signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
def test_answering_with_128_plus_the_signal_is_a_shutdown(asked: signal.Signals) -> None:
    """A program that catches the request and says so by its code has done as it was told."""
    assert classify(WaitStatus(code=128 + asked), asked=asked).kind is ExitKind.SHUTDOWN


@pytest.mark.parametrize(
    ("si_code", "si_status", "expected"),
    [
        (os.CLD_EXITED, 3, WaitStatus(code=3)),
        (os.CLD_KILLED, 9, WaitStatus(signal=9, core_dumped=False)),
        (os.CLD_DUMPED, 11, WaitStatus(signal=11, core_dumped=True)),
    ],
)
def test_waitid_says_whether_there_is_a_core(si_code: int, si_status: int, expected: WaitStatus) -> None:
    """The three ways in which waitid describes an end."""
    assert WaitStatus.from_waitid(si_code, si_status) == expected


def test_unknown_core_is_none() -> None:
    """A return code does not tell whether there is a core, so nobody claims that there is none."""
    assert WaitStatus.from_returncode(-11) == WaitStatus(signal=11, core_dumped=None)


def test_reason_names_what_a_person_looks_for() -> None:
    """The signal by name, the core, and the out-of-memory killer."""
    killed = classify(WaitStatus(signal=9, core_dumped=False), out_of_memory=True)
    crashed = classify(WaitStatus(signal=11, core_dumped=True))

    assert killed.reason == "killed: out of memory" and killed.out_of_memory is True
    assert crashed.reason == "killed by SIGSEGV (core dumped)" and crashed.out_of_memory is None


def test_exits_without_a_process_have_a_code_too() -> None:
    """Clean is 0; a fault that never became a process is a fault of ours."""
    assert exit_code(Exit.shutdown()) == 0
    assert exit_code(Exit.failed(RuntimeError("no"))) == 70
