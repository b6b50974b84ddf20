"""auricle listen, with a microphone that is a recording."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from auricle import audio
from auricle.cli import app, listen
from auricle.errors import ConfigError
from serving import CLIPS

RATE_HZ = 16_000


class Microphone:
    """Hears the clip at once, then a pause, then Ctrl-C; refuses devices that are not there."""

    def __init__(self, *, callback: Callable[..., None], **asked: Any) -> None:
        if asked["device"] == "none":
            raise ValueError("No input device matching 'none'")
        assert (asked["samplerate"], asked["channels"]) == (RATE_HZ, 1)
        clip, _ = audio.load(CLIPS / "morning.flac")
        self._sound = np.concatenate([clip, np.zeros(RATE_HZ, np.float32), clip])
        self._callback = callback

    def __enter__(self) -> "Microphone":
        for block in np.array_split(self._sound, 50):
            self._callback(block[:, None], len(block), None, None)
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("sounddevice")
    module.InputStream, module.PortAudioError = Microphone, OSError
    monkeypatch.setitem(sys.modules, "sounddevice", module)


class Ending(listen.SimpleQueue):  # type: ignore[type-arg]
    """Ctrl-C in the middle: the rest is still to be heard."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if block and self.qsize() < 10:
            raise KeyboardInterrupt
        return super().get(block, timeout)


@pytest.mark.usefixtures("sounddevice")
def test_utterances_come_as_lines_the_last_one_after_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listen, "SimpleQueue", Ending)
    monkeypatch.setattr(listen.output, "_file", sys.stdout)
    listen.listen(threads=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(len(line.split()) > 4 for line in lines)


@pytest.mark.usefixtures("sounddevice")
def test_a_microphone_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigError, match="No input device"):
        listen.listen(device="none", threads=1)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    result = CliRunner().invoke(app, ["listen"])
    assert isinstance(result.exception, ConfigError)
    assert "pip install '.[mic]'" in str(result.exception)
