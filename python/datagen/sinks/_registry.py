"""Schemas into a schema registry that speaks Confluent's API, before the first event is sent."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from ..errors import ConfigurationError, DatagenError, RejectedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from confluent_kafka.schema_registry import SchemaRegistryClient

    from ..presets import ProducerConfig

__all__ = ["check_options", "delete", "register"]

_log = logging.getLogger(__name__)

# A registry that hangs is given up after 9 s at most: three requests, and the waits between them.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "timeout": 2.5,
    "max.retries": 2,
    "retries.wait.ms": 500,
}
_NUMBERS: Final = frozenset({*_DEFAULTS, "retries.max.wait.ms", "cache.latest.ttl.sec"})


def check_options(config: ProducerConfig) -> bool:
    """Whether a registry is to be asked for; raises for options that can never work."""
    if config.schema_registry_url is None or not config.avro:
        return False
    try:
        with _client(config):
            return True
    except ImportError:
        _log.warning("confluent-kafka[avro] not installed. Using JSON serialization.")
        return False


def register(config: ProducerConfig, schemas: Mapping[str, str]) -> dict[str, int] | None:
    """The ids of Avro schemas by subject; None, with a warning, if no registry answers."""
    from confluent_kafka.schema_registry import Schema

    ids: dict[str, int] = {}
    where = ",".join(_urls(config)[0])
    with _client(config) as client:
        for subject, schema in schemas.items():
            try:
                found = client.register_schema(subject, Schema(schema, "AVRO"))
            except Exception as error:  # noqa: BLE001  # the HTTP client's have no public name
                if not _is_absent(error):
                    raise _refusal(error, config, subject, where) from None
                if ids:  # it is there, so its silence must not turn the load into JSON
                    raise UnreachableError(
                        f"Schema Registry at {where} stopped answering at {subject}. Repeat the "
                        "run, or send JSON with --no-avro."
                    ) from None
                _log.warning(
                    "Schema Registry at %s not available. Using JSON serialization.", where
                )
                return None
            if not isinstance(found, int):
                raise ConfigurationError(f"{where} does not answer as a Schema Registry does.")
            ids[subject] = found
    return ids


def delete(config: ProducerConfig, subjects: Iterable[str]) -> None:
    """Deletes subjects for good; those that are missing are gone."""
    where = ",".join(_urls(config)[0])
    with _client(config) as client:
        for subject in subjects:
            try:
                # For good means twice: the first time only hides it.
                client.delete_subject(subject)
                client.delete_subject(subject, permanent=True)
            except Exception as error:  # noqa: BLE001  # the HTTP client's have no public name
                if _is_absent(error):
                    raise UnreachableError(
                        f"Schema Registry at {where} did not answer; {subject} may still be there"
                    ) from None
                if getattr(error, "http_status_code", None) != 404:
                    raise _refusal(error, config, subject, where) from None


def _client(config: ProducerConfig) -> SchemaRegistryClient:
    from confluent_kafka.schema_registry import SchemaRegistryClient

    try:
        return SchemaRegistryClient(_options(config))
    except (ValueError, TypeError, OSError) as error:  # OSError: certificates and keys
        raise ConfigurationError(
            config.hide(f"Schema Registry option: {error}. Check the registry's options.")
        ) from None


def _options(config: ProducerConfig) -> dict[str, Any]:
    urls, user = _urls(config)
    options = {**_DEFAULTS, "url": ",".join(urls), **config.registry_options}
    if user:
        # Apart from the URL, which the HTTP client writes into its log.
        if "basic.auth.user.info" in options:
            raise ConfigurationError(
                "The Schema Registry's user is given twice: in its URL and in basic.auth.user.info."
            )
        options["basic.auth.user.info"] = user
    for name in _NUMBERS & options.keys():
        options[name] = float(options[name])
    return options


def _urls(config: ProducerConfig) -> tuple[list[str], str]:
    """The addresses without user and password, and the first user and password of them."""
    urls, user = [], ""
    for url in (config.schema_registry_url or "").split(","):
        parts = urlsplit(url.strip())
        found, _, host = parts.netloc.rpartition("@")
        name, _, password = found.partition(":")
        user = user or (f"{unquote(name)}:{unquote(password)}" if found else "")
        urls.append(urlunsplit(parts._replace(netloc=host)))
    return urls, user


def _is_absent(error: BaseException) -> bool:
    # The HTTP client is httpx or httpx2, whichever is there; both have this base class.
    transport = any(kind.__name__ == "TransportError" for kind in type(error).__mro__)
    return transport and not _is_tls(error)


def _is_tls(error: BaseException | None) -> bool:
    seen = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError) or "[SSL" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _refusal(error: Exception, config: ProducerConfig, subject: str, where: str) -> DatagenError:
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    if not isinstance(error, SchemaRegistryError):
        said = " ".join(str(error).split())[:300]
        return ConfigurationError(
            config.hide(f"Schema Registry at {where}: {said}. Check its URL and its options.")
        )
    status = error.http_status_code
    said = " ".join(str(error.error_message).split())[:300]
    said = config.hide(f"Schema Registry at {where} answered {status} for {subject}: {said}")
    if status in (401, 403):
        return ConfigurationError(f"{said}. Check its user and password (basic.auth.user.info).")
    if status in (409, 422):
        return RejectedError(f"{said}. Delete the subject, or send JSON with --no-avro.")
    if status >= 500 or status in (408, 429):
        return UnreachableError(f"{said}. Repeat the run, or send JSON with --no-avro.")
    return ConfigurationError(f"{said}. Check the registry's URL.")
