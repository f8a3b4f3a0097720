"""Wrong arguments of calls: the caller hears of them, the tree does not."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor import ChildNotFound, InvalidField, Supervisor
from tests.play import Play

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("id", [7, None, "", [], b"a"])
@pytest.mark.parametrize("call", ["terminate_child", "delete_child"])
async def test_an_id_that_can_be_none_is_the_callers_fault(call: str, id: Any) -> None:
    """The call raises a typed error with the value, and every child goes on."""
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        with pytest.raises(InvalidField) as caught:
            await getattr(root, call)(id)
        assert caught.value.value == id
        assert root.which_child("a").state == "running"


async def test_an_unknown_id_of_another_type_is_not_found() -> None:
    """A question about an id that is no text has an answer too."""
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        with pytest.raises(ChildNotFound, match="root/7"):
            root.which_child(7)  # type: ignore[arg-type]
