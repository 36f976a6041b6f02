"""Documents that agree with the code, with each other, and in both languages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dazi import errors
from dazi.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "src" / "dazi").rglob("*.py"))


# The README


FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(^|\s)(#|//).*$", re.MULTILINE)


def heading_levels(page: str) -> list[int]:
    return [len(marks) for marks in re.findall(r"^(#+) ", FENCE.sub("", page), re.MULTILINE)]


def code_blocks(page: str) -> list[tuple[str, list[str]]]:
    """Return the blocks of code without what may be translated in them: their comments."""
    return [
        (kind, [line.rstrip() for line in COMMENT.sub("", code).splitlines() if line.strip()])
        for kind, code in FENCE.findall(page)
    ]


def test_the_readme_is_the_same_in_both_languages() -> None:
    english, chinese = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))
    assert heading_levels(chinese) == heading_levels(english)
    assert code_blocks(chinese) == code_blocks(english)


# The protocol's codes


def section(number: str) -> str:
    _, _, rest = (ROOT / "PROTOCOL.md").read_text("utf-8").partition(f"# {number} ")
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(number: str, pattern: str) -> list[tuple[str, str]]:
    return re.findall(pattern, section(number), re.MULTILINE)


# code -> may the same be asked again
FAILURES = {code: again == "yes" for code, again in rows("4.1", r"^\| `(\w+)` \|.*\| (yes|no) \|$")}
# code -> HTTP status
REFUSALS = {
    code: int(status)
    for status, codes in rows("6.", r"^\| (\d{3}) \| (.*) \|$")
    for code in re.findall(r"`(\w+)`", codes)
}
# Defaults of error classes, where each use names a code of its own.
UNSENT = {"bad_request", "forbidden", "unavailable"}

# `upstream_key` is a setting, for all that it looks like a code.
SETTINGS = frozenset(Settings.__struct_fields__)
NODES = [(path, node) for path in MODULES for node in ast.walk(ast.parse(path.read_text("utf-8")))]


def literals(value: ast.AST | None) -> set[str]:
    """Return what an expression may be, as far as it says so: a literal, or a choice of literals."""
    match value:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp(body=left, orelse=right):
            return literals(left) | literals(right)
        case ast.BoolOp(values=values):
            return {text for value in values for text in literals(value)}
        case _:
            return set()


def codes_at(node: ast.AST) -> set[str]:
    """Return the literals that stand where a code stands."""
    match node:
        case ast.keyword(arg="code", value=value):
            return literals(value)
        case ast.Assign(targets=[ast.Name(id="code")], value=value):
            return literals(value)
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {code for key, value in pairs if literals(key) == {"code"} for code in literals(value)}
        case ast.Call(args=[first, *_]) if issubclass(class_called(node), errors.GenerationError):
            return literals(first)
        case ast.Constant(value=str(text)) if re.fullmatch(r"upstream_[a-z]+", text) and text not in SETTINGS:
            return {text}
        case _:
            return set()


def class_called(call: ast.Call) -> type:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    found = getattr(errors, name, object)
    return found if isinstance(found, type) else object


def argument(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def calls_of(kind: type) -> Iterator[tuple[str, ast.Call]]:
    for path, node in NODES:
        if isinstance(node, ast.Call) and issubclass(class_called(node), kind):
            yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def stated(value: ast.expr | None, default: object) -> object:
    """Return what an argument is: its literal, its default where it is left out, `...` where only a run can tell."""
    if value is None:
        return default
    return value.value if isinstance(value, ast.Constant) else ...


def test_the_protocol_lists_its_codes() -> None:
    assert FAILURES
    assert REFUSALS
    assert FAILURES.keys() & REFUSALS.keys() == {"internal", "owner_limit", "memory_limit"}
    assert not UNSENT & (FAILURES.keys() | REFUSALS.keys())


def test_the_protocol_knows_every_code_of_the_source() -> None:
    known = FAILURES.keys() | REFUSALS.keys() | UNSENT
    strange = {f"{path.relative_to(ROOT)}: {code}" for path, node in NODES for code in codes_at(node) - known}
    assert sorted(strange) == []


@pytest.mark.parametrize("code", sorted(FAILURES.keys() | REFUSALS.keys()))
def test_the_source_uses_every_code_of_the_protocol(code: str) -> None:
    assert any(literals(node) == {code} for _, node in NODES)


def test_refusals_have_the_status_of_the_protocol() -> None:
    wrong = []
    for place, call in calls_of(errors.RequestError):
        defaults = vars(errors.RequestError) | vars(class_called(call))
        given = argument(call, "code")
        status = stated(argument(call, "status"), defaults["status"])
        codes = literals(given) if given else {str(defaults["code"])}
        wrong += [f"{place}: {code} {status!r}" for code in sorted(codes) if status not in (..., REFUSALS.get(code))]
    assert wrong == []


def test_failures_are_as_retryable_as_the_protocol_says() -> None:
    wrong = []
    for place, call in calls_of(errors.GenerationError):
        retryable = stated(argument(call, "retryable"), default=False)
        codes = literals(argument(call, "code") or (call.args[0] if call.args else None))
        wrong += [
            f"{place}: {code} {retryable!r}" for code in sorted(codes) if retryable not in (..., FAILURES.get(code))
        ]
    assert wrong == []


def test_the_npm_package_has_the_licence() -> None:
    assert (ROOT / "sdk" / "LICENSE").read_text("utf-8") == (ROOT / "LICENSE").read_text("utf-8")
