"""Schemas in a schema registry that speaks Confluent's API, before the first event is sent."""

from __future__ import annotations

import errno
import logging
import math
import ssl
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from ..._files import is_there
from ..._secrets import without_user
from ...errors import ConfigurationError, DatagenError, RejectedError, UnreachableError
from .proxies import direct, proxy_of
from .schema_layout import difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from confluent_kafka.schema_registry import SchemaRegistryClient

    from ...presets import AvroEnums, ProducerConfig
    from ...types import Relation

    T = TypeVar("T")

__all__ = ["SchemaReader", "avro_schema", "check_options", "delete", "register", "warn"]

_log = logging.getLogger(__name__)

# A registry that hangs is given up after 9 s at most: three requests, and the waits between them.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "timeout": 2.5,
    "max.retries": 2,
    "retries.wait.ms": 500,
}
_NUMBERS: Final = frozenset(
    {*_DEFAULTS, "retries.max.wait.ms", "cache.capacity", "cache.latest.ttl.sec"}
)
_FILES: Final = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
#: Options of the client's serializers, and their defaults.
_FLAGS: Final[Mapping[str, bool]] = {
    "auto.register.schemas": True,
    "normalize.schemas": False,
    "use.latest.version": False,
}
_JSON: Final = "or send JSON with --no-avro"
_MAX_TEXT: Final = 300
_POLL: Final = 0.1  # seconds


def avro_schema(relation: Relation, enums: AvroEnums) -> str:
    """The schema of a relation's rows, with enumerations or with strings in their place."""
    return relation.avro_schema_of_strings if enums == "string" else relation.avro_schema


def check_options(config: ProducerConfig) -> bool:
    """Whether a registry is to be asked for; raises for options that can never work."""
    if config.schema_registry_url is None or not config.avro:
        return False
    try:
        import confluent_kafka.schema_registry  # noqa: F401  # only whether it can be had
    except ImportError as error:
        if not config.may_be_json:
            raise ConfigurationError(
                f"The Schema Registry's client cannot be imported (no {error.name}); run: "
                f"pip install 'confluent-kafka[avro,schemaregistry]', {_JSON}."
            ) from None
        _log.warning("confluent-kafka[avro] not installed. Using JSON serialization.")
        return False
    with _Registry(config):
        return True


def register(config: ProducerConfig, schemas: Mapping[str, str]) -> dict[str, int] | None:
    """The ids of Avro schemas by subject: of those that are there, else they are registered.

    None where no registry answers and the configuration lets events be JSON; ``warn`` says so.
    """
    ids: dict[str, int] = {}
    with _Registry(config) as registry:
        for subject, schema in schemas.items():
            try:
                ids[subject] = registry.id_of(subject, schema)
                _log.debug("Schema Registry: %s has the id %d", subject, ids[subject])
            except DatagenError:
                raise
            except Exception as error:  # noqa: BLE001  # the HTTP client's have no public name
                if not _is_absent(error):
                    raise registry.refusal(error, subject) from None
                # Its silence must not turn a load into JSON once it has answered.
                if ids or not config.may_be_json:
                    raise registry.unreachable(
                        error, f"stopped answering at {subject}", ids
                    ) from None
                _log.info("Schema Registry: %s", registry.reason(error))
                return None
    return ids


def warn(config: ProducerConfig) -> None:
    """Says that events are JSON since no registry answered."""
    where = without_user(config.schema_registry_url or "")
    _log.warning("Schema Registry at %s not available. Using JSON serialization.", where)


def delete(config: ProducerConfig, subjects: Iterable[str]) -> None:
    """Deletes subjects for good; those that are missing are gone."""
    with _Registry(config) as registry:
        for subject in subjects:
            try:
                registry.delete(subject)
            except Exception as error:  # noqa: BLE001  # the HTTP client's have no public name
                if _is_absent(error):
                    raise registry.unreachable(error, f"stopped answering at {subject}") from None
                if getattr(error, "http_status_code", None) != 404:
                    raise registry.refusal(error, subject) from None


@dataclass(frozen=True)
class Found:
    """A schema of the registry: its kind ("AVRO", "JSON", "PROTOBUF"), its text, and those that it refers to.

    These come before what refers to them.
    """

    kind: str
    text: str
    references: list[str]


class SchemaReader:
    """Looks schemas up by their ids; connects when first asked. Raises as ``register`` does."""

    def __init__(self, config: ProducerConfig) -> None:
        self._registry = _Registry(config)

    def close(self) -> None:
        self._registry.__exit__()

    def find(self, ident: int) -> Found | None:
        """A schema; None if there is none of this id."""
        try:
            return self._registry.schema(ident)
        except Exception as error:
            if isinstance(error, DatagenError):
                raise
            if _is_absent(error):
                raise self._registry.unreachable(error, "", ()) from None
            status = getattr(error, "http_status_code", None)
            if status == 404 and _is_of_registry(getattr(error, "error_code", None)):
                return None
            raise self._registry.refusal(error, f"schema {ident}") from None


class _Registry:
    """A registry at one or several addresses, each with its own user and proxy.

    Making one connects to nothing and raises ``ConfigurationError`` for options that can never work.
    """

    def __init__(self, config: ProducerConfig) -> None:
        self._config = config
        options = _options(config)
        flags = {name: _flag(name, options.pop(name, usual)) for name, usual in _FLAGS.items()}
        self._may_register = flags["auto.register.schemas"]
        self._normalize = flags["normalize.schemas"]
        self._use_latest = flags["use.latest.version"]
        if self._use_latest and self._may_register and "auto.register.schemas" in _given(config):
            raise ConfigurationError(
                "Schema Registry option auto.register.schemas=true and use.latest.version=true "
                "exclude each other; leave one out."
            )
        addresses = [_split_user(url) for url in (config.schema_registry_url or "").split(",")]
        if "basic.auth.user.info" in options and any(user for _, user in addresses):
            raise ConfigurationError(
                "The Schema Registry's user is given twice: in its URL and in basic.auth.user.info."
            )
        #: Its addresses, without users and queries.
        self.where = without_user(",".join(url for url, _ in addresses))
        self._via = ""
        self._stack = ExitStack()
        self._clients = [
            self._stack.enter_context(self._client(url, user, options)) for url, user in addresses
        ]
        self._current = 0
        # For all attempts of a request. One that is answered byte by byte never times out by itself.
        self._limit = 2 * (1 + options["timeout"]) * (1 + options["max.retries"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def id_of(self, subject: str, schema: str) -> int:
        """The id of a schema under a subject."""
        from confluent_kafka.schema_registry import Schema
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        if self._use_latest:
            return self._latest(subject, schema)
        wanted = Schema(schema, "AVRO")
        found = self._look_up(subject, wanted, normalize=self._normalize)
        if found is not None:
            return found
        if not self._may_register:
            found = self._look_up(subject, wanted, normalize=True)
            if found is None:
                raise ConfigurationError(
                    f"Schema Registry at {self.where} has not the schema of {subject}, and "
                    "auto.register.schemas=false. Register it, or leave that option out."
                )
            return found
        try:
            return self._checked(
                self._ask(
                    lambda client: client.register_schema(
                        subject, wanted, normalize_schemas=self._normalize
                    )
                )
            )
        except SchemaRegistryError as error:
            # Without the right to register, the schema may still be there, written by another client.
            if error.http_status_code not in {402, 403} and error.error_code != 42205:
                raise
            found = self._look_up(subject, wanted, normalize=True)
            if found is None:
                raise
            return found

    def schema(self, ident: int) -> Found:
        """A schema by its id, with those that it refers to."""
        found = self._ask(lambda client: client.get_schema(ident))
        before: dict[tuple[str, int], str] = {}
        self._add_references(found, before)
        return Found(found.schema_type or "AVRO", str(found.schema_str), [*before.values()])

    def _add_references(self, schema: Any, before: dict[tuple[str, int], str]) -> None:
        for one in schema.references or ():
            where = one.subject, one.version
            if where not in before:
                other = self._ask(partial(_version, *where)).schema
                self._add_references(other, before)
                before[where] = str(other.schema_str)

    def delete(self, subject: str) -> None:
        # For good means twice: the first time only hides it.
        self._ask(lambda client: client.delete_subject(subject))
        self._ask(lambda client: client.delete_subject(subject, permanent=True))

    def _ask(self, call: Callable[[SchemaRegistryClient], T]) -> T:
        """The registry's answer, from the first address that gives one."""
        while True:
            client = self._clients[self._current]
            _log.debug("asking the Schema Registry at %s", self.where)
            try:
                return _within(self._limit, partial(call, client))
            except Exception as error:
                last = self._current == len(self._clients) - 1
                status = getattr(error, "http_status_code", None)
                if last or not (_is_transport(error) or _is_passing(status)):
                    raise
                self._current += 1

    def _look_up(self, subject: str, schema: Any, *, normalize: bool) -> int | None:
        """The id of a schema that is there already."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            found = self._ask(
                lambda client: client.lookup_schema(subject, schema, normalize_schemas=normalize)
            )
        except SchemaRegistryError as error:
            status, code = error.http_status_code, error.error_code
            if status == 404 and _is_of_registry(code):
                return None
            # A user may have the right to write and not to read.
            if status in {403, 405} and self._may_register:
                return None
            raise
        return self._checked(found.schema_id)

    def _latest(self, subject: str, schema: str) -> int:
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        use = f"Schema Registry at {self.where}: use.latest.version=true, and {subject}"
        try:
            found = self._ask(lambda client: client.get_latest_version(subject))
        except SchemaRegistryError as error:
            if error.http_status_code == 404 and _is_of_registry(error.error_code):
                raise ConfigurationError(f"{use} has no schema. Register one first.") from None
            raise
        theirs = found.schema
        if (theirs.schema_type or "AVRO") != "AVRO":
            raise ConfigurationError(f"{use} holds {theirs.schema_type}, not Avro.")
        if how := difference(schema, str(theirs.schema_str)):
            raise ConfigurationError(
                self._config.hide(f"{use} differs from what is sent: {how}. Leave that option out.")
            )
        return self._checked(found.schema_id)

    def _checked(self, ident: object) -> int:
        if not isinstance(ident, int) or isinstance(ident, bool) or not 0 <= ident < 2**31:
            raise self._not_a_registry()
        return ident

    def _client(self, url: str, user: str, options: Mapping[str, Any]) -> SchemaRegistryClient:
        from confluent_kafka.schema_registry import SchemaRegistryClient

        mine = {"url": url, **options}
        if user:
            # Apart from the URL, which the HTTP client writes into its log.
            mine["basic.auth.user.info"] = user
        if urlsplit(url).scheme == "http":
            # Where no certificate is looked at, the authorities' need not be read, which takes longer than all else.
            mine.setdefault("ssl.ca.location", False)
        origin = "Schema Registry option proxy"
        proxy = options.get("proxy")
        if proxy is None:
            variable, proxy = proxy_of(url)
            origin = f"The proxy of {variable}"
        if proxy is not None:
            mine["proxy"] = proxy
            self._via = f" ({origin[0].lower()}{origin[1:]})"
        try:
            with direct():  # no other proxy than that
                return SchemaRegistryClient(mine)
        except ImportError:  # of what a proxy that is not of HTTP needs
            kind = str(proxy).partition("://")[0]
            raise ConfigurationError(
                f"{origin} cannot be used for the Schema Registry at {url}: a proxy of {kind}:// "
                "needs the Python package socksio. Install it, use a proxy of http://, or name the "
                "registry's host in NO_PROXY."
            ) from None
        except ssl.SSLError:
            raise ConfigurationError(
                "Schema Registry options ssl.*.location: a certificate or key is no PEM, does not "
                "belong to the other, or wants another ssl.key.password."
            ) from None
        except Exception as error:  # those of an HTTP client's URLs are its own
            if isinstance(error, OSError) and error.errno == errno.EMFILE:
                raise  # no option's
            if proxy is not None and "proxy" in str(error).lower():
                raise ConfigurationError(
                    self._config.hide(f"{origin} cannot be used: {error}")
                ) from None
            raise ConfigurationError(
                self._config.hide(f"Schema Registry option: {error}. Check the registry's options.")
            ) from None

    def reason(self, error: Exception) -> str:
        """The HTTP client's error, on one line."""
        said = self._config.hide(str(error) or type(error).__name__)[:_MAX_TEXT]
        return f"{said.rstrip('. ')}{self._via}"

    def unreachable(self, error: Exception, stopped: str, ids: object = True) -> UnreachableError:
        """The exception for a registry that cannot be reached, or stopped answering."""
        what = stopped if ids else "cannot be reached"
        return UnreachableError(
            f"Schema Registry at {self.where} {what}: {self.reason(error)}. Check its URL and that "
            f"it is running, {_JSON}."
        )

    def refusal(self, error: Exception, subject: str) -> DatagenError:
        """The exception for an answer of the registry that is an error."""
        from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError

        if isinstance(error, OAuthTokenError):
            return ConfigurationError(
                f"Schema Registry at {self.where}: no token ({self.reason(error)}). Check "
                "bearer.auth.*."
            )
        if not isinstance(error, SchemaRegistryError):
            if _is_transport(error) and _is_tls(error):
                return ConfigurationError(
                    f"Schema Registry at {self.where}: {self.reason(error)}. Check http:// or "
                    "https://, and ssl.ca.location (--registry-ca)."
                )
            return self._not_a_registry()
        status, code = error.http_status_code, error.error_code
        # Without a code of its own it is no registry's answer but a whole page of something else.
        said = "" if code == -1 else self._config.hide(str(error.error_message or ""))[:_MAX_TEXT]
        said = f"Schema Registry at {self.where} answered {status} for {subject}" + (
            f": {said.rstrip('. ')}" if said else ""
        )
        kind, hint = _meaning(status, code)
        return kind(f"{said}. {hint}")

    def _not_a_registry(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.where} does not answer as a Schema Registry does{self._via}. Check the "
            f"registry's URL, {_JSON}."
        )


class _NoAnswerError(Exception):
    """A request was not answered in the time that it may take at most."""


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The result of ``call``, waited for so long; signals are handled meanwhile."""
    result: list[T] = []
    failure: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            result.append(call())
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            failure.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="schema registry", daemon=True).start()
    end = time.monotonic() + seconds
    while not done.wait(_POLL):  # a signal is handled in between
        if time.monotonic() >= end:
            raise _NoAnswerError(f"no whole answer within {seconds:g} s")
    if failure:
        raise failure[0]
    return result[0]


def _version(subject: str, version: int, client: SchemaRegistryClient) -> Any:
    return client.get_version(subject, version)


def _meaning(status: int, code: object) -> tuple[type[DatagenError], str]:
    """The exception for a status of HTTP and a code of the registry, and what to do about it."""
    if status == 409:
        return RejectedError, (
            f"The schema is incompatible with what is there: delete the subject, {_JSON}."
        )
    if code == 42205:
        return ConfigurationError, (
            "The registry is in read-only mode: have its mode changed, or the schema registered."
        )
    if status == 422:
        return RejectedError, f"The registry does not take this schema: use another, {_JSON}."
    if status == 429:
        return UnreachableError, "Its limit of requests is used up: wait, or have it raised."
    if status >= 500 or status == 408:
        return UnreachableError, f"The registry is in trouble: look at its log, {_JSON}."
    hints = {
        401: "Check its user and password (--registry-user, basic.auth.user.info) or token.",
        402: "The registry's plan takes no more schemas: remove some, or have its limit raised.",
        403: "This user lacks the right to: grant it, or have the schema registered by another.",
        407: "Check the user and password of the proxy.",
    }
    if status in hints:
        return ConfigurationError, hints[status]
    if 300 <= status < 400:
        return ConfigurationError, "It points elsewhere: give the URL that it points to."
    return ConfigurationError, "Check the registry's URL and its path; it may be something else."


def _given(config: ProducerConfig) -> dict[str, Any]:
    """The registry's options by the client's names."""
    return {
        name.strip().lower().removeprefix("schema.registry."): value
        for name, value in config.registry_options.items()
    }


def _options(config: ProducerConfig) -> dict[str, Any]:
    options = {**_DEFAULTS, **_given(config)}
    if "url" in options:
        raise ConfigurationError(
            "Schema Registry option url: give the address by --schema-registry."
        )
    for name in sorted(_NUMBERS & options.keys()):
        try:
            number = float(options[name])
        except (ValueError, OverflowError):
            number = math.nan
        if not 0 <= number < 2**31:
            raise ConfigurationError(
                f"Schema Registry option {name}={config.hide(str(options[name])[:50])}: use a "
                f"number from 0 to {2**31 - 1}."
            )
        options[name] = number
    for name in _FILES:
        location = options.get(name)
        if isinstance(location, str) and not is_there(location):
            raise ConfigurationError(
                f"Schema Registry option {name}={location}: there is no such file."
            )
    if "ssl.certificate.location" in options:
        # Without one OpenSSL would ask the terminal.
        options.setdefault("ssl.key.password", "")
    if "bearer.auth.token" in options:
        options.setdefault("bearer.auth.credentials.source", "STATIC_TOKEN")
    if options.get("bearer.auth.credentials.source") == "STATIC_TOKEN":
        # Only a registry that several share needs to know which of them is meant.
        options.setdefault("bearer.auth.logical.cluster", "")
    user = options.get("basic.auth.user.info")
    if user is not None and ":" not in str(user):
        raise ConfigurationError(
            "Schema Registry option basic.auth.user.info: write USER:PASSWORD."
        )
    return options


def _flag(name: str, value: object) -> bool:
    text = str(value).strip().lower()
    if text not in {"true", "false"}:
        raise ConfigurationError(f"Schema Registry option {name}: use true or false.")
    return text == "true"


def _split_user(url: str) -> tuple[str, str]:
    """An address without user and password, and these."""
    parts = urlsplit(url.strip())
    found, _, host = parts.netloc.rpartition("@")
    name, _, password = found.partition(":")
    user = f"{unquote(name)}:{unquote(password)}" if found else ""
    return urlunsplit(parts._replace(netloc=host)), user


def _is_of_registry(code: object) -> bool:
    """Whether a code of an error is one of Confluent's for what is not found."""
    return isinstance(code, int) and 40400 <= code <= 40499


def _is_passing(status: int | None) -> bool:
    return status is not None and (status >= 500 or status in {408, 429})


def _is_transport(error: BaseException) -> bool:
    # The HTTP client is httpx or httpx2, whichever is there; both have this base class.
    return isinstance(error, _NoAnswerError) or _is_a(error, "TransportError")


def _is_absent(error: BaseException) -> bool:
    """Whether nothing is there that speaks HTTP."""
    # A server that hangs up gave no answer; one that answers something else is there.
    other = _is_a(error, "RemoteProtocolError") and "without sending" not in str(error)
    wrong = other or _is_a(error, "UnsupportedProtocol") or _is_a(error, "LocalProtocolError")
    return _is_transport(error) and not wrong and not _is_tls(error)


def _is_a(error: BaseException, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(error).__mro__)


def _is_tls(error: BaseException | None) -> bool:
    seen = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError) or "[SSL" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
