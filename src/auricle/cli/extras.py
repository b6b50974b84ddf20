"""Extras of the installation: what is missing is said before anything is read."""

from importlib.util import find_spec

from auricle.errors import ConfigError

TRAINING = ("torch", "safetensors", "onnx")


def need_training(what: str) -> None:
    """Refuse `what` (a command) where the extra [train] is not installed.

    Raises:
        ConfigError: says how to install it.
    """
    missing = [name for name in TRAINING if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{what} needs {missing[0]}: pip install '.[train]'")
