"""auricle listen."""

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from auricle.cli.decoding import read_hotwords
from auricle.cli.display import errors, output
from auricle.engine import Float32
from auricle.errors import ConfigError
from auricle.runtime import Recognizer
from auricle.serve.utterances import Utterances
from auricle.stream import Heard, Streamer

BLOCK_S = 0.1  # of sound that the microphone hands over


def listen(
    model: Annotated[str, typer.Option(help="A bundle, or a shipped model's name.")] = "english",
    device: Annotated[
        str | None, typer.Option(help="The microphone: its number, or part of its name.")
    ] = None,
    hotwords: Annotated[
        str | None, typer.Option(help="Words that may be said, parted by commas, or their file.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
) -> None:
    """
    Examples:
    - `auricle listen`
    - `auricle listen --device 2 > notes.txt`

    The microphone in, words out while they are spoken, a line an utterance; what may still change
    is grey. Ctrl-C ends it.
    """
    try:
        import sounddevice
    except ImportError:
        raise ConfigError(
            "the microphone needs sounddevice, which is not installed: pip install '.[mic]'"
        ) from None
    except OSError as error:  # it finds no PortAudio
        raise ConfigError(f"{error}: install it (Debian: apt-get install libportaudio2)") from None
    recognizer = Recognizer.load(model, threads=threads)
    streamer = Streamer.of(recognizer, hotwords=read_hotwords(hotwords) if hotwords else ())
    rate_hz = streamer.rate_hz
    blocks: SimpleQueue[Float32] = SimpleQueue()
    try:
        microphone = sounddevice.InputStream(
            samplerate=rate_hz,
            channels=1,
            dtype="float32",
            blocksize=round(BLOCK_S * rate_hz),
            device=int(device) if device and device.isdigit() else device,
            callback=lambda block, *_: blocks.put(block[:, 0].copy()),
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise ConfigError(f"no microphone that gives {rate_hz} Hz ({error})") from None
    utterances = Utterances(streamer)
    with microphone, Live(console=errors, transient=True, auto_refresh=False) as line:
        try:
            while True:
                _show(utterances.push(blocks.get()), line)
        except KeyboardInterrupt:
            _show(_rest(utterances, blocks), line)


def _rest(utterances: Utterances, blocks: "SimpleQueue[Float32]") -> Iterator[Heard]:
    """What was spoken before it was told to end."""
    while not blocks.empty():
        yield from utterances.push(blocks.get_nowait())
    yield from utterances.finish()


def _show(coming: Iterator[Heard], line: Live) -> None:
    for heard in coming:
        if heard.kind == "final":
            line.update(Text(""), refresh=True)
            if heard.words:
                output.print(" ".join(word.text for word in heard.words), markup=False)
        else:
            shown = Text(" ".join(word.text for word in heard.words[: heard.stable]))
            shown.append(
                " " + " ".join(w.text for w in heard.words[heard.stable :]), "bright_black"
            )
            line.update(shown, refresh=errors.is_terminal)
