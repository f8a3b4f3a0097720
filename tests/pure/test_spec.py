"""Child specifications and supervisor flags."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

import pytest

from supervisor.core.backoff import Backoff
from supervisor.core.breaker import Breaker, CircuitState
from supervisor.core.errors import BadCombination, DuplicateChildName, InvalidField, SpecError, SupervisorError
from supervisor.core.launch import ChildType
from supervisor.core.spec import (
    BRUTAL_KILL,
    AutoShutdown,
    ChildSpec,
    GiveUp,
    Restart,
    Shutdown,
    Strategy,
    SupervisorFlags,
    check_childspecs,
)
from supervisor.core.state import Lifecycle, Phase, Purpose
from supervisor.core.tuning import Ends

from .machine_driver import Scripted, child

WORKER = Scripted()
SUPERVISOR = Scripted(ChildType.SUPERVISOR)


def test_sup_start_map() -> None:
    """Defaults of a specification: OTP's."""
    spec = ChildSpec("a", WORKER)

    assert (spec.restart, spec.shutdown, spec.significant, spec.start_timeout) == (Restart.PERMANENT, 5.0, False, math.inf)
    assert spec.type is ChildType.WORKER
    assert ChildSpec("a", SUPERVISOR).shutdown == math.inf
    assert ChildSpec("a", SUPERVISOR).type is ChildType.SUPERVISOR
    assert ChildSpec("a", SUPERVISOR, shutdown=3).shutdown == 3


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("id", {"id": ""}),
        ("id", {"id": None}),
        ("id", {"id": 3}),
        ("start", {"start": None}),
        ("start", {"start": print}),
        ("restart", {"restart": "sometimes"}),
        ("restart", {"restart": "permanent"}),
        ("significant", {"significant": "maybe"}),
        ("significant", {"significant": 1}),
        ("shutdown", {"shutdown": "whenever"}),
        ("shutdown", {"shutdown": -1}),
        ("shutdown", {"shutdown": True}),
        ("shutdown", {"shutdown": math.nan}),
        ("shutdown", {"shutdown": None}),
        ("start_timeout", {"start_timeout": 0}),
        ("start_timeout", {"start_timeout": -1}),
        ("start_timeout", {"start_timeout": "soon"}),
    ],
)
def test_child_specs_map(field: str, fields: dict[str, Any]) -> None:
    """6: every illegal field is refused, with its name, its value and what was expected."""
    with pytest.raises(InvalidField, match=f": {field} = .*: expected ") as error:
        ChildSpec(**{"id": "a", "start": WORKER, **fields})
    assert (error.value.field, error.value.value) == (field, fields[field])
    assert error.value.where == ("child" if field == "id" else "child 'a'")


@pytest.mark.parametrize("shutdown", [0, 0.0, 1, 5.5, math.inf, BRUTAL_KILL])
def test_legal_shutdowns(shutdown: Any) -> None:
    """Seconds >= 0, for ever, or without asking; infinity also for workers (8)."""
    assert ChildSpec("a", WORKER, shutdown=shutdown, start_timeout=0.001).shutdown == shutdown


def test_fields_other_than_id_and_start_are_named() -> None:
    """No positional surprise."""
    with pytest.raises(TypeError):
        SupervisorFlags(Strategy.ONE_FOR_ONE, 3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        ChildSpec("a", WORKER, Restart.TEMPORARY)  # type: ignore[call-arg]


MATRIX = [(restart, rule) for restart in Restart for rule in (*AutoShutdown, None)]


@pytest.mark.parametrize(("restart", "rule"), MATRIX)
def test_the_matrix_of_significant_children(restart: Restart, rule: AutoShutdown | None) -> None:
    """6, 9: significant needs a child that is not permanent, and a supervisor, where it is known, that can shut itself down."""
    plain = ChildSpec("a", WORKER, restart=restart)
    assert check_childspecs([plain], rule, where="root") == (plain,)

    if restart is Restart.PERMANENT:
        with pytest.raises(BadCombination, match=r"^child 'a': restart = 'permanent' with significant = True: ") as error:
            ChildSpec("a", WORKER, restart=restart, significant=True)
        assert error.value.fields == {"restart": restart, "significant": True}
        return
    significant = ChildSpec("a", WORKER, restart=restart, significant=True)
    if rule is AutoShutdown.NEVER:
        with pytest.raises(BadCombination, match=r"^root/a: auto_shutdown = 'never' with significant = True: ") as error:
            check_childspecs([significant], rule, where="root")
        assert error.value.fields == {"auto_shutdown": rule, "significant": True}
    else:
        assert check_childspecs([significant], rule, where="root") == (significant,)


def test_siblings_are_checked_in_order() -> None:
    """7: validity of each before duplicates of later ones; the where-part is optional."""
    with pytest.raises(DuplicateChildName, match=r"^two children have the id 'a'") as error:
        check_childspecs([child("a"), child("b"), child("a")])
    assert error.value.id == "a"
    with pytest.raises(DuplicateChildName, match=r"^root: two children"):
        check_childspecs([child("a"), child("a")], where="root")
    with pytest.raises(BadCombination, match=r"^a: "):
        check_childspecs([child("a", Restart.TRANSIENT, significant=True)] * 2, AutoShutdown.NEVER)
    with pytest.raises(InvalidField, match=r"^root: children = 'b': expected ChildSpec values"):
        check_childspecs([child("a"), "b"], where="root")  # type: ignore[list-item]
    assert check_childspecs(iter([])) == ()


@pytest.mark.parametrize("specs", [None, child("a"), 5, Scripted()])
def test_children_that_are_not_several_are_refused(specs: Any) -> None:
    """One alone is a slip, and is told as one."""
    with pytest.raises(InvalidField, match=r"root: children = .*: expected several ChildSpec values, as \[ChildSpec\(...\)\]") as caught:
        SupervisorFlags().check(specs, where="root")
    assert (caught.value.field, caught.value.value) == ("children", specs)


@pytest.mark.parametrize("rule", ["never", "bogus", 1, True])
def test_an_auto_shutdown_that_is_none_is_refused(rule: Any) -> None:
    """As OTP's check_childspecs/2 does."""
    with pytest.raises(InvalidField, match="auto_shutdown") as caught:
        check_childspecs([child("a")], rule)
    assert caught.value.value is rule


def test_an_unknown_field_is_a_type_error() -> None:
    """As of any function; OTP ignores it."""
    with pytest.raises(TypeError, match="modules"):
        ChildSpec("a", WORKER, modules=[])  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="hibernate_after"):
        SupervisorFlags(hibernate_after=1)  # type: ignore[call-arg]


def test_the_default_flags() -> None:
    """1 to 3: OTP's, and neither backoff nor breaker."""
    flags = SupervisorFlags()

    assert (flags.strategy, flags.intensity, flags.period, flags.auto_shutdown) == (Strategy.ONE_FOR_ONE, 1, 5.0, AutoShutdown.NEVER)
    assert (flags.backoff, flags.breaker, flags.on_give_up, flags.stability) == (None, None, GiveUp.ESCALATE, 30.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", "two_for_one"),
        ("strategy", "one_for_one"),
        ("intensity", -1),
        ("intensity", 1.0),
        ("intensity", True),
        ("intensity", math.inf),
        ("period", 0),
        ("period", -5),
        ("period", math.inf),
        ("period", math.nan),
        ("period", True),
        ("period", "5"),
        ("auto_shutdown", "sometimes"),
        ("backoff", 3),
        ("breaker", 3),
        ("on_give_up", "hold"),
        ("stability", -1),
        ("stability", "long"),
    ],
)
def test_sup_flags(field: str, value: Any) -> None:
    """5: every illegal flag is refused by name."""
    with pytest.raises(InvalidField, match=f"^{field} = .*: expected ") as error:
        SupervisorFlags(**{field: value})
    assert (error.value.field, error.value.value, error.value.where) == (field, value, "")


def test_the_least_legal_flags() -> None:
    """The borders themselves are legal."""
    flags = SupervisorFlags(intensity=0, period=0.001, stability=0, backoff=Backoff(), breaker=Breaker(), on_give_up=GiveUp.HOLD)
    assert flags.intensity == 0
    assert SupervisorFlags(stability=math.inf).stability == math.inf


def test_holding_needs_a_breaker() -> None:
    """Time alone has to bring the next trial."""
    with pytest.raises(BadCombination, match="on_give_up = 'hold' with breaker = None: "):
        SupervisorFlags(on_give_up=GiveUp.HOLD)


@pytest.mark.parametrize(
    "words", [Restart, Strategy, AutoShutdown, Shutdown, GiveUp, ChildType, CircuitState, Phase, Lifecycle, Purpose, Ends]
)
def test_the_words_of_an_enum_are_its_names(words: type[Enum]) -> None:
    """Configuration, events and reports read and write them."""
    assert [member.value for member in words] == [member.name.lower() for member in words]


def test_specification_errors_are_value_errors_too() -> None:
    """One root for the library, and what a caller of a constructor expects."""
    assert issubclass(SpecError, ValueError)
    assert issubclass(SpecError, SupervisorError)
