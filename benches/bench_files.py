"""Parquet files, beside tpchgen-cli and its widest table: bytes and rows a second of the whole commands.

The peer is fetched by hand (`pip install tpchgen-cli`), since nothing else needs it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import Way
from pyarrow import parquet

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Contest, Sizes

#: lineitem of scale factor 1, which has sixteen columns.
_PEER = ("parquet", "--scale-factor", "1", "--tables", "lineitem", "--quiet")


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def _rows(folder: Path) -> int:
    return sum(parquet.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))


@pytest.mark.parametrize("measure", [_bytes, _rows])
@pytest.mark.parametrize("order", ["time", "entity"])
def test_parquet(
    contest: Contest, sizes: Sizes, tmp_path: Path, order: str, measure: Callable[[Path], int]
) -> None:
    """Ours makes all ten relations and checks their keys; both write with snappy, on all cores."""
    peer = shutil.which("tpchgen-cli")
    if peer is None:
        pytest.skip("tpchgen-cli is not installed")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    plan = ("--customers", str(sizes.plan.customers), "--order", order)

    def write() -> None:
        program = str(Path(sys.executable).with_name("datagen"))
        subprocess.run(
            [program, "files", "parquet", "--output", str(ours), *plan],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def write_theirs() -> None:
        subprocess.run([peer, *_PEER, "--output-dir", str(theirs)], check=True)

    write()
    write_theirs()
    contest(
        f"{measure.__name__[1:]} of Parquet, {sizes.plan.customers:,} customers",
        Way(
            f"datagen files parquet --order {order}",
            measure(ours),
            write,
            lambda: shutil.rmtree(ours),
        ),
        Way("tpchgen-cli, lineitem", measure(theirs), write_theirs, lambda: shutil.rmtree(theirs)),
        rounds=sizes.rounds,
    )
