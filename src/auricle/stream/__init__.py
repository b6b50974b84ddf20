"""Live sound -> partial and final words: `Streamer`; see `streamer` for how, and for an example."""

from auricle.stream.hearing import Hearing, LiveHearing, Rehearing
from auricle.stream.streamer import Heard, LiveSettings, State, Step, Streamer

__all__ = [
    "Heard",
    "Hearing",
    "LiveHearing",
    "LiveSettings",
    "Rehearing",
    "State",
    "Step",
    "Streamer",
]
