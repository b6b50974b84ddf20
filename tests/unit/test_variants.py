"""Which pronunciations people use: counted, and weighed by that."""

from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from auricle.cli import app
from auricle.decode import Lexicon
from auricle.errors import ConfigError, DataError
from auricle.text.lexicon import Pronunciation
from auricle.variants import weigh

CLIPS = Path(__file__).parents[2] / "examples" / "clips"


def test_what_was_counted_outweighs_what_the_lexicon_says() -> None:
    lexicon = Lexicon.parse(
        "the 1.0 DH IY\nthe .5 DH AH\nthe .5 D AH\ntea 1.0 T IY\ntea .5 T EY\n", "lexicon"
    )
    weighed = weigh(lexicon, Counter({("the", ("DH", "AH")): 3, ("the", ("Z", "AH")): 50}))
    assert weighed.words == ("the", "the", "tea", "tea")  # the first is what people say
    assert weighed.sounds[:2] == (("DH", "AH"), ("DH", "IY"))
    assert [share for _, _, share in weighed.entries] == pytest.approx([1.0, 1.0 / 3.5, 1.0, 0.5])


def test_the_command_counts_in_recordings(tmp_path: Path) -> None:
    """In a clip that ships, a word is said as it is, not as something else."""
    own = tmp_path / "own.txt"
    run = CliRunner()
    texts = [str(path) for path in CLIPS.glob("*.txt")]
    written = run.invoke(app, ["lexicon", "write", *texts, "--model", "english", "-o", str(own)])
    assert written.exit_code == 0, written.output
    other = Pronunciation("house", ("B", "IY", "T", "AH", "M"))
    own.write_text(Lexicon.from_entries([*Lexicon.read(own).entries, other]).to_text())
    out = tmp_path / "weighed.txt"
    weighed = run.invoke(app, ["lexicon", "weigh", str(own), str(CLIPS), "-o", str(out)])
    assert weighed.exit_code == 0, weighed.output
    assert "of 3 recordings" in weighed.output
    first, *others = (e for e in Lexicon.read(out).entries if e.word == "house")
    assert first.sounds == ("HH", "AW", "S")
    assert all(other.probability <= 0.5 for other in others)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("one\ntwo\n", "a list of words"),
        ("house HH AW1 S\n", "--plain` drops stress"),
        ("zebra Z IY B R AH\n", "no word of"),
        ("".join(f"word{n} p{n}\n" for n in range(2_500)), "is this a text"),
    ],
)
def test_what_cannot_be_weighed_is_refused(tmp_path: Path, lines: str, why: str) -> None:
    (tmp_path / "words.txt").write_text(lines)
    arguments = ["lexicon", "weigh", str(tmp_path / "words.txt"), str(CLIPS), "-o"]
    refused = CliRunner().invoke(app, [*arguments, str(tmp_path / "out.txt")])
    assert isinstance(refused.exception, ConfigError | DataError)
    assert why in str(refused.exception)
    assert not (tmp_path / "out.txt").exists()
