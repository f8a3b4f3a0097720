"""What the words of a Claude Code command line are: options with their values, and the prompt. Pure.

The options are those of 1.0.128, 2.0.77 and 2.1.332. One that is not known is taken to have a value where a word follows it that could be
one: to start with an option too many is better than to take its value for a prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import attrs

from supervisor import Value


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROMPT: Final = ""
"""The name of a word that is no option."""

_END: Final = "--"
_SHORT: Final = {"c": "--continue", "d": "--debug", "h": "--help", "n": "--name", "p": "--print", "r": "--resume", "v": "--version"}
_SHORT_TOO: Final = {"w": "--worktree"}
_SAME: Final = {
    "--allowedTools": "--allowed-tools",
    "--disallowedTools": "--disallowed-tools",
    "--background": "--bg",
}
_PLAIN: Final = _names(
    """--allow-dangerously-skip-permissions --ax-screen-reader --bare --bg --brief --chrome --continue --dangerously-skip-permissions
    --debug-to-stderr --deep-link-origin --desktop --disable-slash-commands --enable-auth-status --enable-auto-mode
    --exclude-dynamic-system-prompt-sections --fork-session --forward-subagent-text --help --host-auth-is-org-sign-in --ide
    --include-hook-events --include-partial-messages --include-unsupported-models --init --init-only --maintenance --mcp-debug --no-chrome
    --no-session-persistence --plan-mode-required --print --reply-on-resume --replay-user-messages --restricted --safe-mode --session-mirror
    --strict-mcp-config --verbose --version"""
)
_TAKING: Final = _names(
    """--agent --agents --append-system-prompt --append-system-prompt-file --debug-file --fallback-model --input-format --json-schema
    --max-budget-usd --max-turns --model --name --output-format --permission-mode --permission-prompt-tool --plugin-dir --plugin-url
    --prefill --prefill-b64 --resume-session-at --rewind-files --session-id --setting-sources --settings --system-prompt
    --system-prompt-file"""
)
_VARIADIC: Final = _names(
    """--add-dir --allowed-tools --betas --channels --dangerously-load-development-channels --disallowed-tools --file --mcp-config
    --tools"""
)
_SUBCOMMANDS: Final = _names(
    """agents attach auth auto-mode config design-login doctor edit-chrome-settings edit-hook edit-memory-settings edit-permission-rules
    edit-sandbox-settings edit-skill-overrides gateway import import-conversations install kill logs mcp migrate-installer plugin plugins
    project purge rc remote remote-control respawn rm sandbox setup-token stop ultrareview update upgrade workspace-trust worktree-hook"""
)
_NO_SESSION: Final = (
    *("--help", "--version", "--init-only", "--bg", "--tmux", "--desktop"),
    *("--cloud", "--remote", "--teleport", "--environment", "--pool"),
)
"""What has the program do something else than to hold a conversation here, in this process."""


@attrs.frozen(repr=False, eq=False)
class Word(Value):
    """An option with its values, or a word that is none.

    Attributes:
        name: The option's long name; `PROMPT` for a word that is no option, ``--`` for the end of the options.
        values: Its values, or the word.
        written: The words as they were written.
    """

    name: str
    values: tuple[str, ...]
    written: tuple[str, ...]


@attrs.frozen(repr=False, eq=False)
class Arguments(Value):
    """What follows the program in a command line."""

    words: tuple[Word, ...]

    @classmethod
    def of(cls, words: tuple[str, ...]) -> Arguments:
        """Take words apart; those that mean nothing to us stay what they are."""
        return cls(tuple(_apart(words)))

    def __iter__(self) -> Iterator[str]:
        for word in self.words:
            yield from word.written

    def has(self, name: str) -> bool:
        """Whether an option is there."""
        return any(word.name == name for word in self.words)

    def values(self, name: str) -> tuple[str, ...]:
        """All values of an option, in their order; empty where it has none or is not there."""
        return tuple(value for word in self.words if word.name == name for value in word.values)

    def without(self, *names: str) -> Arguments:
        """The same without some options, or without the prompt."""
        dropped: Collection[str] = (*names, _END) if PROMPT in names else names
        return Arguments(tuple(word for word in self.words if word.name not in dropped))

    @property
    def prompt(self) -> tuple[str, ...]:
        """The words that are no options."""
        return self.values(PROMPT)

    @property
    def is_conversation(self) -> bool:
        """Whether the program is to hold a conversation, and not to manage something, nor to have it held elsewhere."""
        first = self.prompt[:1]
        return not (first and first[0] in _SUBCOMMANDS) and not any(map(self.has, _NO_SESSION))

    @property
    def is_one_turn(self) -> bool:
        """Whether it ends by itself after the turn that it was started for."""
        return self.has("--print") and not self.streams

    @property
    def streams(self) -> bool:
        """Whether it reads prompts from its standard input, one line each, until that ends."""
        return "stream-json" in self.values("--input-format")

    @property
    def is_kept(self) -> bool:
        """Whether what is said is written down, so that another life can go on with it."""
        return not self.has("--no-session-persistence")

    @property
    def runs_hooks(self) -> bool:
        """Whether hooks of settings run."""
        return not (self.has("--safe-mode") or self.has("--bare"))


def _apart(words: tuple[str, ...]) -> Iterator[Word]:
    at = 0
    while at < len(words):
        written = words[at]
        at += 1
        if written == _END:
            yield Word(_END, (), (written,))
            for word in words[at:]:
                yield Word(PROMPT, (word,), (word,))
            return
        if written.startswith("--"):
            name, sign, value = written.partition("=")
            if sign:
                yield Word(_SAME.get(name, name), (value,), (written,))
                continue
            values = _values(_SAME.get(name, name), words[at:])
            yield Word(_SAME.get(name, name), values, (written, *values))
            at += len(values)
        elif written.startswith("-") and len(written) > 1:
            *before, last = _letters(written)
            yield from before
            values = last.values or _values(last.name, words[at:])
            yield last if last.values else attrs.evolve(last, values=values, written=(*last.written, *values))
            at += 0 if last.values else len(values)
        else:
            yield Word(PROMPT, (written,), (written,))


def _letters(written: str) -> Iterator[Word]:
    """The options of one word with a single dash: ``-pc`` is ``-p -c``, ``-rNAME`` is ``-r NAME``."""
    known = {**_SHORT, **_SHORT_TOO}
    for index, letter in enumerate(written[1:], start=1):
        name = known.get(letter, f"-{letter}")
        rest = written[index + 1 :]
        if name in _PLAIN:
            yield Word(name, (), (f"-{letter}",))
            continue
        yield Word(name, (rest,) if rest else (), (f"-{letter}{rest}",))
        return


def _values(name: str, following: tuple[str, ...]) -> tuple[str, ...]:
    """The values that an option takes from the words behind it."""
    if name in _PLAIN or not following:
        return ()
    if name in _TAKING:
        return following[:1]  # whatever it looks like
    values = []
    for word in following:
        if word.startswith("-") and len(word) > 1:
            break
        values.append(word)
        if name not in _VARIADIC:
            break
    return tuple(values)
