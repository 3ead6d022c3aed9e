"""Make annotate/classes/common.txt, the common names that strangers are found by (annotate/kernels/strangers.py).

    python training/common_names.py --wordnet DIR --bank FILE.npz

DIR holds index.noun and data.noun of WordNet 3.0 (Debian: wordnet-base, /usr/share/wordnet). FILE.npz holds the names
of ImageNet's, LVIS's and Open Images' classes as arrays `*_names`. A line is a name, a tab, and its broader words by
WordNet: where somebody asks for "dog", a samoyed is no stranger.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).parents[1] / "annotate/classes/common.txt"
HEADER = """\
# Common names: what images may show that none of the classes names. A line is a name, a tab, and its broader words.
# Names: the classes of ImageNet, LVIS and Open Images (as published with CLIP under MIT and with their sets under
# Apache-2.0 and CC BY 4.0), and words of our own. Broader words: WordNet 3.0, Copyright 2006 by Princeton University,
# all rights reserved, under the WordNet licence, which permits use and distribution for any purpose and without fee
# with this notice; provided "as is", without warranties. Made by training/common_names.py.
"""
# What folders of photos hold beside things: places, weather, people, papers and screens.
PLACES = """street, city, village, beach, sea, lake, river, waterfall, mountain, desert, forest, park, garden, field,
meadow, sky, clouds, sunset, snow, road, bridge, harbor, building, house, church, castle, tower, skyscraper, kitchen,
bedroom, bathroom, living room, office, classroom, shop, restaurant, market, factory, warehouse, hospital room,
train station, airport, parking lot, construction site, stadium, gym, swimming pool, farm, cave, island, stairs,
corridor, wall, floor, ceiling, roof, fence, playground, cemetery, aerial view, landscape, night sky"""
PEOPLE = """face, hand, foot, eye, crowd, person, man, woman, child, baby, family, wedding, party, concert, dancer,
runner, football player, tennis player, swimmer, selfie, portrait, group of people, soldier, doctor"""
PAPERS = """text, document, page of a book, newspaper, handwriting, screenshot, diagram, chart, map, logo, sign, poster,
receipt, drawing, painting, cartoon, sculpture, pattern, texture, blurry picture, black image, white wall, x-ray"""
STUFF = """grass, leaves, tree, flower, wood, stone, sand, water, fire, smoke, metal, fabric, leather, glass, paper,
plastic, concrete, brick, soil, ice, food, meal, dessert, vegetable, fruit, meat, drink, insect, bird, fish, toy, tool,
machine, furniture, clothes, shoe, jewelry, rubbish, circuit board, microscope image, satellite image, digit, letter"""
TOO_BROAD = {
    *("entity", "physical entity", "abstract entity", "abstraction", "object", "physical object", "whole", "unit"),
    *("artifact", "artefact", "matter", "causal agent", "cause", "living thing", "animate thing", "thing", "group"),
    *("grouping", "attribute", "psychological feature", "measure", "quantity", "relation", "substance", "part"),
    *("instrumentality", "instrumentation", "organism", "being", "state", "event", "act", "communication"),
}
SENSES = 3  # of a name, the commonest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder of index.noun and data.noun")
    parser.add_argument("--bank", type=Path, required=True, help="FILE.npz with the names of classes")
    args = parser.parse_args()
    broader = Broader(args.wordnet)
    lines = [f"{name}\t{'|'.join(broader(name))}".rstrip() for name in names(args.bank)]
    OUTPUT.write_text(HEADER + "\n".join(lines) + "\n", "utf-8")
    print(f"{len(lines):,} names in {OUTPUT}")


def names(bank: Path) -> Iterator[str]:
    """Every name once, as it is spoken."""
    with np.load(bank) as stored:
        listed = [str(name) for part in ("imagenet", "lvis", "oid") for name in stored[f"{part}_names"]]
    listed += [name for words in (PLACES, PEOPLE, PAPERS, STUFF) for name in words.replace("\n", " ").split(", ")]
    seen: set[str] = set()
    for name in listed:
        spoken = " ".join(re.sub(r"\(.*?\)", "", name).replace("_", " ").split())
        if spoken and spoken.lower() not in seen:
            seen.add(spoken.lower())
            yield spoken


class Broader:
    """The broader words of a name: those of every step above its commonest senses, nearest first."""

    def __init__(self, wordnet: Path) -> None:
        self.senses: dict[str, list[str]] = {}
        self.words: dict[str, list[str]] = {}
        self.above: dict[str, list[str]] = {}
        for line in (wordnet / "index.noun").read_text("utf-8").splitlines():
            if not line.startswith(" "):
                lemma, _, rest = line.partition(" ")
                self.senses[lemma.replace("_", " ")] = re.findall(r"\b\d{8}\b", rest)
        for line in (wordnet / "data.noun").read_text("utf-8").splitlines():
            if not line.startswith(" "):
                fields = line.partition(" | ")[0].split(" ")
                count = int(fields[3], 16)
                self.words[fields[0]] = [word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
                self.above[fields[0]] = re.findall(r"@ (\d{8}) n", line)

    def __call__(self, name: str) -> list[str]:
        found: dict[str, None] = {}
        lemma = name.lower()
        if lemma not in self.senses and " " in lemma:  # a bath towel is a towel
            lemma = lemma.rpartition(" ")[2]
            found[lemma] = None
        chains = [self.upward(sense) for sense in self.senses.get(lemma, [])]
        seen = [chain for chain in chains if "physical entity" in chain]
        things = seen[:1] + [chain for chain in seen[1:] if "person" not in chain]
        for word in (word for chain in things[:SENSES] for word in chain):
            if word not in TOO_BROAD and word != name.lower() and word.islower():
                found[word] = None
        return list(found)

    def upward(self, sense: str) -> list[str]:
        """The words of a sense and of every step above it; none for what is a name of somebody."""
        words: list[str] = []
        waiting = [sense]
        while waiting:
            synset = waiting.pop(0)
            words += self.words[synset][:3]
            waiting += self.above[synset]
        return words


if __name__ == "__main__":
    main()
