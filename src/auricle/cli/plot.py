"""auricle plot."""

from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.display import output
from auricle.errors import ConfigError
from auricle.files import check_folder_of, replacing, write_text


def plot(
    recording: Annotated[Path, typer.Argument(help="Any recording.")],
    to: Annotated[
        Path | None, typer.Option("--output", "-o", help="x.png or x.svg; its name with .png.")
    ] = None,
    start: Annotated[float, typer.Option(min=0, help="Seconds to begin at.")] = 0.0,
    duration: Annotated[float | None, typer.Option(min=0.025, help="Seconds to draw.")] = None,
) -> None:
    """
    Examples:
    - `auricle plot speech.wav` (draws speech.png, here)
    - `auricle plot lecture.mp3 -o picture.svg --start 60 --duration 5`

    Draw a recording: waveform, spectrum, spectrogram, mel bands and MFCC, in one picture.
    """
    from auricle.drawing import png
    from auricle.plot import plot as draw

    path = to or Path(f"{recording.stem}.png")
    if path.suffix.lower() not in (".png", ".svg"):
        raise ConfigError(f"{path}: pictures are .png or .svg, not {path.suffix or 'without one'}")
    check_folder_of(path)
    picture = draw(recording, start_s=start, duration_s=duration)
    if path.suffix.lower() == ".svg":
        write_text(path, picture.svg())
    else:
        with replacing(path) as temporary:
            temporary.write_bytes(png(picture))
    output.print(str(path), markup=False)
