import tomllib
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from auricle.config import (
    Settings,
    find_recipe,
    known_recipes,
    merge,
    parse_overrides,
    read_recipe,
    resolve,
    to_toml,
)
from auricle.errors import ConfigError, DataError
from auricle.files import make_folder


class Tree(Settings):
    kind: Literal["tree"] = "tree"
    height_m: float = Field(10.0, gt=0)
    leaves: int = Field(100, ge=0)


class Rock(Settings):
    kind: Literal["rock"] = "rock"
    weight_kg: float = Field(5.0, gt=0)


class Border(Settings):
    hue: str = "white"


class Walk(Settings):
    length_m: float = Field(1.0, gt=0)
    names: tuple[str, ...] = ()
    border: Border = Border()


class Garden(Settings):
    owner: str = ""
    open: bool = True
    rating: float | None = None
    walk: Walk = Walk()
    thing: Annotated[Tree | Rock, Field(discriminator="kind")] = Tree()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "garden.toml"
    path.write_text('owner = "Ada"\n[walk]\nlength_m = 30\nnames = ["main"]\n', encoding="utf-8")
    return path


def test_a_list_may_stand_between_commas() -> None:
    from auricle.augment import AugmentSettings
    from auricle.labels import LabelSettings

    assert resolve(LabelSettings, None, ["keywords=yes,no, stop"]).keywords == ("yes", "no", "stop")
    assert resolve(LabelSettings, None, ["keywords=yes"]).keywords == ("yes",)
    assert resolve(AugmentSettings, None, ["speeds=0.9,1.0,1.1"]).speeds == (0.9, 1.0, 1.1)
    with pytest.raises(ConfigError, match="should be a valid number"):
        resolve(AugmentSettings, None, ["speeds=0.9,fast"])


def test_later_layers_win(recipe: Path) -> None:
    garden = resolve(Garden, recipe, ["walk.length_m=40"], owner="Bob", open=False)
    assert garden.open is False  # from the base
    assert garden.owner == "Ada"  # the recipe over the base
    assert garden.walk == Walk(length_m=40, names=("main",))  # the word over the recipe
    assert garden.thing == Tree()  # the default


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Garden().owner = "Eve"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("walk.lenght_m=3", "unknown setting walk.lenght_m; did you mean walk.length_m?"),
        ("length_m=3", "did you mean walk.length_m?"),
        ("ownr=x", "unknown setting ownr; did you mean owner?"),
        ("wlak.length_m=3", "did you mean walk.length_m?"),
        ("hue=red", "did you mean walk.border.hue?"),
        ("thing.leafs=3", "did you mean thing.leaves?"),
        ("zzzzzz=1", "known keys: open, owner, rating"),
        ("walk.length_m=-1", "walk.length_m = -1: input should be greater than 0"),
        ("walk.length_m=short", "walk.length_m = 'short': input should be a valid number"),
        ("thing.height_m=0", "thing.height_m = 0: "),
        ("thing.kind=sand", "'tree', 'rock'"),
    ],
)
def test_a_bad_word_is_explained(word: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Garden, None, [word])
    assert message in str(caught.value)


def test_of_many_keys_the_tables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auricle.config.MOST_KEYS", 3)
    with pytest.raises(ConfigError) as caught:
        resolve(Garden, None, ["zzzzzz=1"])
    told = str(caught.value)
    assert told.endswith("known keys: open, owner, rating, thing.*, walk.*")
    assert "walk.length_m" not in told


def test_another_kind_replaces_the_table_and_the_same_kind_does_not() -> None:
    base = {"thing": {"kind": "tree", "leaves": 7}}
    same = resolve(Garden, None, ["thing.kind=tree", "thing.height_m=3"], **base)
    assert same.thing == Tree(height_m=3, leaves=7)
    other = resolve(Garden, None, ["thing.kind=rock", "thing.weight_kg=2"], **base)
    assert other.thing == Rock(weight_kg=2)


def test_words_are_read_as_toml_else_as_text() -> None:
    words = [
        "a.b=1",
        "a.c=1e-3",
        "d=[1, 2]",
        "e=true",
        'f="1"',
        "g=../data/x",
        "h=",
        "i=a=b",
        " j = x y ",
    ]
    assert parse_overrides(words) == {
        "a": {"b": 1, "c": 1e-3},
        "d": [1, 2],
        "e": True,
        "f": "1",
        "g": "../data/x",
        "h": "",
        "i": "a=b",
        "j": "x y",
    }


@pytest.mark.parametrize("word", ["owner", "=3", "walk.=3", ".x=1", "a..b=1", ""])
def test_a_word_needs_a_key_and_a_value(word: str) -> None:
    with pytest.raises(ConfigError, match="write key=value"):
        parse_overrides([word])


def test_merge_leaves_its_layers_alone() -> None:
    low, high = {"a": {"x": 1, "y": 1}, "b": 1}, {"a": {"y": 2}, "b": {"z": 3}}
    assert merge(low, high) == {"a": {"x": 1, "y": 2}, "b": {"z": 3}}
    assert low == {"a": {"x": 1, "y": 1}, "b": 1}
    assert high == {"a": {"y": 2}, "b": {"z": 3}}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"owner = ", "not a TOML recipe"), (b"\xff\xfe", "not a TOML recipe"), (None, "cannot read")],
)
def test_an_unreadable_recipe_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "broken.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(str(path))


texts = st.text(st.characters(exclude_categories=["Cs"]))  # all but lone surrogates
numbers = st.floats(min_value=1e-9, max_value=1e9)
gardens = st.builds(
    Garden,
    owner=texts,
    open=st.booleans(),
    rating=st.none() | numbers,
    walk=st.builds(
        Walk,
        length_m=numbers,
        names=st.lists(texts).map(tuple),
        border=st.builds(Border, hue=texts),
    ),
    thing=st.builds(Tree, leaves=st.integers(0)) | st.builds(Rock, weight_kg=numbers),
)


@given(garden=gardens)
def test_toml_there_and_back(garden: Garden) -> None:
    assert Garden.parse(tomllib.loads(to_toml(garden.to_dict()))) == garden


@given(garden=gardens)
def test_json_there_and_back(garden: Garden) -> None:
    assert Garden.parse(garden.to_dict()) == garden


def test_recipes_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known = known_recipes()
    assert {"conv_lstm", "conformer", "rnn_mfcc"} <= known.keys()
    assert known["conformer"][0] == "ctc"
    assert all(about and "#" not in about for _, about in known.values())
    for name in known:
        assert find_recipe(name).suffix == ".toml"
    Path("conformer").mkdir()  # a run of that name is no recipe
    assert find_recipe("conformer").suffix == ".toml"
    Path("mine.toml").touch()
    assert find_recipe("mine.toml") == Path("mine.toml")
    with pytest.raises(ConfigError, match=r"english\.toml: no such file, .*conformer, conv_lstm"):
        find_recipe("recipes/ctc/english.toml")


class _Choosy(Settings):
    style: str = "txt"

    @field_validator("style")
    @classmethod
    def _known(cls, value: str) -> str:
        if value != "txt":
            raise ValueError(f"{value!r} is not one of txt")
        return value


def test_a_check_of_ours_is_told_in_its_own_words() -> None:
    with pytest.raises(ConfigError, match=r"^settings: style = 'doc': 'doc' is not one of txt$"):
        _Choosy.parse({"style": "doc"})


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Ana\n")
    for place in ("names.txt", "names.txt/below"):
        with pytest.raises(DataError, match=r"this folder \(there is a file in its place\)"):
            make_folder(tmp_path / place)
