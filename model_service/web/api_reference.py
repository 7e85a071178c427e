"""Renders the page at ``/docs``: the OpenAPI document as HTML, without scripts."""

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
    """Return *document* (OpenAPI 3.1) as an HTML page with the style sheet ``docs.css``."""
    info = document["info"]
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(info['title'])}</title>",
        '<link rel="stylesheet" href="docs.css"></head><body>',
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>",
        '<p><a href="openapi.json">OpenAPI 3.1 document</a></p>',
        "<main>",
    ]
    for path, item in document["paths"].items():
        for method in ("get", "post"):
            if method in item:
                parts += _operation(f"{method.upper()} {path}", item[method])
    parts += _schemas(document["components"]["schemas"])
    parts += _problem_kinds()
    return "".join([*parts, "</main></body></html>\n"])


def _operation(name: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section><h2><code>{escape(name)}</code></h2>"
    yield f"<p>{escape(operation['summary'])}. {escape(operation.get('description', ''))}</p>"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h3>Request <code>{escape(media_type)}</code></h3>{_example(content)}"
    for status, response in operation["responses"].items():
        contents = response.get("content", {})
        kinds = " ".join(f"<code>{escape(media_type)}</code>" for media_type in contents)
        if status == "200":
            yield f"<h3>Response {status} {kinds}</h3>"
            yield from (_example(content) for content in contents.values())
    others = [status for status in operation["responses"] if status != "200"]
    yield f"<p>Other statuses: {', '.join(others)}.</p></section>"


def _example(content: Mapping[str, Any]) -> str:
    if "example" not in content:
        return ""
    return f"<pre>{escape(json.dumps(content['example'], indent=1))}</pre>"


def _schemas(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        yield f'<section id="{escape(name)}"><h2>{escape(name)}</h2>'
        yield f"<p>{escape(schema.get('description', ''))}</p><dl>"
        required = schema.get("required", [])
        for field, rules in schema.get("properties", {}).items():
            optional = "" if field in required else ", optional"
            yield f"<dt><code>{escape(field)}</code>{optional}</dt><dd>{_rules(rules)}</dd>"
        yield "</dl></section>"


def _rules(schema: Mapping[str, Any]) -> str:
    """Return HTML text that describes a field: its description, type and limits.

    >>> _rules({"type": "integer", "minimum": 1, "description": "TLC taxi zone"})
    'TLC taxi zone: integer, minimum 1'
    >>> _rules({"type": ["string", "null"]})
    'string or null'
    """
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    choices = " or ".join(_rules(choice) for choice in schema.get("anyOf", []))
    types = schema.get("type", "anything")
    rules = [] if choices else [" or ".join([types] if isinstance(types, str) else types)]
    rules += [
        f"{label} {schema[key]}"
        for key, label in {
            "format": "format",
            "minimum": "minimum",
            "maximum": "maximum",
            "exclusiveMaximum": "less than",
            "minLength": "minimum length",
            "maxLength": "maximum length",
        }.items()
        if key in schema
    ]
    about = escape(schema.get("description", ""))
    text = choices or escape(", ".join(rules))
    return f"{about}: {text}" if about else text


def _problem_kinds() -> Iterator[str]:
    yield "<section><h2>Problems</h2><dl>"
    for name, kind in KINDS.items():
        yield f'<dt id="{name}">{kind.status} <code>{name}</code></dt>'
        yield f"<dd>{escape(kind.title)}. {escape(kind.remedy)}</dd>"
    yield "</dl></section>"
