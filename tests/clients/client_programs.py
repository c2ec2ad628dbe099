"""Java programs beside this file, run from their source with the jars of their profile of pom.xml."""

from __future__ import annotations

import shutil
from pathlib import Path

from services._errors import ServiceUnavailableError
from services._java import fetched

HERE = Path(__file__).parent
#: What Flink and Spark reach into, as their own launchers allow them to.
_OPENED = ("java.lang", "java.lang.invoke", "java.net", "java.nio", "java.util", "sun.nio.ch")


def jars(profile: str) -> Path:
    """The folder with the jars of a profile of pom.xml."""
    return fetched(
        f"client-{profile}",
        "dependency:copy-dependencies",
        f"--activate-profiles={profile}",
        pom=HERE / "pom.xml",
    )


def command(client: str, scratch: Path, *args: object, profile: str = "") -> list[str]:
    """What runs a program; its files go to `scratch`. Its jars are those of `profile`, by default its own."""
    folder = jars(profile or client.lower())
    # A runtime alone cannot run a program from its source.
    compiler = shutil.which("javac")
    if compiler is None:
        raise ServiceUnavailableError("`javac` (a JDK of version 17 or 21) is not on PATH")
    return [
        str(Path(compiler).resolve().with_name("java")),
        *("-Xmx2g", "-Djava.net.preferIPv4Stack=true", f"-Djava.io.tmpdir={scratch}"),
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED),
        *("-cp", f"{folder}/*", str(HERE / f"{client}.java"), *map(str, args)),
    ]
