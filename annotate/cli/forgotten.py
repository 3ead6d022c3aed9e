"""Was OUTPUT forgotten? In `annotate run photos cat dog bird` the first class is taken for the dataset's folder.

The line is right as it stands, so the words have to tell. What never stops anybody: a folder that exists, a path
(`./cat`, `sets/cat`), a name with a mark or digit in it (`my-set`, `cat_2`), a word that is used of results (`dataset`,
`out`), and class names that come by --classes or --classes-file. Of what is left:

  a sibling of the class names   refused, in scripts as well: the images have a folder of its name beside folders of
                                 theirs; or all of them are numbers, or everyday things (`cat` beside `dog` and `bird`)
  any other word (`pets`)        asked back on a terminal; in a script, where nobody could answer, it goes on
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from annotate.cli import display
from annotate.errors import InputError, printable

OF_RESULTS = """
    annotated annotation annotations archive build classified classes collection data dataset datasets dest destination
    dir export exported final folder images labeled labelled labels made new organised organized out output outputs pics
    pictures photos project result results run save saved set sets sorted split splits target temp test tmp train
    training
"""
NUMBERS = "zero one two three four five six seven eight nine ten"
# Single things that people sort photos by; a folder for many of them would be called in the plural.
EVERYDAY = """
    airplane animal apple automobile baby bag banana beach bear bed bee beetle bicycle bike bird boat book bottle bowl
    boy bread bridge building bus butterfly cake camel camera can car carrot castle cat cattle chair chicken child
    church city clock cloud coat coffee computer couch cow crab cup deer desert desk dog dolphin donkey door dress duck
    eagle elephant face fish flower food forest fox frog fruit giraffe girl glass goat guitar hamster hand hat hawk
    horse house human indoor insect jacket kangaroo keyboard lake lamp landscape laptop leaf lemon leopard lion lizard
    lobster mango man map monkey moon motorbike motorcycle mountain mouse mug mushroom nature night ocean onion orange
    other outdoor owl panda parrot pasta pear pen penguin people pepper person phone piano pig pigeon pineapple pizza
    plane plant plate poppy portrait potato rabbit rain raccoon rat river road rocket rose salad sandwich screenshot sea
    selfie shark sheep ship shirt shoe skirt sky skyscraper snail snake snow sofa soup spider spoon squirrel street
    strawberry streetcar sun sunflower sunset sushi table tank telephone television tiger toad tomato tractor train tram
    tree truck tulip turtle tv umbrella van vegetable vehicle wall wallet watch water whale wine wolf woman zebra
"""


def ask_back(images: str, output: Path, names: Sequence[str]) -> None:
    """Whether OUTPUT is a folder for the dataset, where it looks like the first of the classes.

    raises  InputError with the line that was probably meant
    """
    place, words = str(output), sys.argv[1:]
    if place not in words:  # ./cat, say
        return
    forgotten = output_was_forgotten(images, place, names)
    someone_answers = display.someone_answers()
    if not forgotten and not (someone_answers and len(names) > 1 and is_doubtful(place, names)):
        return
    classes = f"the classes are only {in_words(names)}" if len(names) > 1 else f"the only class is {in_words(names)}"
    said = f"'{printable(place)}' stands where the dataset's folder is named, so {classes}"
    if someone_answers and not forgotten:
        display.say(f"{said}.")
        if typer.confirm("Is that right?", err=True):
            return
    at = words.index(place)
    meant = printable(shlex.join(["annotate", *words[:at], "dataset", *words[at:]]))
    raise InputError(said, hint=f"did you mean `{meant}`? If the folder is to be called {place}, write ./{place}")


def in_words(names: Sequence[str]) -> str:
    """dog, bird and fish"""
    shown = [printable(name) for name in names]
    return ", ".join(shown[:-1]) + (" and " if shown[:-1] else "") + shown[-1]


def output_was_forgotten(images: str, output: str, names: Sequence[str]) -> bool:
    """Whether OUTPUT is surely one of the classes; `names` are those that stand behind it on the command line."""
    if not is_doubtful(output, names):
        return False
    words = [name.casefold() for name in (output, *names)]
    if all(word in EVERYDAY.split() for word in words) or all(
        word in NUMBERS.split() or word.isdecimal() for word in words
    ):
        return True
    try:
        folders = {entry.name.casefold() for entry in os.scandir(images) if entry.is_dir()}
    except OSError:
        return False
    return words[0] in folders and any(word in folders for word in words[1:])


def is_doubtful(output: str, names: Sequence[str]) -> bool:
    """Whether OUTPUT might be one of the classes: a new folder, called by a plain word that is not used of results."""
    plain = output.isalpha() or output.isdecimal()
    return len(names) >= 1 and plain and output.casefold() not in OF_RESULTS.split() and not os.path.lexists(output)
