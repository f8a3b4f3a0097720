"""What becomes of an error on its way through pickle and copy: it arrives, whatever it holds.

An error may hold anything: a function, a connection, an exception of somebody who never thought of pickle. What can be pickled and made
again arrives as it is; of the rest arrives what can be told of it.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from .errors import SupervisorError
from .exits import Exit

Reduced = tuple[Callable[..., object], tuple[Any, ...]]


def pack(value: object) -> bytes:
    """A value as bytes for `pickle.loads`; where it cannot be pickled and made again, what can be told of it.

    Tried here and once: a failure inside of a larger pickle could not be told from any other.
    """
    try:
        data = pickle.dumps(value)
        if not isinstance(value, SupervisorError | Exit):  # these can be made again, and would be once for each level above them
            pickle.loads(data)
    except Exception:  # the boundary where what others wrote refuses to be carried
        return pickle.dumps(told(value))
    return data


def told(value: object) -> object:
    """What arrives in place of a value that cannot be pickled: an `Unpicklable` for an exception, else its text; containers stay."""
    from .extra_errors import Unpicklable

    if type(value) in (list, tuple):
        return type(value)(pickle.loads(pack(item)) for item in value)  # type: ignore[call-arg, attr-defined]
    if type(value) is dict:
        return {pickle.loads(pack(key)): pickle.loads(pack(item)) for key, item in value.items()}
    if isinstance(value, BaseException):
        kind = type(value)
        error = Unpicklable(f"{kind.__module__}.{kind.__qualname__}", _said(str, value))
        for note in getattr(value, "__notes__", ()):
            error.add_note(str(note))
        return error
    return _said(repr, value)


def _said(how: Callable[[object], str], value: object) -> str:
    try:
        return how(value)
    except Exception:  # as above
        return f"<{type(value).__qualname__}>"


# ---------------------------------------------------------------- errors

_UNDER_WAY: ContextVar[frozenset[int]] = ContextVar("_UNDER_WAY", default=frozenset())
"""The errors that are being pickled around this one."""


def reduced(error: SupervisorError) -> Reduced:
    """What pickle makes the error of again: class, arguments, values and notes, cause."""
    under_way = _UNDER_WAY.get()
    if id(error) in under_way:
        # it is among its own causes: there it is its text
        return _made, (type(error), pack(error.args), {}, pack(None), True)
    token = _UNDER_WAY.set(under_way | {id(error)})
    try:
        values = {name: pack(value) for name, value in vars(error).items()}
        cause = None if _is_of_exit(error) else pack(error.__cause__)
    finally:
        _UNDER_WAY.reset(token)
    return _made, (type(error), pack(error.args), values, cause, error.__suppress_context__)


def copied(error: SupervisorError, of: Callable[[Any], Any], memo: dict[int, Any]) -> SupervisorError:
    """A second error that is equal in class, arguments, values, notes and cause; `of` copies each of these."""
    twin = memo[id(error)] = _bare(type(error), error.args)
    twin.args = of(error.args)
    vars(twin).update({name: list(value) if name == "__notes__" else of(value) for name, value in vars(error).items()})
    twin.__cause__ = vars(twin)["exit"].exception if _is_of_exit(error) else of(error.__cause__)
    twin.__suppress_context__ = error.__suppress_context__
    return twin


def deep(memo: dict[int, Any]) -> Callable[[Any], Any]:
    """Copies a value in depth, as far as it can be."""

    def of(value: Any) -> Any:
        try:
            return copy.deepcopy(value, memo)
        except Exception:  # the boundary where what others wrote refuses to be copied: both errors then hold the same
            return value

    return of


def _made(
    kind: type[SupervisorError], args: bytes, values: dict[str, bytes], cause: bytes | None, suppress_context: bool
) -> SupervisorError:
    error = _bare(kind, pickle.loads(args))
    vars(error).update({name: pickle.loads(value) for name, value in values.items()})
    error.__cause__ = vars(error)["exit"].exception if cause is None else pickle.loads(cause)
    error.__suppress_context__ = suppress_context
    return error


def _bare(kind: type[SupervisorError], args: tuple[Any, ...]) -> SupervisorError:
    # not by its constructor: what that was given cannot be known of every class
    error = kind.__new__(kind, *args)
    error.args = args
    return error


def _is_of_exit(error: SupervisorError) -> bool:
    """Whether the cause is that of its `exit`: then it is carried once, and one object afterwards."""
    exit = vars(error).get("exit")
    return isinstance(exit, Exit) and error.__cause__ is exit.exception


# ---------------------------------------------------------------- exits


def reduced_exit(exit: Exit) -> Reduced:
    """What pickle makes the exit of again."""
    facts = (exit.kind, exit.reason, exit.code, exit.signal, exit.core_dumped, exit.out_of_memory)
    return _made_exit, (type(exit), facts, pack(exit.exception), pack(exit.term))


def _made_exit(kind: type[Exit], facts: tuple[Any, ...], exception: bytes, term: bytes) -> Exit:
    return kind(*(*facts, pickle.loads(exception), pickle.loads(term)))
