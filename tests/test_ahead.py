"""An iterable that a thread of its own runs ahead of."""

from __future__ import annotations

import threading
from itertools import count
from typing import TYPE_CHECKING

import pytest

from datagen._ahead import Ahead

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_items_come_in_order_and_all_of_them() -> None:
    with Ahead(iter(range(1_000)), limit=4) as ahead:
        assert list(ahead) == list(range(1_000))


def test_nobody_has_to_take_for_the_first_to_be_made_and_no_more_than_the_limit_are() -> None:
    made: list[int] = []
    full = threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 3:
                full.set()
            yield number

    with Ahead(items(), limit=4) as ahead:
        assert not made
        ahead.start()
        assert full.wait(10)
        taken = iter(ahead)
        assert [next(taken) for _ in range(10)] == list(range(10))
        assert len(made) <= 10 + 4
    assert len(made) < 100


def test_without_a_limit_all_are_made_though_nobody_takes_any() -> None:
    done = threading.Event()

    def items() -> Iterator[int]:
        yield from range(1_000)
        done.set()

    with Ahead(items(), limit=None) as ahead:
        ahead.start()
        assert done.wait(10)
        assert list(ahead) == list(range(1_000))


def test_what_making_raises_is_raised_after_what_was_made_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with Ahead(items(), limit=8) as ahead:
        numbers = iter(ahead)
        assert next(numbers) == 1
        with pytest.raises(LookupError, match="no more"):
            next(numbers)


@pytest.mark.parametrize("limit", [1, 8, None])
def test_the_thread_ends_with_the_block_whatever_was_taken(limit: int | None) -> None:
    def interrupted() -> None:
        with Ahead(count(), limit) as ahead:
            assert next(iter(ahead)) == 0
            raise KeyboardInterrupt

    with Ahead(count(), limit):
        pass  # nothing was asked for
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before
