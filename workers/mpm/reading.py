"""Claude MPM's ``memory_guardian.yaml`` with the line of each key."""

from __future__ import annotations

from typing import Any, Final

from supervisor import Fault, UsageError

from .keys import SECTIONS, Said

LARGEST_BYTES: Final = 1 << 20


def read_yaml(file: str) -> dict[str, Said]:
    """What a file says, by its keys, ``section.key`` within a section.

    Args:
        file: Its path.

    Raises:
        UsageError: It cannot be read, is malformed, or is no configuration; with file and line.
    """
    try:
        import yaml
    except ModuleNotFoundError:
        raise UsageError([Fault("", "reading YAML needs the extra: pip install 'memory-guardian[yaml]'", file)]) from None
    text = _text(file)
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            return {} if root is None or _is_null(root) else _read(loader, root, file)
        finally:
            loader.dispose()
    except UsageError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        at = file if mark is None else f"{file}:{mark.line + 1}"
        raise UsageError([Fault("", f"malformed YAML: {what}", at)]) from None
    except Exception as error:  # the constructors of dates, integers and keys raise what they like; each is this file's fault
        raise UsageError([Fault("", f"malformed YAML: {error}"[:300], file)]) from None


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


def _read(loader: Any, root: Any, file: str) -> dict[str, Said]:
    said: dict[str, Said] = {}
    faults: list[Fault] = []
    for name, node, line in _pairs(loader, root, file, ""):
        at = f"{file}:{line}"
        if name not in SECTIONS:
            said[name] = Said(loader.construct_object(node, deep=True), at)
        elif node.id == "mapping":
            said |= {
                f"{name}.{key}": Said(loader.construct_object(value, deep=True), f"{file}:{where}")
                for key, value, where in _pairs(loader, node, file, name)
            }
        elif not _is_null(node):
            faults.append(Fault(name, "expected a section with keys", at))
    if faults:
        raise UsageError(faults)
    return said


def _pairs(loader: Any, node: Any, file: str, name: str) -> list[tuple[str, Any, int]]:
    if node.id != "mapping":
        raise UsageError([Fault(name, "expected keys and sections at the top level", f"{file}:{node.start_mark.line + 1}")])
    loader.flatten_mapping(node)
    return [(str(loader.construct_object(key, deep=True)), value, key.start_mark.line + 1) for key, value in node.value]
