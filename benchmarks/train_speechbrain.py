"""SpeechBrain's side of training.py, in its own environment and in its own style.

The encoder has the layers and sizes of ours, built from SpeechBrain's; data, features, batches,
augmentation and loop are what its recipes use: DynamicItemDataset, DynamicBatchSampler, Fbank,
InputNormalization, Augmenter, Brain. Its recurrent layers run over the padding, as CRDNN's do;
`--packed` packs the sequences instead, so that an answer does not depend on the batch.
"""

import json
import logging
import sys
import time
from pathlib import Path

import speechbrain as sb
import torch
from peer_model import Encoder
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.freq_domain import SpectrogramDrop
from speechbrain.augment.time_domain import SpeedPerturb
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.sampler import DynamicBatchSampler
from speechbrain.lobes.features import Fbank
from speechbrain.nnet.linear import Linear
from speechbrain.processing.features import InputNormalization

# Many buckets leave batches half empty, few pad a lot; the peer gets what serves it best. A step in
# time of a recurrent layer costs about as much as eight more utterances in the batch would.
BUCKETS = (8, 12, 16, 20, 30, 60)


class Recogniser(sb.Brain):
    def compute_forward(self, batch, stage):  # noqa: ARG002
        waves, shares = batch.sig
        waves, shares = self.hparams.wave_augment(waves, shares)
        x = self.modules.normalise(self.modules.features(waves), shares)
        x, shares = self.hparams.feature_augment(x, shares)
        y = self.modules.classify(self.modules.dropout(self.modules.encoder(x, shares)))
        return y.log_softmax(-1), shares

    def compute_objectives(self, predictions, batch, stage):  # noqa: ARG002
        log_probs, shares = predictions
        tokens, token_shares = batch.tokens
        self.last = sb.nnet.losses.ctc_loss(log_probs, tokens, shares, token_shares, 0)
        return self.last


def loader(about: dict):
    rows = [json.loads(line) for line in Path(about["data"]).read_text("utf-8").splitlines()]
    data = {row.pop("id"): row for row in rows}

    @sb.utils.data_pipeline.takes("audio_filepath", "offset", "duration")
    @sb.utils.data_pipeline.provides("sig")
    def signal(path, offset, duration):
        start = round(offset * 16_000)
        if start == 0:
            return sb.dataio.dataio.read_audio(path)
        stop = start + round(duration * 16_000)
        return sb.dataio.dataio.read_audio({"file": path, "start": start, "stop": stop})

    @sb.utils.data_pipeline.takes("tokens")
    @sb.utils.data_pipeline.provides("tokens_tensor")
    def target(tokens):
        return torch.tensor(tokens)

    dataset = DynamicItemDataset(data, [signal, target])
    dataset.set_output_keys({"id": "id", "sig": "sig", "tokens": "tokens_tensor"})
    batches = about["settings"]["batches"]
    durations = [row["duration"] for row in data.values()]
    sampler = min(
        (sampled(dataset, durations, batches, buckets) for buckets in BUCKETS),
        key=lambda made: sum(longest * (size + 8) for longest, size in shapes(made, durations)),
    )
    made = make_dataloader(dataset, batch_sampler=sampler, num_workers=batches["workers"])
    padded_s = sum(longest * size for longest, size in shapes(sampler, durations))
    audio_s = sum(durations)
    return made, audio_s, {"batches": len(sampler), "padding": 1.0 - audio_s / padded_s}


def sampled(dataset, durations: list, settings: dict, buckets: int):
    return DynamicBatchSampler(
        dataset,
        settings["seconds"],
        num_buckets=buckets,
        max_batch_ex=settings["examples"],
        lengths_list=durations,
    )


def shapes(sampler, durations: list):
    """(seconds of the longest, examples) of each batch."""
    return [(max(durations[i] for i in batch), len(batch)) for batch in sampler._batches]


def brain(about: dict, packed: bool):
    s = about["settings"]
    mels, optimizer, a = s["features"]["mels"], s["optimizer"], s["augment"]
    torch.manual_seed(s["loop"]["seed"])
    modules = {
        "features": Fbank(n_mels=mels),
        "normalise": InputNormalization(norm_type="sentence"),
        "encoder": Encoder(mels, s["encoder"], packed),
        "dropout": torch.nn.Dropout(s["dropout"]),
        "classify": Linear(about["symbols"], input_size=2 * s["encoder"]["hidden"]),
    }
    bins, frames = a["frequency_mask_bins"], a["time_mask_frames"]
    masks = [
        SpectrogramDrop(0, bins, 1, a["frequency_masks"], dim=2),
        SpectrogramDrop(0, frames, 1, a["time_masks"], dim=1),
    ]
    speeds = [round(100 * speed) for speed in a["speeds"]]
    hparams = {
        "wave_augment": Augmenter(augmentations=[SpeedPerturb(16_000, speeds)]),
        "feature_augment": Augmenter(min_augmentations=2, max_augmentations=2, augmentations=masks),
    }

    def adamw(parameters):
        betas = (optimizer["momentum"], optimizer["beta2"])
        rate, decay = optimizer["rate"], optimizer["weight_decay"]
        return torch.optim.AdamW(parameters, rate, betas, weight_decay=decay)

    options = {"device": "cpu", "max_grad_norm": optimizer["clip"], "noprogressbar": True}
    return Recogniser(modules, adamw, hparams, options)


def main() -> None:
    logging.disable(logging.INFO)
    about = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    batches, audio_s, plan = loader(about)
    learner = brain(about, "--packed" in sys.argv)
    parameters = sum(p.numel() for p in learner.modules.parameters())
    versions = {"torch": torch.__version__, "speechbrain": sb.__version__}
    versions["threads"] = torch.get_num_threads()
    print(json.dumps({"parameters": parameters, **versions, **plan}), flush=True)
    for epoch, _ in enumerate(sys.stdin, 1):
        begun = time.monotonic()
        learner.fit([epoch], batches)
        wall_s = time.monotonic() - begun
        loss = float(learner.last.detach())
        print(json.dumps({"audio_s": audio_s, "wall_s": wall_s, "loss": loss}), flush=True)


if __name__ == "__main__":
    main()
