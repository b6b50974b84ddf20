"""Labels over time: where somebody speaks, or whatever else is marked in the recordings.

An encoder, one linear layer and a sigmoid for each label in every frame (binary cross-entropy);
thresholds and durations that make stretches of that are chosen on the validation set.

Marks come from manifests or files beside the recordings (`auricle.data.marks`). A recording that
nobody marked is taken to be clean speech: its energy says where (`auricle.activity`), and mixed
with pauses and noise it teaches to find speech where energy says nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from auricle.activity import ActivitySettings, spoken
from auricle.augment import AugmentSettings, generator
from auricle.batches import BatchSettings, Draw, SoundCache, padded
from auricle.classifier import WindowSettings, windows
from auricle.config import Settings
from auricle.data import Example, Progress, What
from auricle.data.marks import Marks, marks_of
from auricle.doctor import Report, examine
from auricle.errors import DataError, ModelError
from auricle.features import FeatureSettings, FrontEnd
from auricle.fourier import rfft
from auricle.hysteresis import HysteresisSettings, chosen_rule, frames_of
from auricle.mixtures import Mixer, MixSettings
from auricle.models.convolutional import ResidualWaveSettings
from auricle.models.decoders import FrameTagger
from auricle.models.encoders import EncoderSettings, build_encoder
from auricle.segment_metrics import FrameScore
from auricle.segmenter import check_windows, first_frame_s, stitched
from auricle.segments import SPEECH, Activity, Stretch
from auricle.train import (
    AverageSettings,
    BudgetSettings,
    EvaluationSettings,
    LoopSettings,
    OptimizerSettings,
    Update,
)

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
ROWS = 32  # windows that a network sees at once when it answers
PLAIN = HysteresisSettings()  # half or more: what weights are compared by


class SegmentSettings(Settings):
    """Everything a detector over time is trained with, in signal order."""

    features: FeatureSettings = FeatureSettings(mels=40, normalise="none")
    level: float = Field(-8.0, ge=-1e3, le=1e3)  # of ordinary features: log-mels, natural
    spread: float = Field(4.0, gt=0, le=1e3)  # and their deviation
    one_label: str | None = None  # every mark counts as this: speech, say, for marks of speakers
    energy: ActivitySettings = ActivitySettings()  # what is speech in recordings without marks
    mix: MixSettings = MixSettings()
    augment: AugmentSettings = AugmentSettings(time_masks=0, frequency_masks=0)
    window: WindowSettings = WindowSettings(window_s=24.0, hop_s=18.0)  # as it is heard; overlaps
    encoder: EncoderSettings = ResidualWaveSettings(
        stem=48, stem_stride=2, channels=(48, 48, 48), stage_stride=1
    )
    dropout: float = Field(0.1, ge=0, lt=1)  # before the last layer
    batches: BatchSettings = BatchSettings(short_first=False)
    optimizer: OptimizerSettings = OptimizerSettings()
    average: AverageSettings = AverageSettings()
    budget: BudgetSettings = BudgetSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    loop: LoopSettings = LoopSettings()


@dataclass(frozen=True)
class Batch:
    """Padded features of windows, of which each recording has one or more, and what is in them."""

    ids: tuple[str, ...]
    features: Tensor  # (R, T, F) float32
    lengths: Tensor  # (R,) int64
    targets: Tensor  # (R, T2, V) float32: 1 where the label is marked
    starts_s: tuple[tuple[float, ...], ...]  # of each recording: when its windows begin
    ends_s: tuple[float, ...]
    seconds: float  # of sound, padding excluded


class SegmentTask:
    """Recordings in, labels over time out. See `auricle.train.Task`."""

    name = "segment"
    answer = "segments"
    needs: What = "audio"  # of every example; marks are optional
    fewest_voices = 1  # in what a score is taken of
    settings = SegmentSettings
    shape = ("features", "level", "spread", "encoder")  # the settings that weights depend on
    naming = ("one_label",)  # and those that its answers depend on
    last_layer = ("classify.weight", "classify.bias")  # one row per answer
    goal: tuple[str, Literal["min", "max"]] = ("f1", "max")

    def __init__(
        self, config: SegmentSettings, names: Sequence[str], rule: HysteresisSettings = PLAIN
    ) -> None:
        self.config, self.names, self.rule = config, tuple(names), rule
        self.front_end = FrontEnd(config.features, rfft)
        self.rate_hz = config.features.sample_rate_hz
        self.mixer = Mixer(config.mix, config.augment, self.rate_hz)
        self.stride = build_encoder(self.front_end.dim, config.encoder, self.front_end.hop_s).stride
        self.frame_s = self.stride * self.front_end.hop_s
        check_windows(config.window, self.frame_s)
        self._sounds = SoundCache(self.rate_hz, config.batches.cache_mb)
        self._marks: dict[str, Marks] = {}

    @classmethod
    def learn(
        cls, config: SegmentSettings, train: Sequence[Example], valid: Sequence[Example] = ()
    ) -> Self:
        """The task for this training data: the labels that are marked in it become the outputs."""
        names = set()
        for example in (*train, *valid):
            found = marks_of(example)
            names |= {SPEECH} if found is None else {each.label for each in found}
        if config.one_label is not None:
            names = {config.one_label}
        if not names:
            raise DataError("nothing is marked in the training data: there is nothing to learn")
        return cls(config, sorted(names))

    @classmethod
    def adapt(
        cls,
        config: SegmentSettings,
        old: Self,
        train: Sequence[Example],
        valid: Sequence[Example] = (),
        *,
        anew: bool = False,
    ) -> Self:
        """The task of a model on other data: its labels, unless the data has further ones."""
        new = cls.learn(config, train, valid)
        return new if anew or not set(new.names) <= set(old.names) else cls(config, old.names)

    @property
    def answers(self) -> tuple[str, ...]:
        """What each row of the last layer stands for."""
        return self.names

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Self:
        """The task that `card` describes, with what its training chose."""
        config = SegmentSettings.parse(card["settings"], "the settings of this model")
        labels = {**card.get("labels", {}), **card.get("chosen", {})}
        names = labels.get("names")
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            raise ModelError(f"the labels of this model are damaged: {names!r}")
        return cls(config, names, HysteresisSettings.parse(labels.get("rule", {}), "its rule"))

    @classmethod
    def suggest(cls, train: Sequence[Example], gpu: bool) -> dict[str, Any]:
        """Settings sane for this much data; a recipe or `key=value` overrides them."""
        hours = sum(e.duration_s for e in train) / 3600
        return {
            "batches": {"seconds": 256.0, "examples": 32},
            "optimizer": {"rate": 3e-3, "warmup_steps": 50},
            "average": {"decay": 0.99},
            "budget": {"epochs": round(min(max(20 / max(hours, 0.1), 4), 60))},
        } | ({"encoder": {"kind": "conformer"}} if gpu else {})

    def card(self) -> dict[str, Any]:
        chosen = {"rule": self.rule.to_dict()}
        return {
            "task": self.name,
            "answer": self.answer,
            "stride": self.stride,
            "settings": self.config.to_dict(),
            "labels": {"names": list(self.names), **chosen},
            "chosen": chosen,
            "windows": self.config.window.to_dict(),
        }

    def about(self) -> str:
        """What the command line says of the task, after its encoder."""
        parameters = sum(p.numel() for p in self.model().parameters())
        kind = "mixed with pauses and noise" if self.mixer.noisy else "without noise"
        return (
            f"{', '.join(self.names)} over time, every {1e3 * self.frame_s:g} ms; learned"
            f" {kind}; {parameters:,} parameters"
        )

    def examine(
        self, parts: Mapping[str, Sequence[Example]], progress: Progress | None = None
    ) -> Report:
        """What in this data would make the training fail, or its result useless."""
        for example in (each for part in parts.values() for each in part):
            self._columns(marks_of(example) or (), example)
        untold = {s: [replace(e, text=None) for e in part] for s, part in parts.items()}
        return examine(untold, front_end=self.front_end, stride=1, progress=progress)

    def model(self) -> nn.Module:
        c = self.config
        return FrameTagger(
            build_encoder(self.front_end.dim, c.encoder, self.front_end.hop_s),
            len(self.names),
            level=c.level,
            spread=c.spread,
            dropout=c.dropout,
        )

    def groups(self, model: nn.Module) -> dict[str, nn.Module]:
        return {"model": model}

    def seconds(self, example: Example, draw: Draw) -> float:
        if self.mixer.noisy or self.config.mix.pauses:
            return self.config.mix.crop_s
        speed = float(generator(draw.seed, draw.epoch, example.id).choice(self.speeds))
        return min(example.duration_s / speed, self.config.mix.crop_s)

    @property
    def speeds(self) -> tuple[float, ...]:
        """What a mixture's speed is drawn from, first of all."""
        return self.config.augment.speeds

    def marks(self, example: Example) -> Marks:
        """Where what is in an example: as it is marked, or where its energy says speech."""
        known = self._marks.get(example.id)
        if known is None:
            known = marks_of(example)
            if known is None:
                sound = self._sounds.load(example)
                spans = spoken(sound, self.rate_hz, self.config.energy)
                known = tuple(Stretch(begin_s, end_s, SPEECH) for begin_s, end_s in spans)
            self._marks[example.id] = known
        return known

    def batch(self, examples: Sequence[Example], draw: Draw | None = None) -> Batch:
        """Features and targets: one drawn mixture of each example, or all windows, as they are."""
        cut = [self._drawn(e, draw) if draw else self._plain(e) for e in examples]
        waves = [wave for pieces in cut for _, wave, _ in pieces]
        rows = [self._features(wave) for wave in waves]
        if draw is not None:
            rngs = [generator(draw.seed, draw.epoch, f"{e.id}/spectrogram") for e in examples]
            rows = [self.mixer.spectrogram(*pair) for pair in zip(rows, rngs, strict=True)]
        targets = [
            self._targets(marks, -(-len(row) // self.stride), start_s)
            for row, (start_s, _, marks) in zip(rows, (p for c in cut for p in c), strict=True)
        ]
        return Batch(
            ids=tuple(example.id for example in examples),
            features=torch.from_numpy(padded(rows, np.float32)),
            lengths=torch.tensor([len(row) for row in rows]),
            targets=torch.from_numpy(padded(targets, np.float32)),
            starts_s=tuple(tuple(start_s for start_s, _, _ in pieces) for pieces in cut),
            ends_s=tuple(c[-1][0] + len(c[-1][1]) / self.rate_hz if c else 0.0 for c in cut),
            seconds=sum(len(wave) for wave in waves) / self.rate_hz,
        )

    def updates(self, model: Any, batch: Batch) -> Iterator[Update]:
        scores, lengths = model.logits(batch.features, batch.lengths)
        loss = nn.functional.binary_cross_entropy_with_logits(
            scores, batch.targets, reduction="none"
        )
        places = torch.arange(scores.shape[1], device=scores.device)
        valid = (places[None, :] < lengths[:, None])[:, :, None]
        loss = (loss * valid).sum() / (valid.sum() * len(self.names))
        yield "model", loss, {"loss": float(loss.detach())}

    @torch.inference_mode()
    def predict(self, model: nn.Module, batch: Batch) -> list[Activity]:
        outputs = []
        for x, n in zip(batch.features.split(ROWS), batch.lengths.split(ROWS), strict=True):
            rows, ends = model(x, n)
            outputs += [r[:e].exp().cpu().numpy() for r, e in zip(rows, ends.tolist(), strict=True)]
        found, rest = [], iter(outputs)
        for starts_s, end_s in zip(batch.starts_s, batch.ends_s, strict=True):
            parts = [(start_s, next(rest)) for start_s in starts_s]
            values = stitched(parts, self.config.window, self.frame_s)
            first_s = first_frame_s(self.front_end)
            found.append(Activity(self.names, values, self.frame_s, first_s, end_s))
        return found

    def score(self, pairs: Sequence[tuple[Example, Activity]]) -> dict[str, float]:
        return self.measure(pairs, PLAIN).summary()

    def measure(
        self, pairs: Sequence[tuple[Example, Activity]], rule: HysteresisSettings
    ) -> FrameScore:
        """Frames of all labels that a rule finds, misses and makes up."""
        return _measured([(self._truth(*pair), pair[1]) for pair in pairs], rule)

    def choose(self, pairs: Sequence[tuple[Example, Activity]]) -> dict[str, Any]:
        """The hysteresis with the best F1 on these recordings."""
        known = [(self._truth(*pair), pair[1]) for pair in pairs]
        rule = chosen_rule(lambda trial: _measured(known, trial).summary()["f1"])
        return {"rule": rule.to_dict()}

    def show(self, example: Example, result: Activity) -> dict[str, str]:
        def told(stretches: Sequence[Stretch]) -> str:
            return ", ".join(f"{s.start_s:.2f}-{s.end_s:.2f} {s.label}" for s in stretches)

        found = result.segments(PLAIN).stretches
        return {
            "id": example.id,
            "reference": told(self.marks(example)),
            "hypothesis": told(found),
        }

    def _truth(self, example: Example, heard: Activity) -> Bool:
        return self._targets(self.marks(example), len(heard.probabilities), 0.0) > 0.5

    def _drawn(self, example: Example, draw: Draw) -> list[tuple[float, Float32, Marks]]:
        rng = generator(draw.seed, draw.epoch, example.id)
        mixture = self.mixer(self._sounds.load(example), self.marks(example), rng)
        return [(0.0, mixture.wave, mixture.marks)]

    def _plain(self, example: Example) -> list[tuple[float, Float32, Marks]]:
        window, marks = self.config.window, self.marks(example)
        cut = windows(
            [self._sounds.load(example)],
            self.rate_hz,
            window_s=window.window_s,
            hop_s=window.hop_s,
        )
        return [(start_s, wave, marks) for start_s, wave in cut]

    def _features(self, wave: Float32) -> Float32:
        features = self.front_end(wave)
        return features if len(features) else np.zeros((1, self.front_end.dim), np.float32)

    def _targets(self, marks: Marks, frames: int, start_s: float) -> Float32:
        """(T2, V) of a window that begins at `start_s`."""
        columns = self._columns(marks)
        begin_s = start_s + first_frame_s(self.front_end)
        return np.stack(
            [
                frames_of(columns[name], frames, self.frame_s, begin_s).astype(np.float32)
                for name in self.names
            ],
            axis=1,
        )

    def _columns(
        self, marks: Marks, example: Example | None = None
    ) -> dict[str, list[tuple[float, float]]]:
        """The spans of each label.

        Raises:
            DataError: a label that the model does not know.
        """
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in self.names}
        for mark in marks:
            label = self.config.one_label or mark.label
            if label not in found:
                where = f"{example.id}: " if example else ""
                raise DataError(
                    f"{where}{label!r} is marked, and not among {', '.join(self.names)}"
                )
            found[label].append((mark.start_s, mark.end_s))
        return found


def _measured(known: Sequence[tuple[Bool, Activity]], rule: HysteresisSettings) -> FrameScore:
    """The frames (T, V) that a rule makes of what was heard, against the truth."""
    return FrameScore.of((truth, heard.frames(rule)) for truth, heard in known)
