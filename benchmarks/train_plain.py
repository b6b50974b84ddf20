"""The peer of clip_training.py: the same network in the loop that anybody would write in PyTorch.

All clips lie in memory as tensors; features are torch.stft over a whole batch, masks and label
smoothing are torch's. No checkpoints, no log, no average of weights: nothing but training.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


class LogMel(nn.Module):
    """(B, N) samples -> (B, T, F) log-mel features of mean 0 and variance 1."""

    def __init__(self, filters: list[list[float]], rate_hz: int) -> None:
        super().__init__()
        self.window, self.hop = rate_hz // 40, rate_hz // 100
        self.size = 2 * (len(filters[0]) - 1)
        self.register_buffer("filters", torch.tensor(filters))
        self.register_buffer("taper", torch.hann_window(self.window))

    def forward(self, waves: Tensor) -> Tensor:
        spectrum = torch.stft(
            waves, self.size, self.hop, self.window, self.taper, center=False, return_complex=True
        )
        mel = (self.filters @ spectrum.abs().square() + 1e-7).log().transpose(1, 2)
        return (mel - mel.mean(1, keepdim=True)) / (mel.std(1, keepdim=True) + 1e-5)


def masked(x: Tensor, settings: dict) -> Tensor:
    """SpecAugment, the same masks for a whole batch."""
    x = x.clone()
    frames = int(settings["time_mask_share"] * x.shape[1])
    for dim, count, widest in (
        (1, settings["time_masks"], min(settings["time_mask_frames"], frames)),
        (2, settings["frequency_masks"], settings["frequency_mask_bins"]),
    ):
        for _ in range(count):
            width = int(torch.randint(widest + 1, ()))
            start = int(torch.randint(x.shape[dim] - width + 1, ()))
            x.narrow(dim, start, width).zero_()
    return x


def main() -> None:
    from auricle.config import resolve
    from auricle.data import read_for
    from auricle.tasks import task_class

    about = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    kind = task_class(about["task"])
    examples = read_for(Path(about["data"]), kind.needs).examples
    task = kind.learn(resolve(kind.settings, Path(about["recipe"]), about["words"]), examples)
    s = task.config.to_dict()
    torch.manual_seed(s["loop"]["seed"])
    model, rate_hz = task.model(), s["features"]["sample_rate_hz"]
    size = round(s["window"]["window_s"] * rate_hz)
    plain = [task.clips.plain(each)[0][2][:size] for each in examples]
    waves = torch.from_numpy(np.stack([np.pad(wave, (0, size - len(wave))) for wave in plain]))
    targets = torch.tensor([int(task.target(each).argmax()) for each in examples])
    wave_model = s["features"]["kind"] == "wave"
    features = None if wave_model else LogMel(about["filters"], rate_hz)
    optimizer = torch.optim.AdamW(model.parameters(), s["optimizer"]["rate"])
    batch = s["batches"]["examples"]
    parameters = sum(p.numel() for p in model.parameters())
    print(json.dumps({"parameters": parameters, "torch": torch.__version__}), flush=True)
    for _ in sys.stdin:
        begun, last = time.monotonic(), 0.0
        for picked in torch.randperm(len(waves)).split(batch):
            shift = int(torch.randint(-rate_hz // 10, rate_hz // 10 + 1, ()))
            x = waves[picked].roll(shift, 1)
            x = x[:, :, None] if features is None else masked(features(x), s["augment"])
            log_probs, _ = model(x, torch.full((len(x),), x.shape[1]))
            loss = nn.functional.cross_entropy(
                log_probs[:, 0], targets[picked], label_smoothing=s["smoothing"]
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), s["optimizer"]["clip"])
            optimizer.step()
            last = loss.item()
        wall_s = time.monotonic() - begun
        answer = {"audio_s": waves.numel() / rate_hz, "wall_s": wall_s, "loss": last}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
