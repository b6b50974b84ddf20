"""Voices: recordings of one speaker point in one direction, those of others elsewhere.

Attentive statistics pooling (Okabe et al. 2018, arXiv:1803.10963) and the additive-margin softmax
(Wang et al. 2018, arXiv:1801.05599) over the speakers of the training set; what is kept is the
embedding before it, which also parts speakers never heard.

A recording played faster or slower is a voice of its own (Yamamoto et al. 2019, Speaker
Augmentation and Bandwidth Extension for Deep Speaker Embedding, Interspeech): `augment.speeds` has
as many times the voices.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from auricle.augment import AugmentSettings
from auricle.batches import BatchSettings, Draw, padded
from auricle.classifier import WindowSettings
from auricle.clips import Clips
from auricle.config import Settings
from auricle.data import Example, Progress, What, untold
from auricle.doctor import Report, examine, with_voices
from auricle.errors import DataError
from auricle.features import FeatureSettings
from auricle.models.convolutional import ResidualWaveSettings
from auricle.models.decoders import Embedder, PoolSettings
from auricle.models.encoders import EncoderSettings, build_encoder
from auricle.results import Embedding
from auricle.train import (
    AverageSettings,
    BudgetSettings,
    EvaluationSettings,
    LoopSettings,
    OptimizerSettings,
    Update,
)
from auricle.verification import Trials

UNKNOWN = -1  # a speaker that the training set does not have
ROWS = 64  # windows that a network sees at once when it answers


class SpeakerSettings(Settings):
    """Everything that an embedding of voices is trained with, in signal order."""

    # What 2 s tell of a voice is its mean spectrum first (docs/experiments.md, 17).
    features: FeatureSettings = FeatureSettings(mels=40, normalise="none")
    augment: AugmentSettings = AugmentSettings(speeds=(1.0,))  # each speed makes voices anew
    window: WindowSettings = WindowSettings(window_s=3.0, hop_s=1.5)
    encoder: EncoderSettings = ResidualWaveSettings(stem=64, channels=(96, 128, 160))
    pool: PoolSettings = PoolSettings(kind="attention")
    size: int = Field(128, ge=2, le=4_096)  # numbers in an embedding
    margin: float = Field(0.2, ge=0, le=1)  # by which the true speaker has to be nearer
    scale: float = Field(30.0, gt=0, le=200)  # of the cosines in the softmax
    dropout: float = Field(0.0, ge=0, lt=1)  # before the embedding
    batches: BatchSettings = BatchSettings(short_first=False)
    optimizer: OptimizerSettings = OptimizerSettings()
    average: AverageSettings = AverageSettings()
    budget: BudgetSettings = BudgetSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    loop: LoopSettings = LoopSettings()


@dataclass(frozen=True)
class Batch:
    """Padded features of windows, of which each recording has one or more, and who speaks."""

    ids: tuple[str, ...]
    features: Tensor  # (R, T, F) float32
    lengths: Tensor  # (R,) int64
    who: Tensor  # (R,) int64: the voice, UNKNOWN for speakers that are not in the training set
    spans: tuple[int, ...]  # of each recording: its windows
    ends_s: tuple[float, ...]
    seconds: float


class SpeakerTask:
    """Recordings in, voices out. See `auricle.train.Task` for what each method owes the loop."""

    name = "speaker"
    answer = "embedding"
    needs: What = "audio"
    fewest_voices = 2  # in what a score is taken of
    settings = SpeakerSettings
    shape = ("features", "window", "encoder", "pool", "size")  # what weights depend on
    naming = ()  # no setting decides who speaks
    last_layer = ("speakers",)  # one row per voice
    goal: tuple[str, Literal["min", "max"]] = ("eer", "min")

    def __init__(
        self, config: SpeakerSettings, speakers: Sequence[str], threshold: float | None = None
    ) -> None:
        self.config, self.speakers, self.threshold = config, tuple(speakers), threshold
        speeds = dict.fromkeys(config.augment.speeds)
        voices = [(name, speed) for speed in speeds for name in self.speakers]
        self._voices = {voice: number for number, voice in enumerate(voices)}
        self.clips = Clips(config.features, config.augment, config.window, config.batches.cache_mb)
        self.front_end = self.clips.front_end
        self.stride = build_encoder(self.front_end.dim, config.encoder, self.front_end.hop_s).stride

    @classmethod
    def learn(
        cls, config: SpeakerSettings, train: Sequence[Example], _valid: Sequence[Example] = ()
    ) -> Self:
        """The task for this training data: its speakers are told apart.

        Raises:
            DataError: fewer than two speakers.
        """
        speakers = sorted({e.speaker for e in train if e.speaker is not None})
        if len(speakers) < 2:
            raise DataError(
                f"{len(speakers)} speakers in the training data: none to tell apart; name them in"
                " the manifest under the key speaker"
            )
        return cls(config, speakers)

    @classmethod
    def adapt(
        cls,
        config: SpeakerSettings,
        _old: Self,
        train: Sequence[Example],
        valid: Sequence[Example] = (),
        *,
        anew: bool = False,
    ) -> Self:
        """The task of a model on other data: always its own speakers, so `anew` changes nothing."""
        del anew
        return cls.learn(config, train, valid)

    @property
    def answers(self) -> tuple[str, ...]:
        """What each row of the last layer stands for; none are known of a bundle."""
        return tuple(name if speed == 1 else f"{name}, {speed:g} x" for name, speed in self._voices)

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Self:
        """The task that `card` describes, with what its training chose."""
        config = SpeakerSettings.parse(card["settings"], "the settings of this model")
        return cls(config, card.get("speakers", ()), card.get("chosen", {}).get("threshold"))

    @classmethod
    def suggest(cls, train: Sequence[Example], gpu: bool) -> dict[str, Any]:
        """Settings sane for this much data on this machine; a recipe or `key=value` overrides."""
        updates = max(len(train) / 64, 1.0)
        wide = {"kind": "residual_wave", "stem": 128, "channels": [192, 256, 320], "blocks": 2}
        return {
            "batches": {"seconds": 192.0, "examples": 64},
            "optimizer": {"rate": 2e-3, "warmup_steps": 100},
            "average": {"decay": 0.99 if updates < 50 else 0.998},
            "augment": {"time_masks": 1, "frequency_mask_bins": 8},
            "budget": {"epochs": round(min(max(2_500 / updates, 12), 80))},
        } | ({"encoder": wide} if gpu else {})

    def card(self) -> dict[str, Any]:
        window = self.config.window.to_dict()
        chosen = {} if self.threshold is None else {"threshold": self.threshold}
        return {
            "task": self.name,
            "answer": self.answer,
            "stride": self.stride,
            "settings": self.config.to_dict(),
            "speakers": list(self.speakers),
            "chosen": chosen,
            "windows": {"window": window} | chosen,
        }

    def about(self) -> str:
        """What the command line says of the task, after its encoder."""
        parameters = sum(p.numel() for p in self.model().parameters())
        speeds = len(set(self.config.augment.speeds))
        played = f", each at {speeds} speeds," * (speeds > 1)
        return f"{len(self.speakers)} speakers{played} to tell apart; {parameters:,} parameters"

    def examine(
        self, parts: Mapping[str, Sequence[Example]], progress: Progress | None = None
    ) -> Report:
        """What in this data would make the training fail, or its result useless."""
        heard = {split: untold(part) for split, part in parts.items()}
        report = examine(heard, front_end=self.front_end, stride=1, progress=progress)
        return with_voices(report, parts)

    def model(self) -> nn.Module:
        return Embedder(
            build_encoder(self.front_end.dim, self.config.encoder, self.front_end.hop_s),
            self.config.pool,
            frames=-(-self.clips.frames // self.stride),
            size=self.config.size,
            speakers=len(self._voices),
            dropout=self.config.dropout,
        )

    def groups(self, model: nn.Module) -> dict[str, nn.Module]:
        return {"model": model}

    def seconds(self, example: Example, draw: Draw) -> float:
        return self.clips.seconds(example, draw)

    def batch(self, examples: Sequence[Example], draw: Draw | None = None) -> Batch:
        """One drawn window of each example, or all of their windows, plain."""
        if draw is None:
            cut = [self.clips.plain(example) for example in examples]
            rows = [self.clips.features(wave) for pieces in cut for _, _, wave in pieces]
            spans = tuple(len(pieces) for pieces in cut)
            ends_s = tuple(pieces[-1][1] for pieces in cut)
        else:
            waves = [self.clips.drawn(example, draw) for example in examples]
            rows = [
                self.clips.masked(self.clips.features(wave), example, draw)
                for wave, example in zip(waves, examples, strict=True)
            ]
            spans = (1,) * len(waves)
            ends_s = tuple(len(wave) / self.clips.rate_hz for wave in waves)
        speeds = [self.clips.speed(each, draw) if draw else 1.0 for each in examples]
        voices = zip((each.speaker or "" for each in examples), speeds, strict=True)
        numbers = [self._voices.get(voice, UNKNOWN) for voice in voices]
        return Batch(
            ids=tuple(example.id for example in examples),
            features=torch.from_numpy(padded(rows, np.float32)),
            lengths=torch.tensor([len(row) for row in rows]),
            who=torch.tensor(numbers).repeat_interleave(torch.tensor(spans)),
            spans=spans,
            ends_s=ends_s,
            seconds=sum(ends_s),
        )

    def updates(self, model: Any, batch: Batch) -> Iterator[Update]:
        who = batch.who
        cosines = model.margins(batch.features, batch.lengths, who, self.config.margin)
        loss = nn.functional.cross_entropy(self.config.scale * cosines, who)
        right = (cosines.argmax(-1) == who).float().mean()
        yield "model", loss, {"loss": float(loss.detach()), "right": float(right)}

    @torch.inference_mode()
    def predict(self, model: nn.Module, batch: Batch) -> list[Embedding]:
        pieces = zip(batch.features.split(ROWS), batch.lengths.split(ROWS), strict=True)
        rows = torch.cat([model(features, lengths)[0][:, 0] for features, lengths in pieces])
        parts = rows.cpu().split(list(batch.spans))
        return [
            Embedding.mean(part.tolist(), end_s)
            for part, end_s in zip(parts, batch.ends_s, strict=True)
        ]

    def measure(self, pairs: Sequence[tuple[Example, Embedding]]) -> Trials:
        """Every pair of these recordings as a trial."""
        vectors = np.array([result.values for _, result in pairs])
        return Trials.of_all_pairs(vectors, [example.speaker or "" for example, _ in pairs])

    def score(self, pairs: Sequence[tuple[Example, Embedding]]) -> dict[str, float]:
        return self.measure(pairs).summary()

    def choose(self, pairs: Sequence[tuple[Example, Embedding]]) -> dict[str, Any]:
        """The threshold at which as many are turned away wrongly as let in wrongly."""
        return {"threshold": self.measure(pairs).threshold}

    def show(self, _example: Example, _result: Embedding) -> dict[str, str]:
        return {}  # nobody reads a direction in 128 dimensions
