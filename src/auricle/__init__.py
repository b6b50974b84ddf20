"""auricle: train small on your own recordings, prove it, export it safely, serve it anywhere."""

from importlib.metadata import version

__version__ = version("auricle")
