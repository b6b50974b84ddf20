"""Sound files: every format, damage of every kind, streams, and what is done to samples."""

import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from auricle import audio
from auricle.errors import ConfigError, DataError

RATE_HZ = 16_000


def noise(samples, channels=None, seed=1):
    shape = samples if channels is None else (samples, channels)
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def tone(hz, rate_hz, seconds=1.0):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two seconds of 48 kHz stereo, longer than a block, in every format that can be written."""
    folder = tmp_path_factory.mktemp("formats")
    x = np.stack([tone(300, 48_000, 2) * 0.5, tone(500, 48_000, 2) * 0.3], axis=1)
    for suffix in audio.SAVED_AS:
        audio.save(folder / f"sound{suffix}", x, 48_000)
    return folder


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", audio.SAVED_AS)
def test_every_format_comes_back(files, suffix):
    path = files / f"sound{suffix}"
    info = audio.inspect(path)
    assert (info.path, info.sample_rate_hz, info.channels) == (path, 48_000, 2)
    x, rate_hz = audio.load(path, None, mono=False)
    assert (x.shape, x.dtype, rate_hz) == ((info.samples, 2), np.float32, 48_000)
    assert info.duration_s == info.samples / 48_000 == 2
    lossless = info.format.split()[1] == "PCM_16"
    tones = np.stack([tone(300, 48_000, 2) * 0.5, tone(500, 48_000, 2) * 0.3], axis=1)
    assert np.abs(x - tones)[9_600:-9_600].max() < (1 / 32_767 if lossless else 0.05)


@pytest.mark.parametrize("suffix", audio.SAVED_AS)
@pytest.mark.parametrize("chunk_s", [0.0137, 0.5, 100])
def test_chunks_are_load_in_pieces(files, suffix, chunk_s):
    path = files / f"sound{suffix}"
    span = {"start_s": 0.3, "duration_s": 1.5}
    pieces = list(audio.chunks(path, chunk_s, **span))
    assert {len(piece) for piece in pieces[:-1]} <= {round(chunk_s * RATE_HZ)}
    np.testing.assert_array_equal(np.concatenate(pieces), audio.load(path, **span)[0])


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg", ".opus"])
def test_a_span_is_cut_to_the_sample(files, suffix):
    path = files / f"sound{suffix}"
    whole, _ = audio.load(path, None)
    part, _ = audio.load(path, None, start_s=0.6, duration_s=0.25)
    np.testing.assert_allclose(part, whole[28_800:40_800], atol=1e-6)
    rest, _ = audio.load(path, None, start_s=1.9, duration_s=60)
    assert len(rest) == 4_800


def test_load_is_decode_then_mix_then_resample(files):
    both, rate_hz = audio.load(files / "sound.wav", None, mono=False)
    mono = audio.resample(both.mean(axis=1), rate_hz, RATE_HZ)
    np.testing.assert_array_equal(audio.load(files / "sound.wav")[0], mono)


def test_stereo_can_be_resampled(files):
    x, rate_hz = audio.load(files / "sound.wav", 8_000, mono=False)
    assert (x.shape, rate_hz) == ((16_000, 2), 8_000)
    assert np.abs(x[800:-800, 1] - 0.3 * tone(500, 8_000, 2)[800:-800]).max() < 1e-3


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_sample_format_is_scaled_alike(tmp_path, subtype):
    x = 0.5 * tone(100, RATE_HZ)
    soundfile.write(tmp_path / "x.wav", x, RATE_HZ, subtype=subtype)
    coarse = {"PCM_U8": 1 / 127, "ULAW": 1 / 50}.get(subtype, 1e-6)
    np.testing.assert_allclose(audio.load(tmp_path / "x.wav")[0], x, atol=coarse)


def test_hours_are_read_in_bounded_memory(tmp_path):
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 8_000, 1) as file:
        for _ in range(10):
            file.write(noise(8_000 * 60))
    tracemalloc.start()
    total = sum(len(chunk) for chunk in audio.chunks(tmp_path / "long.wav", 10.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 10 * 60 * RATE_HZ
    assert peak < 6e6  # the whole is 38 MB


def test_many_channels_and_high_rates(tmp_path):
    soundfile.write(tmp_path / "wide.wav", np.tile(tone(300, RATE_HZ)[:, None], 32), RATE_HZ)
    np.testing.assert_allclose(audio.load(tmp_path / "wide.wav")[0], tone(300, RATE_HZ), atol=1e-3)
    soundfile.write(tmp_path / "fast.wav", tone(300, 768_000), 768_000)
    x, _ = audio.load(tmp_path / "fast.wav")
    np.testing.assert_allclose(x[800:-800], tone(300, RATE_HZ)[800:-800], atol=1e-3)


def test_one_sample_is_a_recording(tmp_path):
    soundfile.write(tmp_path / "one.wav", noise(1), RATE_HZ)
    assert audio.load(tmp_path / "one.wav")[0].shape == (1,)
    with pytest.raises(DataError, match="too few samples"):
        audio.load(tmp_path / "one.wav", 1_000)


# --- damage --------------------------------------------------------------------------------------


def with_header(data, **changes):
    """A WAV file with numbers of its header replaced."""
    places = {"rate": (24, 4), "channels": (22, 2), "coding": (20, 2), "length": (40, 4)}
    data = bytearray(data)
    for name, value in changes.items():
        at, width = places[name]
        data[at : at + width] = value.to_bytes(width, "little")
    return bytes(data)


def with_length(data, samples):
    """A FLAC file whose header claims `samples`; 0: it does not say."""
    word = int.from_bytes(data[18:26], "big")
    return data[:18] + (word >> 36 << 36 | samples).to_bytes(8, "big") + data[26:]


UNKNOWN = "known are WAV"
BROKEN = {
    "text.wav": (lambda _: b"hello\n" * 500, UNKNOWN),
    "text.mp3": (lambda _: b"hello\n" * 500, UNKNOWN),
    "text.raw": (lambda _: b"hello\n" * 500, UNKNOWN),  # libsndfile would play these three
    "text.vox": (lambda _: b"hello\n" * 500, UNKNOWN),
    "text.au": (lambda _: b"hello\n" * 500, UNKNOWN),
    "empty.wav": (lambda _: b"", "0 bytes"),
    "header.wav": (lambda good: good("wav")[:30], UNKNOWN),
    "nothing.wav": (lambda good: with_header(good("wav")[:44], length=0), "no sound"),
    "1hz.wav": (lambda good: with_header(good("wav"), rate=1), "says 1 Hz"),
    "2ghz.wav": (lambda good: with_header(good("wav"), rate=2**31 - 1), "2147483647 Hz"),
    "no_channel.wav": (lambda good: with_header(good("wav"), channels=0), UNKNOWN),
    "coding.wav": (lambda good: with_header(good("wav"), coding=0x7777), UNKNOWN),
    "cut.flac": (lambda good: good("flac")[:20_000], "damaged|cut short"),
    "cut.mp3": (lambda good: good("mp3")[:9_000], "promises 2.000 s"),
    "cut.ogg": (lambda good: good("ogg")[:300], UNKNOWN),
    "longer.flac": (lambda good: with_length(good("flac"), 200_000), "promises 4.167 s"),
    "100gb.flac": (lambda good: with_length(good("flac"), 2**36 - 1), "too much for memory"),
}


@pytest.fixture(scope="module")
def good(files):
    """Suffix without its dot -> the bytes of a good file of 96,000 samples."""
    return lambda suffix: (files / f"sound.{suffix}").read_bytes()


@pytest.mark.parametrize("name", BROKEN)
def test_damage_is_named(tmp_path, good, name):
    make, says = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(make(good))
    with pytest.raises(DataError, match=says) as error:
        audio.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(DataError):
        list(audio.chunks(path, 1.0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_not_sound(tmp_path, value):
    x = noise(RATE_HZ, 2)
    x[12_000, 1] = value
    soundfile.write(tmp_path / "x.wav", x, RATE_HZ, subtype="FLOAT")
    with pytest.raises(DataError, match=r"x\.wav: the sample at 0\.750 s"):
        audio.load(tmp_path / "x.wav")
    assert len(audio.load(tmp_path / "x.wav", duration_s=0.5)[0]) == 8_000


@pytest.mark.parametrize("suffix", [".wav", ".aiff", ".sph", ".ogg", ".opus"])
def test_the_first_part_of_what_cannot_tell_that_it_was_cut(tmp_path, files, suffix):
    whole, _ = audio.load(files / f"sound{suffix}", None)
    data = (files / f"sound{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: len(data) * 4 // 5])
    part, _ = audio.load(path, None)
    assert len(part) == audio.inspect(path).samples
    assert 0.3 * len(whole) < len(part) < 0.9 * len(whole)
    np.testing.assert_array_equal(part, whole[: len(part)])


@pytest.mark.parametrize("length", [2**32 - 1, 3_000_000_000])
def test_wav_that_was_piped_has_no_true_length(tmp_path, good, length):
    path = tmp_path / "x.wav"
    path.write_bytes(with_header(good("wav"), length=length))
    assert len(audio.load(path, None)[0]) == audio.inspect(path).samples == 96_000


def test_flac_that_was_piped_has_no_length(tmp_path, files, good):
    path = tmp_path / "x.flac"
    path.write_bytes(with_length(good("flac"), 0))
    assert audio.inspect(path).duration_s == 2
    np.testing.assert_array_equal(audio.load(path)[0], audio.load(files / "sound.flac")[0])


def test_paths_that_are_not_files(tmp_path):
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.wav")
    for name, says in {
        "none.wav": "no such file",
        ".": "is a folder",
        "pipe.wav": "not a regular file" if hasattr(os, "mkfifo") else "no such file",
        "n" * 300: "cannot be read",
        "a\0b.wav": "no such file|cannot be read",
    }.items():
        with pytest.raises(DataError, match=says):
            audio.load(tmp_path / name)


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "mine.wav").write_bytes(b"RIFF")
    (tmp_path / "mine.wav").chmod(0)
    with pytest.raises(DataError, match=r"mine\.wav.*[Pp]ermission"):
        audio.load(tmp_path / "mine.wav")


@pytest.mark.parametrize("suffix", audio.SAVED_AS)
def test_any_damage_is_an_error_or_sound(tmp_path, files, suffix):
    """Bytes changed, zeroed, cut out and cut off, at places drawn by lot."""
    rng = np.random.default_rng(len(suffix))
    good = (files / f"sound{suffix}").read_bytes()
    path = tmp_path / f"bad{suffix}"
    for trial in range(24):
        data = bytearray(good)
        at, size = int(rng.integers(120 if trial % 2 else len(data))), int(rng.integers(1, 2_000))
        match trial % 4:
            case 0:
                del data[at:]
            case 1:
                data[at] = int(rng.integers(256))
            case 2:
                data[at : at + size] = rng.bytes(size)
            case 3:
                data[at : at + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(data)
        try:
            x, rate_hz = audio.load(path)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert (x.ndim, rate_hz) == (1, RATE_HZ)
            assert np.isfinite(x).all()


@pytest.mark.parametrize(
    "span", [{"start_s": 2.0}, {"start_s": -1}, {"duration_s": 0}, {"start_s": np.nan}]
)
def test_spans_that_are_not_there(files, span):
    with pytest.raises(DataError, match=r"sound\.wav"):
        audio.load(files / "sound.wav", **span)


@pytest.mark.parametrize("rate_hz", [0, 10, 10**6])
def test_a_rate_that_nobody_can_mean(files, rate_hz):
    with pytest.raises(ConfigError, match=f"{rate_hz} Hz asked of"):
        audio.load(files / "sound.wav", rate_hz)


def test_media_without_pyav_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "talk.m4a").write_bytes(b"x")
    with pytest.raises(DataError, match=r"talk\.m4a.*pip install '\.\[media\]'"):
        audio.load(tmp_path / "talk.m4a")


@pytest.mark.parametrize("codec", [("a.m4a", "aac"), ("a.webm", "libopus")])
def test_media_with_pyav(tmp_path, codec):
    av = pytest.importorskip("av")
    path = tmp_path / codec[0]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec[1], rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(0.3 * tone(300, 48_000, 2)[None], "fltp", "mono")
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(stream.format, "mono", 48_000, stream.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    x, _ = audio.load(path)
    assert abs(audio.inspect(path).duration_s - 2) < 0.1
    assert abs(len(x) / RATE_HZ - 2) < 0.1
    assert abs(np.abs(np.fft.rfft(x[8_000:24_000])).argmax() - 300) <= 1
    np.testing.assert_array_equal(np.concatenate(list(audio.chunks(path, 0.3))), x)
    part, _ = audio.load(path, None, start_s=0.5, duration_s=0.5)
    np.testing.assert_array_equal(part, audio.load(path, None)[0][24_000:48_000])
    path.write_bytes(b"hello\n" * 500)
    with pytest.raises(DataError, match=codec[0]):
        audio.load(path)


# --- the samples ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [(44_100, 16_000), (8_000, 16_000), (16_000, 17_600)])
def test_resampling_keeps_a_tone(rates):
    y = audio.resample(tone(440, rates[0]), *rates)
    assert len(y) == rates[1]
    np.testing.assert_allclose(y[500:-500], tone(440, rates[1])[500:-500], atol=1e-3)


def test_resampling_does_not_fold_high_tones_down():
    assert np.abs(audio.resample(tone(12_000, 44_100), 44_100, 16_000)[500:-500]).max() < 1e-4


def test_mix_down_is_the_mean_of_channels():
    np.testing.assert_allclose(audio.mix_down(np.float32([[1, 0], [0.5, -0.5]])), [0.5, 0])
    x = noise(5)
    assert audio.mix_down(x) is x


@pytest.mark.parametrize(
    ("align", "cut", "padded"),
    [
        ("start", [0, 1], [0, 1, 2, 3, 9, 9, 9]),
        ("center", [1, 2], [9, 0, 1, 2, 3, 9, 9]),
        ("end", [2, 3], [9, 9, 9, 0, 1, 2, 3]),
    ],
)
def test_fix_length(align, cut, padded):
    x = np.arange(4, dtype=np.float32)
    assert audio.fix_length(x, 2, align=align).tolist() == cut
    assert audio.fix_length(x, 7, align=align, fill=9).tolist() == padded
    assert audio.fix_length(np.stack([x, x], 1), 7, align=align).shape == (7, 2)
    assert audio.fix_length(x, 4, align=align).tolist() == x.tolist()


def test_reduce_noise_takes_the_noise_and_leaves_the_sound():
    t = np.arange(3 * RATE_HZ) / RATE_HZ
    beeps = np.where(t % 0.6 < 0.4, 0.3 * tone(700, RATE_HZ, 3), 0).astype(np.float32)
    hiss = noise(len(t)) * 0.1
    clean = audio.reduce_noise(beeps + hiss, RATE_HZ)
    assert clean.dtype == np.float32
    left = np.mean((clean - beeps) ** 2) / np.mean(hiss**2)
    assert left < 0.15  # 8 dB less
    assert 0.97 < np.sqrt(np.mean(clean**2) / np.mean(beeps**2)) < 1.03


@pytest.mark.parametrize("samples", [1, 100, 512, 12_345])
def test_reduce_noise_that_reduces_nothing_gives_the_sound_back(samples):
    settings = audio.NoiseReduction(reduction_db=0)
    x = noise(samples)
    np.testing.assert_allclose(audio.reduce_noise(x, RATE_HZ, settings), x, atol=1e-6)
    assert not audio.reduce_noise(np.zeros(samples, np.float32), RATE_HZ).any()


@given(
    lengths=st.lists(st.integers(0, 700), max_size=20),
    longest_s=st.sampled_from([0.5, 1.3, 40]),
    shortest_s=st.sampled_from([0, 0.1, 0.25]),
)
def test_splitting_loses_nothing(lengths, longest_s, shortest_s):
    x = noise(sum(lengths))
    parts = np.split(x, np.cumsum(lengths)[:-1]) if lengths else []
    limits = {"longest_s": longest_s, "shortest_s": shortest_s, "pause_s": 0.02}
    pieces = list(audio.split_at_pauses(parts, 1_000, **limits))
    np.testing.assert_array_equal(np.concatenate([x[:0], *(piece for _, piece in pieces)]), x)
    starts = np.cumsum([0, *(len(piece) for _, piece in pieces)])[:-1] / 1_000
    assert [start_s for start_s, _ in pieces] == starts.tolist()
    assert all(len(piece) <= longest_s * 1_000 for _, piece in pieces)
    assert all(len(piece) >= min(len(x), max(1, shortest_s * 1_000)) for _, piece in pieces)
    at_once = [piece for _, piece in audio.split_at_pauses([x], 1_000, **limits)]
    assert [len(piece) for piece in at_once] == [len(piece) for _, piece in pieces]


def test_cuts_fall_into_the_pauses():
    x = noise(60 * 1_000)
    pauses_s = [(13.0, 13.5), (17.0, 17.3), (30.0, 30.5), (45.0, 45.4)]
    for start_s, end_s in pauses_s:
        x[round(start_s * 1_000) : round(end_s * 1_000)] *= 0.01
    starts = [start_s for start_s, _ in audio.split_at_pauses([x], 1_000)]
    assert len(starts) == 4
    assert all(any(a < s < b for a, b in pauses_s) for s in starts[1:])


def test_pieces_must_be_able_to_satisfy_both_limits():
    with pytest.raises(ConfigError, match="half"):
        list(audio.split_at_pauses([], RATE_HZ, longest_s=1, shortest_s=0.6))


# --- writing -------------------------------------------------------------------------------------


def test_saving_floats_is_exact_and_saving_integers_clips(tmp_path):
    x = noise(1_000, 3) * 20
    audio.save(tmp_path / "x.wav", x, RATE_HZ, subtype="FLOAT")
    np.testing.assert_array_equal(audio.load(tmp_path / "x.wav", mono=False)[0], x)
    audio.save(tmp_path / "x.wav", x, RATE_HZ)
    loud = audio.load(tmp_path / "x.wav", mono=False)[0]
    np.testing.assert_allclose(loud, np.clip(x, -1, 1), atol=1 / 16_384)


@pytest.mark.parametrize(
    ("name", "rate_hz", "value", "says"),
    [
        ("x.xyz", RATE_HZ, 0, r"cannot write '\.xyz'; known are \.wav"),
        ("x.opus", 44_100, 0, "cannot be written"),
        ("x.wav", RATE_HZ, np.nan, "NaN"),
        ("no/x.wav", RATE_HZ, 0, "cannot be written"),
    ],
)
def test_saving_that_fails_leaves_what_was_there(tmp_path, name, rate_hz, value, says):
    before = tmp_path / "x.wav"
    before.write_bytes(b"old")
    with pytest.raises(DataError, match=says):
        audio.save(tmp_path / name, np.full(100, value, np.float32), rate_hz)
    assert [path.name for path in tmp_path.iterdir()] == ["x.wav"]
    assert before.read_bytes() == b"old"


# --- real recordings -----------------------------------------------------------------------------


@pytest.mark.shared
def test_real_opus_recordings(shared_data):
    paths = sorted((shared_data / "english" / "audio").rglob("*.opus"))[::2_000]
    assert paths
    for path in paths:
        x, _ = audio.load(path)
        assert abs(len(x) / RATE_HZ - audio.inspect(path).duration_s) < 1e-3
        assert 1e-4 < np.sqrt(np.mean(x**2)) < 1
        np.testing.assert_array_equal(np.concatenate(list(audio.chunks(path, 1.7))), x)


def test_media_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "clip.m4a").write_bytes(b"sound")
    with pytest.raises(DataError, match=r"clip\.m4a: .*pip install '\.\[media\]', or convert"):
        audio.inspect(tmp_path / "clip.m4a")


def test_a_broken_mp3_is_there_and_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp3"
    path.write_bytes(b"this is no sound at all\n" * 200)
    with pytest.raises(DataError, match=r"read \(damaged, or of another format"):
        audio.inspect(path)
