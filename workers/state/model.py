"""The state of an agent at one moment, as values, and its JSON form with a format version and a checksum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from supervisor import Value

if TYPE_CHECKING:
    from cattrs import Converter

FORMAT_VERSION: Final = 2
"""What is written; formats.py reads the older ones."""


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


@attrs.frozen(repr=False, eq=False)
class ProjectState(Value):
    """The project the leaf works on; the parts from git are None where there is no git, or where it took too long.

    Attributes:
        dirty_files: Changed and untracked files as git names them, at most `DIRTY_FILES`.
        dirty_count: How many there are in all.
    """

    working_directory: str
    git_head: str | None = None
    git_branch: str | None = None
    dirty_files: tuple[str, ...] | None = None
    dirty_count: int | None = None


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
            `transcript_path` at least.
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

    @classmethod
    def from_dict(cls, data: object) -> CompleteState:
        """The state that JSON data describe; fields that a later program added are ignored.

        Raises:
            StateInvalid: It is of a later format, its checksum does not match, or something is missing.
        """
        metadata = data.get("metadata") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(metadata, dict):
            raise StateInvalid("not a captured state: it has no metadata")
        version = metadata.get("format_version")
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= FORMAT_VERSION:
            raise StateInvalid(f"format version {version!r} is not known here; this program reads 1 to {FORMAT_VERSION}")
        if metadata.get("checksum") != checksum(data):
            raise StateInvalid("the checksum does not match: the state was changed or damaged")
        from .formats import upgraded

        try:
            return _converter().structure(upgraded(data, version), cls)
        # boundary: cattrs reports what is missing or of a wrong kind with exceptions of many types
        except Exception as error:
            raise StateInvalid(f"not a captured state: {_first_line(error)}") from error


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

        _made = Converter()
    return _made


def _first_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")
