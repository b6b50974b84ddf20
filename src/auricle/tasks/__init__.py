"""The tasks: one literal table, imported lazily. Tasks import the spine and never each other.

Beside what the loop asks of a task (`auricle.train.Task`), the command line asks its class for
`settings`, `needs` (of every example), `learn`, `from_card` and `suggest`, and the task itself for
`about()` and `examine()`.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auricle.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    from auricle.train import Task

TASKS = {
    "ctc": "CTCTask",  # tokens: a transcript, one letter or piece per frame
    "clip": "ClipTask",  # labels for a clip: a keyword, a sound, tags
    "speaker": "SpeakerTask",  # an embedding: whose voice it is
}


def task_class(name: str) -> Any:
    """The class of the task called `name`.

    Raises:
        ModelError: for a name that this version does not know.
    """
    if name not in TASKS:
        raise ModelError(f"task {name!r} is unknown here; this version knows {', '.join(TASKS)}")
    return getattr(import_module(f"auricle.tasks.{name}"), TASKS[name])


def task_from_card(card: Mapping[str, Any]) -> "Task":
    """The task that a checkpoint or bundle was made by."""
    task: Task = task_class(card["task"]).from_card(card)
    return task


def load_trained(run: Path) -> "tuple[Task, nn.Module, dict[str, Any]]":
    """The task of a run folder, its best model, and the state it was saved with.

    Raises:
        ModelError: when the folder holds no finished evaluation, or is damaged.
    """
    from auricle.checkpoint import BEST, check_state, load_strictly, read_checkpoint

    best = run / "best.safetensors"
    if not best.exists():
        raise ModelError(
            f"{run}: no best.safetensors there: is it a run, and was it evaluated yet?"
        )
    weights, state = read_checkpoint(best)
    check_state(best, state, BEST)
    task = task_from_card(state)
    model = task.model()
    load_strictly(model, weights, str(best))
    return task, model.eval(), state
