"""Make prompts from class names: the phrases in which CLIP is asked whether an image shows the class.

The sets: digits for "0" to "9", sign-language for number words, photo for anything else (`auto` picks
among these three), clip7 for the seven templates published with CLIP, and the user's own YAML file.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from annotate.errors import Hint, InputError, printable
from annotate.settings import yamlfile

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

DIGITS = ("the digit {word}", "handwritten number {digit}", "the number {digit}", "digit {digit}")
SIGN_LANGUAGE = (
    "sign language number {word}",
    "hand sign for {word}",
    "hand gesture showing {word}",
    "a hand showing the number {digit}",
    "{word}",
)
PHOTO = ("a photo of {article}{name}",)
# Radford et al. 2021, notebook "Prompt Engineering for ImageNet": the seven templates chosen there.
CLIP7 = (
    "itap of a {name}.",
    "a bad photo of the {name}.",
    "a origami {name}.",
    "a photo of the large {name}.",
    "a {name} in a video game.",
    "art of the {name}.",
    "a photo of the small {name}.",
)
SETS: dict[str, tuple[str, ...]] = {
    "digits": DIGITS,
    "sign-language": SIGN_LANGUAGE,
    "photo": PHOTO,
    "clip7": CLIP7,
}


def prompts_for(class_names: Sequence[str], choice: str = "auto") -> dict[str, list[str]]:
    """Each class name with its prompts, in the order of the names.

    choice   auto, digits, sign-language, photo, clip7, or the path of a YAML file that holds either a
             list of templates ("a drawing of a {}") or prompts by class name
    raises   InputError where the choice does not exist or does not cover the names
    """
    if choice == "auto":
        choice = automatic(class_names)
    if choice not in SETS:
        return prompts_from_file(class_names, Path(choice))
    if choice in ("digits", "sign-language"):
        strangers = [name for name in class_names if number_named(name) is None]
        if strangers:
            raise InputError(
                f"prompts '{choice}' are for the numbers 0 to 10, not for '{printable(strangers[0])}'",
                hint=Hint("use the prompts photo or auto", "use --prompts photo, or --prompts auto"),
            )
    return {name: [fill(template, name) for template in SETS[choice]] for name in class_names}


def automatic(class_names: Sequence[str]) -> str:
    """The set of prompts that fits these names."""
    names = [name.strip().lower() for name in class_names]
    if all(re.fullmatch("[0-9]", name) for name in names):
        return "digits"
    if all(name in NUMBER_WORDS for name in names):
        return "sign-language"
    return "photo"


def number_named(name: str) -> int | None:
    """0 to 10 for a digit or a number word, else None."""
    name = name.strip().lower()
    if name in NUMBER_WORDS:
        return NUMBER_WORDS.index(name)
    if re.fullmatch("[0-9]|10", name):
        return int(name)
    return None


def fill(template: str, name: str) -> str:
    """One prompt. `{}` and `{name}` stand for the name, `{article}` for "a " or "an "."""
    number = number_named(name)
    spoken = " ".join(name.replace("_", " ").split())
    words = {
        "{}": spoken,
        "{name}": spoken,
        "{article}": article_for(spoken),
        "{word}": spoken if number is None else NUMBER_WORDS[number],
        "{digit}": spoken if number is None else str(number),
    }
    return re.sub(r"\{\w*\}", lambda found: words.get(found[0], found[0]), template)


DETERMINERS = ("a", "an", "the", "my", "your", "his", "her", "its", "our", "their", "some", "this", "that", "no")
# Spelling and sound disagree here: "an hour", "a unicorn", "a European", "a one-way street".
SILENT_H = re.compile(r"(?:heir|hono|hour|honest)", re.IGNORECASE)
SOUNDS_LIKE_YOU_OR_WON = re.compile(
    r"(?:uni(?!n|m)|u[bfkqst][aeiou]|utens|utili|eu|ewe|one\b|once|ou[ij]|urin|uran|uru)", re.IGNORECASE
)
LETTERS_THAT_START_WITH_A_VOWEL = "AEFHILMNORSX"
# "an MRI", "a TV": capitals that no English word begins with are read letter by letter.
SPELLED_BY_LETTER = re.compile(
    r"(?!(?:BL|BR|CH|CL|CR|DR|FL|FR|GL|GR|PL|PR|SC|SH|SK|SL|SM|SN|SP|ST|SW|TH|TR|TW|WH))[^AEIOUa-z\W\d_]{2}[A-Z]{0,3}s?"
)


def article_for(name: str) -> str:
    """ "a " or "an " as the name is spoken, or nothing where it brings its own."""
    first = re.split(r"[\s\-]", name, maxsplit=1)[0]
    if first.lower() in DETERMINERS and " " in name:
        return ""
    if re.fullmatch("[A-Za-z]", first) or SPELLED_BY_LETTER.fullmatch(first):
        return "an " if first[0].upper() in LETTERS_THAT_START_WITH_A_VOWEL else "a "
    plain = unicodedata.normalize("NFD", first)
    if SILENT_H.match(plain):
        return "an "
    if SOUNDS_LIKE_YOU_OR_WON.match(plain):
        return "a "
    number = re.match(r"\d+", plain)
    if number:
        return "an " if number[0][0] == "8" or number[0] in ("11", "18") else "a "
    return "an " if plain[:1].lower() in "aeiou" and plain else "a "


def prompts_from_file(class_names: Sequence[str], path: Path) -> dict[str, list[str]]:
    """Prompts from the user's YAML file: templates for all classes, or prompts class by class.

    - a drawing of a {}                templates: ["a drawing of a {}"]        cat: [a cat, a tabby]
    - a sketch of the {}               cat: [a cat on a sofa]                  dog: a dog
    """
    shown = printable(path)
    if not path.is_file():
        nearest = difflib.get_close_matches(str(path), ["auto", *SETS], n=1)
        suggestion = f"did you mean '{nearest[0]}'?" if nearest else f"use one of {', '.join(['auto', *SETS])}"
        raise InputError(f"no prompts '{shown}': neither a known set nor a file", hint=suggestion)
    content = yamlfile.read(path, hint="quote prompts that hold ':' or '#'")
    templates: list[str] = []
    by_class: dict[str, list[str]] = {}
    if isinstance(content, Mapping):
        by_class = {name: as_prompts(prompts, shown) for name, prompts in content.items()}
        templates = by_class.pop("templates", [])
    else:
        templates = as_prompts(content, shown)
    for template in templates:
        if "{}" not in template and "{name}" not in template:
            raise InputError(
                f"{shown}: template '{printable(template)}' has no {{}}", hint="write {} where the name goes"
            )
    missing = [name for name in class_names if name not in by_class]
    if missing and not templates:
        raise InputError(
            f"{shown}: no prompts for class '{printable(missing[0])}'",
            hint="add a line for it, or `templates:` for all that have none",
        )
    return {name: by_class.get(name) or [fill(template, name) for template in templates] for name in class_names}


def as_prompts(content: object, shown: str) -> list[str]:
    prompts = [content] if isinstance(content, str) else content
    if not isinstance(prompts, list) or not prompts or not all(isinstance(p, str) and p.strip() for p in prompts):
        raise InputError(f"{shown}: expected a prompt or a list of prompts", hint="for example `cat: [a cat, a tabby]`")
    return prompts
