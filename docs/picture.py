"""Take the README's picture, docs/report.png, of the report of `annotate demo`.

    python docs/picture.py

It needs Chromium. Left the head of the report and its classes, right its photos; nothing is drawn that the report does
not show.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

import annotate

PICTURE = Path(__file__).parent / "report.png"
SHOWN = "/home/ada"  # where the demo seems to lie
COLUMN, HEIGHT = 780, 1020  # pixels
COLUMNS = (("classes",), ("least-certain", "galleries"))
ONE_ROW = "<style>.tiles > :nth-child(n+7) { display: none }</style>"  # of each gallery, so that several are seen
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        annotate.demo(Path(place) / "demo")
        page = (Path(place) / "demo" / "artifacts" / "report" / "report.html").read_text("utf-8").replace(place, SHOWN)
        picture = Image.new("RGB", (COLUMN * len(COLUMNS), HEIGHT))
        for number, sections in enumerate(COLUMNS):
            column = photographed(with_sections(page, sections, head=not number), Path(place))
            picture.paste(column, (COLUMN * number, 0))
    picture.quantize(256, method=Image.Quantize.MEDIANCUT).save(PICTURE, optimize=True)


def with_sections(page: str, wanted: tuple[str, ...], *, head: bool) -> str:
    """The page with these sections alone, each from its heading to the next."""
    before, *sections = re.split(r'(?=<h2 id=")', page)
    last, end = sections[-1].split("</main>", 1)
    sections[-1] = last
    if not head:
        before = re.sub(r"<header>.*</header>|<nav>.*</nav>", "", before, flags=re.DOTALL)
    kept = [section for name in wanted for section in sections if section.startswith(f'<h2 id="{name}"')]
    return "".join([before, ONE_ROW, *kept, "</main>", end])


def photographed(page: str, place: Path) -> Image.Image:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    (place / "page.html").write_text(page, "utf-8")
    size, taken = f"--window-size={COLUMN},{HEIGHT}", place / "page.png"
    command = [browser, *FLAGS, f"--user-data-dir={place}/browser", size, f"--screenshot={taken}"]
    subprocess.run([*command, (place / "page.html").as_uri()], check=True, capture_output=True)
    with Image.open(taken) as picture:
        return picture.convert("RGB").crop((0, 0, COLUMN, HEIGHT))


if __name__ == "__main__":
    main()
