"""`python -m services`: fetches the servers of the tests once, so that no test waits for it."""

from ._errors import ServiceUnavailableError
from ._java import kafka_jars, registry_app

try:
    for version in (None, "2.8.2", "3.9.1"):
        kafka_jars(version)
    registry_app()
except ServiceUnavailableError as missing:
    # The tests that need it say so themselves.
    print(f"services: {missing}")
