"""The registry's contents: which schema is which version of which subject."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any

from datagen._files import write_whole

from ._avro import InvalidSchemaError, Schema, incompatibilities

if TYPE_CHECKING:
    from pathlib import Path

LEVELS = (
    *("NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE"),
    *("FULL", "FULL_TRANSITIVE"),
)
Json = dict[str, Any]


class RegistryError(Exception):
    """A refusal: the HTTP status is the first three digits of the Confluent error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = int(str(code)[:3])


class Subjects:
    """Every change is in the file before the call returns. Safe to use from many threads.

    A schema is known by its text (white space aside) and has one id in all subjects. A deleted
    version keeps its number until it is deleted for good, as in Confluent's registry.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._schemas: dict[int, str] = {}
        self._versions: dict[str, list[Json]] = {}  # subject -> {"version", "id", "deleted"}
        self._levels: dict[str, str] = {}  # "" is the global level
        if file.exists():
            kept = json.loads(file.read_text(encoding="utf-8"))
            self._schemas = {int(number): text for number, text in kept["schemas"].items()}
            self._versions = kept["subjects"]
            self._levels = kept["compatibility"]

    # --- reading ---------------------------------------------------------------------------

    def names(self, *, deleted: bool = False) -> list[str]:
        with self._lock:
            return sorted(name for name in self._versions if self._alive(name, deleted=deleted))

    def versions(self, subject: str, *, deleted: bool = False) -> list[int]:
        with self._lock:
            return [entry["version"] for entry in self._subject(subject, deleted=deleted)]

    def version(self, subject: str, wanted: str, *, deleted: bool = False) -> Json:
        """One version as ``{"subject", "version", "id", "schema"}``; ``wanted`` may be latest."""
        with self._lock:
            return self._described(subject, self._entry(subject, wanted, deleted=deleted))

    def schema(self, number: int) -> str:
        with self._lock:
            if number not in self._schemas:
                raise RegistryError(40403, f"Schema {number} not found")
            return self._schemas[number]

    def uses(self, number: int, *, deleted: bool = False) -> list[Json]:
        """The subjects and versions that hold the schema ``number``."""
        with self._lock:
            self.schema(number)
            return [
                {"subject": subject, "version": entry["version"]}
                for subject in sorted(self._versions)
                for entry in self._alive(subject, deleted=deleted)
                if entry["id"] == number
            ]

    def lookup(self, subject: str, text: str, *, deleted: bool = False) -> Json:
        wanted = _parse(text).text
        with self._lock:
            for entry in reversed(self._subject(subject, deleted=deleted)):
                if self._schemas[entry["id"]] == wanted:
                    return self._described(subject, entry)
        raise RegistryError(40403, "Schema not found")

    def level(self, subject: str = "", *, or_global: bool = True) -> str:
        with self._lock:
            if subject and subject not in self._levels and not or_global:
                raise RegistryError(
                    40408,
                    f"Subject '{subject}' does not have subject-level compatibility configured",
                )
            return self._levels.get(subject, self._levels.get("", "BACKWARD"))

    def problems(self, subject: str, text: str, wanted: str | None = None) -> list[str]:
        """Why the schema may not follow the subject's versions (or the one ``wanted``)."""
        schema = _parse(text)
        with self._lock:
            against = self._alive(subject) if wanted is None else [self._entry(subject, wanted)]
            return self._compare(self.level(subject), schema, against)

    # --- changing --------------------------------------------------------------------------

    def register(self, subject: str, text: str) -> Json:
        """Add the schema as the next version unless the subject has it; return that version."""
        schema = _parse(text)
        with self._lock:
            alive = self._alive(subject)
            for entry in alive:
                if self._schemas[entry["id"]] == schema.text:
                    return self._described(subject, entry)
            problems = self._compare(self.level(subject), schema, alive)
            if problems:
                raise RegistryError(
                    409,
                    "Schema being registered is incompatible with an earlier schema for subject "
                    f'"{subject}", details: {problems}',
                )
            number = next((i for i, kept in self._schemas.items() if kept == schema.text), None)
            if number is None:
                number = max(self._schemas, default=0) + 1
                self._schemas[number] = schema.text
            entries = self._versions.setdefault(subject, [])
            version = max((entry["version"] for entry in entries), default=0) + 1
            entries.append({"version": version, "id": number, "deleted": False})
            self._save()
            return self._described(subject, entries[-1])

    def delete(self, subject: str, *, permanent: bool = False) -> list[int]:
        with self._lock:
            if subject not in self._versions:
                raise RegistryError(40401, f"Subject '{subject}' not found.")
            if permanent:
                if self._alive(subject):
                    raise RegistryError(
                        40405,
                        f"Subject '{subject}' was not deleted first before being permanently "
                        "deleted",
                    )
                return [entry["version"] for entry in self._drop(subject)]
            entries = self._alive(subject)
            if not entries:
                raise RegistryError(
                    40404,
                    f"Subject '{subject}' was soft deleted. Set permanent=true to delete "
                    "permanently",
                )
            for entry in entries:
                entry["deleted"] = True
            self._save()
            return [entry["version"] for entry in entries]

    def delete_version(self, subject: str, wanted: str, *, permanent: bool = False) -> int:
        with self._lock:
            entry = self._entry(subject, wanted, deleted=True)
            version: int = entry["version"]
            state = f"Subject '{subject}' Version {version} was"
            if permanent:
                if not entry["deleted"]:
                    raise RegistryError(
                        40407, f"{state} not deleted first before being permanently deleted"
                    )
                self._versions[subject].remove(entry)
                if not self._versions[subject]:
                    self._drop(subject)
            elif entry["deleted"]:
                raise RegistryError(
                    40406, f"{state} soft deleted. Set permanent=true to delete permanently"
                )
            entry["deleted"] = True
            self._save()
            return version

    def set_level(self, level: object, subject: str = "") -> str:
        if level not in LEVELS:
            raise RegistryError(
                42203, f"Invalid compatibility level. Valid values are {', '.join(LEVELS)}"
            )
        with self._lock:
            self._levels[subject] = str(level)
            self._save()
            return str(level)

    def clear_level(self, subject: str = "") -> str:
        """Forget a level that was set; return what it was."""
        with self._lock:
            old = self.level(subject, or_global=not subject)
            self._levels.pop(subject, None)
            self._save()
            return old

    # --- inside the lock -------------------------------------------------------------------

    def _alive(self, subject: str, *, deleted: bool = False) -> list[Json]:
        return [e for e in self._versions.get(subject, []) if deleted or not e["deleted"]]

    def _subject(self, subject: str, *, deleted: bool = False) -> list[Json]:
        entries = self._alive(subject, deleted=deleted)
        if not entries:
            raise RegistryError(40401, f"Subject '{subject}' not found.")
        return entries

    def _entry(self, subject: str, wanted: str, *, deleted: bool = False) -> Json:
        entries = self._subject(subject, deleted=deleted)
        if wanted in ("latest", "-1"):
            return entries[-1]
        number = int(wanted) if re.fullmatch("[0-9]{1,10}", wanted) else 0
        if not 0 < number < 2**31:
            raise RegistryError(
                42202,
                f"The specified version '{wanted[:40]}' is not a valid version id. Allowed values are "
                'between [1, 2^31-1] and the string "latest"',
            )
        for entry in entries:
            if entry["version"] == number:
                return entry
        raise RegistryError(40402, f"Version {number} not found.")

    def _described(self, subject: str, entry: Json) -> Json:
        return {
            "subject": subject,
            "version": entry["version"],
            "id": entry["id"],
            "schema": self._schemas[entry["id"]],
        }

    def _compare(self, level: str, new: Schema, entries: list[Json]) -> list[str]:
        if level == "NONE":
            return []
        found = []
        for entry in entries if level.endswith("_TRANSITIVE") else entries[-1:]:
            old = _parse(self._schemas[entry["id"]])
            if not level.startswith("FORWARD"):
                found += incompatibilities(reader=new, writer=old)
            if not level.startswith("BACKWARD"):
                found += incompatibilities(reader=old, writer=new)
        return found

    def _drop(self, subject: str) -> list[Json]:
        """Forget a subject with its level. Ids stay taken: messages may still carry them."""
        entries = self._versions.pop(subject)
        self._levels.pop(subject, None)
        self._save()
        return entries

    def _save(self) -> None:
        content = {
            "schemas": {str(number): text for number, text in self._schemas.items()},
            "subjects": self._versions,
            "compatibility": self._levels,
        }
        text = json.dumps(content, indent=1, ensure_ascii=False)
        write_whole(self._file, text.encode(), 0o600)


def _parse(text: str) -> Schema:
    try:
        return Schema(text)
    except InvalidSchemaError as error:
        raise RegistryError(42201, f"Invalid Avro schema: {error}") from None
