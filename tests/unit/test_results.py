import html
import json
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import DataError
from auricle.results import (
    FORMATS,
    Alternative,
    Segment,
    Transcript,
    Word,
    to_ctm,
    to_srt,
    to_textgrid,
    to_vtt,
    verbose_json,
    written,
)

WORDS = (
    Word("hello", 0.0, 0.4, 0.9),
    Word("<b>", 0.5, 0.7, 0.7),
    Word("a-->b", 0.8, 1.25, 0.8),
)
TRANSCRIPT = Transcript.of(
    [Segment.of(WORDS), Segment(3661.5, 3662.0, "so & on")], duration_s=3700.1234, language="en"
)


def test_a_segment_sums_its_words_up() -> None:
    segment = TRANSCRIPT.segments[0]
    assert (segment.start_s, segment.end_s, segment.text) == (0.0, 1.25, "hello <b> a-->b")
    assert segment.confidence == pytest.approx(0.8)
    assert TRANSCRIPT.text == "hello <b> a-->b so & on"
    assert TRANSCRIPT.words == WORDS


def test_a_transcript_survives_json() -> None:
    again = Transcript.from_dict(json.loads(json.dumps(TRANSCRIPT.to_dict())))
    assert again == TRANSCRIPT


@pytest.mark.parametrize("values", [{}, {"segments": [{}]}, {"segments": [], "more": 1}], ids=str)
def test_what_is_no_transcript_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(DataError, match="not a transcript"):
        Transcript.from_dict(values)


def test_srt() -> None:
    assert to_srt(TRANSCRIPT) == (
        "1\n00:00:00,000 --> 00:00:01,250\nhello <b> a->b\n"
        "\n"
        "2\n01:01:01,500 --> 01:01:02,500\nso & on\n"
    )


def test_vtt() -> None:
    assert to_vtt(TRANSCRIPT) == (
        "WEBVTT\n"
        "\n"
        "00:00:00.000 --> 00:00:01.250\nhello &lt;b&gt; a--&gt;b\n"
        "\n"
        "01:01:01.500 --> 01:01:02.500\nso &amp; on\n"
    )


def test_verbose_json_has_the_keys_of_openai() -> None:
    answer = verbose_json(TRANSCRIPT)
    assert list(answer) == ["task", "language", "duration", "text", "segments", "words"]
    assert (answer["task"], answer["language"], answer["duration"]) == (
        "transcribe",
        "en",
        3700.123,
    )
    assert answer["words"][1] == {"word": "<b>", "start": 0.5, "end": 0.7, "confidence": 0.7}
    first, second = answer["segments"]
    assert first.pop("avg_logprob") == pytest.approx(math.log(0.8))
    assert 0.5 < first.pop("compression_ratio") < 1.5
    assert first == {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 1.25,
        "text": "hello <b> a-->b",
        "tokens": [],
        "temperature": 0.0,
        "no_speech_prob": 0.0,
    }
    assert (second["id"], second["avg_logprob"]) == (1, 0.0)


def test_every_format_writes_text_even_of_silence() -> None:
    silence = Transcript.of([], duration_s=2.0)
    assert {name: write(silence) for name, write in FORMATS.items() if len(write(silence)) < 9} == {
        "txt": "\n",
        "srt": "",
        "vtt": "WEBVTT\n",
        "ctm": "",
    }
    assert json.loads(FORMATS["json"](silence))["language"] == "unknown"
    empty = read_textgrid(FORMATS["textgrid"](silence))
    assert empty == {"segments": [(0.0, 2.0, "")], "words": [(0.0, 2.0, "")]}
    assert FORMATS["txt"](TRANSCRIPT) == "hello <b> a-->b so & on\n"


# --- subtitles of anything are valid -------------------------------------------------------------

SPOKEN = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]), min_size=1),
        st.floats(-1.0, 3.0),  # the pause before it, seconds; some words overlap
        st.sampled_from([0.0, 0.0001, 0.3, 2.0]),  # its length
    ),
    max_size=40,
)


def segments_of(spoken: list[tuple[str, float, float]], timed: bool) -> list[Segment]:
    words, now_s = [], 0.0
    for text, pause_s, length_s in spoken:
        words.append(Word(text, now_s + pause_s, now_s + pause_s + length_s, 0.5))
        now_s = words[-1].end_s
    chosen = [Segment.of(words[first : first + 7]) for first in range(0, len(words), 7)]
    return chosen if timed else [Segment(each.start_s, each.end_s, each.text) for each in chosen]


STAMP = r"(\d\d):(\d\d):(\d\d)[.,](\d{3})"
CUE = re.compile(rf"(?:(\d+)\n)?{STAMP} --> {STAMP}\n((?:.+\n?){{1,2}})")


@pytest.mark.parametrize("timed", [True, False])
@given(spoken=SPOKEN)
def test_cues_are_in_order_short_and_complete(
    timed: bool, spoken: list[tuple[str, float, float]]
) -> None:
    transcript = Transcript.of(segments_of(spoken, timed), duration_s=300.0)
    vtt = to_vtt(transcript).removeprefix("WEBVTT\n").lstrip("\n")
    blocks = vtt.rstrip("\n").split("\n\n") if vtt else []
    matches = [CUE.fullmatch(block) for block in blocks]
    assert all(matches)
    before_ms, said = 0, ""
    for match in filter(None, matches):
        clock = [int(part) for part in match.groups()[1:9]]
        start_ms, end_ms = (
            ((h * 60 + m) * 60 + s) * 1000 + ms for h, m, s, ms in (clock[:4], clock[4:])
        )
        assert before_ms <= start_ms < end_ms
        before_ms = end_ms
        lines = html.unescape(match[10]).splitlines()
        assert all(len(line) <= 42 for line in lines)
        said += "".join(lines)
    assert said.replace(" ", "") == transcript.text.replace(" ", "")


def stamps(*segments: Segment) -> list[str]:
    vtt = to_vtt(Transcript.of(segments, duration_s=12.0))
    return [line.replace("00:00:", "") for line in vtt.splitlines() if "-->" in line]


def test_cues_never_overlap_and_last_at_least_a_millisecond() -> None:
    assert stamps(Segment(0.0, 5.0, "a"), Segment(3.0, 4.0, "b"), Segment(3.0, 3.0, "c")) == [
        "00.000 --> 05.000",
        "05.000 --> 05.001",
        "05.001 --> 06.001",
    ]


def test_short_cues_stay_for_a_second_if_there_is_room() -> None:
    assert stamps(Segment(0.0, 0.1, "a"), Segment(0.5, 0.6, "b"), Segment(11.9, 11.95, "c")) == [
        "00.000 --> 00.500",
        "00.500 --> 01.500",
        "11.900 --> 12.000",
    ]


def test_cues_have_at_most_two_lines_of_42_letters() -> None:
    words = [Word("x" * letters, 0.5 * n, 0.5 * n + 0.4, 0.5) for n, letters in enumerate([20] * 5)]
    vtt = to_vtt(Transcript.of([Segment.of(words)], duration_s=12.0))
    assert [line for line in vtt.splitlines() if "x" in line] == [
        "x" * 20 + " " + "x" * 20,
        "x" * 20 + " " + "x" * 20,
        "x" * 20,
    ]
    assert vtt.count("-->") == 2


def test_an_untimed_text_or_endless_word_is_timed_by_its_letters() -> None:
    assert stamps(Segment(0.0, 10.0, "abcd " * 4)) == ["00.000 --> 05.000", "05.000 --> 10.000"]
    assert stamps(Segment(0.0, 6.0, "x" * 126)) == ["00.000 --> 04.000", "04.000 --> 06.000"]


def test_cues_are_cut_before_seven_seconds() -> None:
    words = [Word(f"w{number}", float(number), number + 0.5, 0.5) for number in range(12)]
    assert stamps(Segment.of(words)) == ["00.000 --> 06.500", "07.000 --> 11.500"]


Interval = tuple[float, float, str]


def read_textgrid(text: str) -> dict[str, list[Interval]]:
    """The tiers of a TextGrid in long form."""
    head, *tiers = re.split(r"\n    item \[\d+\]:\n", text)
    assert head.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\n')
    assert f"size = {len(tiers)}\n" in head
    interval = (
        r'intervals \[(\d+)\]:\n +xmin = (\S+)\n +xmax = (\S+)\n +text = "((?:[^"]|"")*)"(?:\n|$)'
    )
    found: dict[str, list[Interval]] = {}
    for tier in tiers:
        (name,) = re.findall(r'name = "(.*)"', tier)
        (end,) = re.findall(r"^        xmax = (\S+)$", tier, re.M)
        rows = re.findall(interval, tier)
        assert [int(number) for number, *_ in rows] == list(range(1, len(rows) + 1))
        assert f"intervals: size = {len(rows)}\n" in tier
        intervals = [(float(a), float(b), word.replace('""', '"')) for _, a, b, word in rows]
        edges = [0.0, *(end for _, end, _ in intervals)]
        assert [begin for begin, _, _ in intervals] == edges[:-1]  # no gap, no overlap
        assert edges[-1] == float(end) == float(re.findall(r"^xmax = (\S+)$", head, re.M)[0])
        found[name] = intervals
    return found


def test_textgrid() -> None:
    tiers = read_textgrid(to_textgrid(TRANSCRIPT))
    assert list(tiers) == ["segments", "words"]
    assert [text for _, _, text in tiers["segments"]] == [
        "hello <b> a-->b",
        "",
        "so & on",
        "",
    ]
    assert tiers["words"][:4] == [
        (0.0, 0.4, "hello"),
        (0.4, 0.5, ""),
        (0.5, 0.7, "<b>"),
        (0.7, 0.8, ""),
    ]


def test_ctm() -> None:
    assert to_ctm(TRANSCRIPT, "my file").splitlines() == [
        "my_file 1 0.000 0.400 hello 0.900",
        "my_file 1 0.500 0.200 <b> 0.700",
        "my_file 1 0.800 0.450 a-->b 0.800",
        "my_file 1 3661.500 0.200 so 1.000",  # untimed words share their time by letters
        "my_file 1 3661.700 0.100 & 1.000",
        "my_file 1 3661.800 0.200 on 1.000",
    ]


@pytest.mark.parametrize("timed", [True, False])
@given(spoken=SPOKEN)
def test_intervals_never_overlap_and_no_word_is_lost(
    timed: bool, spoken: list[tuple[str, float, float]]
) -> None:
    transcript = Transcript.of(segments_of(spoken, timed), duration_s=300.0)
    tiers = read_textgrid(to_textgrid(transcript))
    assert [text for *_, text in tiers["words"] if text] == [w.text for w in transcript.words]
    assert [text for *_, text in tiers["segments"] if text] == [
        segment.text for segment in transcript.segments
    ]
    fields = [line.split(" ") for line in to_ctm(transcript, "x").splitlines()]
    assert all(len(row) == 6 and float(row[2]) >= 0 and float(row[3]) >= 0 for row in fields)
    assert [row[4] for row in fields] == transcript.text.split()


def test_only_some_formats_carry_a_name() -> None:
    for style, writer in FORMATS.items():
        plain = writer(TRANSCRIPT)
        assert (written(TRANSCRIPT, style, "abc") == plain) == (style != "ctm")
    assert all(line.startswith("abc 1 ") for line in written(TRANSCRIPT, "ctm", "abc").splitlines())


def test_alternatives_are_shown_where_there_are_some() -> None:
    plain = Transcript.of([Segment.of([Word("hot", 0.1, 0.5, 0.9)])], 1.0)
    assert "alternatives" not in verbose_json(plain)
    ways = (Alternative(0.0, 1.0, "hot", 0.75), Alternative(0.0, 1.0, "hat", 0.2))
    several = replace(plain, alternatives=ways)
    assert FORMATS["txt"](several) == "hot\n0.750  hot\n0.200  hat\n"
    assert verbose_json(several)["alternatives"] == [
        {"start": 0.0, "end": 1.0, "text": "hot", "share": 0.75},
        {"start": 0.0, "end": 1.0, "text": "hat", "share": 0.2},
    ]
    assert Transcript.from_dict(json.loads(json.dumps(several.to_dict()))) == several
    old = {key: value for key, value in plain.to_dict().items() if key != "alternatives"}
    assert Transcript.from_dict(old) == plain
