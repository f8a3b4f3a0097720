"""Child specifications and supervisor flags, with OTP's fields, defaults and rules; checked when made."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

import attrs

from .backoff import Backoff
from .breaker import Breaker
from .errors import BadCombination, DuplicateChildName, InvalidField, is_count, is_duration, is_name
from .launch import ChildType, Launch
from .value import Value


class Restart(Enum):
    """When a child is restarted: always, after an abnormal exit, never."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class Strategy(Enum):
    """Which siblings a restart takes along: none, all, those started after it; the last is that of a dynamic supervisor: none."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    SIMPLE_ONE_FOR_ONE = "simple_one_for_one"


class AutoShutdown(Enum):
    """Whether a supervisor ends when significant children have ended by themselves."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class Shutdown(Enum):
    """The `shutdown` that is no number of seconds."""

    BRUTAL_KILL = "brutal_kill"


class GiveUp(Enum):
    """What a supervisor does when its restart budget is spent: end as OTP does, or stay up and try again later."""

    ESCALATE = "escalate"
    HOLD = "hold"


BRUTAL_KILL: Final = Shutdown.BRUTAL_KILL


@attrs.frozen(repr=False, eq=False)
class ChildSpec(Value):
    """What a supervisor knows of a child before it runs.

    Attributes:
        id: Unique among siblings; a part of the child's path.
        start: What to start: `task(...)`, `worker(...)`, `command(...)`, `subtree(...)`.
        restart: Permanent unless said otherwise, as in OTP.
        shutdown: Seconds between asking the child to end and killing it; ``math.inf`` waits for ever, `BRUTAL_KILL` does not
            ask. Default: 5 seconds, for a supervisor ``math.inf``.
        significant: Whether its own end can end its supervisor, see `AutoShutdown`.
        start_timeout: Seconds within which the child must acknowledge its start.

    Raises:
        InvalidField: A field has an illegal value.
        BadCombination: `significant` with a permanent child.
    """

    id: str
    start: Launch
    restart: Restart = attrs.field(default=Restart.PERMANENT, kw_only=True)
    shutdown: float | Shutdown = attrs.field(
        default=attrs.Factory(lambda self: math.inf if getattr(self.start, "type", None) is ChildType.SUPERVISOR else 5.0, takes_self=True),
        kw_only=True,
    )
    significant: bool = attrs.field(default=False, kw_only=True)
    start_timeout: float = attrs.field(default=math.inf, kw_only=True)

    def __attrs_post_init__(self) -> None:
        where = f"child {self.id!r}"
        if not is_name(self.id):
            raise InvalidField("id", self.id, "a non-empty string", where="child")
        if not isinstance(self.start, Launch):
            raise InvalidField("start", self.start, "task(...), command(...) or subtree(...)", where=where)
        if not isinstance(self.restart, Restart):
            raise InvalidField("restart", self.restart, "a member of Restart", where=where)
        if not isinstance(self.significant, bool):
            raise InvalidField("significant", self.significant, "True or False", where=where)
        if self.significant and self.restart is Restart.PERMANENT:
            raise BadCombination(
                {"restart": self.restart, "significant": True}, "only a transient or temporary child can be significant", where=where
            )
        if not isinstance(self.shutdown, Shutdown) and not is_duration(self.shutdown):
            raise InvalidField("shutdown", self.shutdown, "seconds >= 0, math.inf or BRUTAL_KILL", where=where)
        if not is_duration(self.start_timeout) or self.start_timeout <= 0:
            raise InvalidField("start_timeout", self.start_timeout, "seconds > 0 or math.inf", where=where)

    @property
    def type(self) -> ChildType:
        """Worker or supervisor, as its launch says."""
        return self.start.type

    def as_data(self) -> dict[str, Any]:
        """The specification as JSON data, in OTP's words; what is started as its `Launch.describe` says it, without secrets."""
        return {
            "id": self.id,
            "type": self.type.value,
            "restart": self.restart.value,
            "shutdown": self.shutdown.value if isinstance(self.shutdown, Shutdown) else or_infinity(self.shutdown),
            "significant": self.significant,
            "start_timeout": or_infinity(self.start_timeout),
            "start": self.start.describe(),
        }


@attrs.frozen(repr=False, eq=False)
class SupervisorFlags(Value):
    """What a supervisor is told about itself; OTP's flags and defaults, and the two extensions OTP lacks.

    Attributes:
        strategy: Which siblings a restart takes along.
        intensity: Restarts admitted within `period`; one more and the supervisor gives up.
        period: Seconds of the sliding window.
        auto_shutdown: Whether the end of significant children ends the supervisor.
        backoff: Pauses between restarts; None restarts at once, as OTP does.
        breaker: A circuit over the restarts; None has none.
        on_give_up: What a spent budget does. `HOLD` needs a breaker: time alone brings the next trial.
        stability: Seconds of running after which a restart counts as a success.
        judged: Whether a controlled restart succeeds by `SupervisorRef.judge` alone, and not by lasting.
        max_children: How many children a dynamic supervisor may have, those that wait for a restart included.

    Raises:
        InvalidField: A field has an illegal value.
        BadCombination: `HOLD` without a breaker; `auto_shutdown` of a dynamic supervisor, or `max_children` of any other.
    """

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = attrs.field(default=1, kw_only=True)
    period: float = attrs.field(default=5.0, kw_only=True)
    auto_shutdown: AutoShutdown = attrs.field(default=AutoShutdown.NEVER, kw_only=True)
    backoff: Backoff | None = attrs.field(default=None, kw_only=True)
    breaker: Breaker | None = attrs.field(default=None, kw_only=True)
    on_give_up: GiveUp = attrs.field(default=GiveUp.ESCALATE, kw_only=True)
    stability: float = attrs.field(default=30.0, kw_only=True)
    judged: bool = attrs.field(default=False, kw_only=True)
    max_children: float = attrs.field(default=math.inf, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.strategy, Strategy):
            raise InvalidField("strategy", self.strategy, "a member of Strategy")
        if not is_count(self.intensity):
            raise InvalidField("intensity", self.intensity, "an integer >= 0")
        if not is_duration(self.period) or not 0 < self.period < math.inf:
            raise InvalidField("period", self.period, "seconds > 0")
        if not isinstance(self.auto_shutdown, AutoShutdown):
            raise InvalidField("auto_shutdown", self.auto_shutdown, "a member of AutoShutdown")
        if self.dynamic and self.auto_shutdown is not AutoShutdown.NEVER:
            raise BadCombination(
                {"strategy": self.strategy, "auto_shutdown": self.auto_shutdown}, "a dynamic supervisor has no significant children"
            )
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise InvalidField("backoff", self.backoff, "a Backoff or None")
        if self.breaker is not None and not isinstance(self.breaker, Breaker):
            raise InvalidField("breaker", self.breaker, "a Breaker or None")
        if not isinstance(self.on_give_up, GiveUp):
            raise InvalidField("on_give_up", self.on_give_up, "a member of GiveUp")
        if not is_duration(self.stability):
            raise InvalidField("stability", self.stability, "seconds >= 0 or math.inf")
        if not isinstance(self.judged, bool):
            raise InvalidField("judged", self.judged, "True or False")
        if self.max_children != math.inf and not is_count(self.max_children):
            raise InvalidField("max_children", self.max_children, "an integer >= 0 or math.inf")
        if self.max_children != math.inf and not self.dynamic:
            raise BadCombination({"strategy": self.strategy, "max_children": self.max_children}, "only a dynamic supervisor has a limit")
        if self.on_give_up is GiveUp.HOLD and self.breaker is None:
            raise BadCombination({"on_give_up": self.on_give_up, "breaker": None}, "a supervisor that holds needs a breaker=Breaker(...)")

    @property
    def dynamic(self) -> bool:
        """Whether children come and go by `start_child` alone, and a child that is not restarted is forgotten."""
        return self.strategy is Strategy.SIMPLE_ONE_FOR_ONE

    def check(self, specs: Iterable[ChildSpec], *, where: str = "") -> tuple[ChildSpec, ...]:
        """The specifications of the first children, see `check_childspecs`; a dynamic supervisor has none."""
        checked = check_childspecs(specs, self.auto_shutdown, where=where)
        if checked and self.dynamic:
            raise InvalidField("children", [spec.id for spec in checked], "none: a dynamic supervisor starts empty", where=where)
        return checked


def check_childspecs(specs: Iterable[ChildSpec], auto_shutdown: AutoShutdown | None = None, *, where: str = "") -> tuple[ChildSpec, ...]:
    """Check specifications against each other and against their supervisor, without starting anything.

    Args:
        specs: Siblings, in start order.
        auto_shutdown: The supervisor's flag; None skips the rule that needs it, as OTP's ``check_childspecs/1`` does.
        where: A name for the supervisor, for the error's text.

    Returns:
        The same specifications as a tuple.

    Raises:
        InvalidField: Something that is no ChildSpec, or one alone; `auto_shutdown` is none.
        BadCombination: A significant child under a supervisor that never shuts itself down.
        DuplicateChildName: Two siblings of one id.
    """
    if auto_shutdown is not None and not isinstance(auto_shutdown, AutoShutdown):
        raise InvalidField("auto_shutdown", auto_shutdown, "a member of AutoShutdown, or None", where=where)
    if not isinstance(specs, Iterable):
        raise InvalidField("children", specs, "several ChildSpec values, as [ChildSpec(...)]", where=where)
    checked: list[ChildSpec] = []
    seen: set[str] = set()
    for spec in specs:
        if not isinstance(spec, ChildSpec):
            raise InvalidField("children", spec, "ChildSpec values", where=where)
        if spec.significant and auto_shutdown is AutoShutdown.NEVER:
            raise BadCombination(
                {"auto_shutdown": auto_shutdown, "significant": True},
                "a significant child needs a supervisor with auto_shutdown",
                where=f"{where}{'/' if where else ''}{spec.id}",
            )
        if spec.id in seen:
            raise DuplicateChildName(spec.id, where=where)
        seen.add(spec.id)
        checked.append(spec)
    return tuple(checked)


def or_infinity(seconds: float) -> float | str:
    """JSON has no infinity: OTP's word for it."""
    return "infinity" if seconds == math.inf else seconds
