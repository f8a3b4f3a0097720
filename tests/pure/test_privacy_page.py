"""docs/privacy.md: its examples give what it says, and what it claims is what the corpus plants."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from workers import redaction

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text()


def test_the_examples_give_what_they_say() -> None:
    """Each line with a result in its comment has that result."""
    lines = re.findall(r"^(redact_\w+\(.*\)) +# (.*)$", PAGE, re.MULTILINE)
    assert len(lines) == 3
    for call, expected in lines:
        assert eval(call, vars(redaction) | {name: getattr(redaction, name) for name in redaction.__all__}) == ast.literal_eval(expected)


def test_the_example_of_a_file_works(tmp_path: Path) -> None:
    """A file goes through in pieces."""
    (tmp_path / "big.log").write_text("psql postgres://app:hunt" + "er2x@db/main\n" * 3)
    (block,) = re.findall(r"^with open.*?(?=^```)", PAGE, re.MULTILINE | re.DOTALL)
    names = {name: getattr(redaction, name) for name in redaction.__all__}
    exec(block.replace('"big.log"', repr(str(tmp_path / "big.log"))).replace('"clean.log"', repr(str(tmp_path / "clean.log"))), names)
    assert (tmp_path / "clean.log").read_text() == redaction.redact_text((tmp_path / "big.log").read_text())
    assert "[redacted: url-password]" in (tmp_path / "clean.log").read_text()
