"""auricle speaker: enrol a voice, verify that a recording is of it."""

from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.display import errors, output
from auricle.cli.transcribe import found_recordings
from auricle.files import check_folder_of
from auricle.voices import Verifier, VoiceBook, cosine

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""
    Examples:
    - `auricle speaker enrol anna anna/*.wav --model voices.auricle`
    - `auricle speaker verify anna claim.wav --model voices.auricle`

    Voices: who is it, and is it them?
    """,
)

Model = Annotated[str, typer.Option(help="A bundle that answers with an embedding.")]
Book = Annotated[Path, typer.Option(help="The file that keeps the enrolled voices.")]


@app.command(short_help="Keep a voice.")
def enrol(
    name: Annotated[str, typer.Argument(help="Whose voice it is.")],
    files: Annotated[list[str], typer.Argument(help="Recordings of theirs.")],
    model: Model,
    book: Book = Path("voices.json"),
) -> None:
    """
    Examples:
    - `auricle speaker enrol anna anna/*.wav --model voices.auricle`

    Keep a voice: the mean direction of its recordings. Enrolling a name again replaces it.
    """
    check_folder_of(book)
    verifier = Verifier.load(model)
    voices = VoiceBook.read(book, verifier.identity)
    recordings = [verifier.embed(path) for path in found_recordings(files)]
    seconds = sum(each.duration_s for each in recordings)
    before = name in voices.voices
    voices.enrolled(name, recordings)
    errors.print(
        f"{book}: {name}, {len(recordings)} recordings, {seconds:.1f} s"
        + "; what was kept under that name before is replaced" * before,
        markup=False,
    )


@app.command(short_help="Is a recording of it?")
def verify(
    name: Annotated[str, typer.Argument(help="Who it is said to be.")],
    file: Annotated[Path, typer.Argument(help="A recording.")],
    model: Model,
    book: Book = Path("voices.json"),
    threshold: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Of the score; the model's own if none.")
    ] = None,
) -> None:
    """
    Examples:
    - `auricle speaker verify anna claim.wav --model voices.auricle`

    Say whether a recording is of an enrolled voice. Exit status 0: it is; 1: it is not.
    """
    verifier = Verifier.load(model)
    voice = VoiceBook.read(book, verifier.identity).voice(name)
    score = cosine(voice, verifier.embed(file))
    limit = verifier.settings.threshold if threshold is None else threshold
    verdict = "accepted" if score >= limit else "rejected"
    output.print(f"{verdict}: score {score:.3f}, threshold {limit:.3f}", markup=False)
    if score < limit:
        raise typer.Exit(1)
