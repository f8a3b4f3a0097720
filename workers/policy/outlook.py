"""Whether the next threshold that matters is foreseen, and for how long: what the decision asks a trend."""

from __future__ import annotations

from typing import Final

import attrs

from supervisor import Value

from .pressure import MemoryState, Pressure
from .trend import Forecast, Trend, time_to
from .trend import step as follow

CONFIDENT: Final = 0.65
"""Confidence from which a forecast is acted upon; scored over recorded traces in ``docs/benchmarks.md``."""
SUSTAINED: Final = 15.0
"""Seconds from the first to the last of consecutive forecasts within the horizon that make it foreseen: of fast samples, two say no more
than one."""
FAR: Final = 6 * 3600.0
"""Seconds ahead of which a person is told nothing: twelve minutes do not show a day."""
_MIB: Final = 1024 * 1024


@attrs.frozen(repr=False, eq=False)
class Outlook(Value):
    """What is foreseen of one life of a leaf.

    Attributes:
        trend: Its samples.
        level: The level that is looked for: critical, or emergency where it is critical already; None in an emergency.
        forecast: When that level will be reached, as of the last known sample; None when that cannot be said.
        since: When the first of the known samples in a row, up to now, was taken that had a confident forecast within the horizon; None
            when the last one had none.
        until: When the last of them was taken; None when there is none.
    """

    trend: Trend = Trend()
    level: MemoryState | None = MemoryState.CRITICAL
    forecast: Forecast | None = None
    since: float | None = None
    until: float | None = None

    @property
    def is_foreseen(self) -> bool:
        """Whether the level will be reached within the horizon, by several confident forecasts in a row."""
        return self.since is not None and self.until is not None and self.until - self.since >= SUSTAINED

    def anew(self) -> Outlook:
        """The same forecast, that has to be confirmed from the beginning."""
        return attrs.evolve(self, since=None, until=None)

    @property
    def sure(self) -> Forecast | None:
        """The forecast, if it is a confident one; how far ahead it lies does not matter."""
        return self.forecast if self.forecast is not None and self.forecast.confidence >= CONFIDENT else None


def look_ahead(outlook: Outlook, pressure: Pressure, horizon: float, now: float) -> Outlook:
    """Take the known sample that `pressure` has just taken.

    Args:
        outlook: Before the sample.
        pressure: After the sample.
        horizon: Seconds ahead within which a forecast counts; 0: nothing is ever forecast.
        now: When the sample was taken.
    """
    total = pressure.total_bytes
    if horizon <= 0 or total is None:
        return outlook
    trend = follow(outlook.trend, total, now)
    level = _above(pressure.level)
    forecast = None
    if level is not None:
        threshold = pressure.thresholds.enter_bytes(level)
        # below half of it nothing is within reach, and most leaves stay there: an evaluation costs more than all the rest of a step
        forecast = time_to(trend, threshold, now) if 2 * total >= threshold else None
    after = Outlook(trend, level, forecast)
    if after.sure is None or after.sure.seconds > horizon:
        return after
    since = outlook.since if outlook.level is level and outlook.since is not None else now
    return attrs.evolve(after, since=since, until=now)


def in_words(outlook: Outlook) -> str:
    """A confident forecast for a person: "reaches critical in about 40 s (+12.3 MiB/s)"; empty when there is none, or when it is far."""
    forecast = outlook.sure
    if forecast is None or outlook.level is None or forecast.seconds > FAR:
        return ""
    rate = forecast.bytes_per_second / _MIB
    speed = f"+{rate:.1f} MiB/s" if rate >= 0.1 else f"+{rate * 60:.1f} MiB/min"
    return f"reaches {outlook.level.value} {roughly(forecast.seconds)} ({speed})"


def roughly(seconds: float) -> str:
    """How soon: "at any moment", "in about 40 s"."""
    return "at any moment" if seconds < 5 else f"in about {about(seconds)}"


def about(seconds: float) -> str:
    """A time no more exactly than a forecast is: "40 s", "5 min", "3 h", "months"."""
    if seconds >= 1e7:
        return "months"
    if seconds < 90:
        return f"{max(10, round(seconds / 10) * 10)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"


def _above(level: MemoryState) -> MemoryState | None:
    if level is MemoryState.EMERGENCY:
        return None
    return MemoryState.EMERGENCY if level is MemoryState.CRITICAL else MemoryState.CRITICAL
