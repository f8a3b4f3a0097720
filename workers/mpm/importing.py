"""``import-mpm``: a ``memory_guardian.yaml`` becomes a configuration of ours, which says of each key what it was."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from supervisor import CommandContext, Fault, LoadedConfig, UsageError, load_config, raise_all

from ..config import MemoryGuardianConfig, host_limit_bytes, resolved
from .keys import Said, Translation, said_by, translated
from .reading import Read, read_yaml
from .toml import written

if TYPE_CHECKING:
    import argparse


def imported(file: str | None, environ: Mapping[str, str]) -> tuple[Translation, LoadedConfig[MemoryGuardianConfig]]:
    """A file of theirs and their variables, in ours and judged by our rules.

    Args:
        file: Its path; None for the variables alone.
        environ: The environment, with their variables, which override the file.

    Raises:
        UsageError: All faults, each with the line or the variable that it is about.
    """
    found = Read({}) if file is None else read_yaml(file)
    return judged({**found.said, **said_by(environ)}, found.faults)


def judged(said: Mapping[str, Said], faults: Sequence[Fault] = ()) -> tuple[Translation, LoadedConfig[MemoryGuardianConfig]]:
    """What was said, in ours and judged by our rules.

    Args:
        said: By their keys.
        faults: What was wrong before it could be judged; told with the others.

    Raises:
        UsageError: All faults.
    """
    translation = translated(said)
    options = {at: (f"{one.place}: {translation.origins[at]}", one.value) for at, one in translation.values.items()}
    loaded = load_config(MemoryGuardianConfig, options=options)
    loaded.faults[:0] = faults
    if not faults and loaded.is_sound("thresholds"):  # of a file with faults a level may be missing
        try:
            resolved(loaded.config.thresholds, host_limit_bytes())
        except UsageError as error:
            for fault in error.faults:
                at = next((at for at in options if at == ("thresholds", fault.place)), None)
                loaded.faults.append(fault if at is None else Fault(options[at][0], fault.message))
    raise_all(loaded.faults)
    return translation, loaded


def as_toml(source: str, translation: Translation, loaded: LoadedConfig[MemoryGuardianConfig]) -> str:
    """The configuration, with comments that say where each key comes from and what became of the others."""
    lines = [f"# From {source}, by memory-guardian import-mpm. What is not here has its default, see docs/configuration.md."]
    if translation.notes:
        lines += ["#", *(f"# {note}" for note in map(_one_line, translation.notes))]
    table = ""
    for at in sorted(loaded.values, key=lambda at: (_rank(at[0]), at)):
        if at[0] != table:
            table = at[0]
            lines += ["", f"[{table}]"]
        origin = _one_line(f"{translation.origins[at]}, {translation.values[at].place}")
        lines.append(f"{at[1]} = {written(loaded.values[at].value)}  # {origin}")
    return "\n".join(lines)


def _rank(table: str) -> int:
    tables = [field.metadata.get("table") for field in attrs.fields(MemoryGuardianConfig)]
    return tables.index(table)


def _one_line(text: object) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())


def run(context: CommandContext, options: argparse.Namespace) -> int:
    """The subcommand: print it.

    Raises:
        UsageError: All faults.
    """
    translation, loaded = imported(options.file, context.environ)
    source = "the environment" if options.file is None else os.path.basename(options.file)
    text = as_toml(source, translation, loaded)
    keys = {f"{at[0]}.{at[1]}": {"from": translation.origins[at], "place": translation.values[at].place} for at in loaded.values}
    notes: list[Any] = [{"place": note.place, "key": note.key, "says": note.says} for note in translation.notes]
    context.tell(options, {"toml": text, "keys": keys, "notes": notes}, text)
    return 0
