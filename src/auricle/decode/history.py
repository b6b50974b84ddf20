"""What prefixes were made of: tokens in a growing array, each pointing to the one before it."""

import numpy as np
from numpy.typing import NDArray

from auricle.decode.greedy import Token

NOTHING = -1  # before the first token
ENTRY = np.dtype(
    [
        ("before", np.int64),
        ("symbol", np.int32),
        ("variant", np.int32),  # which of the words that sound alike the token ends
        ("start", np.int64),
        ("end", np.int64),
        ("peak", np.float64),
    ]
)
FIELDS = [name for name in ENTRY.names or () if name != "before"]


class History:
    """Tokens that are past change no more: rows of a beam share them."""

    def __init__(self) -> None:
        self._entries = np.empty(1024, ENTRY)
        self._count = 0
        self.needed = 0  # how many `compact` left

    def copy(self) -> "History":
        other = History()
        other._entries, other._count = self._entries.copy(), self._count
        other.needed = self.needed
        return other

    def add(self, rows: NDArray[np.void]) -> NDArray[np.int64]:
        """Keep the last tokens of rows of a beam; where they stand. Rows without one: `NOTHING`."""
        spoken = rows["symbol"] != 0
        count, added = self._count, int(spoken.sum())
        if count + added > len(self._entries):
            grown = np.empty(2 * (count + added), ENTRY)
            grown[:count] = self._entries[:count]
            self._entries = grown
        new = self._entries[count : count + added]
        new["before"] = rows["history"][spoken]
        for name in FIELDS:
            new[name] = rows[name][spoken]
        self._count += added
        return np.where(spoken, count + np.cumsum(spoken) - 1, NOTHING)

    def compact(self, heads: NDArray[np.int64]) -> NDArray[np.int64]:
        """Forget what none of `heads`, (R,), leads back to; the heads' new places."""
        wanted = np.zeros(self._count, np.bool_)
        front = np.unique(heads[heads != NOTHING])
        while len(front):
            wanted[front] = True
            front = np.unique(self._entries["before"][front])
            front = front[front != NOTHING]
            front = front[~wanted[front]]
        moved = np.append(np.cumsum(wanted) - 1, NOTHING)  # NOTHING indexes the last one
        entries = self._entries[: self._count][wanted]
        entries["before"] = moved[entries["before"]]
        self._count = self.needed = len(entries)
        self._entries[: self._count] = entries
        return moved[heads]

    def __len__(self) -> int:
        return self._count

    def tokens(self, row: np.void) -> tuple[list[Token], list[int]]:
        """The tokens of a beam's row from first to last, and their variants."""
        tokens, variants = [], []
        if row["symbol"]:
            item, before = row, int(row["history"])
            while True:
                tokens.append(
                    Token(
                        int(item["symbol"]),
                        int(item["start"]),
                        int(item["end"]),
                        float(item["peak"]),
                    )
                )
                variants.append(int(item["variant"]))
                if before == NOTHING:
                    break
                item = self._entries[before]
                before = int(item["before"])
        return tokens[::-1], variants[::-1]
