"""Live sound: errors beside offline, how late words appear, and what one stream costs.

    python benchmarks/streaming.py valid.jsonl --model live.auricle --clips 40 --ends english

Each clip is spoken to the model in blocks of 20 ms, with a pause after it of its own quietest
sound. A block is heard when it is complete and the one before it was worked through: the processing
time counts (of this thread, so that the neighbours' share of the core does not). When a word ends
is what a forced alignment of the text says (`--ends`, with any model that knows its words), or,
without one, the model itself offline. A word appears with the first partial that shows it there;
it stays from the first one on after which all others show it too, the final included.

Words are compared twice: without cutting at pauses, when live and offline have to be equal, and as
they are served. A model that needs whole utterances can be measured too: it hears each utterance
again and again.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import common
import numpy as np

from auricle import audio
from auricle.aligner import align_many
from auricle.bundle import Bundle, find_model
from auricle.errors import AuricleError
from auricle.metrics import score_words
from auricle.results import Word
from auricle.runtime import Recognizer
from auricle.stream import Heard, LiveSettings, State, Streamer
from auricle.text import normalise

BLOCK_S = 0.02  # that a microphone hands over
PAUSE_S = 2.5  # spoken after each clip
QUIET_S = 0.2  # of a clip, that its pause is made of
NEAR_S = 0.5  # a word is the same when it is shown so near


@dataclass(frozen=True)
class Event:
    at_s: float  # by the clock of the sound: when it is on the screen
    heard: Heard


def paused(samples: Any, rate_hz: int) -> Any:
    """The clip and a pause: its quietest stretch, forwards and backwards by turns."""
    width = min(len(samples), round(QUIET_S * rate_hz))
    starts = range(0, len(samples) - width + 1, max(1, width // 4))
    quiet = min((samples[at : at + width] for at in starts), key=lambda x: float(x @ x))
    turns = np.concatenate([quiet[::-1], quiet])
    return np.concatenate([samples, np.resize(turns, round(PAUSE_S * rate_hz))])


def timed(
    coming: Iterator[tuple[Heard | None, State]],
) -> Iterator[tuple[float, Heard | None, State]]:
    """With the seconds of this thread that each took."""
    begun = time.thread_time()
    for heard, state in coming:
        yield time.thread_time() - begun, heard, state
        begun = time.thread_time()


def live(streamer: Streamer, samples: Any) -> tuple[list[Event], float]:
    """What is shown and when; seconds of processing."""
    block, state = round(BLOCK_S * streamer.rate_hz), streamer.start()
    events, free_s, busy_s = [], 0.0, 0.0
    for at in range(0, len(samples) + block, block):  # the last one is the end
        piece = samples[at : at + block]
        coming = streamer.hear(piece, state) if at < len(samples) else streamer.end(state)
        free_s = max(free_s, min(at + block, len(samples)) / streamer.rate_hz)
        for took_s, heard, after in timed(coming):
            busy_s, free_s, state = busy_s + took_s, free_s + took_s, after
            if heard:
                events.append(Event(free_s, heard))
    return events, busy_s


def shows(heard: Heard, word: Word) -> bool:
    return any(
        each.text == word.text
        and each.start_s - NEAR_S < (word.start_s + word.end_s) / 2 < each.end_s + NEAR_S
        for each in heard.words
    )


def lateness(events: Sequence[Event], word: Word) -> dict[str, float] | None:
    """Seconds from the end of a word to its appearances; None if no final has it."""
    ended = [n for n, e in enumerate(events) if e.heard.kind == "final" and shows(e.heard, word)]
    if not ended:
        return None
    final = ended[0]
    number = events[final].heard.number
    shown = [n for n in range(final + 1) if events[n].heard.number == number]
    seen = [shows(events[n].heard, word) for n in shown]
    stays = max((at + 1 for at, there in enumerate(seen) if not there), default=0)
    found = {"first shown": shown[seen.index(True)], "stays": shown[stays], "final": final}
    return {name: events[n].at_s - word.end_s for name, n in found.items()}


def spoken_words(
    recognizer: Recognizer, ends: str | None, clips: Sequence[Any], texts: Sequence[str]
) -> Iterator[tuple[Word, ...]]:
    """The words of each clip and when they end; none where the text does not fit the sound."""
    if not ends:
        for clip in clips:
            yield recognizer.transcribe(clip).words
        return
    for _, found in align_many(Recognizer.load(ends, threads=1), zip(clips, texts, strict=True)):
        yield () if isinstance(found, AuricleError) else found.transcript.words


def said(streamer: Streamer, samples: Any) -> str:
    """What is heard without cutting at pauses."""
    state, words = streamer.start(), []
    for piece in np.array_split(samples, max(1, round(len(samples) / streamer.rate_hz / BLOCK_S))):
        step = streamer.step(piece, state)
        words, state = [*words, *step.final], step.state
    return " ".join(word.text for word in (*words, *streamer.finish(state).final))


def rows_of(
    late: Sequence[dict[str, float]], ends: Sequence[float], of: int
) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Percentiles of each appearance."""
    rows = [("words found in finals", f"{len(late)} of {of}")]
    numbers: dict[str, Any] = {"words": len(late), "sought": of}
    times = {f"a word's end to {name}": [e[name] for e in late] for name in (late or [{}])[0]}
    for name, values in {**times, "an utterance's last word to its final": ends}.items():
        if values:
            p50, p95 = map(float, np.percentile(values, [50, 95]))
            rows.append((name, f"p50 {p50:.2f} s, p95 {p95:.2f} s"))
            numbers[name] = {"p50_s": p50, "p95_s": p95}
    return rows, {"latency": numbers}


def main() -> None:
    options = common.parser(__doc__ or "")
    common.add_data(options, "../shared/data/english/valid.jsonl")
    options.add_argument("--model", default="english", help="a bundle (%(default)s)")
    options.add_argument("--clips", type=int, default=40, help="of the manifest (%(default)s)")
    options.add_argument("--ends", help="a model that aligns the texts; none: the model's own")
    options.add_argument("--step", type=float, help="seconds between hearings")
    arguments = options.parse_args()
    common.warn_if_busy()
    recognizer = Recognizer.load(Bundle.read(find_model(arguments.model)), threads=1)
    examples = common.some(common.examples_of(arguments.data), 1e9)[: arguments.clips]
    rate_hz = recognizer.engine.rate_hz
    clips = [
        audio.load(e.audio, rate_hz, start_s=e.start_s, duration_s=e.duration_s) for e in examples
    ]
    texts = [normalise(each.text or "", recognizer.normaliser) for each in examples]
    streaming = recognizer.engine.graph.streaming
    change = {"step_s": arguments.step} if arguments.step else {}
    served = Streamer.of(recognizer)
    settings = served.settings.model_copy(update=change)
    served = Streamer.of(recognizer, settings)
    uncut = Streamer.of(recognizer, LiveSettings(step_s=settings.step_s, pause_s=5, longest_s=20))
    offline = [recognizer.transcribe(clip).text for clip in clips]
    whole = [said(uncut, samples) for samples, _ in clips] if streaming else []
    late, ends, finals, busy_s, sound_s, words = [], [], [], 0.0, 0.0, 0
    spoken = spoken_words(recognizer, arguments.ends, clips, texts)
    for (samples, _), truth in zip(clips, spoken, strict=True):
        sound = paused(samples, rate_hz)
        events, took_s = live(served, sound)
        busy_s, sound_s, words = busy_s + took_s, sound_s + len(sound) / rate_hz, words + len(truth)
        found = [w.text for e in events if e.heard.kind == "final" for w in e.heard.words]
        finals.append(" ".join(found))
        said_last = [e for e in events if e.heard.kind == "final" and e.heard.words]
        ends += [e.at_s - e.heard.words[-1].end_s for e in said_last]
        late += [each for word in truth if (each := lateness(events, word))]
    heard = {"offline": offline, "live, not cut": whole, "live, as served": finals}
    errors = {name: score_words(texts, each) for name, each in heard.items() if each}
    unequal = sum(a != b for a, b in zip(offline, whole, strict=False))
    latency, numbers = rows_of(late, ends, words)
    rows = [
        ("look-ahead", f"{streaming.look_ahead_ms:g} ms" if streaming else "hears again and again"),
        *((f"WER {name}", common.percent(counts)) for name, counts in errors.items()),
        ("not cut, otherwise than offline", f"{unequal} of {len(whole)} clips"),
        *latency,
        ("processor time of one stream", f"{busy_s / sound_s:.1%} of one core"),
    ]
    numbers |= {name: counts.to_dict() for name, counts in errors.items()}
    numbers |= {"unequal": unequal, "share_of_a_core": busy_s / sound_s, "sound_s": sound_s}
    numbers |= {"settings": settings.to_dict(), "clips": len(clips)}
    common.finish("Live sound", rows, common.machine() | numbers, arguments.json)


if __name__ == "__main__":
    main()
