"""Put the weights of a bundle into one of their own beside it: `python weights_apart.py BUNDLE`.

`english.auricle` holds what transcribing needs, `english.weights` what `--init` begins with.
"""

import sys
from pathlib import Path

from auricle.bundle import WEIGHTS, WEIGHTS_SUFFIX, Bundle, write_bundle


def main(path: Path) -> None:
    whole = Bundle.read(path)
    members = {name: whole.member(name) for name in whole.card.members}
    weights = {WEIGHTS: members.pop(WEIGHTS)}
    write_bundle(path.with_suffix(WEIGHTS_SUFFIX), whole.card, weights)
    write_bundle(path, whole.card, members)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
