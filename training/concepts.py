"""What the encoder is taught to name: concepts, their synonyms, their broader words, and their prompts.

A concept is one direction in the embedding space. Its first name is the one under which a data set or the
bank of CLIP text embeddings knows it; the other names mean the same thing. Digits written by hand and
digits shown by hand are two concepts each, "the digit two" and "hand sign for two". The words themselves are
in `words.py`.
"""

import numpy as np
from words import BROADER, COLOURS, COMPATIBLE, SHAPES, SOMETIMES, SYNONYMS, is_plural, other_number

from annotate.classes import prompts
from annotate.classes.prompts import CLIP7, article_for

__all__ = ["BROADER", "NUMBER_WORDS", "SECOND_MEANINGS", "Concepts", "canonical"]

SECOND_MEANINGS = {"orange": "orange color"}  # a bare word that may be asked for either way: the fruit, the colour
ALIKE = 0.4  # cosine of two base vectors above which the names may mean one image
NUMBER_WORDS = prompts.NUMBER_WORDS[:10]

DIGIT_PROMPTS = (
    "the digit {word}",
    "handwritten number {digit}",
    "the number {digit}",
    "digit {digit}",
    "{digit}",
    "a handwritten {digit}",
    "a photo of the digit {digit}",
    "a photo of the number {word}",
    "number {digit}",
    "a photo of a {digit}",
    "handwritten digit {word}",
)
SIGN_PROMPTS = (
    "sign language number {word}",
    "hand sign for {word}",
    "hand gesture showing {word}",
    "a hand showing the number {digit}",
    "{word}",
    "a photo of a {word}",
    "a hand showing {word}",
    "sign language {word}",
    "sign language digit {digit}",
    "hand gesture for {digit}",
)

LETTER_PROMPTS = (
    "a photo of {a} {letter}",
    "the letter {letter}",
    "letter {letter}",
    "a photo of the letter {letter}",
    "{letter}",
    "{a} {letter}",
    "capital letter {letter}",
    "small letter {letter}",
    "a letter {letter}",
    "a photo of a letter {letter}",
    "handwritten letter {letter}",
    "a handwritten {letter}",
    "the letter {letter} of the alphabet",
    "a picture of the letter {letter}",
)
COLOUR_PROMPTS = (
    "a photo of {a} {name} color",
    "{name} color",
    "the color {name}",
    "a photo of the color {name}",
    "{name} colour",
    "the colour {name}",
    "a photo of the colour {name}",
    "a photo of something {name}",
    "something {name}",
    "{a} {name} thing",
    "a photo of {a} {name} thing",
    "{a} {name} picture",
    "{a} {name} surface",
)
BARE_COLOUR_PROMPTS = (  # not for orange, which is the fruit
    "a photo of {a} {name}",
    "{name}",
    "a photo of {name}",
    "{a} {name}",
    "the {name}",
    "a picture of {name}",
)
SHAPE_PROMPTS = (
    "{a} {name} shape",
    "the shape of {a} {name}",
    "{a} {name} on a plain background",
    "a drawn {name}",
)

# Every template of annotate/classes/prompts.py for ordinary names, the seven published with CLIP among them, and
# more, so that no single wording matters.
TEMPLATES = (
    "a photo of {a} {name}",
    "a photo of {a} {name}.",
    *CLIP7,
    "{name}",
    "{a} {name}",
    "the {name}",
    "a photo of {name}",
    "a photo of the {name}",
    "a picture of {a} {name}",
    "an image of {a} {name}",
    "a close-up photo of {a} {name}",
    "a blurry photo of {a} {name}",
    "a photo of a small {name}",
    "a photo of a large {name}",
    "a drawing of {a} {name}",
)
# For the plural of a singular name. Folders are often plural, and the tool then asks for "a photo of a shoes".
PLURAL_TEMPLATES = (
    "a photo of {a} {name}",
    "a photo of {name}",
    "{name}",
    "photos of {name}",
    "a photo of many {name}",
    "a picture of some {name}",
    "the {name}",
)
# For the singular of a plural name.
SINGULAR_TEMPLATES = (
    "a photo of {a} {name}",
    "a photo of {a} {name}.",
    "{name}",
    "{a} {name}",
    "a photo of the {name}",
    "a picture of {a} {name}",
    "a close-up photo of {a} {name}",
)


def canonical(name: str) -> str:
    """Lower case, spaces for underscores, no LVIS-style remark in brackets."""
    return name.replace("_", " ").split(" (")[0].split("(")[0].strip().lower()


def article(name: str) -> str:
    return article_for(name).strip()


class Concepts:
    """Every concept with its names, the names' base vectors, and which pairs must not be negatives.

    names      one tuple of names per concept; index c
    base       (C, D) float32, unit rows: projected CLIP text embedding, that of what it covers, or zero
    covers     (C, C) bool: row is the broader word of column, or the same
    related    (C, C) bool: an image of row may be one of column too, by its broader words or compatible names
    alike      (C, C) bool, symmetric: base vectors so near that a negative would be a guess
    """

    def __init__(self, class_names: list[str], bank: dict[str, np.ndarray], *, dimensions: int) -> None:
        """class_names of every training set, canonical; bank maps canonical names to CLIP text embeddings."""
        group_of = {name: group for group in SYNONYMS for name in group}
        broad = [*BROADER, *(part for parts in BROADER.values() for part in parts.split("|"))]
        self.names: list[tuple[str, ...]] = []
        self.index: dict[str, int] = {}
        for digit, word in enumerate(NUMBER_WORDS):
            self._add((f"digit {digit}",))
            self._add((f"sign {word}",))
        for name in [*class_names, *broad, *bank]:
            if name not in self.index:
                self._add(group_of.get(name, (name,)))
        self.covers = self._coverage()
        self.base = self._project(bank, dimensions)
        self.related = self._relations()
        self.alike = self.base @ self.base.T > ALIKE

    def __len__(self) -> int:
        return len(self.names)

    def _add(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.index.setdefault(name, len(self.names))
        self.names.append(names)

    def _project(self, bank: dict[str, np.ndarray], dimensions: int) -> np.ndarray:
        """CLIP's text embeddings, centred and turned onto their leading principal axes."""
        vectors = np.stack(list(bank.values())).astype(np.float32)
        mean = vectors.mean(axis=0)
        _, _, axes = np.linalg.svd(vectors - mean, full_matrices=False)
        base = np.zeros((len(self), dimensions), np.float32)
        for c, names in enumerate(self.names):
            known = [bank[name] for name in names if name in bank]
            if known:
                base[c] = (np.mean(known, axis=0, dtype=np.float32) - mean) @ axes[:dimensions].T
        unknown = ~base.any(axis=1)
        base[unknown] = self.covers[unknown].astype(np.float32) @ base  # CLIP does not know it, but what it covers
        norms = np.linalg.norm(base, axis=1, keepdims=True)
        unit: np.ndarray = base / np.maximum(norms, 1e-6)
        return unit

    def _coverage(self) -> np.ndarray:
        covers = np.eye(len(self), dtype=np.float32)
        for broader, parts in BROADER.items():
            for part in parts.split("|"):
                covers[self.index[broader], self.index[part]] = 1
        for broader, part in self._drawn():
            covers[self.index[broader], self.index[part]] = 1
        for _ in range(3):  # a breed is a dog is an animal
            covers = np.minimum(covers @ covers, 1)
        reached: np.ndarray = covers > 0
        return reached

    def _drawn(self) -> list[tuple[str, str]]:
        """A red circle is a circle and is red, where all of that is drawn."""
        pairs = [
            (broader, f"{spoken[0]} {shape[0]}")
            for colour, spoken in COLOURS.items()
            for shape in SHAPES
            for broader in (colour, shape[0])
        ]
        return [(broader, part) for broader, part in pairs if broader in self.index and part in self.index]

    def _relations(self) -> np.ndarray:
        related: np.ndarray = self.covers | self.covers.T
        for word, parts in SOMETIMES.items():
            for part in [p for p in parts.split("|") if word in self.index and p in self.index]:
                narrower = self.covers[self.index[part]]
                related[self.index[word], narrower] = related[narrower, self.index[word]] = True
        colours = np.array([self.index[colour] for colour in COLOURS if colour in self.index], dtype=int)
        shapes = np.array([self.index[names[0]] for names in SHAPES if names[0] in self.index], dtype=int)
        things = np.flatnonzero(~self.covers[colours].any(axis=0))
        related[np.ix_(things, colours)] = True  # a tomato or a letter may be red, a red picture is no tomato
        related[np.ix_(colours, shapes)] = True
        for group in COMPATIBLE:
            members = [self.index[name] for name in group.split("|") if name in self.index]
            related[np.ix_(members, members)] = True
        return related

    def broader(self, c: int) -> list[int]:
        """The broader words taught for concept c, itself excluded."""
        return [int(b) for b in np.flatnonzero(self.covers[:, c]) if b != c]

    def prompts(self, c: int) -> list[str]:
        """Every way to say concept c that the text side is trained on."""
        first = self.names[c][0]
        for prefix, templates in (("digit ", DIGIT_PROMPTS), ("sign ", SIGN_PROMPTS)):
            if c < 2 * len(NUMBER_WORDS) and first.startswith(prefix):
                return [t.format(digit=c // 2, word=NUMBER_WORDS[c // 2]) for t in templates]
        if first.startswith("letter ") and len(first) == len("letter a"):
            return [t.format(letter=first[-1], a=article(first[-1])) for t in LETTER_PROMPTS]
        if first in COLOURS:
            ways = COLOUR_PROMPTS if first == "orange color" else (*BARE_COLOUR_PROMPTS, *COLOUR_PROMPTS)
            return [t.format(name=n, a=article(n)) for n in COLOURS[first] for t in ways]
        prompts = [t.format(name=n, a=article(n)) for n in self.names[c] for t in TEMPLATES]
        if self.names[c] in SHAPES:
            prompts += [t.format(name=n, a=article(n)) for n in self.names[c] for t in SHAPE_PROMPTS]
        return list(dict.fromkeys(prompts + in_other_number(self.names[c])))


def in_other_number(names: tuple[str, ...]) -> list[str]:
    """Prompts for the plurals of singular names and the singulars of plural ones, where they are not names too."""
    others = {name: other_number(name) for name in names}
    return [
        t.format(name=other, a=article(other))
        for name, other in others.items()
        if other is not None and other not in names
        for t in (SINGULAR_TEMPLATES if is_plural(name.split(" of ")[0].split(" ")[-1]) else PLURAL_TEMPLATES)
    ]
