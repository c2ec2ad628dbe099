"""Secrets in text that others wrote: whole values are hidden where they stand, and nothing else."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from command import DATAGEN, run
from datagen._secrets import HIDDEN, Secrets, plain
from datagen.errors import UnreachableError
from datagen.presets import ProducerConfig
from datagen.sinks.kafka.schemas import delete
from datagen.sinks.postgres.server import Server

#: Places in which a secret is written, `{}` being the secret.
PLACES = (
    "sasl.password={}",
    "postgresql://me:{}@host:5432/bank",
    "the server said '{}'",
    'password="{}";',
    "options: {{'sasl.password': '{}'}}",
    "password={} user=me",
)


@given(
    st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=4, max_size=40),
    st.sampled_from(PLACES),
)
def test_a_secret_as_a_value_never_survives(secret: str, place: str) -> None:
    before, _, after = place.format("\0").partition("\0")
    # Else the text would show it without any help of ours.
    assume(secret not in before + HIDDEN + after)
    assume(HIDDEN not in secret)
    for written in {secret, quote(secret, safe="")}:
        hidden = Secrets([secret])(before + written + after)
        assert written not in hidden
        assert HIDDEN in hidden
        # The words around it stay.
        assert hidden.split()[0][:4] == (before + HIDDEN).split()[0][:4]


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("t", "Cannot create the topic", "Cannot create the topic"),
        ("t", "password=t", "password=***"),
        ("t", "connect to //me:t@host", "connect to //***@host"),
        ("t", "me:t@host", "me:***@host"),
        ("t", "it said 't'", "it said '***'"),
        ("t", 'it said "t" to me', 'it said "***" to me'),
        ("a", "Kafka: a broker; password a", "Kafka: a broker; password ***"),
        ("user", "superuser, user.info and users", "superuser, ***.info and users"),
        ("postgres", "postgresql, postgres", "postgresql, ***"),
        ("Gr8-Secret", "xGr8-Secretx", "x***x"),
        ("pá ß@/", "at p%C3%A1%20%C3%9F%40%2F", "at ***"),
        ("pá ß@/", "at p%C3%A1+%C3%9F%40%2F", "at ***"),
        ("me:hunter2", "sent bWU6aHVudGVyMg==", "sent ***=="),
        ('hun"ter2', r'{"said": "hun\"ter2"}', '{"said": "***"}'),
        ("hunter2", "hun\x1b[31mter2\x1b[0m", "***"),
        ("bank", "user bank", "user ***"),
    ],
)
def test_what_is_hidden(secret: str, text: str, shown: str) -> None:
    assert Secrets([secret])(text) == shown


@pytest.mark.parametrize(
    "behind", ["?token=s3cr3t-key", "/ccompat?a=1&apikey=s3cr3t-key", "#s3cr3t-key"]
)
def test_a_key_in_the_query_of_a_registry_is_never_shown(behind: str) -> None:
    url = f"http://127.0.0.1:1{behind}"
    config = ProducerConfig(schema_registry_url=url)
    assert "s3cr3t" not in str(config)
    assert config.hide(f"405 for url '{url}', acks=1").endswith("acks=1")
    assert "s3cr3t" not in config.hide(f"405 for url '{url}'")
    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:1") as caught:
        delete(config, ["a-value"])
    assert "s3cr3t" not in str(caught.value)
    done = run(*DATAGEN, "schema", "--for", "flink", "--schema-registry", url)
    assert done.code == 0, done
    assert "s3cr3t" not in done.out + done.err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET http://me:unknown@host/p", "GET http://***@host/p"),
        ("GET http://token@host/p", "GET http://***@host/p"),
        ("Authorization: Basic bWU6eA==", "Authorization: Basic ***"),
        ("{'authorization': 'Bearer abc'}", "{'authorization': 'Bearer ***'}"),
        ("Bearer eyJh.eyJi.c2ln", "Bearer ***"),
        ('PlainLoginModule required username="u" password="p q;";', None),
        ("password='it\\'s' user=me", "password=*** user=me"),
        ("basic.auth.user.info=me:unknown", "basic.auth.user.info=***"),
        # Sentences about secrets are none.
        ("password authentication failed for user", "password authentication failed for user"),
        ("Check user, password: both", "Check user, password: both"),
        ("Basic authentication is off", "Basic authentication is off"),
        ("see https://host/path?q=@", "see https://host/path?q=@"),
    ],
)
def test_secrets_that_nobody_named(text: str, shown: str | None) -> None:
    hidden = Secrets([])(text)
    assert hidden == (shown or 'PlainLoginModule required username="u" password=***;')


def test_a_public_value_is_hidden_where_a_password_stands() -> None:
    hide = Secrets(["bank"], public=["bank"])
    assert hide('database bank, "x"') == 'database bank, "x"'
    assert hide("password=bank bank:bank@host") == "password=*** bank:***@host"


def test_a_key_of_many_lines_is_hidden_as_others_write_it() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END KEY-----\n"
    for text in (key, key.replace("\n", " "), repr(key), key.splitlines()[1]):
        assert "MIIEvQIBADANBgkqhkiG9w0B" not in Secrets([key])(f"cannot read {text}!")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("a\x08b\x00c\x7f", "abc"),
        ("one\r\ntwo\tthree", "one two three"),
        ("abc\u202edef\u2066", "abcdef"),
        ("half \ud800", "half "),
        ("\x1b", ""),
        ("São Paulo — 日本", "São Paulo — 日本"),
    ],
)
def test_plain_text_moves_no_cursor(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text())
def test_plain_text_is_printable(text: str) -> None:
    found = plain(text)
    assert "\x1b" not in found
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in found)
    found.encode()
    assert plain(found) == found


def test_a_short_password_leaves_the_words_of_a_message() -> None:
    config = ProducerConfig(client_options={"sasl.password": "t", "ssl.key.password": "o"})
    assert config.hide("Cannot create topic: no") == "Cannot create topic: no"
    assert config.hide("sasl.password=t is not") == "sasl.password=*** is not"


def test_a_server_that_says_more_than_it_should() -> None:
    server = Server(f"postgresql://clerk:t@host:5432/bank?sslpassword={quote('pá ß')}")
    said = f"\x1b[2JCannot create: password=t and p%C3%A1%20%C3%9F, 't' {'x' * 400}"
    text = server.text(Exception(said))
    assert text.startswith("Cannot create: password=*** and ***, '***' x")
    assert len(text) == 300
    # Nothing of a secret that stands where the text is cut.
    server = Server("postgresql://clerk:Senha-Muito5ecreta@host:5432/bank")
    text = server.text(Exception(f"{'x' * 290} Senha-Muito5ecreta {'y' * 99}"))
    assert "Senha" not in text
