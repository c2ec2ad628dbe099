"""Options of Kafka clients by one name each: librdkafka's, from its aliases and from Java's names."""

from __future__ import annotations

import math
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from ._client_settings import number
from ._files import read_start
from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._client_settings import Value

__all__ = ["canonical", "name_of"]

_JAVA: Final = "a Java class, which only Java can run"

#: The name that is used here, by librdkafka's other names and by Java's.
_ALIASES: Final[Mapping[str, str]] = {
    "metadata.broker.list": "bootstrap.servers",
    "request.required.acks": "acks",
    "queue.buffering.max.ms": "linger.ms",
    "compression.codec": "compression.type",
    "message.send.max.retries": "retries",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "delivery.timeout.ms": "message.timeout.ms",
    "sasl.mechanism": "sasl.mechanisms",
    "max.request.size": "message.max.bytes",
    "send.buffer.bytes": "socket.send.buffer.bytes",
    "receive.buffer.bytes": "socket.receive.buffer.bytes",
    "ssl.truststore.certificates": "ssl.ca.pem",
    "ssl.keystore.certificate.chain": "ssl.certificate.pem",
    "ssl.keystore.key": "ssl.key.pem",
}
_LOGIN: Final = re.compile(
    r"\s*(?P<module>[\w.$]+)\s+(?:required|requisite|sufficient|optional)\b(?P<options>.*?);?\s*",
    re.DOTALL | re.IGNORECASE,
)
_LOGIN_OPTION: Final = re.compile(
    r"\s*([\w.-]+)\s*=\s*(\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[^\s;\"']+)", re.DOTALL
)
_PEM: Final = b"-----BEGIN "


def name_of(name: str) -> str:
    """The one name of an option, whatever its case and its other names."""
    name = name.strip().lower()
    return _ALIASES.get(name, name)


def canonical(options: Mapping[str, Value]) -> dict[str, Value]:
    """The same options by librdkafka's names; of two names for one thing the last counts.

    Raises ``ConfigurationError`` for what only Java can do, saying what to do instead.
    """
    found: dict[str, Value] = {}
    for given, said in options.items():
        name, value = name_of(given), said
        if name == "buffer.memory":
            if (size := number(value)) is None:
                raise ConfigurationError(f"Kafka option {name}: it is no number of bytes.")
            name, value = "queue.buffering.max.kbytes", _kibibytes(size)
        elif name == "ssl.endpoint.identification.algorithm" and value == "":
            value = "none"  # empty is Java's word for it
        elif name == "acks" and str(value).strip() == "-1":
            value = "all"
        elif name.endswith("callback.handler.class") or name == "sasl.login.class":
            raise ConfigurationError(
                f"Kafka option {name} names {_JAVA}. Remove it, and give sasl.* by librdkafka's "
                "names."
            )
        found.pop(name, None)
        found[name] = value
    _take_login(found)
    _take_store(found, "truststore", "ssl.ca.location")
    _take_store(found, "keystore", "ssl.certificate.location", "ssl.key.location")
    return found


def _kibibytes(size: float) -> int:
    if isinstance(size, int):
        return -(-size // 1024)
    return math.ceil(size / 1024) if math.isfinite(size) else 2**63


def _take_login(options: dict[str, Value]) -> None:
    """User and password out of ``sasl.jaas.config``, unless they are given after it."""
    if "sasl.jaas.config" not in options:
        return
    names = list(options)
    after = set(names[names.index("sasl.jaas.config") :])
    login = options.pop("sasl.jaas.config")
    # No part of it gets into an error but the name of the module: the rest may be the password.
    found = _LOGIN.fullmatch(str(login))
    module = found["module"] if found else ""
    kind = module.rpartition(".")[2]
    if kind not in {"PlainLoginModule", "ScramLoginModule"}:
        shown = module if kind.endswith("LoginModule") else "a value that is none"
        raise ConfigurationError(
            f"Kafka option sasl.jaas.config has {shown}; only PlainLoginModule and "
            "ScramLoginModule can be used. Give sasl.mechanism and what it needs by librdkafka's "
            "names."
        )
    assert found is not None  # noqa: S101  # for the type checker
    said, end = dict[str, str](), 0
    while option := _LOGIN_OPTION.match(found["options"], end):
        said[option[1].lower()] = _unquoted(option[2])
        end = option.end()
    if found["options"][end:].strip() or not {"username", "password"} <= said.keys():
        raise ConfigurationError(
            f'Kafka option sasl.jaas.config: write {kind} required username="…" password="…";'
        )
    if said.get("tokenauth", "false").lower() == "true":
        raise ConfigurationError(
            "Kafka option sasl.jaas.config: delegation tokens (tokenauth) cannot be used."
        )
    mechanism = str(options.get("sasl.mechanisms", "")).upper()
    if not mechanism and kind == "PlainLoginModule":
        options["sasl.mechanisms"] = mechanism = "PLAIN"
    if not mechanism.startswith(kind.removesuffix("LoginModule").upper()):
        raise ConfigurationError(
            f"Kafka option sasl.jaas.config has {kind}, which does not go with sasl.mechanism="
            f"{mechanism or '(none)'}. Use PLAIN, or SCRAM-SHA-256 or SCRAM-SHA-512 with "
            "ScramLoginModule."
        )
    for name in ("username", "password"):
        if f"sasl.{name}" not in after:
            options[f"sasl.{name}"] = said[name]


def _unquoted(text: str) -> str:
    """A value of JAAS, as Java's StreamTokenizer reads it."""
    if text[:1] not in {'"', "'"}:
        return text
    known = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "b": "\b", "a": "\a", "v": "\v"}

    def character(escape: re.Match[str]) -> str:
        if escape[1].isdigit():
            return chr(int(escape[1], 8))
        return known.get(escape[1], escape[1])

    return re.sub(r"\\([0-3]?[0-7]{1,2}|.)", character, text[1:-1], flags=re.DOTALL)


def _take_store(options: dict[str, Value], store: str, *locations: str) -> None:
    """A Java store's location as that of PEM files, if it is one."""
    kind = options.pop(f"ssl.{store}.type", None)
    location = options.get(f"ssl.{store}.location")
    if location is None:
        options.pop(f"ssl.{store}.password", None)
        return
    kind = str(kind).upper() if kind is not None else _kind_of(PurePath(str(location)))
    if kind == "PKCS12" and store == "keystore":
        return  # librdkafka reads it
    if kind != "PEM":
        how = f"openssl pkcs12 -in {location} -nodes -out {store}.pem"
        if kind != "PKCS12":
            how = f"keytool -importkeystore -srckeystore {location} -destkeystore {store}.p12 "
            how += f"-deststoretype PKCS12, then openssl pkcs12 -in {store}.p12 -nodes"
        raise ConfigurationError(
            f"Kafka option ssl.{store}.location={location}: a {kind} store can be read by Java only. "
            f"Write it as PEM ({how}), and give {' and '.join(f'{one}=FILE' for one in locations)}."
        )
    options.pop(f"ssl.{store}.password", None)
    del options[f"ssl.{store}.location"]
    for one in locations:
        options.setdefault(one, str(location))


def _kind_of(file: PurePath) -> str:
    """The kind of a store without ``ssl.*.type``, by what it holds; Java would take it for JKS."""
    try:
        start = read_start(file, 4096)
    except OSError:
        start = b""
    if _PEM in start or (not start and file.suffix in {".pem", ".crt", ".cer"}):
        return "PEM"
    return "PKCS12" if file.suffix in {".p12", ".pfx"} or start[:1] == b"\x30" else "JKS"
