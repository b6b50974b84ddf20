"""One live session: sound in as it comes, what is heard by it out.

`auricle.stream` has the rules: which words are stable, and when an utterance ends.
"""

from collections.abc import Iterator

from auricle.engine import Float32
from auricle.stream import Heard, State, Streamer


class Utterances:
    """A `Streamer` and how far it is. Not for several threads at once."""

    def __init__(self, streamer: Streamer) -> None:
        self._streamer = streamer
        self._state = streamer.start()

    def push(self, samples: Float32) -> Iterator[Heard]:
        """(n,) new samples, all that came since the last; what is heard by them."""
        yield from self._take(self._streamer.hear(samples, self._state, late=True))

    def finish(self) -> Iterator[Heard]:
        """The utterance is over, whoever says so: its final words, if any."""
        yield from self._take(self._streamer.end(self._state))

    def _take(self, coming: Iterator[tuple[Heard | None, State]]) -> Iterator[Heard]:
        for heard, self._state in coming:
            if heard is not None:
                yield heard
