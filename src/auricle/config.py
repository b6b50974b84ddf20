"""Typed settings <-> TOML <-> key=value: strict, with a suggestion for a misspelt key.

There is one way to configure: the defaults in the settings classes, overridden by a recipe (TOML),
overridden by `key=value` words. Every settings class is frozen; the resolved settings travel inside
each checkpoint and bundle, so a model never needs its recipe again.
"""

import difflib
import json
import tomllib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from auricle.errors import SHOWN_LETTERS, ConfigError, brief
from auricle.files import regular, why_not

MOST_KEYS = 30  # that an error lists


class Settings(BaseModel):
    """Base of every settings class: immutable, and unknown keys are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, values: Any) -> Any:
        """Where a list is due, what stands between commas: `labels.keywords=yes,no`."""
        if not isinstance(values, Mapping):
            return values
        given = dict(values)
        for name, known in cls.model_fields.items():
            text = given.get(name)
            if typing.get_origin(known.annotation) is tuple and isinstance(text, str):
                given[name] = [_toml(part) for part in text.split(",") if part.strip()]
        return given

    @classmethod
    def parse(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Validate nested `values`.

        Raises:
            ConfigError: for an unknown key (names the nearest known one) or a value out of range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"{source}: {_explain(cls, error)}") from None

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON types, defaults included."""
        return self.model_dump(mode="json")


S = TypeVar("S", bound=Settings)


def resolve(
    cls: type[S], recipe: Path | None = None, overrides: Iterable[str] = (), **base: Any
) -> S:
    """Defaults < `base` < the recipe's TOML < `key=value` words.

    Args:
        recipe: a TOML file whose tables mirror the nesting of `cls`.
        overrides: words such as `optimizer.rate=3e-4`; values are read as TOML, else as a string.
        base: nested values that replace defaults, for what was inferred from data or machine.

    Raises:
        ConfigError: for an unreadable recipe, a malformed word, an unknown key or a bad value.
    """
    recipe_values = read_recipe(recipe) if recipe else {}
    words = parse_overrides(overrides)
    source = f"{recipe}{' with the words key=value' * bool(words)}" if recipe else "settings"
    return cls.parse(merge(cls().to_dict(), base, recipe_values, words), source)


def known_recipes() -> dict[str, tuple[str, str]]:
    """The recipes that come along: by name the task and the first sentence, which says what for."""
    return {name: (path.parent.name, _sentence(path)) for name, path in _recipe_files().items()}


def _sentence(recipe: Path) -> str:
    lines = recipe.read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
    return comment.partition(". ")[0].rstrip(".")


def find_recipe(name: str) -> Path:
    """A path as it is, or the path of the recipe that comes along under this name.

    Raises:
        ConfigError: when there is neither; names those that there are.
    """
    path, known = Path(name), _recipe_files()
    if name in known and not path.is_file():
        return known[name]
    if not path.exists():
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}"
        raise ConfigError(f"{name}: no such file, and no recipe of that name; {hint}")
    return path


def _recipe_files() -> dict[str, Path]:
    """By name; a name that two tasks have is `task/name`."""
    here = Path(__file__).parent
    folders = (here / "recipes", here.parents[1] / "recipes")  # as installed; in a clone
    folder = next((each for each in folders if each.is_dir()), folders[0])
    paths = sorted(folder.glob("*/*.toml"))
    stems = [path.stem for path in paths]
    return {
        stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}": path
        for stem, path in zip(stems, paths, strict=True)
    }


def read_recipe(path: Path) -> dict[str, Any]:
    """The nested values of a TOML recipe."""
    try:
        return tomllib.loads(regular(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the recipe ({why_not(error)})") from None
    except (ValueError, RecursionError) as error:  # also numbers too long, lists too deep
        raise ConfigError(f"{path}: not a TOML recipe: {error}") from None


def _toml(text: str) -> Any:
    """A value as TOML writes it, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text.strip()


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """`["a.b=1", "c=x"]` -> `{"a": {"b": 1}, "c": "x"}`."""
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(
                f"{brief(word)} is not a setting: write key=value, e.g. budget.minutes=30"
            )
        nested = _toml(text)
        for part in reversed(parts):
            nested = {part: nested}
        values = merge(values, nested)
    return values


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings merged, later layers winning.

    A layer that changes a table's `kind` replaces that table: the settings of one kind (an encoder,
    say) mean nothing to another.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = merged.get(key)
            if isinstance(value, Mapping) and isinstance(old, Mapping):
                same_kind = value.get("kind", old.get("kind")) == old.get("kind")
                merged[key] = merge(old, value) if same_kind else dict(value)
            else:
                merged[key] = value
    return merged


def to_toml(values: Mapping[str, Any]) -> str:
    """Nested settings as a TOML recipe, which `read_recipe` reads back (None is left out)."""
    return "\n".join(_toml_table(values, ())).strip() + "\n"


def _toml_table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {k: v for k, v in table.items() if not isinstance(v, Mapping) and v is not None}
    # JSON's scalars, strings and flat lists are TOML's too.
    lines = [f"{key} = {_toml_value(value)}" for key, value in plain.items()]
    if path and lines:
        lines = ["", f"[{'.'.join(path)}]", *lines]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _toml_table(value, (*path, key))
    return lines


def _toml_value(value: Any) -> str:
    # TOML forbids DEL where JSON does not.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _explain(cls: type[Settings], error: ValidationError) -> str:
    """One line for the first problem pydantic found, with the nearest known key."""
    first = error.errors()[0]
    where = tuple(str(part) for part in first["loc"])
    tags = _union_tags(cls)  # the last part is the key itself, even if a kind is called so too
    key = ".".join(part for part in (*(p for p in where[:-1] if p not in tags), *where[-1:]))
    if first["type"] == "extra_forbidden":
        inside = first.get("input")
        if isinstance(inside, Mapping) and inside:  # a table that is none: what was meant is inside
            key = f"{key}.{next(iter(inside))}"
        known = sorted(_keys(cls))
        same_name = [name for name in known if name.rpartition(".")[2] == where[-1]]
        near = same_name or difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        if len(known) > MOST_KEYS:  # by table: a hundred keys are no help
            known = sorted(
                {
                    f"{head}.*" if rest else head
                    for head, _, rest in (name.partition(".") for name in known)
                }
            )
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown setting {key[:SHOWN_LETTERS]}; {hint}"
    given, why = first.get("input"), first["msg"].removeprefix("Value error, ")
    return f"{key} = {brief(given)}: {why[0].lower()}{why[1:]}"


def _members(annotation: Any) -> list[type[Settings]]:
    """The settings classes inside an annotation such as `A | B | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [found for part in typing.get_args(annotation) for found in _members(part)]


def _keys(cls: type[Settings], prefix: str = "") -> set[str]:
    keys: set[str] = set()
    for name, field in cls.model_fields.items():
        members = _members(field.annotation)
        keys |= {prefix + name} if not members else set()
        for member in members:
            keys |= _keys(member, f"{prefix}{name}.")
    return keys


def _union_tags(cls: type[Settings]) -> set[str]:
    """The `kind` values that pydantic puts into the location of an error inside a union."""
    tags: set[str] = set()
    for field in cls.model_fields.values():
        for member in _members(field.annotation):
            kind = member.model_fields.get("kind")
            tags |= {str(kind.default)} if kind else set()
            tags |= _union_tags(member)
    return tags
