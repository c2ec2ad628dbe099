"""An object store that speaks S3: the Versity S3 Gateway over a folder, built by Go once into the cache."""

import fcntl
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from ._errors import ServiceError, ServiceUnavailableError
from ._java import cache_folder
from ._net import LOOPBACK, free_port
from ._process import Process
from ._service import Service

_PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
_VERSION = "v1.8.0"
_BUILDING = 900  # seconds, on a machine that does other things


class ObjectStore(Service):
    """One bucket; requests must be signed with its key."""

    name = "s3"
    bucket = "bank"
    access_key = "datagen-tests"
    secret_key = "only-for-tests"

    def __init__(self) -> None:
        super().__init__(free_port())
        self._port = self.ports[0]
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @property
    def endpoint(self) -> str:
        """Host and port, to be reached without TLS."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that give an S3 client its key."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def url(self, path: str = "") -> str:
        """What pyarrow's file systems call a folder of the bucket."""
        place = f"{self.bucket}/{path}".rstrip("/")
        return f"s3://{place}?scheme=http&endpoint_override={self.endpoint}&region=us-east-1"

    @property
    def folder(self) -> Path:
        """Where the objects of the bucket are files."""
        return self.directory / "objects" / self.bucket

    def _prepare(self) -> None:
        _gateway()
        self.folder.mkdir(parents=True)
        (self.directory / "sidecar").mkdir()

    def _launch(self) -> Process:
        return Process(
            [
                *(str(_gateway()), "--port", self.endpoint, "--quiet"),
                *("--access", self.access_key, "--secret", self.secret_key),
                *("posix", "--sidecar", str(self.directory / "sidecar")),
                str(self.folder.parent),
            ],
            cwd=self.directory,
            log=self.log,
        )

    def _is_ready(self) -> bool:
        try:
            self._http.open(f"http://{self.endpoint}/", timeout=5).close()
        except urllib.error.HTTPError:
            return True  # it wants a key
        except OSError:
            return False
        return True


def _gateway() -> Path:
    """The program, which is built if the cache has none of this version."""
    folder = cache_folder() / f"versitygw-{_VERSION}"
    program = folder / "versitygw"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(folder)
    return program


def _build(folder: Path) -> None:
    # Where Go puts itself may not be on the path of a job.
    go = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    if go is None:
        raise ServiceUnavailableError("Go is not installed, which builds the object store")
    try:
        built = subprocess.run(
            [go, "install", f"{_PACKAGE}@{_VERSION}"],
            env=os.environ | {"GOBIN": str(folder), "GOFLAGS": "-ldflags=-w"},
            capture_output=True,
            text=True,
            timeout=_BUILDING,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"Go did not build {_PACKAGE} within {_BUILDING} s") from error
    if built.returncode:
        raise ServiceError(f"Go could not build {_PACKAGE}: {built.stderr[-1000:]}")
