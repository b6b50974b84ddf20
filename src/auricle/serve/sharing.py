"""Where requests meet: the graph of a model, and the search for its words."""

from collections.abc import Sequence

from auricle.decode import Decoder, Reading
from auricle.engine import Engine, Float32, usable_cores
from auricle.runtime import Recognizer
from auricle.serve.batching import Batching
from auricle.serve.metrics import Metrics
from auricle.serve.settings import ServeSettings

SEARCHED = 32  # pieces in one search: as many as it takes side by side


def share_graph(engine: Engine, settings: ServeSettings, metrics: Metrics) -> Batching[Float32]:
    """Put dynamic batching in front of the graph."""
    one_by_one = engine.bundle.card.precision == "int8"  # their scales span the batch
    engine.session = batching = Batching(
        engine.session,
        most=1 if one_by_one else settings.batch,
        wait_s=settings.wait_ms / 1000,
        runners=usable_cores() if one_by_one else 1,
        ran=metrics.batches.observe,
    )
    return batching


def share_search(recognizer: Recognizer, metrics: Metrics) -> Batching[list[Reading]]:
    """Put dynamic batching in front of the decoder that requests without hotwords share.

    A search costs little more for many utterances than for one, and searches in several threads
    only take turns at the interpreter. Nobody waits for company: while one search runs, those that
    come meanwhile gather for the next. Who brings a whole batch, as long recordings do, searches by
    himself, so that short ones need not wait for all of it.
    """
    usual = recognizer.decoder()
    batching = Batching[list[Reading]](
        usual.decode_many, most=SEARCHED, wait_s=0.0, ran=metrics.searches.observe
    )

    def read(decoder: Decoder, outputs: Sequence[Float32]) -> Sequence[list[Reading]]:
        if decoder is not usual or len(outputs) >= SEARCHED:
            return decoder.decode_many(outputs)
        return batching(outputs)

    recognizer.read = read
    return batching
