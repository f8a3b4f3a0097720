"""What the words of a Claude Code command line are taken for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.claude.arguments import PROMPT, Arguments

WORDS = st.sampled_from(
    [
        "-p",
        "-c",
        "-r",
        "-pc",
        "-rX",
        "--resume",
        "--resume=X",
        "--model",
        "--add-dir",
        "--settings",
        "--",
        "-",
        "",
        "hi",
        "--new",
        "mcp",
        "--x=y",
    ]
)


@given(st.lists(WORDS, max_size=8))
def test_nothing_is_lost(words: list[str]) -> None:
    """Taken apart and put together they are the same, but for letters that shared a dash; and taking apart again changes nothing."""
    arguments = Arguments.of(tuple(words))
    assert "".join(arguments).replace("-", "") == "".join(words).replace("-", "")
    assert list(Arguments.of(tuple(arguments))) == list(arguments)


@given(st.lists(WORDS, max_size=8))
def test_without_a_prompt_none_is_left(words: list[str]) -> None:
    """Not even behind the end of the options."""
    left = Arguments.of(tuple(words)).without(PROMPT)
    assert left.prompt == () and Arguments.of(tuple(left)).prompt == ()


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        ("fix it", ("fix", "it")),
        ("-p fix", ("fix",)),
        ("-pc fix", ("fix",)),
        ("--model opus fix", ("fix",)),
        ("--model=opus fix", ("fix",)),
        ("--append-system-prompt -p fix", ("fix",)),
        ("--allowedTools Bash Edit -p fix", ("fix",)),
        ("--allowed-tools Bash Edit", ()),
        ("-r name", ()),
        ("-rname fix", ("fix",)),
        ("--resume", ()),
        ("--resume -p fix", ("fix",)),
        ("--not-known-yet value fix", ("fix",)),
        ("--include-unsupported-models fix", ("fix",)),
        ("--prefill -p fix", ("fix",)),
        ("--channels a b -p", ()),
        ("-- -p", ("-p",)),
        ("-", ("-",)),
    ],
)
def test_which_words_are_the_prompt(line: str, prompt: tuple[str, ...]) -> None:
    """What no option takes."""
    assert Arguments.of(tuple(line.split())).prompt == prompt


@pytest.mark.parametrize(
    "line",
    [
        "mcp list",
        "--model opus mcp",
        "-v",
        "--help",
        "--bg fix",
        "update",
        "--verbose doctor",
        "--teleport",
        "--remote fix",
        "remote-control",
    ],
)
def test_what_is_no_conversation(line: str) -> None:
    """Management, and what is held elsewhere."""
    assert not Arguments.of(tuple(line.split())).is_conversation


@pytest.mark.parametrize("line", ["", "fix", "--append-system-prompt mcp", "-p", "fix mcp", "--resume mcp"])
def test_what_is_one(line: str) -> None:
    """A subcommand is the first word that no option takes, and nothing else."""
    assert Arguments.of(tuple(line.split())).is_conversation


def test_how_it_is_used() -> None:
    """One turn, many turns from standard input, or a person; with hooks or without; kept or not."""
    one, many, person = (Arguments.of(tuple(line.split())) for line in ("-p fix", "-p --input-format stream-json", "fix"))
    assert (one.is_one_turn, many.is_one_turn, person.is_one_turn) == (True, False, False)
    assert (one.streams, many.streams, person.streams) == (False, True, False)
    assert person.runs_hooks and not Arguments.of(("--bare",)).runs_hooks and not Arguments.of(("--safe-mode",)).runs_hooks
    assert person.is_kept and not Arguments.of(("-p", "--no-session-persistence")).is_kept


@pytest.mark.parametrize(
    ("letter", "name"),
    [("c", "continue"), ("d", "debug"), ("h", "help"), ("n", "name"), ("p", "print"), ("r", "resume"), ("v", "version"), ("w", "worktree")],
)
def test_letters_are_options(letter: str, name: str) -> None:
    """As the program's own help says."""
    assert Arguments.of((f"-{letter}",)).has(f"--{name}")


def test_a_dash_alone_is_a_value() -> None:
    """It is no option, where one takes words."""
    assert Arguments.of(("-r", "-")).values("--resume") == ("-",)
    assert Arguments.of(("--add-dir", "a", "-", "-p")).values("--add-dir") == ("a", "-")


def test_the_end_of_the_options_goes_with_the_prompt_alone() -> None:
    """What begins with a dash behind it would become an option."""
    words = Arguments.of(("--model", "x", "--", "-p"))
    assert list(words.without("--model")) == ["--", "-p"] and list(words.without(PROMPT)) == ["--model", "x"]
