"""Can a client walk through each list?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from validation.asking import LISTS, keys_of, page_of

if TYPE_CHECKING:
    from conftest import Target

lists = pytest.mark.parametrize("name", LISTS)
BEYOND = 900_000


@pytest.mark.canary
@pytest.mark.paging
class TestPaging:
    @lists
    def test_limit_cuts_the_page(self, target: Target, name: str) -> None:
        assert len(page_of(target, name, limit=2)[name]) == 2

    @lists
    def test_a_page_of_one_is_the_first_row(self, target: Target, name: str) -> None:
        first = page_of(target, name, limit=1)[name]
        assert first == page_of(target, name, limit=3)[name][:1]

    @lists
    def test_a_page_names_the_offset_of_the_next(self, target: Target, name: str) -> None:
        assert page_of(target, name, limit=2)["next_offset"] == 2

    @lists
    def test_the_next_page_continues(self, target: Target, name: str) -> None:
        whole = page_of(target, name, limit=4)[name]
        first, second = (page_of(target, name, limit=2, offset=at)[name] for at in (0, 2))
        assert keys_of(name, first + second) == keys_of(name, whole)

    @lists
    def test_offset_leaves_rows_out(self, target: Target, name: str) -> None:
        whole = keys_of(name, page_of(target, name, limit=3)[name])
        assert keys_of(name, page_of(target, name, limit=2, offset=1)[name]) == whole[1:]

    @lists
    def test_beyond_the_end_is_empty(self, target: Target, name: str) -> None:
        page = page_of(target, name, limit=2, offset=BEYOND)
        assert page == {name: [], "count": 0}

    @lists
    def test_walking_ends_without_a_next(self, target: Target, name: str) -> None:
        """In pages of 500, with a bound, so that a list that never ends is found."""
        offset, seen = 0, 0
        for _ in range(200):
            page = page_of(target, name, limit=500, offset=offset)
            seen += page["count"]
            if "next_offset" not in page:
                break
            assert page["next_offset"] == offset + 500
            offset = page["next_offset"]
        else:
            pytest.fail("there is still a next page after 100 000 rows")
        assert seen >= 4
