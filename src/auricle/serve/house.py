"""What the routes share."""

from dataclasses import dataclass

from auricle.serve.ears import Ears
from auricle.serve.jobs import Jobs
from auricle.serve.limits import Gate
from auricle.serve.metrics import Metrics
from auricle.serve.settings import ServeSettings
from auricle.serve.uploads import Receiver
from auricle.serve.workspace import Workspace


@dataclass(frozen=True)
class House:
    """One server process."""

    settings: ServeSettings
    metrics: Metrics
    ears: Ears
    workspace: Workspace
    receiver: Receiver
    gate: Gate
    jobs: Jobs

    @classmethod
    def open(cls, settings: ServeSettings) -> "House":
        """Load the models and take hold of the folder.

        Raises:
            ModelError: a bundle cannot be used.
            DataError: the folder cannot be written to.
        """
        metrics = Metrics()
        ears = Ears(settings, metrics)
        workspace = Workspace(settings.state)
        return cls(
            settings,
            metrics,
            ears,
            workspace,
            Receiver(workspace, metrics),
            Gate(settings, metrics),
            Jobs(settings, workspace, ears, metrics),
        )

    def close(self) -> None:
        """Finish what was accepted, remove what is temporary."""
        self.jobs.close()
        self.ears.close()
        self.workspace.close()
