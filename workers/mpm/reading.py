"""Claude MPM's ``memory_guardian.yaml`` with the line of each key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from supervisor import Fault, UsageError, Value

from .keys import SECTIONS, Said

LARGEST_BYTES: Final = 1 << 20


@attrs.frozen(repr=False, eq=False)
class Read(Value):
    """What a file says, as far as it can be read.

    Attributes:
        said: By its keys, ``section.key`` within a section.
        faults: What cannot be read of it, each with file and line; malformed YAML hides all that follows it.
    """

    said: Mapping[str, Said]
    faults: tuple[Fault, ...] = ()


def read_yaml(file: str) -> Read:
    """What a file says.

    Args:
        file: Its path.
    """
    try:
        import yaml
    except ModuleNotFoundError:
        return Read({}, (Fault("", "reading YAML needs the extra: pip install 'memory-guardian[yaml]'", file),))
    try:
        loader = yaml.SafeLoader(_text(file))
        try:
            root = loader.get_single_node()
            return Read({}) if root is None or _is_null(root) else _read(loader, root, file)
        finally:
            loader.dispose()
    except UsageError as error:
        return Read({}, tuple(error.faults))
    except Exception as error:  # it raises what it likes for what is no YAML; each is this file's fault
        return Read({}, (_malformed(error, file),))


def _malformed(error: Exception, file: str, line: int | None = None, name: str = "") -> Fault:
    """A fault from what the YAML library raised, with the line that it says, or else a line that is known."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or (str(error).splitlines() or [type(error).__name__])[0]
    at = line if mark is None else mark.line + 1
    return Fault(name, f"malformed YAML: {what}"[:300], file if at is None else f"{file}:{at}")


def _text(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            raw = stream.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError([Fault("", f"the configuration file cannot be read: {reason}", file)]) from None
    if len(raw) > LARGEST_BYTES:
        raise UsageError([Fault("", "the configuration file is larger than 1 MiB", file)])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError([Fault("", f"no UTF-8 text: {error.reason}", f"{file}:{line}")]) from None


def _is_null(node: Any) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _read(loader: Any, root: Any, file: str) -> Read:
    said: dict[str, Said] = {}
    faults: list[Fault] = []

    def values(name: str, pairs: Iterator[tuple[str, Any, int]]) -> None:
        for key, node, line in pairs:
            whole = f"{name}.{key}" if name else key
            try:
                said[whole] = Said(loader.construct_object(node, deep=True), f"{file}:{line}")
            except Exception as error:  # constructors of dates and the like raise what they like; the other keys are read all the same
                faults.append(_malformed(error, file, line, whole))

    for key, node, line in _pairs(loader, root, file, "", faults):
        if key not in SECTIONS:
            values("", iter([(key, node, line)]))
        elif node.id == "mapping":
            values(key, _pairs(loader, node, file, key, faults))
        elif not _is_null(node):
            faults.append(Fault(key, "expected a section with keys", f"{file}:{line}"))
    return Read(said, tuple(faults))


def _pairs(loader: Any, node: Any, file: str, name: str, faults: list[Fault]) -> Iterator[tuple[str, Any, int]]:
    """The keys of a mapping, with their values and their lines; what is wrong with one is a fault, and hides no other."""
    if node.id != "mapping":
        faults.append(Fault(name, "expected keys and sections at the top level", f"{file}:{node.start_mark.line + 1}"))
        return
    try:
        loader.flatten_mapping(node)
    except Exception as error:  # what << merges in is none; what stands beside it is read all the same
        faults.append(_malformed(error, file, node.start_mark.line + 1, name))
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        try:
            yield str(loader.construct_object(key, deep=True)), value, line
        except Exception as error:  # as above
            faults.append(_malformed(error, file, line, name))
