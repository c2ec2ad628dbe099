"""The wheel and the source distribution of `make wheel`, installed as users install them.

An environment is empty, and no Rust is on its PATH. `make test` builds both, of the extension that all
other tests run on.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

import datagen
from command import Outcome, environment_of
from pages import FENCED, ROOT
from running import CI

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

LIMIT = 8_000_000
#: The oldest C library that the README speaks of.
GLIBC = (2, 28)
VERSION = datagen.__version__
README = FENCED.findall((ROOT / "README.md").read_text("utf-8"))
[LIBRARY] = [text for _, text in README if text.startswith("import datagen\n")]
[INSTALL] = [text for _, text in README if text.startswith("pip install ./datagen-*.whl")]


def unavailable(reason: str) -> NoReturn:
    if CI:
        pytest.fail(reason)
    pytest.skip(reason)


def built(pattern: str) -> Path:
    found = sorted((ROOT / "dist").glob(pattern))
    if len(found) != 1:
        unavailable(f"{len(found)} files dist/{pattern}: run `make wheel` first")
    return found[0]


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel, which is of these sources and of this extension."""
    path = built(f"datagen-{VERSION}-*.whl")
    inside = python_files()
    with zipfile.ZipFile(path) as archive:
        packed = {n: archive.read(n) for n in archive.namelist() if ".dist-info/" not in n}
    differing = [
        name for name in packed.keys() | inside.keys() if packed.get(name) != inside.get(name)
    ]
    if differing:
        unavailable(
            f"dist/{path.name} has other {', '.join(sorted(differing)[:3])}: run `make wheel`"
        )
    return path


def python_files() -> dict[str, bytes]:
    """What the package has, as an editable installation has it."""
    folder = Path(datagen.__file__).parents[1]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for package in ("datagen", "data_gen")
        for path in (folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="session")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"datagen-{VERSION}.dist-info/METADATA").decode()
    return email.message_from_string(text)


#: Says what an interpreter is, if it can make environments.
_ASK = """
import sys
from importlib.util import find_spec
if find_spec("ensurepip") and find_spec("venv"):
    print(sys.implementation.name + "-" + getattr(sys, "abiflags", ""), *sys.version_info[:2])
"""


def interpreters() -> dict[str, Path]:
    """A Python of each version from 3.11 on that is on this machine, by version."""
    named = [
        Path(folder) / f"python3.{minor}"
        for folder in os.get_exec_path()
        for minor in range(11, 30)
    ]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    tools = Path(os.environ.get("RUNNER_TOOL_CACHE") or "/opt/hostedtoolcache")
    installed = [
        *pyenv.glob("versions/3.*/bin/python"),
        *uv.glob("cpython-*/bin/python3"),
        *tools.glob("Python/*/*/bin/python3"),
    ]
    # Each is asked once, whatever names it has, and starts without what its users have installed.
    candidates: dict[Path, Path] = {}
    for path in (Path(sys.executable), *named, *installed):
        if os.access(path, os.X_OK):
            candidates.setdefault(path.resolve(), path)
    found: dict[str, Path] = {}
    for path in candidates.values():
        told = subprocess.run(
            [path, "-I", "-S", "-c", _ASK], capture_output=True, text=True, check=False
        )
        name, *version = told.stdout.split() or [""]
        # The stable ABI of those without a GIL is another one.
        if name == "cpython-" and [*map(int, version)] >= [3, 11]:
            found.setdefault(".".join(version), path)
    return dict(sorted(found.items(), key=lambda one: [*map(int, one[0].split("."))]))


PYTHONS = interpreters()
NEWEST = [*PYTHONS][-1]


class Environment:
    """A virtual environment without anything, and the PATH of a machine without Rust."""

    def __init__(self, version: str, folder: Path) -> None:
        self._version = version
        self._folder = folder
        self.bin = folder / "bin"
        made = subprocess.run(
            [PYTHONS[version], "-m", "venv", folder], capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stdout + made.stderr
        rust = ("cargo", "rustc", "maturin")
        usual = [
            place
            for place in ("/usr/local/bin", "/usr/bin", "/bin")
            if not any((Path(place) / program).exists() for program in rust)
        ]
        self.path = os.pathsep.join([str(self.bin), *usual])
        assert not any(shutil.which(program, path=self.path) for program in rust)

    def run(self, *command: object, **variables: str) -> Outcome:
        # Wheels alone, and no bytecode of what is not imported.
        pip = {
            "QUIET": "1",
            "DISABLE_PIP_VERSION_CHECK": "1",
            "ONLY_BINARY": ":all:",
            "NO_COMPILE": "1",
        }
        variables |= {f"PIP_{name}": value for name, value in pip.items()}
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self._folder,  # where no package of ours lies
            env=environment_of({**variables, "PATH": self.path, "PYTHONPATH": ""}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        missing = re.search(r"No matching distribution found for (\S+)", done.stderr)
        if missing:
            unavailable(f"{missing[1]} has no wheel here for Python {self._version}: {done.stderr}")
        return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: its parents are closed to the account that the local stack runs as.
    made = Path(tempfile.mkdtemp(prefix="dg-wheel-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


# --- what is in it ---------------------------------------------------------------------------------


def test_its_name_says_where_it_runs(wheel: Path) -> None:
    python, abi, platform = wheel.stem.split("-")[2:]
    assert (python, abi) == ("cp311", "abi3")
    if sys.platform == "linux":
        assert platform.startswith("manylinux_2_28_"), platform
    assert wheel.stat().st_size <= LIMIT


@pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF file")
def test_its_extension_is_stripped_and_needs_no_newer_c_library(
    wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        extension = archive.read("datagen/_core.abi3.so")
    assert len(extension) <= LIMIT
    for section in (b".symtab\0", b".debug_line\0", b".debug_info\0"):
        assert section not in extension
    needed = {(int(a), int(b)) for a, b in re.findall(rb"GLIBC_(\d+)\.(\d+)", extension)}
    assert needed
    assert max(needed) <= GLIBC
    audited = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", wheel],
        capture_output=True,
        text=True,
        check=True,
    )
    [tag] = re.findall(r'platform\s+tag:\s+"(manylinux_(\d+)_(\d+)_\w+)"', audited.stdout)
    assert (int(tag[1]), int(tag[2])) <= GLIBC


def test_it_has_what_it_should_and_no_more(wheel: Path, metadata: Message) -> None:
    info = f"datagen-{VERSION}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
    others = {name for name in names if name.split("/")[0] not in ("datagen", "data_gen")}
    assert {name.split("/")[0] for name in others} == {info}
    assert {"datagen/py.typed", "data_gen/py.typed", "datagen/_core.pyi"} <= names
    assert any(name.endswith(".jinja") for name in names)
    assert "datagen/report/words.toml" in names
    assert any(name.endswith(".sql") for name in names)
    assert licence == (ROOT / "LICENSE").read_text("utf-8")
    for words in ("TERMS AND CONDITIONS", "9. Accepting Warranty", "END OF TERMS AND CONDITIONS"):
        assert words in licence
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    assert str(metadata.get_payload()).rstrip() == (ROOT / "README.md").read_text("utf-8").rstrip()


# --- a user's machine ------------------------------------------------------------------------------


def uses_the_library(place: Environment) -> None:
    """Has an environment with pyarrow execute the README's block of Python."""
    done = place.run("python", "-c", LIBRARY + "\nprint(customers.num_rows)\n")
    assert done.code == 0, str(done)
    assert done.lines[-1] == "1000"


# The newest has the extras, below.
@pytest.mark.parametrize("version", [*PYTHONS][:-1] or PYTHONS)
def test_without_extras(version: str, wheel: Path, folder: Path) -> None:
    place = Environment(version, folder / "venv")
    # Alone first: a fault of the wheel is not taken for a package that cannot be had.
    for others in (("--no-index", "--no-deps"), ("pyarrow",)):
        done = place.run("pip", "install", wheel, *others)
        assert done.code == 0, str(done)
    done = place.run("datagen", "--version")
    assert done.out == f"datagen, version {VERSION}\n", str(done)
    uses_the_library(place)
    # What an extra brings is asked for by its name, which pip knows of what is installed.
    for command, extra in (
        (("local", "up"), "local"),
        (("report", "--out", "page.html"), "report"),
    ):
        done = place.run("datagen", *command, DATAGEN_HOME=str(folder / "home"))
        assert done.code == 3, str(done)
        assert f"pip install 'datagen[{extra}]'" in done.err


@pytest.mark.xdist_group("local_stack")
def test_what_the_readme_says_of_installing(wheel: Path, folder: Path) -> None:
    place = Environment(NEWEST, folder / "venv")
    shutil.copy(wheel, folder / "venv")
    home = {"DATAGEN_HOME": str(folder / "home")}
    try:
        done = place.run("bash", "-euo", "pipefail", "-c", INSTALL, **home)
        assert done.code == 0, str(done)
        assert done.lines.count("Validation: ALL OK") == 1
    finally:
        down = place.run("datagen", "local", "down", **home)
    assert down.lines[-1] == "Stopped: schema-registry, kafka, postgres"
    done = place.run("datagen", "report", "--customers", 100, "--out", "page.html")
    assert done.code == 0, str(done)
    uses_the_library(place)


# --- the source distribution -----------------------------------------------------------------------


def test_a_source_distribution_has_what_a_wheel_is_built_of(folder: Path) -> None:
    sdist = built(f"datagen-{VERSION}.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(folder, filter="data")
    tracked = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("rust/*/src/**/*.rs", "rust/*/data/*.csv", "rust/*/Cargo.toml")
        for path in ROOT.glob(pattern)
    }
    python = {f"python/{name}" for name in python_files() if not name.endswith(".so")}
    assert tracked | python <= names
    assert {"Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "pyproject.toml"} <= names
    # Nothing that was built, no Python tests, no documents that the README does not hold.
    assert {name.partition("/")[0] for name in names if "/" in name} == {"python", "rust"}
    assert not [name for name in names if name.endswith((".so", ".pyc", ".whl"))]
    assert not [name for name in names if name.startswith("rust/producer/fuzz")]
    # PEP 517, as pip asks for it before it builds.
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pip",
                "install",
                "--dry-run",
                "--no-deps",
                "--ignore-installed",
            ),
            *("--no-build-isolation", "--quiet", "--report", folder / "report.json", sdist),
        ],
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f'"version": "{VERSION}"' in (folder / "report.json").read_text("utf-8")
