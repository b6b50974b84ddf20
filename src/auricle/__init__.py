"""auricle: train small on your own recordings, prove it, export it safely, serve it anywhere.

import auricle
recognizer = auricle.load("english")
print(recognizer.transcribe("clip.wav").text)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from auricle.errors import AuricleError, ConfigError, DataError, ModelError

if TYPE_CHECKING:
    from auricle.decode import BeamSettings, GreedySettings
    from auricle.results import Alternative, Segment, Transcript, Word
    from auricle.runtime import Recognizer, load

    __version__: str
__all__ = [
    "Alternative",
    "AuricleError",
    "BeamSettings",
    "ConfigError",
    "DataError",
    "GreedySettings",
    "ModelError",
    "Recognizer",
    "Segment",
    "Transcript",
    "Word",
    "__version__",
    "load",
]

# Imported when first asked for: numpy and its friends cost more than the rest of `import auricle`,
# and what finds the version costs more than that rest.
_LAZY = {
    "Alternative": "auricle.results",
    "BeamSettings": "auricle.decode",
    "GreedySettings": "auricle.decode",
    "Recognizer": "auricle.runtime",
    "Segment": "auricle.results",
    "Transcript": "auricle.results",
    "Word": "auricle.results",
    "load": "auricle.runtime",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("auricle")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'auricle' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
