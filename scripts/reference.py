"""Write the site's reference from the code: command line, settings, HTTP, events, SDK.

Laws: what is told here is what the code says of itself, in its words, so it is English in both languages; the one exception
are the settings, whose words in both are those of docs/settings.toml. Nothing of it is committed.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
import typer

from dazi import events
from dazi.cli import app
from dazi.cli.serve import serve
from dazi.settings import Settings
from dazi.web.openapi import document

ROOT = Path(__file__).resolve().parent.parent
SDK = ROOT / "sdk"
Json = dict[str, Any]  # Any: JSON

# The SDK's parts that a program imports, and then those whose types they speak in.
PARTS = ("index", "client", "event-source", "sse", "typewriter", "markdown", "utf8")
PLATFORMS = ("wx", "uni", "taro", "tt", "my", "fetch")
TYPES = ("answer", "stream", "platform")

INTRODUCTIONS = {
    "cli": (
        "Command line",
        "命令行",
        "What `dazi --help` and the help of each command say.",
        "`dazi --help` 和每条命令的帮助所说的话，由代码生成，所以是英文。",
    ),
    "settings": (
        "Settings",
        "设置",
        "Every setting: a key of `dazi.toml`, a variable of the environment, and for some a flag of `dazi serve`. A list is separated by commas in the environment. `dazi config` shows which holds.",
        "每一项设置：`dazi.toml` 里的键、环境变量，有的还有 `dazi serve` 的参数。列表在环境变量里用逗号分隔。`dazi config` 显示哪一个生效。",
    ),
    "http": (
        "HTTP",
        "HTTP 接口",
        "What `/openapi.json` says. How the calls work together is told by [the protocol](../protocol.md).",
        "`/openapi.json` 的内容，由代码生成，所以是英文。这些调用怎样配合，见[协议](../protocol.md)。",
    ),
    "events": (
        "Events",
        "事件",
        "The events of a generation, as `dazi.events` declares them. What they mean is told by [the protocol](../protocol.md#4-events).",
        "一次生成的全部事件，来自 `dazi.events`，所以是英文。含义见[协议](../protocol.md#4-events)。",
    ),
    "sdk": (
        "SDK",
        "SDK",
        "The types of the SDK, as TypeScript reads them from `sdk/src`. Recipes are in [the guide](../sdk.md).",
        "SDK 的全部类型，由 TypeScript 从 `sdk/src` 读出，所以是英文。用法见[使用指南](../sdk.md)。",
    ),
}

# What a setting may be, where that is no number.
KINDS = {
    "en": {"string": "string", "list": "list", "table": "table", "tables": "list of tables"},
    "zh": {"string": "字符串", "list": "列表", "table": "表", "tables": "表的列表"},
}


def pages() -> dict[str, str]:
    """Return the pages of the reference by their names on the site."""
    bodies = {
        "cli": (commands(),) * 2,
        "settings": (settings("en"), settings("zh")),
        "http": (calls(),) * 2,
        "events": (shapes(),) * 2,
        "sdk": (sdk(),) * 2,
    }
    made = {}
    for name, (english, chinese) in bodies.items():
        title, titel, words, worte = INTRODUCTIONS[name]
        made[f"reference/{name}.md"] = f"# {title}\n\n{words}\n\n{english}"
        made[f"reference/{name}.zh.md"] = f"# {titel}\n\n{worte}\n\n{chinese}"
    return made


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    """Write a table; a bar in a cell would end it."""
    lines = [head, ("---",) * len(head), *(tuple(map(cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def cell(text: str) -> str:
    """Write what may stand in a cell: outside of code no bar, which would end it, and no angle, which would begin a tag."""
    parts = " ".join(text.split("\n")).split("`")
    return "`".join(part if at % 2 else plain(part) for at, part in enumerate(parts))


def plain(text: str) -> str:
    """Write text that means nothing to Markdown but itself, and where a line is to break."""
    return re.sub(r"([|\\]|<(?!br>))", lambda found: "&lt;" if found[0] == "<" else f"\\{found[0]}", text)


def commands() -> str:
    """Describe every command with its arguments and options."""
    return "".join(_commands("dazi", typer.main.get_command(app)))


def _commands(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401  # Typer's own class of commands
    inside: Mapping[str, Any] = getattr(command, "commands", {})
    if name != "dazi":
        context = typer.Context(command, info_name=name)
        yield f"## `{name}`\n\n{plain((command.help or '').strip())}\n\n"
        if not inside:
            yield f"```text\n{command.get_usage(context).strip()}\n```\n\n"
        records = [record for one in command.params if (record := one.get_help_record(context))]
        if records:
            yield table(("option", ""), [(f"`{' '.join(option.split())}`", words) for option, words in records])
    for part, below in inside.items():
        yield from _commands(f"{name} {part}", below)


def settings(language: str) -> str:
    """Describe every setting: its names, its default, its bounds, and what it does."""
    at = ("en", "zh").index(language)
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    head = (("setting", "default", "may be", ""), ("名称", "默认值", "取值", ""))[at]
    parts = []
    for title, told in words_of_settings().items():
        rows = [setting(fields[name], words[at], KINDS[language]) for name, words in told.items()]
        parts.append(f"## {title.split(' | ')[at]}\n\n{table(head, rows)}")
    return "".join(parts)


def words_of_settings() -> dict[str, dict[str, list[str]]]:
    """Read what each setting does, by groups: their titles and its words are English and Chinese."""
    told: dict[str, dict[str, list[str]]] = tomllib.loads((ROOT / "docs" / "settings.toml").read_text("utf-8"))
    return told


def setting(field: msgspec.structs.FieldInfo, words: str, kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Describe one setting."""
    names = [f"`{field.name}`", f"`DAZI_{field.name.upper()}`"]
    if field.name in set(serve.__annotations__) - {"config", "return"}:
        names.append(f"`--{field.name.replace('_', '-')}`")
    return "<br>".join(names), f"`{in_toml(field.default)}`", bounds(field.type, kinds), words


def in_toml(value: object) -> str:
    """Write a default as `dazi.toml` would."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case tuple():
            return "[]"
    return "{}"


def bounds(kind: object, kinds: Mapping[str, str]) -> str:
    """Say what values a setting of some type may have."""
    info = msgspec.inspect.type_info(kind)
    parts = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return ", ".join(_bounds(part, kinds) for part in parts)


def _bounds(info: msgspec.inspect.Type, kinds: Mapping[str, str]) -> str:
    match info:
        case msgspec.inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case msgspec.inspect.IntType(ge=low, le=high) | msgspec.inspect.FloatType(ge=low, le=high):
            return f"{low} … {high}" if high is not None else f"≥ {low}"
        case msgspec.inspect.VarTupleType(item_type=one):
            return kinds["list" if isinstance(one, msgspec.inspect.StrType) else "tables"]
    words = {msgspec.inspect.BoolType: "`true`, `false`", msgspec.inspect.StrType: kinds["string"]}
    return words.get(type(info), kinds["table"])


def calls() -> str:
    """Describe every call of the API."""
    described, parts = document(), []
    for path, methods in described["paths"].items():
        for method, call in methods.items():
            parts.append(f"## `{method.upper()} {path}`\n\n{call['summary']}\n\n")
            rows = [(f"`{one['name']}`", one["in"], schema(one["schema"])) for one in call.get("parameters") or ()]
            if body := call.get("requestBody"):
                rows.append(("body", "", schema(body["content"]["application/json"]["schema"])))
            if rows:
                parts.append(table(("parameter", "in", "may be"), rows))
            answers = call["responses"].items()
            parts.append(
                table(("status", "", "with"), [(status, one["description"], contents(one)) for status, one in answers])
            )
    shapes_of = described["components"]["schemas"]
    parts.append("## Shapes\n\n")
    parts += [f"### `{name}`\n\n{shape_of(shapes_of[name])}" for name in shapes_of]
    return "".join(parts)


def contents(answer: Json) -> str:
    """Say what an answer is made of."""
    return ", ".join(
        f"`{kind}` {schema(one['schema']) if 'schema' in one else ''}".strip()
        for kind, one in answer.get("content", {}).items()
    )


def schema(one: Json) -> str:
    """Say a schema in a few words."""
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return f"[`{name}`](#{name.lower()})"
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    for many in ("anyOf", "oneOf"):
        if many in one:
            return " or ".join(dict.fromkeys(schema(part) for part in one[many]))
    kind = one.get("type", "anything")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    if kind == "array":
        return f"array of {schema(one.get('items', {}))}"
    limits = {
        "minimum": "≥ {:g}",
        "maximum": "≤ {:g}",
        "minItems": "≥ {} items",
        "maxItems": "≤ {} items",
        "pattern": "`{}`",
    }
    return ", ".join([kind, *(words.format(one[name]) for name, words in limits.items() if name in one)])


def shape_of(one: Json) -> str:
    """Describe an object's fields, or what else a shape is."""
    told = f"{one['description']}\n\n" if one.get("description") else ""
    if "properties" not in one:
        return f"{told}{schema(one)}\n\n"
    required = one.get("required", ())
    return told + table(
        ("", "", ""),
        [
            (f"`{name}`", "required" if name in required else "", schema(field))
            for name, field in one["properties"].items()
        ],
    )


def shapes() -> str:
    """Describe every event of the log, and what is shown beside them."""
    parts = []
    for kind in [*get_args(events.Event), events.Snapshot, events.Reconnect, events.Problem]:
        tag = msgspec.inspect.type_info(kind).tag
        parts.append(f"## `{tag}`\n\n{' '.join((kind.__doc__ or '').split())}\n\n")
        fields = msgspec.structs.fields(kind)
        if fields:
            rows = [
                (
                    f"`{field.encode_name}`",
                    "required" if field.required else f"`{in_json(field)}`",
                    words_of(field.type),
                )
                for field in fields
            ]
            parts.append(table(("field", "default", "type"), rows))
    return "".join(parts)


def in_json(field: msgspec.structs.FieldInfo) -> str:
    """Write a field's default as JSON."""
    factory = field.default_factory
    value = field.default if field.default is not msgspec.NODEFAULT else factory and factory()
    return msgspec.json.encode(value).decode()


def words_of(kind: object) -> str:
    """Name a type as a reader of Python knows it."""
    name = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    return f"`{name.replace('dazi.events.', '').replace('typing.', '')}`"


def sdk() -> str:
    """Let TypeScript write the declarations of the SDK, and show those of each part."""
    if not (SDK / "node_modules" / ".bin" / "tsc").exists():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=SDK, check=True)  # noqa: S607  # wherever it is
    folder = ROOT / "build" / "declarations"
    compiler = str(SDK / "node_modules" / ".bin" / "tsc")
    subprocess.run(
        [compiler, "-p", "tsconfig.json", "--emitDeclarationOnly", "--outDir", str(folder)], cwd=SDK, check=True
    )
    parts = []
    for name in (*PARTS, *(f"platform/{one}" for one in PLATFORMS), *TYPES):
        declared = (folder / f"{name}.d.ts").read_text("utf-8")
        title = "dazi" if name == "index" else f"dazi/{name}"
        parts.append(f"## `{title}`\n\n```typescript\n{declared.strip()}\n```\n\n")
    return "".join(parts)
