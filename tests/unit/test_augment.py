from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from auricle import audio, augment
from auricle.augment import Array, Augmenter, AugmentSettings, generator
from auricle.errors import ConfigError

RATE_HZ = 16_000


def tone(hz: float, duration_s: float = 2.0) -> Array:
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (0.5 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def pitch_hz(x: Array) -> float:
    """Where the spectrum of `x` peaks."""
    return float(np.argmax(np.abs(np.fft.rfft(x * np.hanning(len(x)))))) * RATE_HZ / len(x)


def rms_db(x: Array) -> float:
    return float(10 * np.log10(np.mean(np.square(x, dtype=np.float64))))


@pytest.fixture
def sounds(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder of recordings, some deeper than others, and of what is none."""
    (tmp_path / "deep").mkdir()
    for name in (*(f"{letter}.wav" for letter in "hgcfedb"), "a.flac", "deep/i.WAV"):
        samples = rng.standard_normal(3000) * np.exp(-np.arange(3000) / 500)
        soundfile.write(tmp_path / name, 0.1 * samples, RATE_HZ)
    (tmp_path / "notes.txt").write_text("not a recording", encoding="utf-8")
    return tmp_path


@pytest.fixture
def everything(sounds: Path) -> AugmentSettings:
    return AugmentSettings(
        pitch_probability=0.5,
        shift_ms=100,
        room_probability=0.5,
        rooms=str(sounds),
        noise_probability=0.5,
        noises=str(sounds),
        white_probability=0.5,
        overdrive_probability=0.5,
        band_probability=0.5,
        gain_db=(-6, 6),
    )


# --- the policy --------------------------------------------------------------------------------


def test_what_an_example_hears_does_not_depend_on_the_workers(everything: AugmentSettings) -> None:
    def hear(job: tuple[int, str]) -> tuple[Array, Array]:
        epoch, name = job
        rng = generator(7, epoch, name)
        wave = augmenter.wave(tone(200), RATE_HZ, rng)
        return wave, augmenter.spectrogram(np.ones((90, 80), np.float32).cumsum(0), rng)

    augmenter = Augmenter(everything)
    jobs = [(epoch, f"clip-{clip}") for epoch in range(2) for clip in range(8)]
    alone = [hear(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(hear, jobs[::-1]))[::-1]
    for (wave, features), (wave_2, features_2) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(wave, wave_2)
        np.testing.assert_array_equal(features, features_2)
    assert len({wave.tobytes() for wave, _ in alone}) == len(jobs)  # and no two hear the same


def test_generators_are_the_same_on_every_machine() -> None:
    # Golden: a change of these numbers changes every training that was ever reported.
    assert generator(0, 0, "a").integers(10**6, size=3).tolist() == [791196, 866917, 459663]
    draws = {generator(*key).integers(2**63) for key in [(0, 0, "a"), (0, 1, "a"), (1, 0, "a")]}
    assert len(draws | {generator(0, 0, "b").integers(2**63)}) == 4


def test_all_switched_off_changes_nothing(rng: np.random.Generator) -> None:
    off = AugmentSettings(speeds=(1.0,), frequency_masks=0, time_masks=0)
    x = tone(200)
    np.testing.assert_array_equal(Augmenter(off).wave(x, RATE_HZ, rng), x)
    features = rng.standard_normal((50, 80), dtype=np.float32)
    np.testing.assert_array_equal(Augmenter(off).spectrogram(features, rng), features)


def test_the_input_is_left_alone(everything: AugmentSettings, rng: np.random.Generator) -> None:
    x, features = tone(200), rng.standard_normal((50, 80), dtype=np.float32)
    x.flags.writeable = features.flags.writeable = False
    for _ in range(20):
        assert Augmenter(everything).wave(x, RATE_HZ, rng).dtype == np.float32
        assert Augmenter(everything).spectrogram(features, rng).dtype == np.float32


def test_speeds_are_drawn_evenly(rng: np.random.Generator) -> None:
    augmenter = Augmenter(AugmentSettings(speeds=(0.8, 1.0, 1.25)))
    lengths = Counter(len(augmenter.wave(tone(200, 0.1), RATE_HZ, rng)) for _ in range(300))
    assert sorted(lengths) == [1280, 1600, 2000]
    assert min(lengths.values()) > 70


def test_folders_are_read_in_one_order(sounds: Path) -> None:
    settings = AugmentSettings(noises=str(sounds), noise_probability=1)
    names = "".join(path.stem for path in Augmenter(settings)._noises)
    assert names == "abcdiefgh"  # i is in deep/


def test_a_noise_is_read_once_and_not_beyond_its_limit(
    sounds: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = Counter[int]()

    def load(path: Path, rate_hz: int, *, duration_s: float) -> tuple[Array, int]:
        x = audio.load(path, rate_hz, duration_s=duration_s)[0]
        lengths[len(x)] += 1
        return x, rate_hz

    instead = SimpleNamespace(load=load, SUFFIXES=audio.SUFFIXES)
    monkeypatch.setattr(augment, "audio", instead)
    monkeypatch.setattr(augment, "LONGEST_NOISE_S", 0.1)
    settings = AugmentSettings(speeds=(1.0,), noises=str(sounds), noise_probability=1)
    for _ in range(100):
        Augmenter(settings).wave(tone(200), RATE_HZ, rng)
    assert lengths == {1600: 9}


def test_levels_are_drawn_from_their_ranges(sounds: Path, rng: np.random.Generator) -> None:
    def draw(**values: object) -> list[Array]:
        settings = AugmentSettings.parse({"speeds": [1.0]} | values)
        return [Augmenter(settings).wave(x, RATE_HZ, rng) for _ in range(200)]

    def assert_fills(values_db: list[float], low_db: float, high_db: float) -> None:
        assert low_db - 0.1 < min(values_db) < low_db + 1
        assert high_db - 1 < max(values_db) < high_db + 0.1

    x = tone(200, 0.25)
    level_db = rms_db(x)
    louder = draw(gain_db=[-9, 6])
    assert_fills([rms_db(y) - level_db for y in louder], -9, 6)
    white = draw(white_probability=1, white_snr_db=[10, 30])
    assert_fills([level_db - rms_db(y - x) for y in white], 10, 30)
    noisy = draw(noise_probability=1, noises=str(sounds), noise_snr_db=[-5, 5])
    assert_fills([level_db - rms_db(y - x) for y in noisy], -5, 5)


def test_pitch_and_shift_go_both_ways(rng: np.random.Generator) -> None:
    x = tone(400, 0.5)
    policy = Augmenter(AugmentSettings(speeds=(1.0,), pitch_probability=1, pitch_semitones=12))
    heard_hz = [pitch_hz(policy.wave(x, RATE_HZ, rng)) for _ in range(50)]
    assert 190 < min(heard_hz) < 250
    assert 650 < max(heard_hz) < 810
    policy = Augmenter(AugmentSettings(speeds=(1.0,), shift_ms=100))
    edges = [np.flatnonzero(policy.wave(x, RATE_HZ, rng))[[0, -1]] for _ in range(50)]
    assert 1400 < max(edge[0] for edge in edges) <= 1601
    assert len(x) - 1602 <= min(edge[1] for edge in edges) < len(x) - 1400


def test_a_folder_is_asked_for_only_when_it_is_used(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x, lost = tone(200, 0.1), str(tmp_path)
    Augmenter(AugmentSettings(noises=lost, rooms=lost)).wave(x, RATE_HZ, rng)
    unset = Augmenter(AugmentSettings(noise_probability=1))
    with pytest.raises(ConfigError, match=r"augment\.noises=FOLDER"):
        unset.wave(x, RATE_HZ, rng)
    # Loading a trained model makes the policy again, on a machine without the folder.
    elsewhere = Augmenter(AugmentSettings(room_probability=1, rooms=lost))
    with pytest.raises(ConfigError, match=f"{lost}: no recordings"):
        elsewhere.wave(x, RATE_HZ, rng)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("speeds", []),
        ("speeds", [1.0, 0.0]),
        ("noise_probability", 1.1),
        ("noise_snr_db", [20, 10]),
        ("gain_db", [0, 1000]),
        ("band_low_hz", [-1, 300]),
        ("band_high_hz", [7000, 3000]),
        ("time_masks", -1),
    ],
)
def test_bad_settings_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        AugmentSettings.parse({key: value})


# --- the wave ----------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.5])
def test_speed_moves_pitch_and_duration_together(factor: float) -> None:
    x = augment.change_speed(tone(300), RATE_HZ, factor)
    assert len(x) == pytest.approx(2 * RATE_HZ / factor, abs=1)
    assert pitch_hz(x) == pytest.approx(300 * factor, abs=1)


@pytest.mark.parametrize("semitones", [-7, -1, 0.3, 4, 12])
def test_pitch_moves_and_duration_stays(semitones: float) -> None:
    x = augment.shift_pitch(tone(300), RATE_HZ, semitones)
    assert len(x) == 2 * RATE_HZ
    assert pitch_hz(x) == pytest.approx(300 * 2 ** (semitones / 12), abs=1.5)
    assert rms_db(x) == pytest.approx(rms_db(tone(300)), abs=0.2)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.6])
def test_stretching_moves_duration_and_pitch_stays(factor: float) -> None:
    samples = round(factor * 2 * RATE_HZ)
    x = augment.stretch(tone(300), RATE_HZ, samples)
    assert len(x) == samples
    assert pitch_hz(x) == pytest.approx(300, abs=1)


def test_stretching_keeps_events_in_their_place() -> None:
    x = np.zeros(2 * RATE_HZ, np.float32)
    x[8000:8400], x[24_000:24_400] = tone(1000, 0.025), tone(1000, 0.025)
    loud = np.flatnonzero(np.abs(augment.stretch(x, RATE_HZ, 3 * RATE_HZ)) > 0.25)
    first, second = loud[loud < 24_000], loud[loud >= 24_000]
    assert first.mean() == pytest.approx(1.5 * 8200, abs=0.02 * RATE_HZ)
    assert second.mean() == pytest.approx(1.5 * 24_200, abs=0.02 * RATE_HZ)


def test_stretching_by_one_is_exact(rng: np.random.Generator) -> None:
    x = rng.standard_normal(5000, dtype=np.float32)
    np.testing.assert_allclose(augment.stretch(x, RATE_HZ, 5000), x, atol=1e-6)


@given(before=st.integers(1, 5000), after=st.integers(1, 5000))
def test_stretching_of_any_length(before: int, after: int) -> None:
    assert len(augment.stretch(np.ones(before, np.float32), RATE_HZ, after)) == after


@given(samples=st.integers(1, 5000), semitones=st.floats(-12, 12))
def test_pitch_of_any_length(samples: int, semitones: float) -> None:
    x = augment.shift_pitch(np.ones(samples, np.float32), RATE_HZ, semitones)
    assert len(x) == samples
    assert np.isfinite(x).all()


def test_shift_moves_silence_in() -> None:
    x = np.arange(1, 6, dtype=np.float32)
    assert augment.shift_time(x, 2).tolist() == [0, 0, 1, 2, 3]
    assert augment.shift_time(x, -2).tolist() == [3, 4, 5, 0, 0]
    assert augment.shift_time(x, 0).tolist() == x.tolist()
    for far in (5, -5, 99, -99):
        assert augment.shift_time(x, far).tolist() == [0] * 5


def test_gain_is_in_decibels() -> None:
    x = tone(300)
    assert rms_db(augment.change_gain(x, -6.0)) - rms_db(x) == pytest.approx(-6)


@given(
    snr_db=st.floats(-20, 40),
    speech_db=st.floats(-60, 0),
    noise_db=st.floats(-60, 0),
    samples=st.integers(100, 4000),
)
def test_noise_lies_at_the_ratio(
    snr_db: float, speech_db: float, noise_db: float, samples: int
) -> None:
    rng = np.random.default_rng(samples)
    x = augment.change_gain(rng.standard_normal(samples, dtype=np.float32), speech_db)
    noise = augment.change_gain(rng.standard_normal(samples, dtype=np.float32), noise_db)
    noisy = augment.add_noise(x, noise, snr_db)
    assert rms_db(x) - rms_db(noisy - x) == pytest.approx(snr_db, abs=0.05)


def test_silence_has_no_ratio() -> None:
    x, silence = tone(300), np.zeros(2 * RATE_HZ, np.float32)
    np.testing.assert_array_equal(augment.add_noise(x, silence, 10), x)
    np.testing.assert_array_equal(augment.add_noise(silence, x, 10), silence)
    np.testing.assert_array_equal(augment.reverberate(silence, x), silence)


@given(noise=st.integers(1, 50), samples=st.integers(0, 200), seed=st.integers(0, 1000))
def test_an_excerpt_goes_around(noise: int, samples: int, seed: int) -> None:
    cut = augment.excerpt(np.arange(noise, dtype=np.float32), samples, np.random.default_rng(seed))
    assert len(cut) == samples
    assert (np.diff(cut) % noise == 1 % noise).all()


@pytest.mark.parametrize("gain_db", [6.0, 20.0])
def test_overdrive_flattens_the_peaks_and_keeps_the_loudness(gain_db: float) -> None:
    x = tone(203.7)  # no whole number of samples in a period: every phase occurs
    driven = augment.overdrive(x, gain_db)
    assert rms_db(driven) == pytest.approx(rms_db(x), abs=1e-3)
    flat = np.abs(driven) > np.abs(driven).max() * 0.999
    limit = 10 ** (-gain_db / 20)
    assert flat.mean() == pytest.approx(1 - 2 / np.pi * np.arcsin(limit), abs=0.01)  # of a sine
    assert driven.dtype == np.float32


@pytest.mark.parametrize("samples", [0, 1, 500])
def test_silence_is_not_overdriven(samples: int) -> None:
    x = np.zeros(samples, np.float32)
    np.testing.assert_array_equal(augment.overdrive(x, 20.0), x)


def test_a_band_passes_what_lies_in_it() -> None:
    low, middle, high = (tone(hz) for hz in (100, 1000, 4000))
    heard = augment.band(low + middle + high, RATE_HZ, 300, 3400)
    inner = slice(RATE_HZ // 10, -RATE_HZ // 10)  # its ends ring: the sharp edges' price
    np.testing.assert_allclose(heard[inner], middle[inner], atol=0.02)
    assert heard.dtype == np.float32
    assert len(augment.band(np.zeros(0, np.float32), RATE_HZ, 300, 3400)) == 0


def test_a_room_is_a_convolution(rng: np.random.Generator) -> None:
    x = rng.standard_normal(3000, dtype=np.float32)
    room = rng.standard_normal(700, dtype=np.float32) * 0.1
    room[40] = 1.0  # the direct sound
    wanted = np.convolve(x, room)[40:3040]
    wanted *= np.sqrt(np.mean(x**2) / np.mean(wanted**2))
    np.testing.assert_allclose(augment.reverberate(x, room), wanted, atol=1e-5)


def test_a_dry_room_changes_nothing(rng: np.random.Generator) -> None:
    x = rng.standard_normal(3000, dtype=np.float32)
    room = np.zeros(500, np.float32)
    room[100] = -0.3  # late, faint and upside down
    np.testing.assert_allclose(augment.reverberate(x, room), -x, atol=1e-5)


@given(least=st.integers(1, 10**7))
def test_fft_sizes_fit_closely(least: int) -> None:
    size = augment._fft_size(least)
    assert least <= size <= max(1.34 * least, least + 1)
    assert augment._fft_size(size) == size
    while size % 2 == 0:
        size //= 2
    assert size in (1, 3, 5)


# --- the spectrogram ---------------------------------------------------------------------------


def spans(masked: np.ndarray) -> list[int]:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(masked.astype(int), prepend=0, append=0))
    return (edges[1::2] - edges[::2]).tolist()


def test_masks_are_rows_and_columns_filled_with_the_mean(rng: np.random.Generator) -> None:
    features = rng.standard_normal((200, 80), dtype=np.float32) + 3
    limits = {"time_masks": 1, "longest_frames": 30, "frequency_masks": 1, "widest_bins": 10}
    widths, heights = Counter[int](), Counter[int]()
    for _ in range(500):
        masked = augment.mask(features, rng, **limits)
        changed = masked != features
        np.testing.assert_allclose(masked[changed], features.mean(), rtol=1e-6)
        rows, columns = changed.all(1), changed.all(0)
        np.testing.assert_array_equal(changed, rows[:, None] | columns[None])
        widths.update(spans(rows) or [0])
        heights.update(spans(columns) or [0])
    assert sorted(widths) == list(range(31))  # every width up to the limit, and none: uniform
    assert sorted(heights) == list(range(11))
    assert max(widths.values()) < 4 * 500 / 31


def test_masks_reach_both_ends(rng: np.random.Generator) -> None:
    features = np.arange(20, dtype=np.float32)[:, None].repeat(8, 1)
    limits = {"time_masks": 1, "longest_frames": 5, "frequency_masks": 0, "widest_bins": 0}
    draws = [augment.mask(features, rng, **limits)[:, 0] != features[:, 0] for _ in range(300)]
    assert np.any(draws, axis=0).all()


def test_a_mask_is_kept_to_its_share_of_the_frames(rng: np.random.Generator) -> None:
    settings = AugmentSettings(time_masks=1, frequency_masks=0, time_mask_share=0.1)
    features = rng.standard_normal((40, 80), dtype=np.float32)
    longest = 0
    for _ in range(100):
        changed = (Augmenter(settings).spectrogram(features, rng) != features).all(1)
        longest = max([longest, *spans(changed)])
    assert longest == 4


@pytest.mark.parametrize("shape", [(0, 80), (1, 80), (3, 1), (500, 1)])
def test_small_spectrograms_survive(shape: tuple[int, int], rng: np.random.Generator) -> None:
    settings = AugmentSettings(time_mask_share=0.05)
    features = rng.standard_normal(shape, dtype=np.float32)
    masked = Augmenter(settings).spectrogram(features, rng)
    assert masked.shape == shape
    assert np.isfinite(masked).all()
    # A lone frame or a lone feature is never all there is to lose.
    assert features.size == 0 or (masked == features).any()


@pytest.mark.shared
def test_real_speech_among_real_noises(shared_data: Path, rng: np.random.Generator) -> None:
    settings = AugmentSettings(
        room_probability=1,
        rooms=str(shared_data / "rooms"),
        noise_probability=1,
        noises=str(shared_data / "noise"),
    )
    augmenter = Augmenter(settings)
    for _ in range(10):
        x = augmenter.wave(tone(300), RATE_HZ, rng)
        assert np.isfinite(x).all()
        assert rms_db(x) == pytest.approx(rms_db(tone(300)), abs=3)
