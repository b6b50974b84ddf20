"""auricle serve."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from auricle.cli.display import errors, output, table
from auricle.config import Settings, resolve
from auricle.errors import ConfigError
from auricle.files import read_text

KEYS_VARIABLE = "AURICLE_API_KEYS"


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help="A bundle, a shipped model's name, or NAME=BUNDLE; may be repeated."),
    ] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--api-keys", help=f"A file with a key a line; else {KEYS_VARIABLE}, comma-separated."
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Another web page that may call: https://a.b.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that it answers to, behind a proxy.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder of jobs and uploads. [~/.local/state/auricle]")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting, as key=value.")
    ] = None,
    show: Annotated[bool, typer.Option(help="Print all settings and stop.")] = False,
) -> None:
    """
    Examples:
    - `auricle serve`, then open http://127.0.0.1:8000 or point OpenAI's client to its `/v1`
    - `auricle serve --model commands=commands.auricle --model english`
    - `auricle serve --host 0.0.0.0 --api-keys keys.txt --set requests_per_minute=60`
    - `auricle serve --show` (all that `--set` may set: limits, batches, deadlines)

    Answers OpenAI's audio interface, live sound over a websocket, and a page for people.
    """
    _need_serving()
    from auricle.serve.limits import is_loopback
    from auricle.serve.server import serve as run
    from auricle.serve.settings import ServeSettings

    values: dict[str, Any] = {"host": host, "port": port, "api_keys": _keys(keys)}
    values |= {"origins": allow_origin or [], "hosts": [name.lower() for name in allow_host or []]}
    values |= {"state": str(state)} if state else {}
    resolved = resolve(ServeSettings, None, settings or (), **values)
    if model:  # instead of the usual one; settings would be merged with it
        resolved = resolved.model_copy(update={"models": _models(model)})
    if show:
        _show(resolved)
        return

    def listening(url: str) -> None:
        errors.print(f"{url} answers with {', '.join(resolved.models)}; Ctrl-C stops it")
        if not resolved.api_keys and not is_loopback(resolved.host):
            errors.print("warning: other machines can reach this server, and no API keys are set")

    run(resolved, workers, listening)


def _need_serving() -> None:
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"the server needs {error.name}, which is not installed: pip install '.[serve]'"
        ) from None


def _show(settings: Settings) -> None:
    rows = [
        [name, str(getattr(settings, name)), each.description or ""]
        for name, each in type(settings).model_fields.items()
        if name != "api_keys"  # nobody else's to read
    ]
    output.print(table(["setting", "value", "meaning"], rows, numbers=False))


def _models(words: list[str]) -> dict[str, str]:
    models: dict[str, str] = {}
    for name, bundle in map(_named, words):
        if name in models:
            raise ConfigError(f"two models are called {name}: name one of them, NAME=BUNDLE")
        models[name] = bundle
    return models


def _named(word: str) -> tuple[str, str]:
    """`english` or `NAME=BUNDLE` -> the name in requests, and the bundle."""
    name, equals, bundle = word.partition("=")
    return (name, bundle) if equals else (Path(word).stem, word)


def _keys(path: Path | None) -> list[str]:
    if path is None:
        words = os.environ.get(KEYS_VARIABLE, "").split(",")
    else:
        words = read_text(path, "API keys").splitlines()
    keys = [word.strip() for word in words if word.strip()]
    if path is not None and not keys:
        raise ConfigError(f"{path}: holds no API key; write one a line")
    return keys
