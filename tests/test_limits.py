"""What the system does not give a process is told as that, and blames neither an option nor a service."""

from __future__ import annotations

import errno

import pytest

from command import DATAGEN, LOAD, run
from datagen.cli.endings import exit_code, text_of
from datagen.errors import ConfigurationError, CountingError, UnreachableError


def caused(error: Exception, cause: Exception) -> Exception:
    try:
        try:
            raise cause
        except type(cause):
            raise error from None
    except type(error) as found:
        return found


def during(error: Exception, met: Exception) -> Exception:
    """Raised while another was on its way, whose cause is a third."""
    error.__cause__ = ValueError("a cause")
    error.__context__ = met
    return error


FILES = OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FILES, "Too many open files: this process may have "),
        (caused(ConfigurationError("--kafka-option: no"), FILES), "Too many open files: this"),
        (UnreachableError("Kafka: Failed to create socket: Too many open files"), "Too many open"),
        (MemoryError(), "Out of memory: "),
        (RuntimeError("can't start new thread"), "Cannot start a thread: "),
        (
            during(RuntimeError("cannot join"), RuntimeError("can't start new thread")),
            "Cannot start",
        ),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable (os error 11)"), "Cannot start a"),
    ],
)
def test_a_lack_is_told_as_one(error: Exception, said: str) -> None:
    assert text_of(error).startswith(said)
    assert exit_code(error) == 5


def test_what_has_arrived_stays_what_is_said() -> None:
    error = caused(CountingError("counting failed: Too many open files; do not repeat"), FILES)
    assert (text_of(error), exit_code(error)) == (str(error), 6)


def test_an_error_of_the_system_has_the_systems_words() -> None:
    error = OSError(errno.ENOSPC, "secret", "/secret")
    assert text_of(error) == "unexpected OSError (No space left on device)"
    assert exit_code(error) == 1


@pytest.mark.parametrize("number", [8, 12])
def test_few_descriptors(number: int) -> None:
    where = ("--skip-postgres", "--kafka-bootstrap", "127.0.0.1:1")
    limited = f'ulimit -n {number}; "$@"'
    outcome = run("bash", "-c", limited, "bash", *LOAD, *where)
    assert outcome.code == 5, str(outcome)
    assert f"this process may have {number}" in outcome.err


def test_a_value_that_is_a_whole_file_is_not_said_whole() -> None:
    outcome = run(*DATAGEN, "show", "a" * 100_000)
    assert outcome.code == 2
    assert len(outcome.err) < 1_000
    assert f"{'a' * 150}" in outcome.err
