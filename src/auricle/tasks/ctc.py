"""Recognition with CTC: an encoder, letters per frame, every alignment counted.

Graves et al. 2006, "Connectionist Temporal Classification: labelling unsegmented sequence data with
recurrent neural networks"; `docs/ctc.md` explains it by a worked example.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from auricle.augment import Augmenter, AugmentSettings, generator
from auricle.batches import BatchSettings, Draw, SoundCache, padded
from auricle.config import Settings
from auricle.data import Example, Progress, What
from auricle.decode import assemble, ctc_collapse, spell
from auricle.doctor import Report, examine
from auricle.errors import ConfigError, DataError, listed
from auricle.features import FeatureSettings, FrontEnd
from auricle.fourier import rfft
from auricle.losses import Trigrams, best_paths, ctc_crf_nll, ctc_nll
from auricle.metrics import score_characters, score_words
from auricle.models.conv_lstm import ConvLSTMSettings
from auricle.models.decoders import FrameClassifier
from auricle.models.encoders import Encoder, EncoderSettings, build_encoder
from auricle.pronounce import Alike
from auricle.results import Transcript
from auricle.text import (
    PhonemeTokenizer,
    TextSettings,
    Tokenizer,
    learn_tokenizer,
    normalise,
    tokenizer_from_dict,
)
from auricle.train import (
    AverageSettings,
    BudgetSettings,
    EvaluationSettings,
    LoopSettings,
    OptimizerSettings,
    Update,
)

Float32 = NDArray[np.float32]
MOST_SYMBOLS = 100  # for CTC-CRF: its time grows with their third power
SHOWN_WORDS = 40  # whose pronunciation was guessed


class CTCSettings(Settings):
    """Everything a CTC recognizer is trained with, in signal order."""

    features: FeatureSettings = FeatureSettings()
    augment: AugmentSettings = AugmentSettings()
    text: TextSettings = TextSettings()
    encoder: EncoderSettings = ConvLSTMSettings()
    dropout: float = Field(0.1, ge=0, lt=1)  # before the last layer
    criterion: Literal["ctc", "ctc_crf"] = "ctc"  # the second against all that could be said
    ctc_share: float = Field(0.1, ge=0, le=10)  # of CTC added to CTC-CRF
    silence_share: float = Field(0.0, ge=0, lt=1)  # of training utterances: noise without words
    batches: BatchSettings = BatchSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    average: AverageSettings = AverageSettings()
    budget: BudgetSettings = BudgetSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    loop: LoopSettings = LoopSettings()

    @model_validator(mode="after")
    def _hears_live_sound(self) -> Self:
        streams = isinstance(self.encoder, ConvLSTMSettings) and self.encoder.streams
        if streams and self.features.needs_whole:
            raise ValueError(
                f'features.normalise = "{self.features.normalise}" needs the whole recording,'
                " which an encoder with chunk_ms does not wait for: set it to running or none"
            )
        return self


@dataclass(frozen=True)
class Batch:
    """Padded features and targets of several utterances."""

    ids: tuple[str, ...]
    features: Tensor  # (B, T, F) float32
    lengths: Tensor  # (B,) int64
    targets: Tensor  # (B, U) int64
    target_lengths: Tensor  # (B,) int64
    seconds: float  # of sound, padding excluded


class CTCTask:
    """Audio in, text out. See `auricle.train.Task` for what each method owes the loop."""

    name = "ctc"
    answer = "tokens"
    needs: What = "text"  # of every example
    fewest_voices = 1  # in what a score is taken of
    settings = CTCSettings
    shape = ("features", "encoder")  # the settings that weights depend on
    naming = ("text",)  # and those that its answers depend on
    last_layer = ("classify.weight", "classify.bias")  # one row per answer
    goal: tuple[str, Literal["min", "max"]] = ("wer", "min")

    def __init__(
        self,
        config: CTCSettings,
        tokenizer: Tokenizer,
        unheard: Iterable[str] = (),
        pronounced: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.unheard = frozenset(unheard)  # symbols that no training text has
        self.pronounced = pronounced or {}  # words whose sounds were guessed
        self.front_end = FrontEnd(config.features, rfft)
        symbols = len(tokenizer.symbols)
        if config.criterion == "ctc_crf" and symbols > MOST_SYMBOLS:
            raise ConfigError(
                f"criterion = ctc_crf has to sum over pairs of {symbols} symbols, which takes too "
                f"long with more than {MOST_SYMBOLS}: text.unit = char or phoneme"
            )
        self._augmenter = Augmenter(config.augment)
        self._sounds = SoundCache(config.features.sample_rate_hz, config.batches.cache_mb)
        self.stride = self._encoder().stride
        self._trigrams: Trigrams | None = None  # counted in the training texts, for CTC-CRF

    @classmethod
    def learn(
        cls, config: CTCSettings, train: Sequence[Example], valid: Sequence[Example] = ()
    ) -> Self:
        """The task for this training data: its letters become the vocabulary.

        Letters that only the validation texts have become symbols too, though nobody can learn
        them: of a dozen recordings, those set aside may well hold the only j.
        """
        texts = [example.text or "" for example in train]
        tokenizer, unheard = learn_tokenizer(config.text, texts), frozenset[str]()
        others = [normalise(example.text or "", config.text.normaliser) for example in valid]
        if rare := set().union(*map(tokenizer.unknown, others)):
            wider = learn_tokenizer(config.text, texts + [o for o in others if rare & set(o)])
            if not any(map(wider.unknown, others)):  # else it is for the doctor to refuse
                tokenizer, unheard = wider, frozenset(rare)
        return cls(config, tokenizer, unheard)._counted(train)

    @classmethod
    def adapt(
        cls,
        config: CTCSettings,
        old: Self,
        train: Sequence[Example],
        valid: Sequence[Example] = (),
        *,
        anew: bool = False,
    ) -> Self:
        """The task of a model on other data: the same symbols.

        A phoneme model's lexicon is widened by `text.lexicon`, if that is set, and by the remaining
        words of these texts, spoken as the words that it knows are.

        Args:
            anew: learn the symbols from the data instead.

        Raises:
            ConfigError: `text.lexicon` has phonemes that are none of the model's.
        """
        if anew:
            return cls.learn(config, train, valid)
        tokenizer = old.tokenizer
        if not isinstance(tokenizer, PhonemeTokenizer):
            return cls(config, tokenizer)._counted(train)
        if config.text.lexicon is not None:
            tokenizer = tokenizer.widened(
                PhonemeTokenizer.from_lexicon(config.text.lexicon).lexicon
            )
        texts = (normalise(e.text or "", config.text.normaliser) for e in (*train, *valid))
        words = sorted(set().union(*map(tokenizer.unknown, texts)))
        guessed = Alike(tokenizer.lexicon.items()).speak(words)
        return cls(config, tokenizer.widened(guessed), pronounced=guessed)._counted(train)

    @property
    def answers(self) -> tuple[str, ...]:
        """What each row of the last layer stands for."""
        return self.tokenizer.symbols

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Self:
        """The task that `card` describes."""
        config = CTCSettings.parse(card["settings"], "the settings of this model")
        return cls(config, tokenizer_from_dict(card.get("tokenizer", {})))

    @classmethod
    def suggest(cls, train: Sequence[Example], gpu: bool) -> dict[str, Any]:
        """Settings sane for this much data on this machine; a recipe or `key=value` overrides them.

        The sizes are those that the experiments in RESULTS.md could train: too small a network
        costs a little accuracy, too large a one never gets to the end of its schedule on a CPU.
        """
        hours = sum(e.duration_s for e in train) / 3600.0
        hidden, layers = (128, 2) if hours < 1 else (256, 3) if hours < 30 or not gpu else (512, 4)
        epochs = round(min(max(60.0 / max(hours, 0.1) ** 0.5, 12.0), 100.0))
        return {
            "encoder": {"kind": "conv_lstm", "channels": 16, "dim": hidden, "hidden": hidden}
            | {"layers": layers},
            # Short of data there are too few updates: smaller batches give more of them.
            "batches": {"seconds": 20.0 if hours < 0.5 else 80.0 if not gpu else 400.0},
            "optimizer": {"rate": 1.5e-3, "warmup_steps": 200},
            "average": {"decay": 0.998},
            "augment": {"frequency_mask_bins": 15, "time_masks": 2},
            "budget": {"epochs": epochs},
        }

    def card(self) -> dict[str, Any]:
        return {
            "task": self.name,
            "answer": self.answer,
            "stride": self.stride,
            "settings": self.config.to_dict(),
            "tokenizer": self.tokenizer.to_dict(),
        }

    def about(self) -> str:
        """What the command line says of the task, after its encoder."""
        unheard = " ".join(sorted(self.unheard))
        warning = f"; only in validation texts, so they cannot be learned: {unheard}"
        told = f"unit {self.config.text.unit}; scored on valid without a language model"
        told += warning * bool(unheard)
        if not self.pronounced:
            return told
        words = [f"{word} ({' '.join(said)})" for word, said in self.pronounced.items()]
        return (
            f"{told}\n{len(words)} words of these texts are not in the model's lexicon;"
            f" taken to sound like words that have one: {listed(words, SHOWN_WORDS)}"
            "; text.lexicon=FILE with lines WORD P1 P2 ... says otherwise"
        )

    def examine(
        self, parts: Mapping[str, Sequence[Example]], progress: Progress | None = None
    ) -> Report:
        """What in this data would make the training fail, or its result useless."""
        return examine(
            parts,
            front_end=self.front_end,
            stride=self.stride,
            tokenizer=self.tokenizer,
            text=self.config.text,
            progress=progress,
        )

    def model(self) -> nn.Module:
        symbols, trigrams = len(self.tokenizer.symbols), None
        if self.config.criterion == "ctc_crf":
            trigrams = deepcopy(self._trigrams) or Trigrams(symbols)
        return FrameClassifier(self._encoder(), symbols, self.config.dropout, trigrams)

    def groups(self, model: nn.Module) -> dict[str, nn.Module]:
        return {"model": model}

    def seconds(self, example: Example, draw: Draw) -> float:
        """How long the example is once its speed has changed: batches are planned by it."""
        rng = generator(draw.seed, draw.epoch, example.id)
        return example.duration_s / self._augmenter.speed(rng)

    def batch(self, examples: Sequence[Example], draw: Draw | None = None) -> Batch:
        """Features and targets of `examples`, augmented as `draw` says, or plain."""
        pairs = [self._pair(example, draw) for example in examples]
        features, targets = zip(*pairs, strict=True)
        return Batch(
            ids=tuple(example.id for example in examples),
            features=torch.from_numpy(padded(features, np.float32)),
            lengths=torch.tensor([len(f) for f in features]),
            targets=torch.from_numpy(padded(targets, np.int64)),
            target_lengths=torch.tensor([len(t) for t in targets]),
            seconds=sum(example.duration_s for example in examples),
        )

    def target(self, example: Example) -> NDArray[np.int64]:
        """The symbols of an example's transcript, (U,); none when it has no transcript."""
        try:
            text = normalise(example.text or "", self.config.text.normaliser)
            return np.array(self.tokenizer.encode(text), dtype=np.int64)
        except DataError as error:
            raise DataError(f"{example.id}: {error}") from None

    def updates(self, model: Any, batch: Batch) -> Iterator[Update]:
        log_probs, lengths = model(batch.features, batch.lengths)
        told = batch.targets, batch.target_lengths
        if model.trigrams is None:
            nll = ctc_nll(log_probs, lengths, *told)
        else:
            share = self.config.ctc_share
            nll = ctc_crf_nll(log_probs, lengths, *told, model.trigrams, share)
        # Per symbol over the batch: long and short utterances weigh by what there is to learn.
        loss = nll.sum() / batch.target_lengths.sum().clamp(min=1)
        yield "model", loss, {"loss": float(loss.detach())}

    @torch.inference_mode()
    def predict(self, model: Any, batch: Batch) -> list[Transcript]:
        log_probs, lengths = model(batch.features, batch.lengths)
        if model.trigrams is None:
            paths = log_probs.argmax(-1)
        else:  # its network leaves to them what they know: without, it answers at random
            paths = best_paths(log_probs, lengths, model.trigrams)
        frame_s = self.front_end.hop_s * self.stride
        ends_s = [frames * self.front_end.hop_s for frames in batch.lengths.tolist()]
        rows = zip(*(x.cpu().numpy() for x in (log_probs, paths, lengths)), ends_s, strict=True)
        heard = ((ctc_collapse(path[:n], row[:n]), end_s) for row, path, n, end_s in rows)
        return [
            assemble(spell(tokens, self.tokenizer, frame_s, end_s=end_s), end_s)
            for tokens, end_s in heard
        ]

    def score(self, pairs: Sequence[tuple[Example, Transcript]]) -> dict[str, float]:
        version = self.config.text.normaliser
        references = [normalise(example.text or "", version) for example, _ in pairs]
        hypotheses = [result.text for _, result in pairs]
        return {
            "wer": score_words(references, hypotheses).rate,
            "cer": score_characters(references, hypotheses).rate,
        }

    def choose(self, _pairs: Sequence[tuple[Example, Transcript]]) -> dict[str, Any]:
        return {}  # greedy decoding has nothing to choose

    def show(self, example: Example, result: Transcript) -> dict[str, str]:
        return {"id": example.id, "reference": example.text or "", "hypothesis": result.text}

    def _counted(self, train: Sequence[Example]) -> Self:
        """This task, which knows what follows what in these texts if its criterion asks for it."""
        if self.config.criterion == "ctc_crf":
            texts = (normalise(e.text or "", self.config.text.normaliser) for e in train)
            told = (self.tokenizer.encode(t) for t in texts if not self.tokenizer.unknown(t))
            self._trigrams = Trigrams.learn(told, len(self.tokenizer.symbols))
        return self

    def _encoder(self) -> Encoder:
        return build_encoder(self.front_end.dim, self.config.encoder, self.front_end.hop_s)

    def _pair(self, example: Example, draw: Draw | None) -> tuple[Float32, NDArray[np.int64]]:
        """Features (T, F) and target (U,) of an example.

        A draw that leaves fewer frames than CTC needs for the text is not used.
        """
        target, wave = self.target(example), self._sounds.load(example)
        if draw is None:
            return self._features(wave), target
        rate_hz = self.config.features.sample_rate_hz
        rng = generator(draw.seed, draw.epoch, f"{example.id}/silence")
        if rng.random() < self.config.silence_share:
            noise = self._augmenter.background(len(wave), rate_hz, rng)
            return self._augmenter.spectrogram(self._features(noise), rng), target[:0]
        rng = generator(draw.seed, draw.epoch, example.id)
        features = self._features(self._augmenter.wave(wave, rate_hz, rng))
        repeats = int((target[1:] == target[:-1]).sum())
        if -(-len(features) // self.stride) < len(target) + repeats:
            return self._features(wave), target
        return self._augmenter.spectrogram(features, rng), target

    def _features(self, wave: Float32) -> Float32:
        """(T, F); shorter than one frame: one of nothing, which no encoder stumbles over."""
        features = self.front_end(wave)
        return features if len(features) else np.zeros((1, self.front_end.dim), np.float32)
