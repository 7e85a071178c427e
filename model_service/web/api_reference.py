"""The API's reference: a page made from the OpenAPI document, which fetches nothing elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from .problems import KINDS

STYLE = """\
:root { color-scheme: light dark; --line: light-dark(#d5d9de, #3a4149); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 0 auto; padding: 1rem;
  color: light-dark(#1b1f24, #e6e8eb); background: light-dark(#fff, #14181c); }
section { border-top: 1px solid var(--line); padding: .5rem 0; }
h2 { font-size: 1.15rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin-bottom: .25rem; }
code, pre { font: .9em/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: .4rem; }
dt { font-weight: 600; overflow-wrap: anywhere; }
dd { margin: 0 0 .4rem 1rem; }
a { color: light-dark(#0b57d0, #8ab4f8); }
:target { outline: 2px solid currentColor; outline-offset: .3rem; }
"""


def page(document: Mapping[str, Any]) -> str:
    """*document* as HTML; it asks for ``/docs.css`` and nothing else."""
    info = document["info"]
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(info['title'])}</title>",
        '<link rel="stylesheet" href="/docs.css"></head><body>',
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>",
        '<p><a href="/openapi.json">The same as OpenAPI 3.1</a></p>',
        "<main>",
    ]
    for path, item in document["paths"].items():
        for method in ("get", "post"):
            if method in item:
                parts += _operation(f"{method.upper()} {path}", item[method])
    parts += _shapes(document["components"]["schemas"])
    parts += _problems()
    return "".join([*parts, "</main></body></html>\n"])


def _operation(name: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section><h2><code>{escape(name)}</code></h2>"
    yield f"<p>{escape(operation['summary'])}. {escape(operation.get('description', ''))}</p>"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h3>Send <code>{escape(media_type)}</code></h3>{_example(content)}"
    for status, response in operation["responses"].items():
        contents = response.get("content", {})
        kinds = " ".join(f"<code>{escape(media_type)}</code>" for media_type in contents)
        if status == "200":
            yield f"<h3>{status} {kinds}</h3>"
            yield from (_example(content) for content in contents.values())
    rest = [status for status in operation["responses"] if status != "200"]
    yield f"<p>Or {', '.join(rest)}.</p></section>"


def _example(content: Mapping[str, Any]) -> str:
    if "example" not in content:
        return ""
    return f"<pre>{escape(json.dumps(content['example'], indent=1))}</pre>"


def _shapes(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        yield f'<section id="{escape(name)}"><h2>{escape(name)}</h2>'
        yield f"<p>{escape(schema.get('description', ''))}</p><dl>"
        required = schema.get("required", [])
        for field, shape in schema.get("properties", {}).items():
            need = "" if field in required else ", may be absent"
            yield f"<dt><code>{escape(field)}</code>{need}</dt><dd>{_rule(shape)}</dd>"
        yield "</dl></section>"


def _rule(shape: Mapping[str, Any]) -> str:
    """What a value has to be.

    >>> _rule({"type": "integer", "minimum": 1, "description": "TLC taxi zone"})
    'TLC taxi zone: integer, minimum 1'
    """
    if "$ref" in shape:
        name = escape(shape["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    choices = " or ".join(_rule(choice) for choice in shape.get("anyOf", []))
    said = [] if choices else [str(shape.get("type", "anything"))]
    said += [
        f"{words} {shape[key]}"
        for key, words in {
            "format": "as",
            "minimum": "minimum",
            "maximum": "maximum",
            "exclusiveMaximum": "less than",
            "minLength": "at least this long:",
            "maxLength": "at most this long:",
        }.items()
        if key in shape
    ]
    about = escape(shape.get("description", ""))
    rules = choices or escape(", ".join(said))
    return f"{about}: {rules}" if about else rules


def _problems() -> Iterator[str]:
    yield "<section><h2>Problems</h2><dl>"
    for name, kind in KINDS.items():
        yield f'<dt id="{name}">{kind.status} <code>{name}</code></dt>'
        yield f"<dd>{escape(kind.title)}. {escape(kind.remedy)}</dd>"
    yield "</dl></section>"
