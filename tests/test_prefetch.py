"""An iterable whose items a thread makes before they are taken."""

from __future__ import annotations

import threading
from itertools import count
from typing import TYPE_CHECKING

import pytest

from datagen._prefetch import Prefetch

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_items_come_in_order_and_all_of_them() -> None:
    with Prefetch(iter(range(1_000)), limit=4) as prefetch:
        assert list(prefetch) == list(range(1_000))


def test_the_first_are_made_before_one_is_taken_and_no_more_than_the_limit() -> None:
    made: list[int] = []
    full = threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 3:
                full.set()
            yield number

    with Prefetch(items(), limit=4) as prefetch:
        assert not made
        prefetch.start()
        assert full.wait(10)
        taken = iter(prefetch)
        assert [next(taken) for _ in range(10)] == list(range(10))
        assert len(made) <= 10 + 4
    assert len(made) < 100


def test_without_a_limit_all_are_made_though_none_is_taken() -> None:
    done = threading.Event()

    def items() -> Iterator[int]:
        yield from range(1_000)
        done.set()

    with Prefetch(items(), limit=None) as prefetch:
        prefetch.start()
        assert done.wait(10)
        assert list(prefetch) == list(range(1_000))


def test_what_making_raises_is_raised_after_what_was_made_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with Prefetch(items(), limit=8) as prefetch:
        numbers = iter(prefetch)
        assert next(numbers) == 1
        with pytest.raises(LookupError, match="no more"):
            next(numbers)


@pytest.mark.parametrize("limit", [1, 8, None])
def test_the_thread_ends_with_the_block_whatever_was_taken(limit: int | None) -> None:
    def interrupted() -> None:
        with Prefetch(count(), limit) as prefetch:
            assert next(iter(prefetch)) == 0
            raise KeyboardInterrupt

    with Prefetch(count(), limit):
        pass  # nothing was asked for
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before
