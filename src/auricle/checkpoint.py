"""Checkpoints: one safetensors file whose header holds the state as JSON. No pickle.

One file, written to a temporary name and renamed, is what makes `kill -9` harmless: there is never
a moment with new weights beside an old state.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from auricle.bundle import WEIGHTS, WEIGHTS_SUFFIX, Bundle
from auricle.errors import DataError, ModelError
from auricle.files import regular, replacing

STATE_KEY = "state"
SCALE = "/scale"  # after the name of a matrix in int8: what its rows are to be multiplied with
BEST = {"task": str, "settings": dict, "scores": dict, "step": int}
"""What the state of `best.safetensors` holds, whatever its task adds to that."""
_DAMAGE = (
    OSError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
    safetensors.SafetensorError,
    struct.error,
)


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write `tensors` and the JSON-able `state` to `path`, atomically and durably.

    Raises:
        DataError: when the disk does not take it.
    """
    plain = {name: t.detach().to("cpu").contiguous().clone() for name, t in tensors.items()}
    with replacing(path, durable=True) as temporary:
        try:
            safetensors.torch.save_file(plain, temporary, {STATE_KEY: json.dumps(state)})
        except safetensors.SafetensorError as error:  # a missing folder, a full disk
            raise DataError(f"{path}: cannot be written: {error}") from None


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state of a checkpoint.

    Raises:
        ModelError: when the file is missing, damaged, or not one of ours.
    """
    try:
        with safetensors.safe_open(regular(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, _parse_state(metadata[STATE_KEY])
    except _DAMAGE as error:
        raise _refusal(path, error) from None


def pack_weights(tensors: Mapping[str, Tensor], precision: str) -> bytes:
    """Weights as the member of a bundle: "fp32", "fp16" or "int8".

    In int8, every matrix has a scale for each of its rows, and is what its rows' largest weight
    over 127 makes of it; vectors are kept in fp16.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if not tensor.is_floating_point() or precision == "fp32":
            packed[name] = tensor.clone()
        elif precision == "int8" and tensor.ndim >= 2:
            scale = tensor.flatten(1).abs().amax(1).clamp(min=1e-12) / 127.0
            packed[name + SCALE] = scale
            packed[name] = (tensor / _along_rows(scale, tensor)).round().to(torch.int8)
        else:
            packed[name] = tensor.half()
    return safetensors.torch.save(packed)


def read_weights(bundle: Bundle) -> dict[str, Tensor]:
    """The weights of a bundle, inside it or beside it, by name.

    Raises:
        ModelError: it has none, or they are damaged or another model's.
    """
    if WEIGHTS not in bundle.card.members:
        bundle = _beside(bundle)
    try:
        packed = safetensors.torch.load(bundle.member(WEIGHTS))
        scales = {name: packed.pop(name) for name in [*packed] if name.endswith(SCALE)}
        for name, scale in scales.items():
            tensor = packed[name.removesuffix(SCALE)]
            packed[name.removesuffix(SCALE)] = tensor * _along_rows(scale, tensor)
        return packed
    except (*_DAMAGE, RuntimeError) as error:  # also scales that do not fit their matrix
        raise ModelError(f"{bundle.path}: {WEIGHTS} is damaged ({error})") from None


def _beside(bundle: Bundle) -> Bundle:
    """The bundle with the weights of one that has none."""
    path = bundle.path.with_suffix(WEIGHTS_SUFFIX)
    if not path.exists():
        raise ModelError(
            f"{bundle.path}: has no weights to begin with, and {path.name} is not beside it: "
            "export the run again, or name the run folder itself"
        )
    beside = Bundle.read(path)
    one, other = (each.card.model_copy(update={"members": {}}) for each in (bundle, beside))
    if one != other or WEIGHTS not in beside.card.members:
        raise ModelError(f"{path}: these are not the weights of {bundle.path.name}")
    return beside


def _along_rows(scale: Tensor, tensor: Tensor) -> Tensor:
    """(R,) -> (R, 1, ...), to multiply (R, ...) with."""
    return scale.view(-1, *[1] * (tensor.ndim - 1))


def read_state(path: Path) -> dict[str, Any]:
    """The state alone, from the header: cheap, and needs no tensor in memory."""
    try:
        with regular(path).open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > 100_000_000:
                raise ValueError("header too large")
            return _parse_state(json.loads(file.read(size))["__metadata__"][STATE_KEY])
    except _DAMAGE as error:
        raise _refusal(path, error) from None


def _parse_state(text: str) -> dict[str, Any]:
    state = json.loads(text)
    if not isinstance(state, dict):
        raise ValueError("its state is no table")
    return state


def _refusal(path: Path, error: Exception) -> ModelError:
    if isinstance(error, FileNotFoundError):
        return ModelError(f"{path}: no checkpoint there; did the training reach one?")
    why = f"it has no {error}" if isinstance(error, KeyError) else error
    return ModelError(f"{path}: not a checkpoint of auricle, or damaged ({why}): copy it again")


def check_state(path: Path, state: Mapping[str, Any], needed: Mapping[str, type]) -> None:
    """Refuse a checkpoint that was written for something else.

    Raises:
        ModelError: a key is missing or of another type.
    """
    wrong = [key for key, kind in needed.items() if not isinstance(state.get(key), kind)]
    if wrong:
        raise ModelError(
            f"{path}: a checkpoint, but without {', '.join(wrong)}: another file of that name?"
        )


def origin_of(path: Path, state: Mapping[str, Any]) -> dict[str, str]:
    """What a training began with: the `name` and `sha256` of a model, or nothing.

    Raises:
        ModelError: the state holds something else in that place.
    """
    origin = state.get("origin", {})
    if not isinstance(origin, dict) or (
        origin and not all(isinstance(origin.get(key), str) for key in ("name", "sha256"))
    ):
        raise ModelError(f"{path}: damaged: it does not say which model it began with")
    return origin


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load every weight of `module`; a missing, extra or misshapen one is an error."""
    own = module.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [n for n in own.keys() & tensors.keys() if own[n].shape != tensors[n].shape]
    if missing or extra or shapes:
        raise ModelError(
            f"{source}: its weights do not fit this model (missing {missing[:3]}, "
            f"unknown {extra[:3]}, other shape {sorted(shapes)[:3]}): were the settings changed?"
        )
    module.load_state_dict(dict(tensors))


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`{"a": x}` -> `{"prefix.a": x}`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix.`, without it."""
    head = prefix + "."
    return {name[len(head) :]: t for name, t in tensors.items() if name.startswith(head)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer as flat tensors: `<parameter number>.<quantity>`."""
    return {
        f"{number}.{key}": torch.as_tensor(value)
        for number, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`; learning rates stay as the optimizer has them."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def mean_of(snapshots: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The average of several sets of weights (Izmailov et al. 2018, arXiv:1803.05407)."""
    if not snapshots:
        raise ModelError("no snapshots to average")
    return {
        name: torch.stack([s[name].double() for s in snapshots]).mean(0).to(first.dtype)
        for name, first in snapshots[0].items()
    }
