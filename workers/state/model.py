"""The state of an agent at one moment, as values, and its JSON form with a format version and a checksum."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import attrs

from supervisor import Value

if TYPE_CHECKING:
    from cattrs import Converter

FORMAT_VERSION: Final = 2
"""What is written; formats.py reads the older ones."""


MOST: Final = 10**300
"""An integer beyond this is nobody's size, time or count, and no floating point number can be made of it."""


class StateInvalid(ValueError):
    """Data that is no captured state: another format, changed, or incomplete."""


@attrs.frozen(repr=False, eq=False)
class MemoryPoint(Value):
    """A total `age` seconds before the capture."""

    age: float
    total_bytes: int


@attrs.frozen(repr=False, eq=False)
class ProcessSnapshot(Value):
    """The leaf's root process; what is not known is None. `argv` and `environment` carry no secrets.

    Attributes:
        argv: The command as it was started.
        environment: What it was started with.
        cwd: Its working directory at the capture.
        generation: The number of its life.
        uptime: Seconds since that life was up.
        memory: The last totals of the whole tree, oldest first.
        peak_bytes: The highest total of all lives.
        level: The memory level.
        limits: Its resource limits, soft and hard, by the kernel's names and in its words.
        last_exit: How the life before ended.
    """

    pid: int | None
    created: int | None
    argv: tuple[str, ...]
    environment: dict[str, str]
    cwd: str | None
    generation: int | None = None
    uptime: float | None = None
    memory: tuple[MemoryPoint, ...] = ()
    peak_bytes: int | None = None
    level: str | None = None
    limits: dict[str, tuple[str, str]] | None = None
    last_exit: str | None = None


@attrs.frozen(repr=False, eq=False)
class ProjectState(Value):
    """The project the leaf works on; the parts from git are None where there is no git, or where it took too long.

    Attributes:
        dirty_files: Changed and untracked files as git names them, at most `DIRTY_FILES`.
        dirty_count: How many there are in all.
        open_files: Files of the project that the leaf's processes had open, at most `looking.OPEN_FILES`.
    """

    working_directory: str
    git_head: str | None = None
    git_branch: str | None = None
    dirty_files: tuple[str, ...] | None = None
    dirty_count: int | None = None
    open_files: tuple[str, ...] | None = None


@attrs.frozen(repr=False, eq=False)
class PastRestart(Value):
    """A restart before this one; `time` is seconds since the epoch."""

    time: float
    reason: str
    outcome: str


@attrs.frozen(repr=False, eq=False)
class RestartState(Value):
    """Why the state was captured."""

    reason: str
    level: str | None = None
    total_bytes: int | None = None
    attempt: int | None = None
    history: tuple[PastRestart, ...] = ()


@attrs.frozen(repr=False, eq=False)
class StateMetadata(Value):
    """Where and when the state was captured, and how it is written.

    Attributes:
        state_id: Unique; ids sort by time.
        time: Seconds since the epoch, for people.
        agent: The agent's name.
        path: Its path in the tree.
        run: The run it belongs to.
        versions: Of this program, of Python and of the system.
        checksum: SHA-256 over the canonical JSON of the state without it.
    """

    state_id: str
    time: float
    agent: str
    path: tuple[str, ...] = ()
    run: str | None = None
    host: str | None = None
    versions: dict[str, str] = attrs.field(factory=dict)
    format_version: int = FORMAT_VERSION
    checksum: str = ""


@attrs.frozen(repr=False, eq=False)
class CompleteState(Value):
    """Everything that is captured of an agent.

    Attributes:
        conversation: What the agent talks about; None where there is no conversation that is understood. It has `session_id` and
            `transcript` at least.
        journal: The mark up to which the transcript was journalled; None where it was not.
    """

    process: ProcessSnapshot
    project: ProjectState
    restart: RestartState
    metadata: StateMetadata
    conversation: dict[str, Any] | None = None
    journal: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON data, with its checksum."""
        data: dict[str, Any] = _converter().unstructure(self)
        data["metadata"]["checksum"] = checksum(data)
        return data

    def to_json(self) -> bytes:
        """The state as canonical JSON, with its checksum, made in one go.

        Raises:
            StateInvalid: It holds what JSON cannot say.
        """
        data: dict[str, Any] = _converter().unstructure(self)
        metadata = {name: value for name, value in data["metadata"].items() if name != "checksum"}
        parts = {name: canonical(value) for name, value in data.items() if name != "metadata"}

        def text(metadata: dict[str, Any]) -> bytes:
            whole = {**parts, "metadata": canonical(metadata)}
            return b"{" + b",".join(b'"%b":%b' % (name.encode(), whole[name]) for name in sorted(whole)) + b"}"

        from hashlib import sha256

        return text({**metadata, "checksum": sha256(text(metadata)).hexdigest()})

    @classmethod
    def from_json(cls, text: bytes) -> CompleteState:
        """The state in a JSON text from an unknown hand; see `formats.parsed` for what bounds its memory.

        Raises:
            StateInvalid: As `from_dict`, or it is no JSON that could be a state.
        """
        from .formats import parsed

        data = parsed(text)
        return cls.from_dict(data, is_whole=_is_whole(text, data))

    @classmethod
    def from_dict(cls, data: object, *, is_whole: bool = False) -> CompleteState:
        """The state that JSON data describe; fields that a later program added are ignored.

        Args:
            data: The data.
            is_whole: Whether they were held against their checksum already.

        Raises:
            StateInvalid: It is of a later format, its checksum does not match, or something is missing.
        """
        metadata = data.get("metadata") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(metadata, dict):
            raise StateInvalid("not a captured state: it has no metadata")
        version = metadata.get("format_version")
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= FORMAT_VERSION:
            raise StateInvalid(f"format version {version!r} is not known here; this program reads 1 to {FORMAT_VERSION}")
        if not is_whole and metadata.get("checksum") != checksum(data):
            raise StateInvalid("the checksum does not match: the state was changed or damaged")
        from .formats import upgraded

        try:
            return _converter().structure(upgraded(data, version), cls)
        # boundary: cattrs reports what is missing or of a wrong kind with exceptions of many types
        except Exception as error:
            raise StateInvalid(f"not a captured state: {_first_line(error)}") from error


def _is_whole(text: bytes, data: dict[str, Any]) -> bool:
    """Whether a canonical text has the checksum that it says; False also where that cannot be told from the text alone."""
    from hashlib import sha256

    metadata = data.get("metadata")
    said = metadata.get("checksum") if isinstance(metadata, dict) else None
    if not isinstance(said, str) or not said.isascii() or len(said) != 64:
        return False
    # the text without it is what it was made of: no need to write everything once more
    before, found, after = text.partition(b'"checksum":"%b",' % said.encode())
    return bool(found) and sha256(before + after).hexdigest() == said


def checksum(data: dict[str, Any]) -> str:
    """SHA-256 over the canonical JSON of a state's data, its own checksum left out."""
    from hashlib import sha256

    bare = {**data, "metadata": {name: value for name, value in data["metadata"].items() if name != "checksum"}}
    return sha256(canonical(bare)).hexdigest()


def canonical(data: object) -> bytes:
    """The one JSON text of some data: sorted keys, no blanks, UTF-8.

    Raises:
        StateInvalid: The data hold what JSON cannot say.
    """
    import json

    try:
        # what is no Unicode, such as a file name in another encoding, is escaped: the text stays valid UTF-8
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise StateInvalid(f"cannot be written as JSON: {error}") from error


_made: Converter | None = None


def _converter() -> Converter:
    # imported here: a guardian that never captures does not pay for it
    global _made
    if _made is None:
        from cattrs import Converter

        _made = strict(Converter())
    return _made


def strict(converter: Converter) -> Converter:
    """A converter that takes numbers and texts for what they are: a text is no number, and what no file of ours has is neither."""

    def whole(value: object, _: object) -> int:
        if type(value) is not int or not -MOST <= value <= MOST:
            raise ValueError("expected an integer")
        return value

    def real(value: object, _: object) -> float:
        if isinstance(value, float) and isfinite(value):
            return value
        return float(whole(value, _))

    def text(value: object, _: object) -> str:
        if type(value) is not str:
            raise ValueError("expected a text")
        return value

    def flag(value: object, _: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError("expected true or false")
        return value

    converter.register_structure_hook(int, whole)
    converter.register_structure_hook(bool, flag)  # which is an integer, to Python
    converter.register_structure_hook(float, real)
    converter.register_structure_hook(str, text)
    return converter


def _first_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")
