"""`python -m auricle`, which torchrun can start."""

from auricle.cli import main

main()
