"""One or many processes: what `torchrun` starts, seen through a few small operations.

Gradients are averaged explicitly, not by DistributedDataParallel: its hooks do not fire for
`torch.autograd.grad`, which the loop uses so that one network's update never touches another's.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

B = TypeVar("B", bound=Any)  # a dataclass
# One process examines the data, or evaluates, while the others wait; if it dies, torchrun ends
# them at once.
LONGEST_WAIT = timedelta(hours=12)


@dataclass(frozen=True)
class World:
    """This process's place among the processes of one training."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> "World":
        """Join the group that torchrun announces in the environment, or be alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if not dist.is_initialized():
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=LONGEST_WAIT)
        return cls(dist.get_rank(), size)

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.rank == 0

    def average(self, gradients: Sequence[Tensor], parts: int) -> list[Tensor]:
        """Sum over processes, divided by `parts`, the number of micro-batches in all processes."""
        if self.size > 1:
            flat = torch.cat([g.flatten() for g in gradients])
            dist.all_reduce(flat)
            pieces = flat.split([g.numel() for g in gradients])
            gradients = [p.view_as(g) for p, g in zip(pieces, gradients, strict=True)]
        return list(torch._foreach_div(list(gradients), float(parts)) if parts > 1 else gradients)

    def agree(self, value: float, device: torch.device) -> float:
        """The leading process's value, in every process: clocks differ, decisions must not."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=device)
        dist.broadcast(shared, 0)
        return float(shared.item())


def local_device(wanted: str) -> torch.device:
    """`auto` is the process's own CUDA device, else the CPU."""
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def moved(batch: B, device: torch.device) -> B:
    """A batch (any dataclass) whose tensors are on `device`; the rest of it stays the same."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    return replace(batch, **{n: t.to(device, non_blocking=True) for n, t in tensors.items()})
