"""The events of a configuration that changes while the guardian runs, with their words: most runs never have one."""

from __future__ import annotations

from typing import ClassVar

import attrs

from supervisor import Event, Line, Tone, Words


def _reconfigured(event: ConfigurationChanged) -> Line:
    parts = (("now", event.changed), ("from the next start or stop of the leaf on", event.next_life), ("with the next run", event.next_run))
    said = "; ".join(f"{when}: {', '.join(keys)}" for when, keys in parts if keys)
    return Line(f"configuration changed: {said or 'nothing'}", Tone.GOOD)


def _rejected(event: ConfigurationRejected) -> Line:
    return Line("configuration rejected, the last good one stays", Tone.BAD, event.faults)


@attrs.frozen(repr=False, eq=False)
class ConfigurationChanged(Event):
    """The configuration was changed while running; `source` is ``reload`` or ``request``.

    `changed` is in effect; `next_life` will be when the leaf is next started or stopped; `next_run` needs a new start of the guardian.
    Keys are as in the file, with the agent's name in front where it is about one: ``claude: thresholds.critical``.
    """

    name: ClassVar[str] = "configuration_changed"
    words: ClassVar[Words] = staticmethod(_reconfigured)
    source: str = "reload"
    changed: tuple[str, ...] = ()
    next_life: tuple[str, ...] = ()
    next_run: tuple[str, ...] = ()


@attrs.frozen(repr=False, eq=False)
class ConfigurationRejected(Event):
    """The configuration file is broken or gone; the last good one stays in effect."""

    name: ClassVar[str] = "configuration_rejected"
    words: ClassVar[Words] = staticmethod(_rejected)
    file: str | None = None
    faults: tuple[str, ...] = ()
