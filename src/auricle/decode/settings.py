"""How words are looked for: the settings of the decoders, as bundles keep them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from auricle.config import Settings, merge


class GreedySettings(Settings):
    """The best symbol of every frame: fast, and deaf to everything but the sound."""

    kind: Literal["greedy"] = "greedy"


class BeamSettings(Settings):
    """How far a beam search looks. Weights and limits are natural logarithms."""

    kind: Literal["beam"] = "beam"
    beam: int = Field(100, ge=1, le=1_000_000, description="prefixes kept after each frame")
    alpha: float = Field(0.5, ge=0.0, le=10.0, description="weight of the language model")
    beta: float = Field(1.0, ge=-20.0, le=20.0, description="with a model: added for every word")
    unknown: float = Field(-5.0, ge=-1000.0, le=0.0, description="for a word out of vocabulary")
    unknown_letter: float = Field(-1.0, ge=-100.0, le=0.0, description="for each of its letters")
    closed: bool | None = Field(None, description="hear nothing else; None: as the lexicon says")
    hotword: float = Field(8.0, ge=0.0, le=100.0, description="added for every hotword")
    look_ahead: bool = Field(True, description="value words by what may become of them")
    recombine: bool = Field(True, description="of prefixes with the same future, keep `nbest`")
    token_prune: float = Field(10.0, gt=0.0, le=1000.0, description="below the frame's best symbol")
    score_prune: float = Field(20.0, gt=0.0, le=1e6, description="below the best prefix")
    skip_blank: float = Field(0.999, gt=0.5, le=1.0, description="leave out frames so surely blank")
    nbest: int = Field(1, ge=1, le=10_000, description="hypotheses to return, of different words")


DecodeSettings = Annotated[GreedySettings | BeamSettings, Field(discriminator="kind")]


class _Holder(Settings):
    decode: DecodeSettings


def decode_settings(*layers: Mapping[str, Any], source: str = "decode") -> DecodeSettings:
    """The settings that layers of values make, later ones winning; another `kind` starts anew.

    Raises:
        ConfigError: for an unknown key or a value out of range.
    """
    values = merge({"decode": {"kind": "greedy"}}, *({"decode": layer} for layer in layers))
    return _Holder.parse(values, source).decode
