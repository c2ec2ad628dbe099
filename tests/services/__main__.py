"""`python -m services`: fetches the servers of the tests once, so that no test waits for it."""

import os
from pathlib import Path

from ._errors import ServiceUnavailableError
from ._java import classes_ahead, kafka_jars, registry_app
from .kafka import KafkaBroker


def _of_a_broker(folder: Path) -> Path:
    """The classes that a broker has loaded."""
    file = folder / "classes.aot"
    broker = KafkaBroker(short_lived=True)
    try:
        broker.prepare()
        os.environ["JAVA_TOOL_OPTIONS"] = f"-XX:AOTCacheOutput={file}"
        broker.start()
    finally:
        os.environ.pop("JAVA_TOOL_OPTIONS", None)
        broker.close()
    return file


try:
    for version in (None, "2.8.2", "3.9.1"):
        kafka_jars(version)
    registry_app()
    try:
        classes_ahead(_of_a_broker)
    except FileNotFoundError:
        print("services: this Java writes no classes ahead of time: brokers start slowly")
except ServiceUnavailableError as missing:
    # The tests that need it say so themselves.
    print(f"services: {missing}")
