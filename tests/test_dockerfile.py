"""docker/Dockerfile, checked where there is no Docker too: what it copies, calls and runs as."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the file, and what follows it in one line."""
    lines = [line for line in FILE.read_text("utf-8").splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    found = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in found]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def context() -> Iterator[Path]:
    """Files that Docker is given: those that the file of ignored names lets pass."""
    ignored = [
        line
        for line in FILE.with_name("Dockerfile.dockerignore").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    never = [line.removeprefix("**/") for line in ignored if line.startswith("**/")]
    assert sorted(ignored) == sorted(["*", *(f"!{n}" for n in kept), *(f"**/{n}" for n in never)])
    for name in kept:
        top = ROOT / name
        for path in [top] if top.is_file() else top.rglob("*"):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and not any(
                fnmatch.fnmatch(part, pattern) for part in parts for pattern in never
            ):
                yield path


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The folder of the first stage as `COPY` leaves it."""
    given = set(context())
    for word, rest in stages()[0]:
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                inside = [one for one in given if one.is_relative_to(ROOT / source)]
                assert inside, f"{source} is not there, or not given to Docker"
                for path in inside:
                    base = ROOT / source if (ROOT / source).is_dir() else path.parent
                    there = tmp_path / target / path.relative_to(base)
                    there.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, there)
    return tmp_path


def test_its_instructions_are_known() -> None:
    known = {"FROM", "RUN", "WORKDIR", "COPY", "ARG", "USER", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in instructions()} == known
    assert len(stages()) == 2


def test_both_stages_are_of_one_release_and_pinned() -> None:
    images = [stage[0][1].partition(" ")[0] for stage in stages()]
    releases = {image.rpartition("-")[2] for image in images}
    assert len(releases) == 1
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d[\w.]*-slim-[a-z]+", image), image
    minor = re.fullmatch(r"python:(3\.\d+)-slim-.*", images[-1])
    assert minor is not None
    assert int(minor[1].partition(".")[2]) >= 11


def test_the_words_that_it_calls_exist() -> None:
    runs = [rest for word, rest in instructions() if word == "RUN"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    called = [word for run in runs for word in re.findall(r"^make ([a-z-]+)$", run)]
    assert called == ["wheel"]
    assert re.search(r"^wheel:", makefile, re.MULTILINE)
    # The second stage takes the wheel from where the word puts it.
    assert dict(stages()[0])["WORKDIR"] == "/datagen"
    assert any("source=/datagen/dist,target=/dist " in run for run in runs)
    assert "--out dist" in makefile


@pytest.mark.slow
def test_the_sources_of_a_wheel_are_copied(copied: Path) -> None:
    made = subprocess.run(
        ["make", "--dry-run", "wheel", f"VENV={copied}/.venv"],
        cwd=copied,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "maturin build" in made.stdout
    # What a source distribution has is what a wheel is built of.
    for folder in (ROOT, copied):
        subprocess.run(
            [sys.executable, "-m", "maturin", "sdist", "--out", copied / "out" / folder.name],
            cwd=folder,
            check=True,
        )
    [whole] = (copied / "out" / ROOT.name).iterdir()
    [part] = (copied / "out" / copied.name).iterdir()
    assert names(part) == names(whole)


def names(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return sorted(tar.getnames())


def test_it_runs_the_command_as_a_user_without_rights() -> None:
    last = stages()[-1]
    words = [word for word, _ in last]
    found = dict(last)
    command, *arguments = json.loads(found["ENTRYPOINT"])
    assert command in PROJECT["scripts"]
    assert arguments == []
    assert json.loads(found["CMD"]) == ["--help"]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert words[words.index("USER") :].count("RUN") == 0
    # By its number, as Kubernetes cannot tell of a name that it is not root's.
    number = found["USER"]
    [added] = [rest for word, rest in last if word == "RUN" and rest.startswith("useradd")]
    user = added.split()[-1]
    assert f"--uid {number} " in added
    assert user != "root"
    assert int(number) > 0
    assert "--uid 10001" in added
    assert f"/home/{user}" == found["WORKDIR"]


def test_the_extras_that_it_speaks_of_exist() -> None:
    [shown] = re.findall(r"--build-arg EXTRAS=([\w,]+)", FILE.read_text("utf-8"))
    assert set(shown.split(",")) <= PROJECT["optional-dependencies"].keys()
