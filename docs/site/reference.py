"""The reference pages of the docs site, written from the code whenever the site is built."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

MODULES = (
    "cart_core.store",
    "cart_core.projector",
    "cart_core.events",
    "cart_core.commands",
    "cart_core.prices",
    "cart_core.ingest",
    "cart_core.service",
    "cart_core.client",
    "cart_core.evidence",
    "cart_core.audit",
    "cart_core.ledger",
    "cart_core.display",
    "cart_core.simulator",
    "cart_core.errors",
    "pipelines.derive.abandonment",
    "pipelines.derive.recovery",
    "pipelines.derive.coupons",
    "pipelines.derive.funnel",
    "pipelines.derive.experiments",
    "pipelines.derive.whatif",
    "pipelines.derive.explain",
)
"""What users of Python build on, in the order of the page."""

HELP_WIDTH = 100
METHODS = ("get", "post", "put", "delete", "patch")
CODE_SPAN = re.compile(r"``(.+?)``")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are written from the code."""
    for name, page in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=page))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Pages that the nav does not name stand at the end of its last section but one, so that each can be reached."""
    nav = config.nav or []
    named = set(_named(nav)) | {f"reference/{name}.md" for name in pages()}
    docs = Path(config.docs_dir)
    found = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    section = next(each for each in reversed(nav) if isinstance(each, dict))
    next(iter(section.values())).extend(name for name in found if name not in named)
    return config


def pages() -> dict[str, str]:
    """Every page written from the code, by its name."""
    return {"cli": cli_page(), "http": http_page(), "python": python_page()}


def cli_page() -> str:
    """Every command of ``cart`` with its help."""
    import typer.main  # noqa: PLC0415 - only this page needs it

    from cart_core.cli import app  # noqa: PLC0415

    root = typer.main.get_command(app)
    told = ["# Commands", "", "What `cart COMMAND --help` prints, for every command.", ""]
    with _width(HELP_WIDTH):
        context = root.make_context("cart", ["--store", "data/store", "status"], resilient_parsing=True)
        told += _block(root.get_help(context))
        for name in sorted(root.commands):
            command = root.commands[name]
            inner = command.context_class(command, info_name=name, parent=context)
            told += [f"## cart {name}", "", *_block(command.get_help(inner))]
    return "\n".join(told)


def http_page() -> str:
    """Every call of the HTTP API with its parameters, body and answers."""
    from cart_core.api.app import create_app  # noqa: PLC0415
    from cart_core.api.settings import Settings  # noqa: PLC0415

    schema = create_app(Settings(Path("data/store"))).openapi()
    told = [
        "# HTTP API",
        "",
        "Written from `GET /openapi.json`. [The HTTP API in use](../api.md) shows the calls together.",
        "[Commands](../commands.md#refusals) lists the refusals.",
        "",
    ]
    for path, calls in schema["paths"].items():
        for method in METHODS:
            if method in calls:
                told += _call(method, path, calls[method], schema)
    return "\n".join(told)


def python_page() -> str:
    """Every public name that users of Python build on: its signature and what it promises."""
    told = ["# Python", "", "From the code's own descriptions.", ""]
    for name in MODULES:
        module = import_module(name)
        told += [f"## {name}", "", _text(inspect.getdoc(module) or ""), ""]
        for item, value in _public(module):
            told += _entry(item, value)
    return "\n".join(told)


def _named(nav: Any) -> Iterator[str]:
    """The files that a nav names, however deep."""
    if isinstance(nav, str):
        yield nav
    for each in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _named(each)


class _width:  # noqa: N801 - used as a function
    """Help is wrapped at a width whatever terminal builds the site."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.before = os.environ.get("COLUMNS")

    def __enter__(self) -> None:
        os.environ["COLUMNS"] = str(self.columns)

    def __exit__(self, *_: object) -> None:
        os.environ.pop("COLUMNS", None)
        if self.before is not None:
            os.environ["COLUMNS"] = self.before


def _block(text: str) -> list[str]:
    return ["```text", text.rstrip(), "```", ""]


def _call(method: str, path: str, call: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    told = [f"## {method.upper()} {path}", "", f"{call.get('summary', '')}. {_text(call.get('description', ''))}", ""]
    parameters = [_resolved(each, schema) for each in call.get("parameters", [])]
    if parameters:
        told += ["| parameter | in | required | meaning |", "|---|---|---|---|"]
        told += [
            f"| {each['name']} | {each['in']} | {_yes(each.get('required'))} | {_cell(each.get('description', ''))} |"
            for each in parameters
        ]
        told.append("")
    body = call.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        told += _fields(_resolved(body, schema))
    told += ["| status | answer |", "|---|---|"]
    told += [f"| {status} | {_cell(answer['description'])} |" for status, answer in sorted(call["responses"].items())]
    return [*told, ""]


def _fields(body: dict[str, Any]) -> list[str]:
    required = body.get("required", [])
    rows = [
        f"| {name} | {_yes(name in required)} | {_cell(field.get('description', ''))} | {_cell(_limits(field))} |"
        for name, field in body.get("properties", {}).items()
    ]
    return ["| field of the body | required | meaning | limits |", "|---|---|---|---|", *rows, ""] if rows else []


def _limits(field: dict[str, Any]) -> str:
    named = {"type": "", "minimum": "from ", "maximum": "to ", "maxLength": "length to ", "pattern": "pattern "}
    told = [f"{word}{field[key]}" for key, word in named.items() if key in field]
    if "enum" in field:
        told.append("one of " + ", ".join(map(str, field["enum"])))
    if "default" in field:
        told.append(f"default {field['default']}")
    return ", ".join(told)


def _resolved(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in value:
        found: Any = schema
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        value = found
    return value


def _public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    names = getattr(module, "__all__", None) or [name for name in own if not name.startswith("_")]
    for name in names:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            yield name, value


def _entry(name: str, value: Any) -> list[str]:
    told = [f"### {name}", "", *_python(name, value), _text(inspect.getdoc(value) or ""), ""]
    if not inspect.isclass(value) or issubclass(value, BaseException):
        return told
    for method, function in inspect.getmembers(value, _is_method):
        if not method.startswith("_") and function.__module__.startswith(("cart_core", "pipelines")):
            told += [f"#### {name}.{method}", "", *_python(method, function), _text(inspect.getdoc(function) or ""), ""]
    return told


def _is_method(value: object) -> bool:
    return inspect.isfunction(value) or inspect.ismethod(value)


def _python(name: str, value: Any) -> list[str]:
    try:
        signature = str(inspect.signature(value)).replace("'", "")
    except (TypeError, ValueError):
        return []
    return ["```py", f"{name}{_without_places(signature)}", "```", ""]


def _without_places(signature: str) -> str:
    """Defaults that are functions or fields are shown by name, not by where they lie in memory."""
    return re.sub(r"<(?:function|factory|class|built-in function)?\s*([\w.]+)[^<>]*>", r"\1", signature)


def _text(doc: str) -> str:
    """A docstring as Markdown."""
    return CODE_SPAN.sub(r"`\1`", doc)


def _cell(text: str) -> str:
    return _text(" ".join(str(text).split())).replace("|", "\\|")


def _yes(value: object) -> str:
    return "yes" if value else ""
