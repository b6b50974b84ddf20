"""What users may rely on: changing it changes the package's promise, so say so in its notes."""

import inspect

import auricle
from auricle import errors

PUBLIC = [
    "Alternative",
    "AuricleError",
    "BeamSettings",
    "ConfigError",
    "DataError",
    "GreedySettings",
    "ModelError",
    "Recognizer",
    "Segment",
    "Transcript",
    "Word",
    "__version__",
    "load",
]
ERRORS = ["AuricleError", "ConfigError", "DataError", "ModelError"]


def test_the_public_names_are_these() -> None:
    assert sorted(auricle.__all__) == PUBLIC


def test_public_names_exist_and_are_explained() -> None:
    for name in PUBLIC:
        value = getattr(auricle, name)
        assert name in dir(auricle)
        if callable(value):
            assert inspect.getdoc(value), f"{name} has no docstring"


def test_one_except_clause_catches_every_error() -> None:
    classes = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    found = {name: value for name, value in classes.items() if value.__module__ == errors.__name__}
    assert sorted(found) == ERRORS
    assert all(issubclass(error, errors.AuricleError) for error in found.values())
