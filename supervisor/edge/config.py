"""Strict configuration: tables of keys, from a file, its platform section, the environment and options, to attrs values.

Structured by hand and not through cattrs: every rule here (no coercion, the path of each fault, all faults at once, the same
check for a value made in Python) would be an override there, and its import costs more than the launcher itself.
A run without a file reads nothing but its defaults.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from ..core.value import Value
from .kinds import Kind
from .usage import Clash, Fault, UsageError, did_you_mean, quote, raise_all

KIND, TABLE, SECTION, AGENTS, _PLATFORM, OWN = "kind", "table", "section", "list", "platform", "own"

C = TypeVar("C", bound="ConfigSection")
Key = tuple[str, str]
Tables = dict[str, dict[str, Kind[Any]]]
Overrides = dict[str, dict[str, dict[str, object]]]
"""What is said of each platform, by table and key."""


def config_key(kind: Kind[Any], default: Any, *, table: str | None = None, own: bool = False) -> Any:
    """A key of a configuration class.

    Args:
        kind: What it may hold.
        default: Its value when nobody says anything; None, or something that `kind` accepts.
        table: The table it is in, for a key of the outermost class.
        own: Whether an item of a list has its own value or none, and never inherits it.
    """
    return attrs.field(default=default, metadata={KIND: kind, TABLE: table, OWN: own})


def config_table(cls: type[ConfigSection], table: str) -> Any:
    """A part of a configuration class that is a table of its own."""
    return attrs.field(factory=cls, metadata={SECTION: cls, TABLE: table})


def config_tables(cls: type[ConfigSection], table: str) -> Any:
    """A list of tables, each with the keys of the sections of `cls`, which override the tables of the same names."""
    return attrs.field(default=(), metadata={AGENTS: cls, TABLE: table})


def config_platforms(cls: type[Any], table: str) -> Any:
    """The tables that override all others on one platform: ``[platform.linux.thresholds]``."""
    return attrs.field(factory=cls, metadata={_PLATFORM: cls, TABLE: table})


@attrs.frozen(repr=False, eq=False)
class ConfigSection(Value):
    """Base of configuration classes; made in Python they are checked by the same rules as a file.

    Raises:
        UsageError: Every fault, by the name of its field.
    """

    def __attrs_post_init__(self) -> None:
        found: list[Fault] = []
        for field in attrs.fields(type(self)):
            kind, value = field.metadata.get(KIND), getattr(self, field.name)
            if kind is None or (value is None and field.default is None):
                continue
            try:
                object.__setattr__(self, field.name, kind.accept(value))
            except ValueError as error:
                found.append(Fault(field.name, str(error)))
        raise_all(found or [Clash(among[0], message, among=among) for among, message in self.clashes()])

    def clashes(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Fields whose values are legal one by one but not together, and what is wrong with them."""
        return ()


@attrs.frozen(repr=False, eq=False)
class Placed(Value):
    """A value and where it was written; a higher rank overrides a lower."""

    value: Any
    place: str
    source: str | None
    rank: int


FILE, PLATFORM, ENVIRONMENT, OPTION = range(1, 5)
Values = dict[Key, Placed]


@attrs.define
class LoadedConfig(Generic[C]):
    """A configuration as far as it can be made: with faults, the keys that are wrong have their defaults.

    Attributes:
        config: The configuration.
        faults: All that is wrong; the caller adds its own before it raises them together.
        values: What was said, by table and key.
        broken: Keys with faults: what depends on them cannot be judged.
        items: What each list's items said.
    """

    config: C
    faults: list[Fault]
    values: Values
    broken: set[Key]
    items: dict[str, list[Values]]

    def is_sound(self, table: str) -> bool:
        """Whether no key of this table is wrong."""
        return not any(at[0] == table for at in self.broken)

    def fault(self, table: str, name: str, message: str) -> None:
        """Add a fault at the place where the key was written."""
        self.faults.append(_at(self.values, (table, name), message))

    def was_given(self, table: str, name: str) -> bool:
        """Whether anybody said anything about this key."""
        return (table, name) in self.values


@attrs.frozen(repr=False, eq=False)
class Layout(Value):
    """The tables and keys of a configuration class.

    Attributes:
        tables: Kinds by table and key.
        lists: Per list the tables its items may override.
        platform: The table of platforms, if there is one.
    """

    tables: Tables
    lists: dict[str, Tables]
    platform: str | None

    @classmethod
    def of(cls, config: type[ConfigSection]) -> Layout:
        """Read the layout from the class."""
        tables: Tables = {}
        lists: dict[str, Tables] = {}
        platform = None
        for field in attrs.fields(config):
            table = field.metadata.get(TABLE)
            if SECTION in field.metadata:
                tables[table] = {item.name: item.metadata[KIND] for item in attrs.fields(field.metadata[SECTION])}
            elif AGENTS in field.metadata:
                lists[table] = cls.of(field.metadata[AGENTS]).tables
            elif _PLATFORM in field.metadata:
                platform = table
            elif table is not None:
                tables.setdefault(table, {})[field.name] = field.metadata[KIND]
        return cls(tables, lists, platform)

    def variables(self, prefix: str) -> dict[str, Key]:
        """The environment variable of each key."""
        return {f"{prefix}{table}_{name}".upper(): (table, name) for table, keys in self.tables.items() for name in keys}


def load_config(
    config: type[C],
    *,
    file: str | None = None,
    environ: Mapping[str, str] | None = None,
    prefix: str = "",
    not_ours: Iterable[str] = (),
    options: Mapping[Key, tuple[str, object]] | None = None,
    platform: str = sys.platform,
) -> LoadedConfig[C]:
    """Put a configuration together: defaults < file < platform section of the file < environment < options.

    Args:
        config: The class to make.
        file: A TOML or YAML file.
        environ: Variables named ``<prefix><TABLE>_<KEY>``; every variable with the prefix must be one of these.
        prefix: With its underscore; empty reads no environment.
        not_ours: Variables with the prefix that mean something else.
        options: Per key the option's name and its value; a string is read as the environment's are.
        platform: As `sys.platform`; says which platform section applies.

    Returns:
        The configuration and every fault; nothing is raised.
    """
    reading: type[Reading] = Reading
    if file is not None:
        from .config_reading import FileReading  # here: most runs have no file

        reading = FileReading
    return reading(Layout.of(config)).load(config, file, environ or {}, prefix, frozenset(not_ours), options or {}, platform)


class Reading:
    """One configuration being read, without a file: what was found so far."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.faults: list[Fault] = []
        self.values: Values = {}
        self.broken: set[Key] = set()
        self.items: dict[str, list[Values]] = {}

    def load(
        self,
        config: type[C],
        file: str | None,
        environ: Mapping[str, str],
        prefix: str,
        not_ours: frozenset[str],
        options: Mapping[Key, tuple[str, object]],
        platform: str,
    ) -> LoadedConfig[C]:
        """See `load_config`."""
        overrides = {} if file is None else self.read(file, platform)
        if prefix:
            self._environment(environ, prefix, not_ours)
        for at, (name, value) in options.items():
            if value is not None:
                self.put(at, Placed(value, name, None, OPTION), self.layout.tables[at[0]][at[1]], written=isinstance(value, str))
        made = self._build(config, overrides)
        # what every item of a list inherits is wrong once, not once per item
        return LoadedConfig(made, list(dict.fromkeys(self.faults)), self.values, self.broken, self.items)

    def read(self, file: str, platform: str) -> Overrides:
        """Read a file; returns what it says of each platform."""
        raise NotImplementedError

    def item(self, cls: type[ConfigSection], own: Values) -> ConfigSection:
        """An item of a list, which only a file has."""
        raise NotImplementedError

    def _environment(self, environ: Mapping[str, str], prefix: str, not_ours: frozenset[str]) -> None:
        known = self.layout.variables(prefix)
        for name in sorted(environ):
            if not name.startswith(prefix) or name in not_ours:
                continue
            if name in known:
                table, item = known[name]
                self.put((table, item), Placed(environ[name], name, None, ENVIRONMENT), self.layout.tables[table][item], written=True)
            else:
                self.faults.append(Fault(name, f"unknown variable{did_you_mean(name, known) or f'; the form is {prefix}<SECTION>_<KEY>'}"))

    def put(self, at: Key, given: Placed, kind: Kind[Any], *, into: Values | None = None, written: bool = False) -> None:
        """Take a value, unless it is a fault or another one overrides it."""
        values = self.values if into is None else into
        try:
            value = given.value
            if written and not kind.written:
                value = _meaning(str(value), kind)
            placed = attrs.evolve(given, value=kind.accept(value))
        except ValueError as error:
            self.faults.append(Fault(given.place, str(error), given.source))
            self.broken.add(at)
            return
        if at not in values or values[at].rank <= given.rank:
            values[at] = placed

    def _build(self, config: type[C], overrides: Overrides) -> C:
        made: dict[str, object] = {}
        for field in attrs.fields(config):
            table = field.metadata.get(TABLE)
            if SECTION in field.metadata:
                made[field.name] = self.section(field.metadata[SECTION], table, self.values)
            elif AGENTS in field.metadata:
                made[field.name] = tuple(self.item(field.metadata[AGENTS], values) for values in self.items.get(table, []))
            elif _PLATFORM in field.metadata:
                made[field.name] = field.metadata[_PLATFORM](**overrides)
            elif (table, field.name) in self.values:
                made[field.name] = self.values[table, field.name].value
        return config(**made)

    def section(self, cls: type[ConfigSection], table: str, values: Values) -> ConfigSection:
        """A table, as its class makes it of what was said; with its defaults where that does not go together."""
        given = {field.name: values[table, field.name].value for field in attrs.fields(cls) if (table, field.name) in values}
        try:
            return cls(**given)
        except UsageError as error:
            # each value alone was accepted before, so these are clashes; one with a default that stands in for a fault is none
            for fault in error.faults:
                among = [(table, name) for name in (fault.among if isinstance(fault, Clash) else (fault.place,))]
                if not self.broken.intersection(among):
                    self.faults.append(_at(values, next((at for at in among if at in values), among[0]), fault.message))
            return cls()


def _at(values: Values, at: Key, message: str) -> Fault:
    placed = values.get(at)
    return Fault(placed.place, message, placed.source) if placed else Fault(".".join(at), message)


def _meaning(written: str, kind: Kind[Any]) -> object:
    from .config_file import read_toml_value  # here: most runs are told nothing that has to be parsed

    try:
        return read_toml_value(written.strip())
    except ValueError:
        raise ValueError(f"expected {kind.expected}, got {quote(written)}") from None
