"""What a client can ask for: methods with checked parameters, and how they say no."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from ...core.value import Value
from ..kinds import Kind, text
from ..usage import did_you_mean, quote
from .wire import INVALID_PARAMS, NOT_FOUND, REFUSED

if TYPE_CHECKING:
    from .connection import Connection

REQUIRED: Final = object()
LONGEST_REASON: Final = 1000


class ControlRefused(Exception):
    """A call is answered with an error.

    Attributes:
        code: JSON-RPC's, or one of `wire`'s own.
        message: For a person.
        data: For a program; None for nothing.
    """

    NOT_FOUND: Final = NOT_FOUND
    REFUSED: Final = REFUSED

    def __init__(self, code: int, message: str, data: object = None) -> None:
        self.code, self.message, self.data = code, message, data
        super().__init__(message)


@attrs.frozen(repr=False, eq=False)
class ControlParameter(Value):
    """One parameter: what it may be, and its value when it is not given."""

    kind: Kind[Any]
    default: Any = REQUIRED


@attrs.frozen(repr=False, eq=False)
class ControlMethod(Value):
    """One method.

    Attributes:
        function: Called with the parameters by name; what it returns is JSON data. It raises `ControlRefused`, `CallError`,
            `StartFailed` or `UsageError`; anything else is told as an internal error.
        parameters: In the order of parameters by position.
        changes: Whether it changes anything: it is then refused to who is inside the tree, and may take its time. One that changes
            nothing answers at once.
        connected: Whether `function` wants the `Connection` as its first argument.
    """

    function: Callable[..., Awaitable[Any]]
    parameters: Mapping[str, ControlParameter] = attrs.field(factory=dict)
    changes: bool = False
    connected: bool = False

    async def call(self, connection: Connection, params: list[Any] | dict[str, Any]) -> Any:
        """Check the parameters and call the function.

        Raises:
            ControlRefused: They are not what is expected.
        """
        given = self._checked(params)
        return await (self.function(connection, **given) if self.connected else self.function(**given))

    def _checked(self, params: list[Any] | dict[str, Any]) -> dict[str, Any]:
        names = list(self.parameters)
        if isinstance(params, list):
            if len(params) > len(names):
                raise ControlRefused(INVALID_PARAMS, f"expected at most {len(names)} parameters, got {len(params)}")
            params = dict(zip(names, params, strict=False))
        for name in params:
            if name not in self.parameters:
                raise ControlRefused(INVALID_PARAMS, f"unknown parameter {quote(name)}{did_you_mean(name, names)}")
        given: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            value = params.get(name, parameter.default)
            if value is REQUIRED:
                raise ControlRefused(INVALID_PARAMS, f"{name}: is missing; expected {parameter.kind.expected}")
            if name in params and not (value is None and parameter.default is None):
                try:
                    value = parameter.kind.accept(value)
                except ValueError as error:
                    raise ControlRefused(INVALID_PARAMS, f"{name}: {error}") from None
            given[name] = value
        return given


def control_reason() -> ControlParameter:
    """Why something is asked for, for the events: a text that is not long."""
    return ControlParameter(text(check=_too_long), "on request")


def _too_long(value: str) -> str | None:
    return f"expected at most {LONGEST_REASON} characters" if len(value) > LONGEST_REASON else None


def child_path() -> Kind[tuple[str, ...]]:
    """A place in a tree: a list of ids, or ids with slashes between them."""
    expected = 'a path such as "guardian/agents/claude/leaf", or a list of ids'

    def accept(value: object) -> tuple[str, ...]:
        parts = value.strip("/").split("/") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not parts or not all(isinstance(part, str) and part for part in parts):
            raise ValueError(f"expected {expected}, got {quote(value)}")
        return tuple(parts)

    return Kind(expected, accept, written=True)
