"""The manifest of a run: what was asked, and each file with its rows, bytes and checksum."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from ...types import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..base import Window
    from .place import Place, Whole
    from .target import FilesTarget

__all__ = ["left_behind", "manifest", "of_another_run"]

_MANIFEST: Final = re.compile(r"manifest(?:-(\d+)-of-(\d+))?\.json")
_PART: Final = re.compile(r"/part-(\d+)-of-(\d+)\.[a-z.]+$")
#: A name that a run gives: nothing else is ever removed.
_OURS: Final = re.compile(
    r"[\w-]+(?:\.[\w-]+)?(?:/(?:day|month)=[\d-]+)?(?:/part-\d+-of-\d+)?\.[a-z.]+"
)


def manifest(
    target: FilesTarget, window: Window, files: Mapping[str, Sequence[tuple[Whole, int]]]
) -> bytes:
    """JSON text, the same for the same rows, options and versions."""
    from importlib.metadata import version

    import pyarrow as pa

    plan = window.plan
    content = {
        "plan": {
            "seed": plan.seed,
            "from_customer": window.first_customer,
            "customers": plan.customers - window.first_customer,
            "as_of": f"{plan.as_of:%Y-%m-%dT%H:%M:%S.%fZ}",
            "days": plan.days,
        },
        "versions": {
            "datagen": version("datagen"),
            "catalogue": catalogue().version,
            "pyarrow": pa.__version__,
        },
        "format": target.format,
        "compression": target.compression,
        "uuids": target.uuids,
        "order": window.order,
        "partition_by": target.partition_by,
        "part": target.part,
        "parts": target.parts,
        "relations": {
            name: {
                "rows": sum(rows for _, rows in written),
                "files": [
                    {"path": one.path, "rows": rows, "bytes": one.bytes, "sha256": one.sha256}
                    for one, rows in written
                ],
            }
            for name, written in files.items()
        },
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def of_another_run(target: FilesTarget, place: Place) -> list[str]:
    """The files of earlier runs that those of this one would replace, or stand beside as doubles."""
    there = place.listed("", below=False)
    found = [path for path in there if _replaces(target, _MANIFEST.fullmatch(path))]
    for name in target.relations:
        alone = f"{name}{target.form.suffix_of(target.compression)}"
        found += [alone] if alone in there else []
        in_parts = place.listed(name, below=True)
        found += sorted(path for path in in_parts if _replaces(target, _PART.search(path)))
    return found


def left_behind(target: FilesTarget, place: Place, written: Iterable[str]) -> list[str]:
    """The files of earlier runs that are replaced, and not by a file of their own name; manifests first."""
    found = of_another_run(target, place)
    for path in [one for one in found if _MANIFEST.fullmatch(one)]:
        found += _listed_in(place.read(path))
    return [path for path in dict.fromkeys(found) if path not in {*written}]


def _replaces(target: FilesTarget, name: re.Match[str] | None) -> bool:
    """Whether a file stands where the run writes; other parts of the same number of parts do not."""
    if name is None:
        return False
    part, parts = name.groups()
    alike = parts is not None and int(parts) == target.parts
    return not alike or target.part is None or int(part) == target.part


def _listed_in(content: bytes) -> list[str]:
    """The files that a manifest has; none if it is none of ours."""
    try:
        relations: dict[str, Any] = json.loads(content)["relations"]
        paths = [file["path"] for one in relations.values() for file in one["files"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    return [path for path in paths if isinstance(path, str) and _OURS.fullmatch(path)]
