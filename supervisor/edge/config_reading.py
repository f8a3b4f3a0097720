"""What a configuration file adds to a configuration: its tables, its lists, and its platform sections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from .config import ENVIRONMENT, FILE, OWN, PLATFORM, SECTION, TABLE, ConfigSection, Overrides, Placed, Reading, Tables, Values
from .config_file import read_config_file
from .usage import Fault, UsageError, did_you_mean, quote

PLATFORMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}


class FileReading(Reading):
    """One configuration being read, from a file among others."""

    def read(self, file: str, platform: str) -> Overrides:
        """Read the file; one that cannot be read is a fault like others."""
        overrides: Overrides = {}
        try:
            raw = read_config_file(file)
        except UsageError as error:
            self.faults += error.faults
        else:
            self._file(raw, file, PLATFORMS.get(platform, platform), overrides)
        return overrides

    def _file(self, raw: Mapping[str, object], file: str, platform: str, overrides: Overrides) -> None:
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
                reading = self if name == platform else FileReading(self.layout)
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
                self.put((table, name), Placed(value, place, file, rank), tables[table][name], into=values)

    def _unknown(self, name: object, what: str, known: Iterable[str]) -> str:
        homes = [table for table, keys in self.layout.tables.items() if name in keys]
        remedy = f"; it belongs to [{homes[0]}]" if homes else did_you_mean(str(name), known)
        return f"unknown {what}{remedy}"

    def item(self, cls: type[ConfigSection], own: Values) -> ConfigSection:
        """An item of a list: its own keys over the tables of the file, under the environment and the options."""
        made: dict[str, object] = {}
        for field in attrs.fields(cls):
            table, part = field.metadata[TABLE], field.metadata[SECTION]
            merged: Values = {}
            for item in attrs.fields(part):
                at = (table, item.name)
                base = None if item.metadata[OWN] else self.values.get(at)
                chosen = base if base is not None and (at not in own or base.rank >= ENVIRONMENT) else own.get(at)
                if chosen is not None:
                    merged[at] = own[at] = chosen
            made[field.name] = self.section(part, table, merged)
        return cls(**made)


def _name(written: object) -> str:
    """A part of a path, quoted as TOML has it when it is no bare key."""
    name = str(written)[:80]
    return name if name and all(char.isalnum() or char in "_-" for char in name) else quote(name)
