"""The command line: one file per group of commands, over what Python users call."""

import io
import os
import signal
import sys
from typing import NoReturn

import typer

from auricle.cli import (
    align,
    classify,
    crossval,
    data,
    evaluate,
    lexicon,
    listen,
    lm,
    model,
    plot,
    segment,
    serve,
    speaker,
    spot,
    train,
    transcribe,
    tune,
)
from auricle.cli.display import errors
from auricle.cli.signals import Interrupted, interrupt
from auricle.errors import AuricleError
from auricle.files import why_not

app = typer.Typer(
    name="auricle",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""
Examples

- `auricle transcribe meeting.mp3`: the words, with the model that is shipped
- `auricle doctor my_folder`: what is wrong with these recordings, before anyone trains on them
- `auricle train my_folder --out run budget.minutes=30`: learn from them
- `auricle evaluate run my_test.jsonl`: prove it
- `auricle export run model.auricle`: one file that runs anywhere, without torch

Recordings in, answers out: train small on your own data, prove it, export it, serve it.
""",
)

app.command("transcribe", rich_help_panel="Use", short_help="Recordings in, text out.")(
    transcribe.transcribe
)
app.command("align", rich_help_panel="Use", short_help="When each word of a text was said.")(
    align.align
)
app.command("classify", rich_help_panel="Use", short_help="Recordings in, labels out.")(
    classify.classify
)
app.command("spot", rich_help_panel="Use", short_help="Find keywords in long recordings.")(
    spot.spot
)
app.command("segment", rich_help_panel="Use", short_help="When somebody speaks in recordings.")(
    segment.segment
)
app.command("info", rich_help_panel="Use", short_help="Say what a model or a recording is.")(
    model.info
)
app.command("plot", rich_help_panel="Use", short_help="Draw a recording.")(plot.plot)
app.command("serve", rich_help_panel="Use", short_help="Answer over HTTP, with a page.")(
    serve.serve
)
app.command("listen", rich_help_panel="Use", short_help="The microphone in, text out.")(
    listen.listen
)
app.command("prepare", rich_help_panel="Data", short_help="Make a public corpus ready.")(
    data.prepare
)
app.command(
    "doctor",
    rich_help_panel="Data",
    short_help="Find what is wrong with recordings and transcripts.",
)(data.doctor)
app.command("split", rich_help_panel="Data", short_help="Part recordings to train and to test.")(
    data.split
)
app.command("explore", rich_help_panel="Data", short_help="Look at labelled recordings.")(
    data.explore
)
app.command("train", rich_help_panel="Learn", short_help="Learn from recordings.")(train.train)
app.command("evaluate", rich_help_panel="Learn", short_help="Score a model on known transcripts.")(
    evaluate.evaluate
)
app.command("crossval", rich_help_panel="Learn", short_help="Train and score fold by fold.")(
    crossval.crossval
)
app.command("export", rich_help_panel="Learn", short_help="Put a trained model into one file.")(
    model.export
)
app.command("tune", rich_help_panel="Learn", short_help="Find how a model decodes best.")(tune.tune)
app.add_typer(lm.app, name="lm", rich_help_panel="Learn", short_help="Language models from text.")

app.add_typer(
    lexicon.app, name="lexicon", rich_help_panel="Learn", short_help="How words are pronounced."
)
app.add_typer(speaker.app, name="speaker", rich_help_panel="Use", short_help="Whose voice is it?")


@app.callback(invoke_without_command=True)
def version(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    """Options that stand before the command."""
    if version:
        from auricle import __version__

        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line; a mistake of the user's becomes one line and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files need not be Unicode
            stream.reconfigure(errors="backslashreplace")
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        app(standalone_mode=True)
    except AuricleError as error:
        _fail(str(error))
    except Interrupted as stop:
        # Not through the console: what it was in the middle of printing would come once more.
        notes = "".join(f"; {note}" for note in getattr(stop, "__notes__", ()))
        os.write(2, f"interrupted{notes}\n".encode(errors="backslashreplace"))
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # a full disk, a name too long, a folder that is not ours
        _fail(f"{error.filename or 'the system'}: {why_not(error)}")
    finally:
        signal.signal(signal.SIGINT, before)


def _fail(message: str) -> NoReturn:
    errors.quiet = False
    errors.print("[bold red]error:[/] ", end="")
    errors.print(message, markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)
