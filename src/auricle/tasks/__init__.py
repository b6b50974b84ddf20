"""The tasks: one literal table, imported lazily. Tasks import the spine and never each other.

Beside what the loop asks of a task (`auricle.train.Task`), the command line asks its class for
`settings`, `needs` (of every example), `learn`, `from_card` and `suggest`, and the task for
`about()` and `examine()`. To begin with a trained model (`auricle.origin`), a class has `adapt`,
says on which of its settings weights depend (`shape`) and on which their meaning (`naming`), and
names the tensors of its `last_layer`, whose rows stand for the `answers` of a task.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auricle.bundle import Bundle
from auricle.errors import ModelError
from auricle.vocabulary import read_vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn

    from auricle.train import Task

TASKS = {
    "ctc": "CTCTask",  # tokens: a transcript, one letter or piece per frame
    "clip": "ClipTask",  # labels for a clip: a keyword, a sound, tags
    "speaker": "SpeakerTask",  # an embedding: whose voice it is
    "segment": "SegmentTask",  # labels over time: where somebody speaks
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
    from auricle.checkpoint import load_strictly

    weights, state = _read_run(run)
    task = task_from_card(state)
    model = task.model()
    load_strictly(model, weights, str(run / "best.safetensors"))
    return task, model.eval(), state


def load_weights(path: Path) -> "tuple[Task, dict[str, Tensor]]":
    """The task of a run folder or a bundle, and its weights by name.

    Raises:
        ModelError: there are no weights, or they are damaged.
    """
    from auricle.checkpoint import read_weights

    if path.is_dir():
        weights, card = _read_run(path)
        return task_from_card(card), weights
    bundle = Bundle.read(path)
    weights, described = read_weights(bundle), bundle.card.to_dict()
    if described["tokenizer"]:
        described["tokenizer"] = read_vocabulary(bundle)[0].to_dict()
    return task_from_card(described), weights


def _read_run(run: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """The weights of a run folder and the state they were saved with."""
    from auricle.checkpoint import BEST, check_state, read_checkpoint

    best = run / "best.safetensors"
    if not best.exists():
        raise ModelError(
            f"{run}: no best.safetensors there: it is no run, or its training stopped before it was"
            " first scored on valid; then the same `auricle train` command goes on"
        )
    weights, state = read_checkpoint(best)
    check_state(best, state, BEST)
    return weights, state
