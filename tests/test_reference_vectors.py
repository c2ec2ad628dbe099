"""The core's literal vectors, confirmed by implementations that share nothing with it.

`rust/core/tests/vectors.rs` reads the same file; here nothing compiled is needed.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

_ROOT = Path(__file__).parent.parent / "rust" / "core"
_WORD = (1 << 64) - 1


@dataclass(frozen=True)
class Vector:
    """One line of the file: where a draw is, and its four words."""

    seed: int
    domain: int
    row: int
    k: int
    block: int
    words: tuple[int, ...]

    @property
    def key(self) -> tuple[int, int]:
        return (self.seed, self.domain)

    @property
    def counter(self) -> tuple[int, int, int, int]:
        return (self.block, self.k, self.row, 0)


def _data(path: Path) -> list[dict[str, str]]:
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def _vectors() -> list[Vector]:
    return [
        Vector(
            seed=int(line["seed"]),
            domain=int(line["domain"]),
            row=int(line["row"]),
            k=int(line["k"]),
            block=int(line["block"]),
            words=tuple(int(line[f"word_{i}"], 16) for i in range(4)),
        )
        for line in _data(_ROOT / "tests/data/philox.csv")
    ]


def _philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Four words of numpy's Philox, which adds one to its counter before the first block."""
    number = sum(word << 64 * place for place, word in enumerate(counter))
    before = (number - 1) % (1 << 256)
    words = [before >> 64 * place & _WORD for place in range(4)]
    generator = np.random.Philox(
        counter=np.array(words, dtype=np.uint64), key=np.array(key, dtype=np.uint64)
    )
    return tuple(int(word) for word in generator.random_raw(4))


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        # Random123, tests/kat_vectors.
        (
            (0, 0, 0, 0),
            (0, 0),
            (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
        ),
        (
            (_WORD,) * 4,
            (_WORD,) * 2,
            (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
        ),
    ],
)
def test_numpy_computes_the_published_vectors(
    counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    assert _philox(counter, key) == words


def test_every_draw_of_the_file_is_numpys() -> None:
    vectors = _vectors()
    assert len(vectors) >= 10
    for vector in vectors:
        assert _philox(vector.counter, vector.key) == vector.words, vector


def test_the_file_reaches_the_ends_of_every_word() -> None:
    vectors = _vectors()
    assert {vector.domain for vector in vectors} == set(range(1, 15))
    for field, last in (("seed", 64), ("k", 64), ("row", 48)):
        found = {getattr(vector, field) for vector in vectors}
        assert {0, (1 << last) - 1} <= found, field


def _mix(x: int, key: int) -> int:
    """The finalizer of SplitMix64, keyed."""
    z = (x + key) & _WORD
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _WORD
    return z ^ z >> 31


def _id(seed: int, domain: int, row: int, k: int) -> str:
    """A permutation of domain, row, k and 36 zeros, four rounds over halves of 61 bits, as UUID."""
    plain = domain << 116 | row << 68 | k << 36
    half = (1 << 61) - 1
    left, right = plain >> 61, plain & half
    for key in _philox((0, 0, 0, 0), (seed, 12)):
        left, right = right, left ^ _mix(right, key) & half
    bits = f"{left << 61 | right:0122b}"
    shaped = f"{bits[:48]}0100{bits[48:60]}10{bits[60:]}"
    return str(UUID(int=int(shaped, 2)))


def test_ids_follow_from_their_origin() -> None:
    lines = _data(_ROOT / "tests/data/ids.csv")
    assert len(lines) >= 12
    for line in lines:
        seed, domain, row, k = (int(line[name]) for name in ("seed", "domain", "row", "k"))
        assert _id(seed, domain, row, k) == line["id"], line


def test_powers_of_two_are_those_of_the_decimal_module() -> None:
    table = [int(line["power"]) for line in _data(_ROOT / "data/exp2_q32.csv")]
    with localcontext() as context:
        context.prec = 50
        exact = [Decimal(2) ** (Decimal(i) / 256) * 2**32 for i in range(257)]
    assert table == [int(value.to_integral_value(ROUND_HALF_UP)) for value in exact]


def test_normal_quantiles_invert_the_distribution_function() -> None:
    from statistics import NormalDist

    table = [int(line["quantile"]) for line in _data(_ROOT / "data/normal_q16.csv")]
    assert len(table) == 1025
    exact = [NormalDist().inv_cdf((i + 0.5) / 1025) * 65536 for i in range(1025)]
    assert all(abs(given - value) <= 0.501 for given, value in zip(table, exact, strict=True))


@pytest.mark.parametrize(
    ("rate", "term", "installment"), [("0.0095", 360, "2948.01"), ("0.0197", 48, "9720.94")]
)
def test_equal_installments_by_decimal_arithmetic(rate: str, term: int, installment: str) -> None:
    with localcontext() as context:
        context.prec = 60
        i = Decimal(rate)
        exact = Decimal(300_000) * i / (1 - (1 + i) ** -term)
    assert exact.quantize(Decimal("0.01"), ROUND_HALF_UP) == Decimal(installment)
