"""The page: what is sent, and then what a real Chromium makes of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

import auricle
from auricle.metrics import cer
from auricle.serve import page
from browser import Tab, browser
from serving import CLIPS, Running, serving

STATIC = Path(page.__file__).parent / "static"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("state")) as running:
        yield running


def test_every_file_of_the_page_is_sent_as_what_it_is(server: Running) -> None:
    assert {path.name for path in STATIC.iterdir()} == set(page.MEDIA_TYPES)
    for name, kind in page.MEDIA_TYPES.items():
        address = server.url + ("/" if name == "index.html" else f"/page/{name}")
        answer = httpx.get(address)
        assert answer.headers["content-type"] == kind
        assert answer.content == (STATIC / name).read_bytes()
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        again = httpx.get(address, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/page/", "/page/../app.py", "/page/%2e%2e/app.py", "/page/x.js"])
def test_nothing_else_is(server: Running, path: str) -> None:
    assert httpx.get(server.url + path).status_code == 404


def test_the_page_asks_nobody_else() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+", re.sub(r"//\s.*", "", text)), path


def text(tab: Tab, name: str) -> str:
    return " ".join(str(tab.run(f"document.getElementById('{name}').textContent")).split())


@pytest.fixture(scope="module")
def tab(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A browser whose microphone hears the clip once, then silence."""
    clip, rate_hz = soundfile.read(CLIPS / "morning.flac")
    path = tmp_path_factory.mktemp("sound") / "microphone.wav"
    soundfile.write(path, np.concatenate([clip, np.zeros(30 * rate_hz)]), rate_hz)
    with browser(path) as opened:
        opened.open(server.url + "/")
        opened.wait("document.querySelectorAll('#model option').length === 1")
        yield opened


def give(tab: Tab, path: Path) -> None:
    """Choose a file, as a person does."""
    root = tab.send("DOM.getDocument")["root"]["nodeId"]
    node = tab.send("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    tab.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


@pytest.mark.slow
def test_spoken_words_appear_while_they_are_spoken(tab: Tab) -> None:
    tab.run("document.getElementById('speak').click()")
    tab.wait("document.querySelectorAll('#partial .stable').length > 1")
    assert tab.run("getComputedStyle(document.getElementById('partial')).color") != tab.run(
        "getComputedStyle(document.getElementById('words')).color"
    )
    tab.wait("document.getElementById('words').textContent")
    tab.run("document.getElementById('speak').click()")
    tab.wait("document.getElementById('speak').textContent === 'Speak'")
    assert text(tab, "partial") == ""
    assert text(tab, "spoken") == text(tab, "words")
    expected = auricle.load("english", threads=1).transcribe(CLIPS / "morning.flac")
    assert cer([expected.text], [text(tab, "words")]) < 0.6  # by way of a sound card, all but
    bright = (
        "(() => { const c = document.getElementById('mel');"
        " const d = c.getContext('2d').getImageData(0, 0, 200, c.height).data;"
        " let n = 0; for (let i = 0; i < d.length; i += 4) n += d[i] > 150; return n; })()"
    )
    assert tab.run(bright) > 500


@pytest.mark.slow
def test_a_file_becomes_words_that_play_and_download(tab: Tab) -> None:
    give(tab, CLIPS / "morning.flac")
    expected = auricle.load("english", threads=1).transcribe(CLIPS / "morning.flac")
    tab.wait("!document.getElementById('downloads').hidden")
    assert text(tab, "words") == expected.text
    shades = tab.run(
        "[...document.querySelectorAll('#words button')].map(b => +b.style.getPropertyValue("
        "'--confidence'))"
    )
    assert shades == [round(word.confidence, 3) for word in expected.words]
    # by keyboard: to the third word, and hear it
    tab.run("document.querySelector('#words button').focus()")
    tab.press("ArrowRight")
    tab.press("ArrowRight")
    assert tab.run("document.activeElement.textContent") == expected.words[2].text
    tab.run("document.activeElement.click()")
    start_s = expected.words[2].start_s
    tab.wait(f"document.getElementById('sound').currentTime >= {start_s - 0.1}")
    tab.wait("document.getElementById('sound').paused")
    assert tab.run("document.getElementById('sound').currentTime") < expected.words[2].end_s + 0.6
    # what the download link is given
    tab.run(
        "window.made = []; URL.createObjectURL = (b) => { window.made.push(b); return '#'; };"
        "document.querySelector('#downloads [value=srt]').click()"
    )
    tab.wait("window.made.length > 0")
    assert "-->" in tab.run("window.made[0].text()")


@pytest.mark.slow
def test_what_cannot_be_heard_is_said(tab: Tab, tmp_path: Path) -> None:
    path = tmp_path / "none.flac"
    path.write_bytes(b"no sound")
    give(tab, path)
    tab.wait("document.getElementById('status').classList.contains('trouble')")
    assert "not sound" in text(tab, "status")


@pytest.mark.slow
def test_it_can_be_used_without_eyes_or_on_a_phone(tab: Tab, server: Running) -> None:
    """Every control has a name; nothing is wider than a small screen; nobody else was asked."""
    nodes = tab.send("Accessibility.getFullAXTree")["nodes"]
    kinds = {"button", "textbox", "combobox", "link", "slider"}
    unnamed = [
        json.dumps(node["role"])
        for node in nodes
        if node.get("role", {}).get("value") in kinds
        and not node.get("ignored")
        and not node.get("name", {}).get("value")
    ]
    assert unnamed == []
    assert tab.width_on(320) <= 320
    tab.send("Emulation.clearDeviceMetricsOverride")
    for scheme in ("light", "dark"):
        tab.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        paper = tab.run("getComputedStyle(document.body).backgroundColor")
        assert (int(re.findall(r"\d+", paper)[0]) > 128) == (scheme == "light")
    ours = (server.url, "blob:", "data:")
    assert [address for address in tab.requested if not address.startswith(ours)] == []
    refused = [line for line in tab.complaints if "400" not in line]  # of the file that is none
    assert refused == []
