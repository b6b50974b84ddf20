"""The OpenAPI document as a page that needs no script and nothing from elsewhere."""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")


def reference(document: dict[str, Any]) -> str:
    """HTML that lists every route with its parameters, fields and answers."""
    body = "\n".join(_routes(document))
    title = escape(document["info"]["title"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}: reference</title><link rel="stylesheet" href="/page/style.css"></head>'
        f"<body><main><h1>{title}</h1>"
        f"<p>{escape(document['info'].get('description', ''))}</p>"
        '<p><a href="/openapi.json">openapi.json</a> says the same to programs.</p>\n'
        f"{body}</main></body></html>\n"
    )


def _routes(document: dict[str, Any]) -> Iterator[str]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                route = item[method]
                yield (
                    f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
                    f"<p>{escape(route.get('description', ''))}</p>"
                )
                yield from _table("Parameters", map(_parameter, route.get("parameters", ())))
                for kind, content in route.get("requestBody", {}).get("content", {}).items():
                    schema = _resolved(content["schema"], document)
                    yield from _table(f"Body: {kind}", _fields(schema, document))
                answers = ((code, each["description"]) for code, each in route["responses"].items())
                yield from _table("Answers", answers)


def _parameter(values: dict[str, Any]) -> tuple[str, str]:
    return f"{values['name']} ({values['in']})", _kind(values.get("schema", {}))


def _fields(schema: dict[str, Any], document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, values in schema.get("properties", {}).items():
        needed = "" if name not in schema.get("required", ()) else "; needed"
        about = values.get("description", "")
        yield name, f"{_kind(_resolved(values, document))}{needed}{': ' * bool(about)}{about}"


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    resolved: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return resolved


def _kind(schema: dict[str, Any]) -> str:
    kinds = [_kind(each) for each in schema.get("anyOf", ())]
    choices = schema.get("enum") or schema.get("items", {}).get("enum")
    kind = " or ".join(kinds) or str(schema.get("type", "any"))
    return kind + (f", one of {', '.join(map(str, choices))}" if choices else "")


def _table(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    lines = [f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows]
    if lines:
        yield f"<table><caption>{escape(title)}</caption>{''.join(lines)}</table>"
