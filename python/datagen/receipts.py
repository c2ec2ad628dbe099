"""What a run did, in a small file: enough to look up later what it was to leave, and where.

A receipt is written as a run begins and replaced as it ends, so that one of a process that was killed is there too,
and says that it has not ended. It holds no checksums: these follow from the plan, and ``verify`` makes them.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ._claims import claimed
from ._core import Plan, __version__
from ._files import named, read_whole, reason, write_whole
from ._secrets import Secrets
from .errors import ConfigurationError, DatagenError
from .types import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Ending", "Receipt", "Recorder", "as_text", "folder", "found"]

#: The layout of the file.
_FORMAT: Final = 1

#: How a run ended: all that was planned is there and counted, an error ended it, or a signal or the reader of its
#: output did. ``unfinished`` is what a run says until it ends.
Ending = Literal["unfinished", "ok", "failed", "interrupted"]

_log = logging.getLogger(__name__)


def folder() -> Path:
    """Where receipts are that were given no path: in the user's folder for state, as XDG has it.

    Raises ``ConfigurationError`` where no home of the user is known.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    try:
        # A relative path is to be ignored, says the specification.
        state = Path(given) if given.startswith("/") else Path.home() / ".local/state"
    except RuntimeError:
        raise ConfigurationError(
            "the user has no home folder, where receipts would be; name a path"
        ) from None
    return state / "datagen" / "runs"


class Recorder:
    """Writes the receipt of one run: to ``path``, or else to a new file in ``folder``.

    ``options`` are those of the command, as JSON has them and without secrets. A receipt that cannot be written
    is warned of, since the run itself is none the worse.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        command: str = "library",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        began = datetime.now(UTC)
        self.run = f"{began:%Y%m%dT%H%M%SZ}-{os.urandom(3).hex()}"
        self.path = path or folder() / f"{self.run}.json"
        #: Whether a receipt of this run is there.
        self.written = False
        self._own = path is None
        self._head = {
            "format": _FORMAT,
            "run": self.run,
            "command": command,
            "version": __version__,
            "catalogue": catalogue().version,
            "options": dict(options or {}),
            "began": as_text(began),
            "attempts": 1,
        }
        #: Whether the run must not go on without its receipt.
        self._needed = False
        #: Whether it was said that the receipt cannot be written.
        self._warned = False

    @classmethod
    def again(cls, receipt: Receipt) -> Recorder:
        """One that writes the receipt of a run anew for a further attempt at it.

        That cannot do without: an attempt that is killed in its turn is resumed by what the receipt says.
        """
        recorder = cls(receipt.path, command=receipt.command, options=receipt.options)
        recorder.go_on(receipt)
        return recorder

    def go_on(self, receipt: Receipt) -> None:
        """Takes note of how often the run was attempted."""
        self.run = receipt.run
        self._head |= {
            "run": receipt.run,
            "began": receipt.began,
            "attempts": receipt.attempts + 1,
        }
        self._needed = True

    @contextmanager
    def claimed(self, *, wait: bool) -> Iterator[bool]:
        """Has the receipt to this process for as long as the block lasts; whether another had it before.

        With ``wait`` that one's end is waited for; else raises ``ConfigurationError``.
        """
        if self._own:
            # Where that fails, it fails again as the receipt is written, and is said then.
            with suppress(OSError):
                self._make_folder()
        with claimed(self.path, wait=wait) as waited:
            yield waited

    def write(self, outcome: Ending, content: Mapping[str, Any], error: str = "") -> None:
        """Replaces the file; ``content`` is what plan, sinks and stream say.

        Raises ``ConfigurationError`` where that cannot be done for a further attempt that is about to begin.
        """
        ended = None if outcome == "unfinished" else as_text(datetime.now(UTC))
        whole = {
            **self._head,
            "ended": ended,
            "outcome": outcome,
            "error": Secrets(())(error) or None,
            **content,
        }
        try:
            if self._own:
                self._make_folder()
            text = json.dumps(whole, ensure_ascii=False, indent=1)
            write_whole(self.path, text.encode() + b"\n", 0o600)
        except OSError as failure:
            if outcome == "unfinished":
                if self._needed:
                    raise ConfigurationError(
                        f"{self.path}: the receipt cannot be written ({reason(failure)}), and without it what is sent "
                        "now could not be told from what is missing"
                    ) from None
                # What it says of an earlier moment would be taken for where the run began.
                with suppress(OSError):
                    self.path.unlink()
                self.written = False
            if not self._warned:
                # A stream tries again every few seconds.
                self._warned = True
                _log.warning(
                    "%s: the receipt cannot be written (%s): this run can be neither resumed nor verified by one",
                    self.path,
                    reason(failure),
                )
        else:
            self.written = True

    def _make_folder(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a receipt says: of the plan, of the sinks by name, and of a stream how far it came."""

    path: Path
    run: str
    command: str
    version: str
    catalogue: int
    plan: Mapping[str, Any]
    options: Mapping[str, Any]
    began: str
    ended: str | None
    outcome: str
    error: str | None
    sinks: Mapping[str, Mapping[str, Any]]
    stream: Mapping[str, Any] | None = None
    order: str = "time"
    rows: Mapping[str, int] = field(default_factory=dict)
    attempts: int = 1
    #: Of how many shards it is: more than one where their receipts were merged.
    shards: int = 1

    @classmethod
    def read(cls, path: Path) -> Receipt:
        """The receipt that a file holds.

        Raises ``ConfigurationError`` for a file that is none, or of another layout.
        """
        try:
            content = json.loads(read_whole(path))
            layout = content["format"]
            if layout != _FORMAT:
                raise ConfigurationError(
                    f"{path} has the receipt format {layout}, and this version of datagen reads {_FORMAT}"
                )
            return cls(
                path=path,
                run=str(content["run"]),
                command=str(content["command"]),
                version=str(content["version"]),
                catalogue=int(content["catalogue"]),
                plan=dict(content["plan"]),
                options=dict(content["options"]),
                began=str(content["began"]),
                ended=content["ended"],
                outcome=str(content["outcome"]),
                error=content["error"],
                sinks={name: dict(one) for name, one in content["sinks"].items()},
                stream=None if content.get("stream") is None else dict(content["stream"]),
                order=str(content["order"]),
                rows={name: int(count) for name, count in content["rows"].items()},
                attempts=int(content.get("attempts", 1)),
                shards=int(content.get("shards", 1)),
            )
        except OSError as error:
            raise ConfigurationError(f"{path}: no receipt can be read ({reason(error)})") from None
        except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
            if isinstance(error, DatagenError):
                raise
            raise ConfigurationError(f"{path} is not the receipt of a run") from None

    @property
    def killed_at(self) -> str | None:
        """Of a stream that has not come to its end: the event time up to which its last receipt says all is there."""
        if self.outcome != "unfinished" or self.stream is None:
            return None
        return str(self.stream.get("until"))

    @property
    def of_shards(self) -> int:
        """Of how many shards this is one, or all: 1 of a run that is not in parts."""
        said = self.options.get("shard")
        if said is None:
            return self.shards
        # A receipt of a stream has it as its option is written.
        return int(said.rpartition("/")[2] if isinstance(said, str) else said[1])

    def tables_at(self, sink: str) -> datetime | None:
        """The instant that the tables of a sink are to be as of; None where that is the plan's end."""
        kept = self.sinks.get(sink, {})
        if kept.get("as_of") is not None:
            return datetime.fromisoformat(kept["as_of"])
        if not kept.get("follows") or self.stream is None:
            return None
        # Up to the start nothing of the tables changes.
        return max(datetime.fromisoformat(self.stream[name]) for name in ("start", "until"))

    def as_plan(self) -> Plan:
        """The plan of the run; raises ``ConfigurationError`` where this datagen makes other values."""
        if self.catalogue != catalogue().version:
            raise ConfigurationError(
                f"{self.path} is of version {self.catalogue} of the catalogue, and this datagen makes version "
                f"{catalogue().version}, whose values differ; use datagen {self.version}"
            )
        try:
            asked = self.plan
            return Plan(
                asked["seed"],
                asked["customers"],
                as_of=asked["as_of"],
                days=asked["days"],
                labels=asked.get("labels"),
            )
        except (KeyError, TypeError, ValueError, DatagenError) as error:
            raise ConfigurationError(f"{self.path} has no whole plan ({error})") from None


def found(where: Path | None = None) -> Iterator[Receipt]:
    """The receipts in a folder, by default the user's own, those of the last runs first; other files are passed.

    Raises ``ConfigurationError`` for what is no folder that can be read; one that is not there has none.
    """
    chosen = where or folder()
    try:
        names = [one.name for one in named(chosen).iterdir()]
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"{chosen}: no receipts can be read ({reason(error)})") from None
    for name in sorted((one for one in names if one.endswith(".json")), reverse=True):
        path = chosen / name
        try:
            yield Receipt.read(path)
        except ConfigurationError as error:
            _log.info("%s", error)


def as_text(instant: datetime) -> str:
    """An instant as JSON has it."""
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
