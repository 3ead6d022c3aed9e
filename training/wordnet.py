"""The nouns of WordNet 3.0: what a word can mean, how it is explained, and what is a kind of what.

    apt-get install wordnet-base

holds the database (Princeton's licence: any use, with notice). A synset is named by its offset, as ImageNet names
its classes.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

DATABASE = Path("/usr/share/wordnet")
# Lexicographers' files of what can be seen: acts, animals, artifacts, bodies, events, food, places, objects,
# people, phenomena, plants, shapes, substances.
VISIBLE = {4, 5, 6, 8, 11, 13, 15, 17, 18, 19, 20, 25, 27}
PEOPLE, LIVING = 18, (5, 20)


@dataclass(frozen=True)
class Synset:
    """One meaning.

    words      that have it, the commonest first
    broader    offsets of what it is a kind of
    gloss      its explanation
    file       number of the lexicographers' file
    instance   whether it is one thing, as Paris is
    """

    words: tuple[str, ...]
    broader: tuple[str, ...]
    gloss: str
    file: int
    instance: bool


class WordNet:
    """All nouns.

    synsets   by offset
    meanings  of a word in lower case: offsets, the commonest first
    """

    def __init__(self, folder: Path = DATABASE) -> None:
        self.folder = folder
        self.synsets: dict[str, Synset] = {}
        for line in lines(folder / "data.noun"):
            head, _, gloss = line.partition(" | ")
            fields = head.split()
            count = int(fields[3], 16)
            after = 5 + 2 * count
            pointers = [fields[after + 4 * i : after + 2 + 4 * i] for i in range(int(fields[after - 1]))]
            self.synsets[fields[0]] = Synset(
                tuple(fields[4 + 2 * i].replace("_", " ") for i in range(count)),
                tuple(offset for sign, offset in pointers if sign in ("@", "@i")),
                gloss.split(";")[0].strip(),
                int(fields[1]),
                any(sign == "@i" for sign, _ in pointers),
            )
        self.meanings: dict[str, list[str]] = {}
        for line in lines(folder / "index.noun"):
            fields = line.split()
            self.meanings[fields[0].replace("_", " ")] = fields[-int(fields[2]) :]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often a noun was met in the texts that WordNet's makers tagged."""
        counts: Counter[str] = Counter()
        for line in (self.folder / "cntlist.rev").read_text("ascii").splitlines():
            sense, _, count = line.split()
            word, _, kind = sense.partition("%")
            if kind.startswith("1"):
                counts[word.replace("_", " ")] += int(count)
        return counts

    def above(self, offset: str) -> dict[str, int]:
        """A synset and everything that it is a kind of, with the number of steps."""
        steps: dict[str, int] = {}
        waiting = [(offset, 0)]
        while waiting:
            here, step = waiting.pop(0)
            if here not in steps:
                steps[here] = step
                waiting += [(there, step + 1) for there in self.synsets[here].broader]
        return steps

    def visible(self) -> list[str]:
        """Offsets of what a photo may show, without scholars' names of species and rare kinds of people."""
        return [offset for offset, synset in self.synsets.items() if self._may_be_seen(synset)]

    def _may_be_seen(self, synset: Synset) -> bool:
        if synset.file not in VISIBLE or synset.instance:
            return False
        if synset.file in LIVING and all(word[0].isupper() for word in synset.words):
            return False
        if synset.words[0].startswith(("genus ", "family ", "order ", "class ")):
            return False
        return synset.file != PEOPLE or any(self.counts[word] or len(word) <= 8 for word in synset.words)


def lines(file: Path) -> list[str]:
    """The lines behind the licence, which stands indented at the top."""
    return [line for line in file.read_text("ascii").splitlines() if not line.startswith("  ")]
