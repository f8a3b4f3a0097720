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
from .config_file import read_config_file, read_toml_value
from .kinds import Kind
from .usage import Clash, Fault, UsageError, did_you_mean, quote, raise_all

KIND, TABLE, SECTION, AGENTS, _PLATFORM, _OWN = "kind", "table", "section", "list", "platform", "own"
PLATFORMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}

C = TypeVar("C", bound="ConfigSection")
Key = tuple[str, str]
Tables = dict[str, dict[str, Kind[Any]]]


def config_key(kind: Kind[Any], default: Any, *, table: str | None = None, own: bool = False) -> Any:
    """A key of a configuration class.

    Args:
        kind: What it may hold.
        default: Its value when nobody says anything; None, or something that `kind` accepts.
        table: The table it is in, for a key of the outermost class.
        own: Whether an item of a list has its own value or none, and never inherits it.
    """
    return attrs.field(default=default, metadata={KIND: kind, TABLE: table, _OWN: own})


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
    return _Reading(Layout.of(config)).load(config, file, environ or {}, prefix, frozenset(not_ours), options or {}, platform)


class _Reading:
    """One configuration being read: what was found so far."""

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
        overrides: dict[str, dict[str, dict[str, object]]] = {}
        if file is not None:
            try:
                raw = read_config_file(file)
            except UsageError as error:
                self.faults += error.faults
            else:
                self._file(raw, file, PLATFORMS.get(platform, platform), overrides)
        if prefix:
            self._environment(environ, prefix, not_ours)
        for at, (name, value) in options.items():
            if value is not None:
                self._put(at, Placed(value, name, None, OPTION), self.layout.tables[at[0]][at[1]], written=isinstance(value, str))
        made = self._build(config, overrides)
        # what every item of a list inherits is wrong once, not once per item
        return LoadedConfig(made, list(dict.fromkeys(self.faults)), self.values, self.broken, self.items)

    def _file(self, raw: Mapping[str, object], file: str, platform: str, overrides: dict[str, dict[str, dict[str, object]]]) -> None:
        self._tables(raw, file, "", FILE)
        of_platforms = raw.get(self.layout.platform) if self.layout.platform else None
        if of_platforms is None:
            return
        at = str(self.layout.platform)
        if not isinstance(of_platforms, Mapping):
            self.faults.append(Fault(at, f"expected a table, got {quote(of_platforms)}", file))
            return
        known = list(PLATFORMS.values())
        for name, tables in of_platforms.items():
            place = f"{at}.{_name(name)}"
            if name not in known:
                self.faults.append(Fault(place, f"unknown platform{did_you_mean(str(name), known)}; known are {', '.join(known)}", file))
            elif not isinstance(tables, Mapping):
                self.faults.append(Fault(place, f"expected a table, got {quote(tables)}", file))
            else:
                # a section for another platform is checked as well, but not applied
                reading = self if name == platform else _Reading(self.layout)
                before = dict(reading.values)
                reading._tables(tables, file, f"{place}.", PLATFORM)
                if reading is not self:
                    self.faults += reading.faults
                said: dict[str, dict[str, object]] = {}
                for (table, item), placed in reading.values.items():
                    if before.get((table, item)) is not placed:
                        said.setdefault(table, {})[item] = placed.value
                overrides[str(name)] = said

    def _tables(self, raw: Mapping[str, object], file: str, prefix: str, rank: int) -> None:
        for table, content in raw.items():
            place = f"{prefix}{_name(table)}"
            if table == self.layout.platform and rank == FILE:
                continue
            if table in self.layout.tables:
                # a YAML table with nothing in it is None
                if content is None or isinstance(content, Mapping):
                    self._keys(content or {}, {table: self.layout.tables[table]}, self.values, file, f"{place}.", rank)
                else:
                    self._wrong_table(table, place, content, file)
            elif table in self.layout.lists:
                self._list(table, content, file, place, rank)
            else:
                known = [*self.layout.tables, *self.layout.lists]
                self.faults.append(
                    Fault(place, self._unknown(table, "table" if isinstance(content, Mapping | list) else "key", known), file)
                )

    def _wrong_table(self, table: str, place: str, content: object, file: str) -> None:
        self.broken.update((table, name) for name in self.layout.tables[table])
        self.faults.append(Fault(place, f"expected a table, got {quote(content)}", file))

    def _list(self, table: str, content: object, file: str, place: str, rank: int) -> None:
        if not isinstance(content, list) or not all(isinstance(item, Mapping) for item in content):
            self.faults.append(Fault(place, f"expected a list of tables, got {quote(content)}; write [[{table}]]", file))
            return
        self.items[table] = []
        for index, item in enumerate(content):
            values: Values = {}
            self._keys(item, self.layout.lists[table], values, file, f"{place}[{index}].", rank)
            self.items[table].append(values)

    def _keys(self, raw: Mapping[Any, object], tables: Tables, values: Values, file: str, prefix: str, rank: int) -> None:
        homes = {name: table for table, keys in tables.items() for name in keys}
        for name, value in raw.items():
            place = f"{prefix}{_name(name)}"
            table = homes.get(name) if isinstance(name, str) else None
            if table is None:
                self.faults.append(Fault(place, self._unknown(name, "key", homes), file))
            else:
                self._put((table, name), Placed(value, place, file, rank), tables[table][name], into=values)

    def _unknown(self, name: object, what: str, known: Iterable[str]) -> str:
        homes = [table for table, keys in self.layout.tables.items() if name in keys]
        remedy = f"; it belongs to [{homes[0]}]" if homes else did_you_mean(str(name), known)
        return f"unknown {what}{remedy}"

    def _environment(self, environ: Mapping[str, str], prefix: str, not_ours: frozenset[str]) -> None:
        known = self.layout.variables(prefix)
        for name in sorted(environ):
            if not name.startswith(prefix) or name in not_ours:
                continue
            if name in known:
                table, item = known[name]
                self._put((table, item), Placed(environ[name], name, None, ENVIRONMENT), self.layout.tables[table][item], written=True)
            else:
                self.faults.append(Fault(name, f"unknown variable{did_you_mean(name, known) or f'; the form is {prefix}<SECTION>_<KEY>'}"))

    def _put(self, at: Key, given: Placed, kind: Kind[Any], *, into: Values | None = None, written: bool = False) -> None:
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

    def _build(self, config: type[C], overrides: dict[str, dict[str, dict[str, object]]]) -> C:
        made: dict[str, object] = {}
        for field in attrs.fields(config):
            table = field.metadata.get(TABLE)
            if SECTION in field.metadata:
                made[field.name] = self._section(field.metadata[SECTION], table, self.values)
            elif AGENTS in field.metadata:
                made[field.name] = tuple(self._item(field.metadata[AGENTS], values) for values in self.items.get(table, []))
            elif _PLATFORM in field.metadata:
                made[field.name] = field.metadata[_PLATFORM](**overrides)
            elif (table, field.name) in self.values:
                made[field.name] = self.values[table, field.name].value
        return config(**made)

    def _item(self, cls: type[ConfigSection], own: Values) -> ConfigSection:
        """An item of a list: its own keys over the tables of the file, under the environment and the options."""
        made: dict[str, object] = {}
        for field in attrs.fields(cls):
            table, part = field.metadata[TABLE], field.metadata[SECTION]
            merged: Values = {}
            for item in attrs.fields(part):
                at = (table, item.name)
                base = None if item.metadata[_OWN] else self.values.get(at)
                chosen = base if base is not None and (at not in own or base.rank >= ENVIRONMENT) else own.get(at)
                if chosen is not None:
                    merged[at] = own[at] = chosen
            made[field.name] = self._section(part, table, merged)
        return cls(**made)

    def _section(self, cls: type[ConfigSection], table: str, values: Values) -> ConfigSection:
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
    try:
        return read_toml_value(written.strip())
    except ValueError:
        raise ValueError(f"expected {kind.expected}, got {quote(written)}") from None


def _name(written: object) -> str:
    """A part of a path, quoted as TOML has it when it is no bare key."""
    name = str(written)[:80]
    return name if name and all(char.isalnum() or char in "_-" for char in name) else quote(name)
