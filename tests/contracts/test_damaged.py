"""2,000 damaged inputs and more: each is a clear error or a correct result.

None is a traceback, a hang or a half-written output. `damage` makes the cases; each test runs all
cases of a kind and names every one that went wrong.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import damage
from auricle import audio
from auricle.bundle import GRAPH, Bundle, Card, write_bundle
from auricle.checkpoint import read_checkpoint, read_state
from auricle.cli import main
from auricle.config import resolve
from auricle.data import read_data, write_manifest
from auricle.doctor import examine
from auricle.errors import AuricleError, ConfigError, DataError, ModelError
from auricle.export import export_onnx
from auricle.features import FrontEnd
from auricle.results import Transcript
from auricle.runtime import Recognizer
from auricle.tasks import load_trained
from auricle.tasks.ctc import CTCSettings, CTCTask
from auricle.text import normalise
from auricle.train import fit
from damage import RATE_HZ, Case, Manifest, damaged_bytes, tone, tree
from toys import TINY, corpus

pytestmark = pytest.mark.slow  # real servers, or hundreds of cases: not for `make check`

LONGEST_S = 10.0  # of processor time that any one input may take
HANGS_S = 60.0  # of waiting, after which it will never end; a busy machine is not a failure
LONGEST_MESSAGE = 2_000  # letters
FRONT_END = FrontEnd()


@dataclass(frozen=True)
class Trained:
    """A tiny run and its bundle; what they answer is of no interest here."""

    run: Path
    bundle: Path
    manifest: Path


@pytest.fixture(scope="module", name="trained")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    manifest = corpus(folder, 8)
    examples = read_data(manifest).examples
    config = resolve(CTCSettings, None, (*TINY, "budget.steps=1"))
    fit(CTCTask.learn(config, examples), examples, examples[:2], folder / "run")
    task, model, _ = load_trained(folder / "run")
    export_onnx(model, FrontEnd(config.features).dim, folder / "model.onnx")
    facts = task.card()
    card = Card(
        auricle_version="0",
        task="ctc",
        answer="tokens",
        stride=facts["stride"],
        features=config.features.to_dict(),
        tokenizer=facts["tokenizer"],
        decode={"kind": "greedy"},
    )
    path = folder / "model.auricle"
    write_bundle(path, card, {GRAPH: (folder / "model.onnx").read_bytes()})
    return Trained(folder / "run", path, manifest)


@contextmanager
def in_time() -> Iterator[None]:
    """Turn a wait without end into a failure, where the system can."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done after {HANGS_S} s")

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, HANGS_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Ward:
    """Runs cases one by one, and remembers what went wrong instead of stopping at it."""

    def __init__(self) -> None:
        self.cases = 0
        self.wrong: list[str] = []

    def run(self, name: str, check: Callable[[], str | None]) -> None:
        """`check` returns what is wrong, if anything; an error that is none of ours is wrong."""
        self.cases += 1
        begin = time.process_time()
        try:
            with in_time():
                problem = check()
        except Exception as error:  # noqa: BLE001 - every kind of it is a finding
            problem = f"{type(error).__name__}: {error}"
        if time.process_time() - begin > LONGEST_S:
            problem = f"took {time.process_time() - begin:.0f} s; {problem}"
        if problem:
            self.wrong.append(f"{name}: {problem[:300]}")

    def discharge(self, at_least: int) -> None:
        shown = "\n".join(self.wrong[:40])
        assert not self.wrong, f"{len(self.wrong)} of {self.cases} went wrong:\n{shown}"
        assert self.cases >= at_least


def clear(error: AuricleError, *names: object) -> str | None:
    """What a user would miss in a message, if anything."""
    text = str(error)
    missing = [str(name) for name in names if str(name) not in text]
    if missing:
        return f"does not name {missing}: {text}"
    if (
        len(text) > LONGEST_MESSAGE + 3 * sum(len(str(name)) for name in names)
        or text.count("\n") > 8
    ):
        return f"is {len(text)} letters long: {text}"
    return "says nothing" if len(text) < 15 else None


def test_there_are_2000_different_inputs() -> None:
    sounds = {(case.suffix, case.content) for case in damage.sounds()}
    manifests = {(case.file, case.content) for case in damage.manifests()}
    assert len(sounds) + len(manifests) + len(damage.WORDS) + len(damage.RECIPES) >= 3_000
    assert len(sounds) >= 1_700


# --- sound ---------------------------------------------------------------------------------------


def heard(path: Path, case: Case) -> str | None:
    """`load`, `inspect` and `chunks` of a file: all refuse it, or all agree on what is in it."""
    try:
        x, rate_hz = audio.load(path)
    except DataError as error:
        return clear(error, path) or ("is refused" if case.outcome == "good" else None)
    if case.outcome == "error":
        return f"is taken for {len(x)} samples"
    if x.dtype != np.float32 or x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        return f"loads as {x.dtype} {x.shape}"
    info = audio.inspect(path)
    if abs(info.duration_s - len(x) / rate_hz) > 0.15:
        return f"lasts {info.duration_s} s in its header, {len(x) / rate_hz} s when decoded"
    if not np.array_equal(np.concatenate(list(audio.chunks(path, 0.1))), x):
        return "differs in chunks"
    return None if case.truth is None else unlike(x, case.truth, path.suffix)


def unlike(x: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], suffix: str) -> str | None:
    """How sound differs from what was written, beyond what its coding loses."""
    lossy = suffix in (".mp3", ".ogg", ".opus", ".x")
    if abs(len(x) - len(truth)) > (2_000 if lossy else 0):
        return f"has {len(x)} samples, not {len(truth)}"
    if lossy:
        return None
    worst = float(np.abs(x - truth).max())
    return f"differs by {worst} from what was written" if worst > 1e-3 else None


def test_damaged_sounds(trained: Trained, tmp_path: Path) -> None:
    ward, paths = Ward(), []
    for number, case in enumerate(damage.sounds()):
        path = tmp_path / f"{number}{case.suffix}"
        path.write_bytes(case.content)
        paths.append(path)
        ward.run(case.name, lambda path=path, case=case: heard(path, case))  # type: ignore[misc]
    ward.discharge(1_700)
    recognizer = Recognizer.load(trained.bundle, threads=1)
    answers = list(recognizer.transcribe_many(paths))
    assert [source for source, _ in answers] == paths
    for path, (_, answer) in zip(paths, answers, strict=True):
        assert isinstance(answer, Transcript | DataError)
        if isinstance(answer, Transcript):
            assert answer.duration_s == pytest.approx(len(audio.load(path)[0]) / RATE_HZ)
        else:
            assert str(path) in str(answer)


def test_one_recording_in_many_files_is_one_answer(trained: Trained, tmp_path: Path) -> None:
    """32 channels, other sample formats, junk behind the sound: the words must not change."""
    paths = []
    for case in damage.sounds():
        if case.truth is tone() and case.suffix in (".wav", ".flac", ".aiff", ".caf", ".au"):
            paths.append(tmp_path / f"{len(paths)}{case.suffix}")
            paths[-1].write_bytes(case.content)
    assert len(paths) > 40
    recognizer = Recognizer.load(trained.bundle, threads=1)
    texts = {answer.text for _, answer in recognizer.transcribe_many(paths)
             if isinstance(answer, Transcript)}  # fmt: skip
    assert len(texts) == 1


def test_paths_that_are_no_recordings(trained: Trained, tmp_path: Path) -> None:
    recognizer = Recognizer.load(trained.bundle, threads=1)
    ward = Ward()
    for path in odd_paths(tmp_path, ".wav"):

        def check(path: Path = path) -> str | None:
            ((_, answer),) = recognizer.transcribe_many([path])
            return clear(answer, path) if isinstance(answer, DataError) else "is heard"

        ward.run(path.name[:40], check)
    ward.discharge(8)


def odd_paths(folder: Path, suffix: str) -> Iterator[Path]:
    """Paths that are no files: missing, folders, links to nothing or themselves, pipes."""
    yield folder / f"missing{suffix}"
    yield folder / "no folder" / f"missing{suffix}"
    yield folder / ("n" * 300 + suffix)
    yield folder / ("d/" * 2_500 + f"x{suffix}")
    inside = folder / f"file{suffix}"
    inside.write_bytes(b"x")
    yield inside / f"inside{suffix}"
    (folder / f"folder{suffix}").mkdir()
    yield folder / f"folder{suffix}"
    yield folder / "\udcff" / f"x{suffix}"
    for name, target in (("broken", "nothing"), ("itself", f"itself{suffix}")):
        try:
            (folder / f"{name}{suffix}").symlink_to(target)
        except OSError:  # Windows, without the right to
            continue
        yield folder / f"{name}{suffix}"
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / f"pipe{suffix}")
        yield folder / f"pipe{suffix}"
        (folder / f"device{suffix}").symlink_to("/dev/zero")
        yield folder / f"device{suffix}"


def test_samples_that_are_no_sound(trained: Trained) -> None:
    recognizer = Recognizer.load(trained.bundle, threads=1)
    x, ward = tone(), Ward()
    wrong: list[tuple[Any, Any]] = [
        (x, rate) for rate in (0, -1, 1, 10, 1e9, np.nan, np.inf, -np.inf)
    ]
    wrong += [(bad, RATE_HZ) for bad in (
        x[:0], x.astype(np.int16), x.astype(np.complex64), x.astype(object), x.astype(str),
        x > 0, np.float32(0.5) * np.ones(()), x[None, None], x[:0, None], np.zeros((100, 0), "f"),
        x * np.nan, x + np.inf, x.astype(np.float64) * 1e300, x * np.float32(1e30),
    )]  # fmt: skip
    for number, source in enumerate(wrong):

        def check(source: Any = source) -> str | None:
            ((_, answer),) = recognizer.transcribe_many([source])
            return clear(answer) if isinstance(answer, DataError) else "is heard"

        ward.run(f"samples {number}", check)
    ward.discharge(20)


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """As a user who does not own the files here; root, who may read all, steps down for a while."""
    if not hasattr(os, "geteuid"):
        pytest.skip("no such rights on this system")
    root = os.geteuid() == 0
    if root:
        folder.chmod(0o755)
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_missing_permissions(trained: Trained) -> None:
    recognizer = Recognizer.load(trained.bundle, threads=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording, manifest, bundle = folder / "a.wav", folder / "m.jsonl", folder / "m.auricle"
        recording.write_bytes(damage.whole("pcm16"))
        manifest.write_bytes(damage.GOOD_LINE)
        bundle.write_bytes(trained.bundle.read_bytes())
        locked = folder / "data" / "locked"
        locked.mkdir(parents=True)
        (folder / "data" / "b.wav").write_bytes(damage.whole("pcm16"))
        (folder / "data" / "b.txt").write_text("a")
        for path in (recording, manifest, bundle, locked):
            path.chmod(0)
        reads: dict[Path, Callable[[], object]] = {
            recording: lambda: recognizer.transcribe(recording),
            manifest: lambda: read_data(manifest),
            bundle: lambda: Bundle.read(bundle),
            locked: lambda: read_data(folder / "data"),
            locked / "c.jsonl": lambda: read_data(locked / "c.jsonl"),
            locked / "c.wav": lambda: audio.load(locked / "c.wav"),
            locked / "c.auricle": lambda: Recognizer.load(locked / "c.auricle"),
            folder / "out.wav": lambda: audio.save(folder / "out.wav", tone(), RATE_HZ),
        }
        before = tree(folder)
        with without_rights(folder):
            if os.geteuid() != 65_534:
                del reads[folder / "out.wav"]  # our own folder
            for path, read in reads.items():
                with pytest.raises(AuricleError) as caught:
                    read()
                assert str(path) in str(caught.value)
        assert tree(folder) == before
        locked.chmod(0o755)


# --- manifests -----------------------------------------------------------------------------------


@pytest.fixture(name="shelf")
def _shelf(tmp_path: Path) -> Path:
    """A folder with one good recording and some that are none, for manifests to name."""
    (tmp_path / "good.wav").write_bytes(damage.whole("pcm16"))
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "folder").mkdir()
    return tmp_path


def read(path: Path, case: Manifest) -> str | None:
    """`read_data` refuses what is damaged and names the line; `doctor` then finds it too."""
    where = [f"{path.name}:{case.line}:"] if case.line else []
    try:
        found = read_data(path)
    except DataError as error:
        problem = clear(error, path, *where) or ("is refused" if case.outcome == "good" else None)
        return problem or examined(path)
    if case.outcome == "error" and not healthy_but_for_sound(path):
        return f"is taken for {found.examples}"
    if case.outcome == "good" and [e.text for e in found.examples] != ["a b"]:
        return f"reads as {found.examples}"
    found.fingerprint()
    return None


def healthy_but_for_sound(path: Path) -> bool:
    """Where a manifest states durations no header is read: it is the doctor who listens."""
    report = examine(read_data(path, unreadable="keep"), front_end=FRONT_END, threads=1)
    return [problem.kind for problem in report.errors] == ["unreadable"]


def examined(path: Path) -> str | None:
    """What training would refuse, the doctor calls an error, or cannot read either."""
    try:
        report = examine(read_data(path, unreadable="keep"), front_end=FRONT_END, threads=1)
    except DataError as error:
        return clear(error, path)
    json.dumps(report.to_dict())
    report.render(80)
    return None if report.errors else "is healthy to the doctor, but cannot be read"


def test_damaged_manifests(shelf: Path) -> None:
    ward = Ward()
    for case in damage.manifests():
        path = shelf / case.file
        path.write_bytes(case.content)
        ward.run(case.name, lambda path=path, case=case: read(path, case))  # type: ignore[misc]
        path.unlink()
    ward.discharge(1_000)


def test_sources_that_are_no_manifests(tmp_path: Path) -> None:
    ward = Ward()
    for suffix in (".jsonl", ".csv", ".stm", ".txt", ""):
        folder = tmp_path / f"odd{suffix}"
        folder.mkdir()
        for path in odd_paths(folder, suffix):

            def check(path: Path = path) -> str | None:
                with pytest.raises(DataError) as caught:
                    read_data(path)
                return clear(caught.value, path)

            ward.run(path.name[:40], check)
    ward.discharge(40)


def folders(root: Path) -> Iterator[Path]:
    """Folders of recordings with something wrong in each."""
    good = damage.whole("pcm16")
    contents: dict[str, dict[str, bytes]] = {
        "empty": {},
        "only text": {"a.txt": b"a"},
        "no text": {"a.wav": good},
        "text is Latin-1": {"a.wav": good, "a.txt": b"caf\xe9"},
        "text is binary": {"a.wav": good, "a.txt": bytes(range(256))},
        "damaged": {"a.wav": good[:20], "a.txt": b"a"},
        "empty recording": {"a.wav": b"", "a.txt": b"a"},
        "two manifests": {"a.jsonl": damage.GOOD_LINE, "b.csv": b"path\n", "good.wav": good},
        "manifest of nothing": {"a.jsonl": b"", "good.wav": good},
        "split of nothing": {"train.jsonl": b"", "valid.jsonl": b""},
        "split damaged": {"train.jsonl": damage.GOOD_LINE, "valid.jsonl": b"{", "good.wav": good},
        "librispeech without sound": {"1-2.trans.txt": b"1-2-0000 A B\n"},
        "librispeech damaged": {"1-2.trans.txt": b"1-2-0000 A\n\xff", "1-2-0000.wav": good},
        "sphinx without sound": {"a_train.transcription": b"<s> A </s> (x-1)\n"},
        "sphinx damaged": {"a_train.transcription": b"(((", "x-1.wav": good},
        "ljspeech without sound": {"metadata.csv": b"LJ1|a|b\n"},
        "ljspeech damaged": {"metadata.csv": b"LJ1|a|b\nx\n|||\n", "wavs/LJ1.wav": good},
        "common voice": {
            "train.tsv": b"client_id\tpath\tsentence\n1\tx.mp3\ta\n",
            "clips/y.mp3": b"",
        },
        "yesno damaged": {"0_1_0_1_0_1_0_1.wav": b"RIFF"},
        "stm without sound": {"a.stm": b"a 1 x 0 1 a\n"},
    }
    for name, files in contents.items():
        folder = root / name
        folder.mkdir()
        for file, content in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(content)
        yield folder
    if hasattr(os, "mkfifo"):
        pipes = {"sound": "a.wav", "text": "a.txt", "manifest": "a.jsonl", "split": "train.csv"}
        for what, pipe in pipes.items():
            name = f"pipe for {what}"
            (root / name).mkdir()
            (root / name / "a.wav").write_bytes(good)
            (root / name / "a.txt").write_text("a")
            (root / name / pipe).unlink(missing_ok=True)
            os.mkfifo(root / name / pipe)
            yield root / name


def test_damaged_folders(tmp_path: Path) -> None:
    ward = Ward()
    for folder in folders(tmp_path):

        def check(folder: Path = folder) -> str | None:
            with pytest.raises(DataError) as caught:
                read_data(folder)
            return clear(caught.value, folder) or examined(folder)

        ward.run(folder.name, check)
    ward.discharge(20)


def test_names_and_texts_that_are_not_unicode_survive(tmp_path: Path) -> None:
    """File names in Latin-1 are lone surrogates to Python; JSON can carry them, UTF-8 cannot."""
    recording = tmp_path / os.fsdecode(b"caf\xe9.wav")
    try:
        recording.write_bytes(damage.whole("pcm16"))
    except OSError:
        pytest.skip("this file system takes only Unicode")
    recording.with_suffix(".txt").write_text("a")
    found = read_data(tmp_path)
    write_manifest(tmp_path / "m.jsonl", found.examples)
    again = read_data(tmp_path / "m.jsonl")
    assert [e.audio for e in again.examples] == [recording]
    assert again.fingerprint() == found.fingerprint()


def test_endless_numbers_in_transcripts_are_read_in_time() -> None:
    for text in ("1" * 5_000, "$" + "9" * 50_000, "7" * 100_000, ("3" * 99 + " ") * 50):
        begin = time.process_time()
        assert set(normalise(text)) <= set("abcdefghijklmnopqrstuvwxyz ")
        assert time.process_time() - begin < LONGEST_S


# --- models --------------------------------------------------------------------------------------


def answers(path: Path) -> str | None:
    """A bundle is refused by name, or its recogniser answers."""
    try:
        recognizer = Recognizer.load(path, threads=1)
    except ModelError as error:
        return clear(error)
    result = recognizer.transcribe((tone(), RATE_HZ))
    return None if result.duration_s == 0.25 else f"lasts {result.duration_s}"


def refused(path: Path) -> str | None:
    try:
        Bundle.read(path)
    except ModelError as error:
        return clear(error, path)
    return "is read"


def test_damaged_bundles(trained: Trained, tmp_path: Path) -> None:
    ward, path = Ward(), tmp_path / "damaged.auricle"
    good = trained.bundle.read_bytes()
    for name, content in damaged_bytes(good, 3, 200):
        if content != good:
            path.write_bytes(content)
            ward.run(name, lambda: answers(path))
    for odd in odd_paths(tmp_path, ".auricle"):
        ward.run(odd.name[:40], lambda odd=odd: refused(odd))  # type: ignore[misc]
    ward.discharge(180)


def test_forged_bundles(trained: Trained, tmp_path: Path) -> None:
    ward, path = Ward(), tmp_path / "forged.auricle"
    good = trained.bundle.read_bytes()
    card = json.loads(Bundle.read(trained.bundle).card.model_dump_json())
    for name, text in damage.forged_cards(card):
        path.write_bytes(damage.repacked(good, card=text))
        ward.run(name, lambda: answers(path))
    ward.discharge(300)


def test_damaged_graphs(trained: Trained, tmp_path: Path) -> None:
    """Checksums that are right, over a graph that is not."""
    ward, path = Ward(), tmp_path / "forged.auricle"
    bundle = Bundle.read(trained.bundle)
    for name, graph in damaged_bytes(bundle.member(GRAPH), 4, 40):
        write_bundle(path, bundle.card, {GRAPH: graph})
        ward.run(name, lambda: answers(path))
    ward.discharge(40)


def test_damaged_checkpoints(trained: Trained, tmp_path: Path) -> None:
    ward, path = Ward(), tmp_path / "best.safetensors"
    cases = list(damage.forged_checkpoints())
    cases += damaged_bytes((trained.run / "best.safetensors").read_bytes(), 5, 80)
    cases.append(("of another kind", (trained.run / "last.safetensors").read_bytes()))

    def check() -> str | None:
        for how in (read_checkpoint, read_state, lambda path: load_trained(path.parent)):
            try:
                how(path)
            except (ModelError, ConfigError) as error:
                if problem := clear(error):
                    return problem
        return None

    for name, content in cases:
        path.write_bytes(content)
        ward.run(name, check)
    path.unlink()
    for odd in odd_paths(tmp_path, ".safetensors"):

        def check_path(odd: Path = odd) -> str | None:
            for how in (read_checkpoint, read_state):
                with pytest.raises(ModelError) as caught:
                    how(odd)
                if problem := clear(caught.value, odd):
                    return problem
            return None

        ward.run(odd.name[:40], check_path)
    ward.discharge(100)


# --- settings ------------------------------------------------------------------------------------


def test_words_and_recipes_that_are_no_settings(tmp_path: Path) -> None:
    ward, recipe = Ward(), tmp_path / "recipe.toml"

    def check(words: tuple[str, ...], path: Path | None) -> str | None:
        try:
            config = resolve(CTCSettings, path, words)
        except ConfigError as error:
            return clear(error, *([path] if path else ()))
        return f"are settings: {config}"

    for word in damage.WORDS:
        ward.run(word[:40], lambda word=word: check((word,), None))  # type: ignore[misc]
    for content in damage.RECIPES:
        recipe.write_bytes(content)
        ward.run(repr(content[:40]), lambda: check((), recipe))
    for odd in odd_paths(tmp_path, ".toml"):
        ward.run(odd.name[:40], lambda odd=odd: check((), odd))  # type: ignore[misc]
    ward.discharge(130)


# --- the command line ----------------------------------------------------------------------------


@pytest.fixture(name="desk")
def _desk(trained: Trained, tmp_path: Path) -> Path:
    """A folder with good and damaged things of every kind, in which the commands run."""
    shutil.copy(trained.bundle, tmp_path / "good.auricle")
    shutil.copytree(trained.manifest.parent / "data_audio", tmp_path / "data_audio")
    shutil.copytree(trained.run, tmp_path / "run")
    shutil.copytree(trained.run, tmp_path / "run_cut")
    shutil.copytree(trained.run, tmp_path / "run_mixed")
    cut = (trained.run / "best.safetensors").read_bytes()[:500]
    for name in ("best", "last"):
        (tmp_path / "run_cut" / f"{name}.safetensors").write_bytes(cut)
    shutil.copy(trained.run / "last.safetensors", tmp_path / "run_mixed" / "best.safetensors")
    shutil.copy(trained.run / "best.safetensors", tmp_path / "run_mixed" / "last.safetensors")
    (tmp_path / "cut.auricle").write_bytes(trained.bundle.read_bytes()[:5_000])
    (tmp_path / "text.auricle").write_text("no model")
    good = damage.whole("pcm16")
    for name, content in {
        "good.wav": good, "text.wav": b"no sound", "cut.flac": damage.whole("flac")[:2_000],
        "empty.wav": b"", "nan.wav": damage.encoded(tone() * np.nan, "float"),
        "train.jsonl": trained.manifest.read_bytes(),
        "mixed.jsonl": damage.GOOD_LINE + b"\nnot a line\n" + damage.GOOD_LINE,
        "bad.jsonl": b"not a line\n", "latin.jsonl": b"\xff\xfe",
        "damaged.jsonl": damage.GOOD_LINE + b"\n" + damage.GOOD_LINE.replace(b"good", b"text"),
        "late.jsonl": b'{"audio_filepath": "good.wav", "offset": 9, "text": "a"}',
        "one.jsonl": damage.GOOD_LINE, "bad.toml": b"[budget", "wrong.toml": b"[budget]\nx = 1",
        "no_text.jsonl": damage.GOOD_LINE.replace(b"a b", b" ... ") * 1 + b"\n"
        + damage.GOOD_LINE.replace(b"a b", b" ... "),
        "latin.md": b"\xff", "archives/an4_sphere.tar.gz": good, "nothing/readme": b"",
        "twins/a/x.wav": good, "twins/b/x.wav": good,
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


LONG = "n" * 300
# words; exit status; what the message names
COMMANDS: tuple[tuple[str, int, str], ...] = (
    ("doctor gone.jsonl", 2, "gone.jsonl"),
    ("doctor mixed.jsonl", 1, "mixed.jsonl:2"),
    ("doctor mixed.jsonl --no-listen", 1, "mixed.jsonl:2"),
    ("doctor damaged.jsonl", 1, "text.wav"),
    ("doctor late.jsonl", 1, "good.wav"),
    ("doctor bad.jsonl", 2, "bad.jsonl"),
    ("doctor latin.jsonl", 2, "latin.jsonl"),
    ("doctor nothing", 2, "nothing"),
    ("doctor good.wav", 2, "good.wav"),
    (f"doctor {LONG}", 2, LONG),
    ("doctor one.jsonl silence_db=loud", 2, "silence_db"),
    ("doctor one.jsonl --report gone/report.json", 2, "report.json"),
    ("prepare no_corpus nothing", 2, "no_corpus"),
    ("prepare yesno", 2, "FOLDER"),
    ("prepare yesno good.wav --no-download", 2, "good.wav"),
    ("prepare yesno nothing --no-download", 2, "nothing"),
    ("prepare an4 archives --no-download", 2, "an4_sphere.tar.gz"),
    ("prepare common_voice nothing", 2, "nothing"),
    ("prepare common_voice archives", 2, "an4_sphere.tar.gz"),
    ("prepare librispeech nothing --subset all --no-download", 2, "all"),
    ("train gone.jsonl --out new", 2, "gone.jsonl"),
    ("train mixed.jsonl --out new", 2, "mixed.jsonl:2"),
    ("train damaged.jsonl --out new", 2, "text.wav"),
    ("train one.jsonl --out new", 2, "one.jsonl"),
    ("train no_text.jsonl --out new", 2, "no_text.jsonl"),
    ("train train.jsonl --out good.wav budget.steps=1", 2, "good.wav"),
    (f"train train.jsonl --out {LONG} budget.steps=1", 2, LONG),
    ("train run/train.jsonl --valid run/valid.jsonl --out run_cut budget.steps=1", 2, "last.safe"),
    (
        "train run/train.jsonl --valid run/valid.jsonl --out run_mixed budget.steps=1",
        2,
        "last.safe",
    ),
    ("train train.jsonl --out run budget.steps=1", 2, "other train data"),
    ("train train.jsonl --out new --recipe gone.toml", 2, "gone.toml"),
    ("train train.jsonl --out new --recipe bad.toml", 2, "bad.toml"),
    ("train train.jsonl --out new --recipe wrong.toml", 2, "budget.x"),
    ("train train.jsonl --out new --valid gone.jsonl", 2, "gone.jsonl"),
    ("train train.jsonl --out new --task dance", 2, "dance"),
    ("train train.jsonl --out new budget.minuets=1", 2, "budget.minutes"),
    ("train train.jsonl --out new nonsense", 2, "nonsense"),
    ("train train.jsonl", 2, "--out"),
    ("evaluate gone train.jsonl", 2, "gone"),
    ("evaluate cut.auricle train.jsonl", 2, "cut.auricle"),
    ("evaluate run_cut train.jsonl", 2, "best.safetensors"),
    ("evaluate run_mixed train.jsonl", 2, "best.safetensors"),
    ("evaluate nothing train.jsonl", 2, "nothing"),
    ("evaluate good.auricle gone.jsonl", 2, "gone.jsonl"),
    ("evaluate good.auricle mixed.jsonl", 2, "mixed.jsonl:2"),
    ("evaluate good.auricle damaged.jsonl", 2, "text.wav"),
    ("evaluate run damaged.jsonl", 2, "text.wav"),
    ("evaluate good.auricle late.jsonl", 2, "ends at 0.250 s"),
    ("evaluate run late.jsonl", 2, "ends at 0.250 s"),
    ("evaluate good.auricle one.jsonl --split test", 2, "test"),
    ("evaluate good.auricle one.jsonl --answers gone/x.jsonl", 2, "x.jsonl"),
    ("transcribe gone.wav --model good.auricle", 2, "gone.wav"),
    ("transcribe text.wav --model good.auricle", 2, "text.wav"),
    ("transcribe empty.wav --model good.auricle", 2, "empty.wav"),
    ("transcribe nan.wav --model good.auricle", 2, "nan.wav"),
    ("transcribe cut.flac --model good.auricle", 2, "cut.flac"),
    ("transcribe nothing --model good.auricle", 2, "nothing"),
    ("transcribe *.none --model good.auricle", 2, "*.none"),
    (f"transcribe {LONG} --model good.auricle", 2, LONG),
    ("transcribe good.wav --model cut.auricle --output new", 2, "cut.auricle"),
    ("transcribe good.wav --model text.auricle", 2, "text.auricle"),
    ("transcribe good.wav --model gone.auricle", 2, "gone.auricle"),
    (f"transcribe good.wav --model {LONG}", 2, LONG),
    ("transcribe good.wav --model run", 2, "run"),
    ("transcribe good.wav --model good.auricle --output text.wav", 2, "text.wav"),
    ("transcribe twins/a/x.wav twins/b/x.wav --model good.auricle --output new", 2, "x.wav"),
    ("transcribe twins --model good.auricle --format srt", 2, "--output"),
    ("transcribe good.wav --model good.auricle --format doc", 2, "doc"),
    ("export gone new.auricle", 2, "gone"),
    ("export run_cut new.auricle", 2, "best.safetensors"),
    ("export run_mixed new.auricle", 2, "best.safetensors"),
    ("export run new.auricle precision=int4", 2, "precision"),
    ("export run new.auricle --valid gone.jsonl", 2, "gone.jsonl"),
    ("export run new.auricle --card latin.md", 2, "latin.md"),
    ("export run new.auricle --card gone.md", 2, "gone.md"),
    ("info gone", 2, "gone"),
    ("info text.wav", 2, "text.wav"),
    ("info text.auricle", 2, "text.auricle"),
    ("info cut.auricle", 2, "cut.auricle"),
    ("info run_cut", 2, "last.safetensors"),
    ("info run_mixed", 2, "last.safetensors"),
    ("info nothing", 2, "no run of"),
    (f"info {LONG}", 2, LONG),
    ("dance", 2, "dance"),
)


def command(words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["auricle", *words.split()])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_commands_say_what_is_wrong_and_leave_nothing_behind(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("COLUMNS", "5000")
    ward, before = Ward(), tree(desk)

    def check(words: str, status: int, names: str) -> str | None:
        found = command(words, monkeypatch)
        out, err = capfd.readouterr()
        said = out + err
        if found != status:
            return f"ends with {found}: {said}"
        if names not in said or "Traceback" in said or "None" in said:
            return f"says {said}"
        if status == 2 and not any(line.startswith(("error: ", "│ ", "Error")) for line in
                                   err.splitlines()):  # fmt: skip
            return f"says no error: {said}"
        return f"leaves {tree(desk).keys() - before.keys()}" if tree(desk) != before else None

    for words, status, names in COMMANDS:
        ward.run(words[:80], lambda w=words, s=status, n=names: check(w, s, n))  # type: ignore[misc]
    ward.discharge(80)


def test_what_is_good_among_the_damaged_is_answered(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    words = "transcribe good.wav text.wav nan.wav cut.flac --model good.auricle --output new"
    assert command(words, monkeypatch) == 2
    assert [path.name for path in (desk / "new").iterdir()] == ["good.txt"]
    assert "3 of 4 recordings" in capfd.readouterr().err
    assert command("doctor damaged.jsonl --report report.json", monkeypatch) == 1
    report = json.loads((desk / "report.json").read_text())
    assert [problem["kind"] for problem in report["problems"]][:1] == ["unreadable"]
