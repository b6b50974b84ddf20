"""Hotwords: names and terms that are likelier here than the language model knows."""

from collections.abc import Iterable

from auricle.errors import ConfigError


def split_hotwords(hotwords: Iterable[str]) -> tuple[str, ...]:
    """The words to boost, each once; a phrase is boosted word by word.

    Raises:
        ConfigError: for a hotword without letters.
    """
    words: dict[str, None] = {}
    for hotword in hotwords:
        if not hotword.split():
            raise ConfigError(f"{hotword!r} is no hotword: give words as transcripts write them")
        words.update(dict.fromkeys(hotword.split()))
    return tuple(words)
