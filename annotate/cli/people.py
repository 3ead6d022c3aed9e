"""Commands about what people say: which images to ask about, soft labels under a budget of votes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import annotate
from annotate.cli import bars, display
from annotate.cli.options import ConfigFile, Place, Several, argument, config_file, option
from annotate.cli.parsing import command
from annotate.errors import printable


def said(**options: Any) -> dict[str, Any]:
    """The options that somebody gave, by name."""
    return {name: value for name, value in options.items() if value is not None}


Spending = Annotated[
    dict[str, Any],
    Several(
        lambda sections: {
            "votes": Annotated[
                Path | None,
                option(
                    "What people said: annotations.json, or the JSON with all labels. The oracle alone reads it "
                    "(default: annotations.json beside the file).",
                ),
            ],
            "fold": Annotated[int | None, option("Slice 1 to 5; FILE is then the name of a data set.")],
            "data_root": Annotated[
                Path | None, option("Folder of data sets by name (default: $DATA_ROOT, or the working folder).")
            ],
            "budget": Annotated[float | None, option("Votes an image, on average (default: 1).")],
            "method": Annotated[
                str | None,
                option(
                    "posterior, or one to compare with: original, norandom, noumap, entropy, consensus, randomhalf, "
                    "votes (default: posterior)."
                ),
            ],
            "output": Annotated[Path | None, option("Folder for what is written (default: soft).")],
            "spare_test": Annotated[bool | None, option("Never ask about the split test.", "--spare-test")],
        },
        said,
    ),
]


@command()
def query(
    *,
    budget: Annotated[int, option("Images to ask about (default: 50).")] = 50,
    strategy: Annotated[
        str,
        option(
            "auto, random, entropy, margin, max-distance, clusters, typical, cover, badge or herding (default: auto)."
        ),
    ] = "auto",
    output: Annotated[Path, option("Folder for the questions (default: questions).")] = Path("questions"),
    workspace: Place = None,
    config: ConfigFile = None,
) -> None:
    """Choose the images most worth asking people about.

    Fill the column `answer` of queries.csv, or answer in ask.html, a page that works offline.

    Example: annotate query --budget 50
    """
    made = annotate.query(
        budget,
        strategy=strategy,
        output=output,
        workspace=workspace,
        config=config_file(config),
        progress=bars.Terminal(),
    )
    of, right = made.known
    if of:
        share, low, high = (100 * value for value in made.share)
        display.show(
            f"of {of:,} images that were asked about at random, {right:,} had the right label: "
            f"{share:.0f} % ({low:.0f} to {high:.0f})"
        )
    folder = printable(made.folder)
    display.show(f"{len(made.questions):,} images to ask about, {sum(q.random for q in made.questions):,} at random")
    display.show(f"answer   {folder}/ask.html (open it in a browser), or the column `answer` of {folder}/queries.csv")
    display.show(f"look     {folder}/sheet.html, {folder}/sheet.png")


@command()
def soft(
    file: Annotated[str, argument("FILE", "JSON of the data-centric labelling benchmark, or a name with --fold.")],
    *,
    spending: Spending,
    workspace: Place = None,
    config: ConfigFile = None,
) -> None:
    """Find soft labels with few votes of a simulated oracle.

    The images of the file must be embedded before.

    Example: annotate soft CIFAR10H-slice1.json --votes annotations.json --budget 0.5
    """
    made = annotate.soft(file, workspace=workspace, config=config_file(config), progress=bars.Terminal(), **spending)
    names = {"kl": "KL", "f1": "macro F1", "accuracy": "accuracy", "ece": "ECE"}
    rows = [(split, *(f"{scores[name]:.3f}" for name in names)) for split, scores in made.scores.items()]
    display.show_table(("images", *names.values()), rows)
    display.show(f"{int(made.votes.sum()):,} votes on {int((made.votes > 0).sum()):,} of {len(made.votes):,} images")
    display.show(f"labels   {printable(made.path)}")
