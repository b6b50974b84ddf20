"""Make the sample clips of `make demo` with a speech synthesiser (Debian: apt install flite).

    python examples/make_clips.py

The sentences are ours and the voices are CMU's, free for any use. Nobody's recording is involved.
"""

import subprocess
import tempfile
from pathlib import Path

from auricle import audio

CLIPS = Path(__file__).parent / "clips"
SENTENCES = {
    "window": ("slt", "He stood by the window and looked at the old house across the river."),
    "morning": ("rms", "In the morning the men went down to the water with their dogs."),
    "letter": ("slt", "She read the letter twice and put it back upon the table."),
}

for name, (voice, text) in SENTENCES.items():
    with tempfile.NamedTemporaryFile(suffix=".wav") as spoken:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", spoken.name], check=True)
        samples, rate_hz = audio.load(spoken.name)
    audio.save(CLIPS / f"{name}.flac", samples, rate_hz)
    (CLIPS / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
