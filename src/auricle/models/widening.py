"""A wider network that begins as a narrower one that is trained, and answers as it does.

Units are copied, and what leads away from a unit is shared out among its copies, in unequal parts:
else they would have equal gradients and stay one. The function stays the same where every unit has
as many copies; where some have more, the layer norms shift it a little.

Source: Net2WiderNet, Chen, Goodfellow and Shlens 2016 (arXiv:1511.05641).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from auricle.errors import ConfigError

KIND, SIZES = "conv_lstm", ("channels", "dim", "hidden")  # the encoder that can grow, and in what
LEAST_SHARE = 0.3  # of a copy, in what leads away from a unit with two
NOISE = 0.1  # in what leads to the copies, of its standard deviation
GATES = 4


@dataclass(frozen=True)
class Copies:
    """The units of a wider layer: which one of the narrower layer each is, and its share of it."""

    of: Tensor  # (W,)
    share: Tensor  # (W,); those of the copies of a unit sum to 1

    @classmethod
    def draw(cls, narrow: int, wide: int, rng: torch.Generator) -> "Copies":
        """Units in order, then in order again, until there are `wide`."""
        of = torch.arange(wide) % narrow
        weight = torch.rand(wide, generator=rng) * (1 - 2 * LEAST_SHARE) + LEAST_SHARE
        sums = torch.zeros(narrow).index_add(0, of, weight)
        return cls(of, weight / sums[of])

    def beside(self, other: "Copies") -> "Copies":
        """The units of both, as two outputs that are concatenated."""
        narrow = int(self.of.max()) + 1
        return Copies(torch.cat([self.of, other.of + narrow]), torch.cat([self.share, other.share]))

    def each(self, count: int) -> "Copies":
        """`count` places of every unit, which are copied with it."""
        places = self.of[:, None] * count + torch.arange(count)
        return Copies(places.flatten(), self.share.repeat_interleave(count))


@dataclass
class _Widening:
    """Tensors of the narrower network in, of the wider one out."""

    narrow: Mapping[str, Tensor]
    rng: torch.Generator

    def to(self, copies: Copies, name: str, parts: int = 1) -> Tensor:
        """(R, ...) -> (W, ...), what leads to the units; in `parts`, a unit has a row in each."""
        grown = []
        for part in self.narrow[name].float().chunk(parts):
            rows = part[copies.of].clone()
            if part.ndim > 1:
                added = rows[len(part) :]
                added += NOISE * part.std() * torch.randn(added.shape, generator=self.rng)
            grown.append(rows)
        return torch.cat(grown)

    def away(self, copies: Copies, tensor: Tensor) -> Tensor:
        """(R, C, ...) -> (R, W, ...), what leads away from the units."""
        share = copies.share.view(1, -1, *[1] * (tensor.ndim - 2))
        return tensor.float()[:, copies.of] * share


def widened(narrow: Mapping[str, Tensor], wide: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a `conv_lstm` with the shapes of `wide`, that answers as `narrow` does.

    Args:
        narrow: of a model, by name: `encoder.` and what it has of layers, and `classify.weight`.
        wide: of the network to begin; as wide as the other in every layer, or wider.

    Returns:
        All of `narrow`, those that grew anew; always the same for the same weights.

    Raises:
        ConfigError: the last layer does not read the encoder's frames as they are.
    """
    rng = torch.Generator().manual_seed(0)
    grow, made = _Widening(narrow, rng), dict(narrow)

    def copies(name: str) -> Copies:
        return Copies.draw(len(narrow[name]), len(wide[name]), rng)

    first, stream = copies("encoder.first.bias"), copies("encoder.second.bias")
    for layer in ("weight", "bias"):
        made[f"encoder.first.{layer}"] = grow.to(first, f"encoder.first.{layer}")
        made[f"encoder.second.{layer}"] = grow.to(stream, f"encoder.second.{layer}")
    made["encoder.second.weight"] = grow.away(first, made["encoder.second.weight"])
    for block in sorted({name.rpartition(".convs.")[0] for name in narrow if ".convs." in name}):
        inner = copies(f"{block}.convs.0.bias")
        for number, before, after in ((0, stream, inner), (1, inner, stream)):
            conv = f"{block}.convs.{number}"
            made[f"{conv}.weight"] = grow.away(before, grow.to(after, f"{conv}.weight"))
            made[f"{conv}.bias"] = grow.to(after, f"{conv}.bias")
    bands = narrow["encoder.project.weight"].shape[1] // len(narrow["encoder.second.bias"])
    below = copies("encoder.project.bias")
    weight = grow.to(below, "encoder.project.weight")
    made["encoder.project.weight"] = grow.away(stream.each(bands), weight)
    for name in ("encoder.project.bias", "encoder.norm.weight", "encoder.norm.bias"):
        made[name] = grow.to(below, name)
    for number in range(sum(".lstm.norms." in n and n.endswith("weight") for n in narrow)):
        sides = []
        for side in ("forwards", "backwards"):
            lstm = f"encoder.lstm.{side}.{number}"
            cells = Copies.draw(
                narrow[f"{lstm}.weight_hh_l0"].shape[1], wide[f"{lstm}.weight_hh_l0"].shape[1], rng
            )
            for leads, units in (("ih", below), ("hh", cells)):
                rows = grow.to(cells, f"{lstm}.weight_{leads}_l0", GATES)
                made[f"{lstm}.weight_{leads}_l0"] = grow.away(units, rows)
                bias = f"{lstm}.bias_{leads}_l0"
                made[bias] = grow.to(cells, bias, GATES)
            sides.append(cells)
        below = sides[0].beside(sides[1])
        for layer in ("weight", "bias"):
            name = f"encoder.lstm.norms.{number}.{layer}"
            made[name] = grow.to(below, name)
    last = narrow["classify.weight"]
    if last.shape[1] != int(below.of.max()) + 1:
        raise ConfigError("a wider network begins with a model that answers for every frame")
    made["classify.weight"] = grow.away(below, last)
    return made
