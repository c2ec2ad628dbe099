"""The manifest of a run: what was asked, and each file with its rows, bytes and checksum."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConfigurationError
from ...types import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..base import Window
    from .place import Place, Whole
    from .target import FilesTarget

__all__ = ["clashes", "manifest", "of_another_run", "replaced"]

_MANIFEST: Final = re.compile(r"manifest(?:-(\d+)-of-(\d+))?\.json")
_PART: Final = re.compile(r"[^/]+(?:/(?:day|month)=[\d-]+)?/part-(\d+)-of-(\d+)\.[a-z.]+")
#: What the manifests of parts of one bank have in common, beside the plan.
_SHARED: Final = ("format", "uuids", "order", "partition_by", "whole")
#: A name that a run gives: nothing else is ever removed.
_OURS: Final = re.compile(
    r"[\w-]+(?:\.[\w-]+)?(?:/(?:day|month)=[\d-]+)?(?:/part-\d+-of-\d+)?\.[a-z.]+"
)


def manifest(
    target: FilesTarget, window: Window, files: Mapping[str, Sequence[tuple[Whole, int]]]
) -> bytes:
    """JSON text, the same for the same rows, options and versions."""
    return json.dumps(_content(target, window, files), indent=1).encode() + b"\n"


def _content(
    target: FilesTarget, window: Window, files: Mapping[str, Sequence[tuple[Whole, int]]]
) -> dict[str, Any]:
    from importlib.metadata import version

    import pyarrow as pa

    plan = window.plan
    own = None if target.part else (window.first_customer, plan.customers)
    whole = target.whole or own
    return {
        "plan": {
            "seed": plan.seed,
            "from_customer": window.first_customer,
            "customers": plan.customers - window.first_customer,
            "as_of": f"{plan.as_of:%Y-%m-%dT%H:%M:%S.%fZ}",
            "days": plan.days,
            **({"labels": plan.labels} if plan.labels else {}),
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
        "whole": whole and {"from_customer": whole[0], "customers": whole[1] - whole[0]},
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


def of_another_run(target: FilesTarget, window: Window, place: Place) -> list[str]:
    """The files of earlier runs that those of this one would replace, or stand beside as doubles.

    Raises ``ConfigurationError`` where another part in the folder is not of the same bank.
    """
    there = place.listed("", below=False)
    manifests = [path for path in there if _MANIFEST.fullmatch(path)]
    found = [path for path in manifests if _replaces(target, _MANIFEST.fullmatch(path))]
    for path in manifests:
        if path not in found:
            _check_sibling(_content(target, window, {}), place, path)
    alone = [f"{name}{target.form.suffix_of(target.compression)}" for name in target.relations]
    for path in place.folders([target.manifest, *(alone if target.parts == 1 else ())]):
        raise ConfigurationError(f"{place.name}/{path} is a folder; choose another one")
    found += place.occupied(path for path in (target.manifest, *alone) if path not in found)
    for name in target.relations:
        in_parts = place.listed(name, below=True)
        found += sorted(path for path in in_parts if _replaces(target, _PART.fullmatch(path)))
    return found


def replaced(
    target: FilesTarget, window: Window, place: Place, written: Iterable[str] = ()
) -> list[str]:
    """The files of earlier runs that this one replaces, manifests first.

    ``written`` are names that the run gives. Raises ``ConfigurationError`` for a file that stands in the way
    and that no manifest lists: it may be somebody's.
    """
    found = of_another_run(target, window, place)
    found += place.occupied(path for path in written if path not in found)
    listed: dict[str, None] = {}
    for path in [one for one in found if _MANIFEST.fullmatch(one)]:
        files = _listed_in(place.read(path))
        if files is not None:
            listed |= dict.fromkeys([path, *files])
    for path in found:
        if path not in listed:
            what = "no manifest of datagen" if _MANIFEST.fullmatch(path) else "in no manifest"
            raise ConfigurationError(
                f"{place.name}/{path} is {what}, so --overwrite leaves it; remove it, or choose "
                "another folder"
            )
    return place.occupied(listed)


def clashes(target: FilesTarget, manifest: str) -> bool:
    """Whether a run with this manifest writes what the run of the target does."""
    return _replaces(target, _MANIFEST.fullmatch(manifest))


def _check_sibling(own: Mapping[str, Any], place: Place, path: str) -> None:
    try:
        found = json.loads(place.read(path))
        plan = {
            name: found["plan"][name] == own["plan"][name] for name in ("seed", "as_of", "days")
        }
        plan["labels"] = found["plan"].get("labels") == own["plan"].get("labels")
        alike = plan | {name: found[name] == own[name] for name in _SHARED}
        differing = [
            name.replace("whole", "range of customers") for name in alike if not alike[name]
        ]
        versions = [one["versions"]["catalogue"] for one in (found, own)]
    except (ValueError, KeyError, TypeError):
        differing, versions = ["content"], []
    if differing:
        raise ConfigurationError(
            f"{place.name}/{path} is of a part with another {differing[0]}; choose another folder"
        )
    theirs, ours = versions
    if theirs != ours:
        raise ConfigurationError(
            f"{place.name}/{path} is of a part with values of catalogue version {theirs!r}, and this run "
            f"has version {ours}; choose another folder"
        )


def _replaces(target: FilesTarget, name: re.Match[str] | None) -> bool:
    """Whether a file stands where the run writes; other parts of the same number of parts do not."""
    if name is None:
        return False
    part, parts = name.groups()
    alike = parts is not None and int(parts) == target.parts
    return not alike or target.part is None or int(part) == target.part


def _listed_in(content: bytes) -> list[str] | None:
    """The files that a manifest has; None if it is none of ours."""
    try:
        found: dict[str, Any] = json.loads(content)
        paths = [file["path"] for one in found["relations"].values() for file in one["files"]]
        _ = found["versions"]["datagen"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return [path for path in paths if isinstance(path, str) and _OURS.fullmatch(path)]
