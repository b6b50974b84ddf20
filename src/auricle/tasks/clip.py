"""Labels for a clip: a keyword, a sound, an emotion, tags.

An encoder, pooling over time, and one row of probabilities: cross-entropy for one label, binary
cross-entropy for several.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from auricle import audio
from auricle.augment import AugmentSettings, generator
from auricle.batches import BatchSettings, Draw, padded
from auricle.classifier import WindowSettings
from auricle.clips import Clips
from auricle.config import Settings
from auricle.data import Example, Progress, What, untold
from auricle.doctor import Report, examine, with_labels
from auricle.errors import ConfigError, DataError
from auricle.features import FeatureSettings
from auricle.label_metrics import LabelScore, best_thresholds
from auricle.labels import SILENCE, LabelSet, LabelSettings
from auricle.models.convolutional import ResidualWaveSettings
from auricle.models.decoders import ClipClassifier, PoolSettings
from auricle.models.encoders import EncoderSettings, build_encoder
from auricle.results import Labels
from auricle.train import (
    AverageSettings,
    BudgetSettings,
    EvaluationSettings,
    LoopSettings,
    OptimizerSettings,
    Update,
)

Float32 = NDArray[np.float32]
ROWS = 64  # windows that a network sees at once when it answers


class ClipSettings(Settings):
    """Everything a classifier of clips is trained with, in signal order."""

    features: FeatureSettings = FeatureSettings(mels=40, normalise="peak")
    augment: AugmentSettings = AugmentSettings()
    labels: LabelSettings = LabelSettings()
    window: WindowSettings = WindowSettings()  # longer clips are cut to it, at random in training
    silence_share: float = Field(0.0, ge=0, lt=1)  # of training clips: noise, called _silence_
    mixup: float = Field(0.0, ge=0, le=10)  # alpha of the mixing of two clips; 0: none
    smoothing: float = Field(0.0, ge=0, lt=1)  # of the target shared among all labels
    balance: float = Field(0.0, ge=0, le=1)  # 1: every label weighs alike; 0: every clip does
    encoder: EncoderSettings = ResidualWaveSettings()
    pool: PoolSettings = PoolSettings()
    dropout: float = Field(0.1, ge=0, lt=1)  # before the last layer, and after dense ones
    batches: BatchSettings = BatchSettings(short_first=False)
    optimizer: OptimizerSettings = OptimizerSettings()
    average: AverageSettings = AverageSettings()
    budget: BudgetSettings = BudgetSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    loop: LoopSettings = LoopSettings()


@dataclass(frozen=True)
class Batch:
    """Padded features of windows, of which each clip has one or more, and targets of clips."""

    ids: tuple[str, ...]
    features: Tensor  # (R, T, F) float32
    lengths: Tensor  # (R,) int64
    targets: Tensor  # (B, V) float32: shares of labels
    spans: tuple[tuple[tuple[float, float], ...], ...]  # of each clip: its windows, in seconds
    seconds: float  # of sound, padding excluded


class ClipTask:
    """Clips in, labels out. See `auricle.train.Task` for what each method owes the loop."""

    name = "clip"
    answer = "labels"
    needs: What = "label"  # of every example
    fewest_voices = 1  # in what a score is taken of
    settings = ClipSettings
    shape = ("features", "window", "encoder", "pool")  # the settings that weights depend on
    naming = ("labels",)  # and those that its answers depend on
    last_layer = ("classify.weight", "classify.bias")  # one row per answer

    def __init__(self, config: ClipSettings, labels: LabelSet, weights: Sequence[float]) -> None:
        self.config, self.labels = config, labels
        self.weights = tuple(weights)  # of the labels, in the loss
        self.clips = Clips(config.features, config.augment, config.window, config.batches.cache_mb)
        self.front_end = self.clips.front_end
        self.stride = build_encoder(self.front_end.dim, config.encoder, self.front_end.hop_s).stride
        if config.window.hop_s > config.window.window_s:
            raise ConfigError(
                f"window.hop_s = {config.window.hop_s} is longer than window.window_s ="
                f" {config.window.window_s}: what lies between would not be heard"
            )

    @property
    def goal(self) -> tuple[str, Literal["min", "max"]]:
        return ("map" if self.labels.several else "accuracy", "max")

    @classmethod
    def learn(
        cls, config: ClipSettings, train: Sequence[Example], _valid: Sequence[Example] = ()
    ) -> Self:
        """The task for this training data: its labels become the outputs."""
        further = (SILENCE,) if config.silence_share else ()
        labels = LabelSet.learn(config.labels, [e.labels for e in train], further)
        return cls(config, labels, _weights(labels, train, config.balance))

    @classmethod
    def adapt(
        cls,
        config: ClipSettings,
        old: Self,
        train: Sequence[Example],
        valid: Sequence[Example] = (),
        *,
        anew: bool = False,
    ) -> Self:
        """The task of a model on other data: its labels, unless the data has further ones.

        Args:
            anew: take the labels from the data, though the model knows them all.
        """
        found = [name for part in (train, valid) for e in part for name in e.labels]
        found += [SILENCE] * bool(config.silence_share)
        if anew or not old.labels.covers(found):
            return cls.learn(config, train, valid)
        labels = replace(old.labels, thresholds=())
        return cls(config, labels, _weights(labels, train, config.balance))

    @property
    def answers(self) -> tuple[str, ...]:
        """What each row of the last layer stands for."""
        return self.labels.names

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Self:
        """The task that `card` describes, with what its training chose."""
        config = ClipSettings.parse(card["settings"], "the settings of this model")
        labels = LabelSet.from_dict(card.get("labels", {}) | card.get("chosen", {}))
        return cls(config, labels, card.get("weights", ()))

    @classmethod
    def suggest(cls, train: Sequence[Example], gpu: bool) -> dict[str, Any]:
        """Settings sane for this much data on this machine; a recipe or `key=value` overrides them.

        The residual network on 40 log-mels: the smallest that was right in RESULTS.md. A window is
        as long as nearly all clips; uneven labels are weighed half-way to alike.
        """
        seconds = sorted(e.duration_s for e in train) or [1.0]
        typical_s = seconds[int(0.95 * (len(seconds) - 1))]
        window_s = min(max(math.ceil(typical_s * 20) / 20, 0.25), 10.0)
        counts = Counter(name for e in train for name in e.labels).values()
        several = any(len(e.labels) != 1 for e in train)
        updates = len(train) / 64
        return {
            "labels": {"several": several},
            "window": {"window_s": window_s, "hop_s": window_s / 2},
            "balance": 0.5 if max(counts, default=1) > 3 * min(counts, default=1) else 0.0,
            "encoder": {"kind": "residual_wave", "channels": [48, 64, 96], "stem": 32}
            | ({"channels": [96, 128, 192], "stem": 64, "blocks": 2} if gpu else {}),
            "augment": {"time_masks": 1, "time_mask_share": 0.2, "frequency_mask_bins": 8}
            | {"shift_ms": 100.0 if window_s <= 2 else 0.0},
            "batches": {"seconds": 64 * window_s, "examples": 64},
            "optimizer": {"rate": 3e-3, "warmup_steps": round(min(200, 2 * updates))},
            "average": {"decay": 0.99 if updates < 50 else 0.998},
            "smoothing": 0.0 if several else 0.1,
            "budget": {"epochs": round(min(max(3_000 / max(updates, 1), 20), 120))},
        }

    def card(self) -> dict[str, Any]:
        return {
            "task": self.name,
            "answer": self.answer,
            "stride": self.stride,
            "settings": self.config.to_dict(),
            "labels": replace(self.labels, thresholds=()).to_dict(),
            "chosen": {"thresholds": list(self.labels.thresholds)},
            "weights": list(self.weights),
            "windows": self.config.window.to_dict(),
        }

    def about(self) -> str:
        """What the command line says of the task, after its encoder."""
        names, window = self.labels.names, self.config.window
        shown = ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
        kind = "any of" if self.labels.several else "one of"
        parameters = sum(p.numel() for p in self.model().parameters())
        return (
            f"{kind} {len(names)} labels ({shown}); windows of {window.window_s:g} s; "
            f"{parameters:,} parameters"
        )

    def examine(
        self, parts: Mapping[str, Sequence[Example]], progress: Progress | None = None
    ) -> Report:
        """What in this data would make the training fail, or its result useless."""
        heard = {split: untold(part) for split, part in parts.items()}
        report = examine(heard, front_end=self.front_end, stride=1, progress=progress)
        return with_labels(report, parts, self.labels)

    def model(self) -> nn.Module:
        return ClipClassifier(
            build_encoder(self.front_end.dim, self.config.encoder, self.front_end.hop_s),
            len(self.labels.names),
            self.config.pool,
            frames=-(-self.clips.frames // self.stride),
            several=self.labels.several,
            dropout=self.config.dropout,
        )

    def groups(self, model: nn.Module) -> dict[str, nn.Module]:
        return {"model": model}

    def seconds(self, example: Example, draw: Draw) -> float:
        return self.clips.seconds(example, draw)

    def batch(self, examples: Sequence[Example], draw: Draw | None = None) -> Batch:
        """Features and targets of `examples`: one drawn window of each, or all windows, plain."""
        targets = np.stack([self.target(example) for example in examples])
        if draw is None:
            cut = [self.clips.plain(example) for example in examples]
        else:
            waves, targets = self._drawn(examples, targets, draw)
            cut = [[(0.0, len(wave) / self.clips.rate_hz, wave)] for wave in waves]
        rows = [self.clips.features(wave) for pieces in cut for _, _, wave in pieces]
        if draw is not None:
            pairs = zip(rows, examples, strict=True)
            rows = [self.clips.masked(row, example, draw) for row, example in pairs]
        return Batch(
            ids=tuple(example.id for example in examples),
            features=torch.from_numpy(padded(rows, np.float32)),
            lengths=torch.tensor([len(row) for row in rows]),
            targets=torch.from_numpy(targets),
            spans=tuple(tuple((start, end) for start, end, _ in pieces) for pieces in cut),
            seconds=sum(end for pieces in cut for _, end, _ in pieces[-1:]),
        )

    def target(self, example: Example) -> Float32:
        """(V,) the labels of an example; zeros when it has none."""
        if not example.labels:
            return np.zeros(len(self.labels.names), np.float32)
        try:
            return self.labels.targets(example.labels)
        except DataError as error:
            raise DataError(f"{example.id}: {error}") from None

    def updates(self, model: Any, batch: Batch) -> Iterator[Update]:
        logits = model.logits(batch.features, batch.lengths)
        counts = torch.tensor([len(spans) for spans in batch.spans], device=logits.device)
        wanted = batch.targets.repeat_interleave(counts, 0)  # each window is what its clip is
        weights = torch.tensor(self.weights, device=logits.device)
        smoothing = self.config.smoothing
        if self.labels.several:
            wanted = wanted * (1.0 - smoothing) + 0.5 * smoothing
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, wanted, pos_weight=weights
            )
        else:
            share = (wanted * weights).sum(1)  # of each clip, by its label's weight
            wanted = wanted * (1.0 - smoothing) + smoothing / wanted.shape[1]
            nll = -(wanted * logits.log_softmax(-1)).sum(1)
            loss = (share * nll).mean()
        yield "model", loss, {"loss": float(loss.detach())}

    @torch.inference_mode()
    def predict(self, model: nn.Module, batch: Batch) -> list[Labels]:
        pieces = zip(batch.features.split(ROWS), batch.lengths.split(ROWS), strict=True)
        rows = torch.cat([model(features, lengths)[0][:, 0] for features, lengths in pieces])
        probabilities = iter(rows.exp().cpu().numpy())
        return [
            self.labels.answer(
                [(start_s, end_s, next(probabilities)) for start_s, end_s in spans], spans[-1][1]
            )
            for spans in batch.spans
        ]

    def measure(self, pairs: Sequence[tuple[Example, Labels]]) -> LabelScore:
        """Everything that is counted about answers whose labels are known."""
        return LabelScore.of(
            self.labels.names,
            [self.labels.counted_as(example.labels) for example, _ in pairs],
            [result.chosen for _, result in pairs],
            [{each.name: each.confidence for each in result.labels} for _, result in pairs],
            self.labels.several,
        )

    def score(self, pairs: Sequence[tuple[Example, Labels]]) -> dict[str, float]:
        return self.measure(pairs).summary()

    def choose(self, pairs: Sequence[tuple[Example, Labels]]) -> dict[str, Any]:
        """The thresholds of tags: for each the one with the best F1 on these clips."""
        if not self.labels.several:
            return {"thresholds": []}
        found = self.measure(pairs)
        return {"thresholds": best_thresholds(found.truth, found.probabilities)}

    def show(self, example: Example, result: Labels) -> dict[str, str]:
        reference = ", ".join(example.labels)
        return {"id": example.id, "reference": reference, "hypothesis": result.text}

    def _drawn(
        self, examples: Sequence[Example], targets: Float32, draw: Draw
    ) -> tuple[list[Float32], Float32]:
        """One augmented window of each example; some replaced by noise, all mixed if asked."""
        waves = []
        for row, example in enumerate(examples):
            rng = generator(draw.seed, draw.epoch, f"{example.id}/silence")
            if rng.random() < self.config.silence_share:
                waves.append(self.clips.background(rng))
                targets[row] = self.labels.targets([SILENCE])
            else:
                waves.append(self.clips.drawn(example, draw))
        if not self.config.mixup:
            return waves, targets
        rng = generator(draw.seed, draw.epoch, f"{examples[0].id}/mixup")
        shares = rng.beta(self.config.mixup, self.config.mixup, len(waves)).astype(np.float32)
        partners = rng.permutation(len(waves))
        mixed = [
            _mixed(waves[n], waves[partner], share)
            for n, (partner, share) in enumerate(zip(partners, shares, strict=True))
        ]
        kept = shares[:, None]
        if self.labels.several:  # both sound: what is in either is there
            return mixed, np.maximum(targets, targets[partners])
        return mixed, kept * targets + (1 - kept) * targets[partners]


def _weights(labels: LabelSet, train: Sequence[Example], balance: float) -> list[float]:
    """(V,) inverse frequencies to the power `balance`, so that the mean clip weighs 1."""
    counts = Counter(name for example in train for name in labels.counted_as(example.labels))
    found = np.array([counts[name] or len(train) / len(labels.names) for name in labels.names])
    if labels.several:  # of a tag's presence against its absence
        return [float(w) for w in (np.maximum(len(train) - found, 1) / found) ** balance]
    weights = (len(train) / (len(labels.names) * found)) ** balance
    return [float(w) for w in weights * found.sum() / (weights * found).sum()]


def _mixed(first: Float32, second: Float32, share: np.float32) -> Float32:
    """`share` of one sound and the rest of another, as long as the longer one."""
    longest = max(len(first), len(second))
    first, second = (audio.fix_length(wave, longest) for wave in (first, second))
    return share * first + (1 - share) * second
