"""Drawn pictures to train from: letters and digits in many fonts, shapes, plain colours, coloured shapes.

    python training/render.py --out sheet.png

Every picture has its own generator, seeded by the set's seed, the name and the number of the picture, so it does
not depend on the others. A picture is a background, 80 pixels wide, and a mask drawn four times as large and
brought down. A font family is held out when the SHA-256 of its name is divisible by 5, as with files in data.py.
"""

import argparse
import colorsys
import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Rng = np.random.Generator
Colour = np.ndarray  # (3,) float32, 0 to 255

SIDE = 80  # pixels, as the photographs are kept
OVER = 4  # the mask is drawn this many times as large
CANVAS = SIDE * OVER
GLYPH = 160  # pixels per em at which a letter is taken from its font
FEWEST = 20  # trained families below which letters would be learned as those fonts only
LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
KINDS = ("simple", "coloured shapes", "colours of things")

# Regions of colour: hue in degrees, saturation and lightness, lowest and highest; neighbours leave a gap.
REGIONS: dict[str, tuple[tuple[float, float, float, float, float, float], ...]] = {
    "red": ((-10, 6, 0.75, 1, 0.40, 0.56), (-6, 4, 0.85, 1, 0.27, 0.40)),
    "orange": ((20, 40, 0.88, 1, 0.46, 0.60),),
    "yellow": ((49, 62, 0.8, 1, 0.46, 0.66),),
    "green": ((88, 150, 0.4, 1, 0.18, 0.55), (95, 145, 0.45, 1, 0.55, 0.75)),
    "turquoise": ((170, 187, 0.55, 1, 0.34, 0.70),),
    "blue": ((205, 244, 0.6, 1, 0.28, 0.62), (225, 244, 0.7, 1, 0.20, 0.28), (197, 222, 0.55, 1, 0.62, 0.80)),
    "purple": ((266, 290, 0.4, 1, 0.25, 0.62), (290, 302, 0.5, 1, 0.20, 0.38), (266, 288, 0.5, 1, 0.62, 0.76)),
    "pink": ((322, 345, 0.8, 1, 0.56, 0.68), (322, 352, 0.65, 1, 0.70, 0.89)),
    "brown": ((18, 33, 0.4, 0.9, 0.17, 0.36), (8, 20, 0.40, 0.62, 0.26, 0.41)),
    "black": ((0, 360, 0, 0.3, 0, 0.09),),
    "white": ((0, 360, 0, 0.4, 0.96, 1),),
    "gray": ((0, 360, 0, 0.04, 0.30, 0.80),),
    "beige": ((32, 58, 0.32, 0.7, 0.77, 0.91),),
}
# What people and programs write for the name.
USUAL: dict[str, tuple[tuple[int, int, int], ...]] = {
    "red": ((255, 0, 0), (220, 20, 30), (139, 0, 0)),
    "orange": ((255, 165, 0), (255, 140, 0), (255, 127, 14)),
    "yellow": ((255, 255, 0), (250, 220, 30)),
    "green": ((0, 128, 0), (0, 255, 0), (44, 160, 44), (34, 139, 34)),
    "turquoise": ((64, 224, 208), (0, 206, 209), (0, 255, 255)),
    "blue": ((0, 0, 255), (30, 80, 220), (0, 0, 128), (31, 119, 180)),
    "purple": ((128, 0, 128), (148, 103, 189), (138, 43, 226)),
    "pink": ((255, 192, 203), (255, 105, 180), (255, 20, 147)),
    "brown": ((139, 69, 19), (165, 42, 42), (120, 72, 30), (101, 67, 33)),
    "black": ((0, 0, 0), (15, 15, 15)),
    "white": ((255, 255, 255), (248, 248, 248)),
    "gray": ((128, 128, 128), (150, 150, 150), (169, 169, 169)),
    "beige": ((245, 245, 220), (232, 214, 180)),
}
PALE = ("white", "yellow", "beige", "pink")  # darkened, these would be another colour

# The most degrees a shape may be turned and keep its name.
TURN = {
    "circle": 180,
    "square": 15,
    "triangle": 180,
    "rectangle": 20,
    "star": 180,
    "heart": 25,
    "diamond": 10,
    "pentagon": 180,
    "hexagon": 180,
    "octagon": 180,
    "oval": 180,
    "cross": 15,
    "arrow": 25,
    "crescent": 25,
    "ring": 180,
    "semicircle": 180,
    "trapezoid": 20,
    "spiral": 180,
}
SHAPES = tuple(TURN)
COLOURS = tuple(REGIONS)
HOLLOW_NEVER = ("ring", "spiral")  # drawn as they are; an outline would be something else
HOLLOW_SELDOM = ("circle", "oval", "crescent")  # as outlines these resemble o, 0 and c

# --- fonts ---

FOREIGN = re.compile(
    r"symbol|dingbat|emoji|braille|barcode|icon|music|math|arrow|ornament|initials|fraktur|blackletter|lignes|lined"
    r"|keyboard|keyfont|runic|blankenburg|joscelyn|triod|wargames|d050000l|^(cmex|cmsy|cmmi|msam|msbm|wasy|stmary|rsfs|esint)",
    re.IGNORECASE,
)
STYLE = re.compile(
    r"[ -]*\b(\d+(pt|cpi)?|thin|hairline|(extra|ultra|semi|demi)?[ -]?(light|bold)|book|medium|heavy|black|regular"
    r"|roman|retina|condensed|narrow|(semi|extra)?cond|expanded|compact|caps|smallcaps|sc|oblique|italic|slanted|alt|unicase)$",
    re.IGNORECASE,
)
SAME_DESIGN = {
    "Arimo": "Liberation Sans",
    "Nimbus Sans": "Liberation Sans",
    "Nimbus Sans Narrow": "Liberation Sans",
    "TeX Gyre Heros": "Liberation Sans",
    "TeX Gyre Heros Cn": "Liberation Sans",
    "FreeSans": "Liberation Sans",
    "Tinos": "Liberation Serif",
    "Nimbus": "Liberation Serif",
    "TeX Gyre Termes": "Liberation Serif",
    "FreeSerif": "Liberation Serif",
    "Cousine": "Liberation Mono",
    "Nimbus Mono PS": "Liberation Mono",
    "TeX Gyre Cursor": "Liberation Mono",
    "FreeMono": "Liberation Mono",
    "TeX Gyre Bonum": "URW Bookman",
    "TeX Gyre Adventor": "URW Gothic",
    "TeX Gyre Pagella": "P052",
    "TeX Gyre Schola": "C059",
    "TeX Gyre Chorus": "Z003",
    "Open Sans": "Noto Sans",
    "Bookman Uralic": "URW Bookman",
    "Gothic Uralic": "URW Gothic",
    "Palladio Uralic": "P052",
    "Schoolbook Uralic": "C059",
    "Chancery Uralic": "Z003",
    "Mono Uralic": "Liberation Mono",
    "Roman Uralic": "Liberation Serif",
    "Sans Uralic": "Liberation Sans",
    "Sans Condensed Uralic": "Liberation Sans",
    "STIX": "Liberation Serif",
    "STIXGeneral": "Liberation Serif",
    "Doulos SIL": "Liberation Serif",
    "Mplus Code": "M PLUS",
    "Carlito": "Lato",
    "Monoisome": "Monoid",
    "Rasa": "Yrsa",
    "Oxygen-Sans": "Oxygen",
    "unifur": "monofur",
}
# Families whose names begin alike are one design.
BEGINNINGS = (
    *("Accanthis", "Anonymous Pro", "Beteckna", "CMU", "cm", "Courier Prime", "Fanwood", "Gentium", "Gillius", "IBM"),
    *("Ikarius", "Inter", "Irianis", "Linux Biolinum", "Linux Libertine", "M PLUS", "Mekanus", "NanumGothic"),
    *("NanumSquare", "OCRA", "OpenDyslexic", "Oxygen", "PT Sans", "PT Serif", "Roadgeek"),
    *("Romande", "Routed Gothic", "Tiresias", "Verana", "eurofurence"),
)


def default_folders() -> list[Path]:
    """Where fonts are looked for: the system's folder, and the one inside matplotlib if it is installed."""
    folders = [Path("/usr/share/fonts")]
    matplotlib = find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin:
        folders.append(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf")
    return folders


def font_files(folders: Iterable[Path] | None = None) -> list[Path]:
    """Every face that draws A-Z, a-z and 0-9, sorted; raises where they are of too few trained families."""
    folders = list(default_folders() if folders is None else folders)
    paths = sorted({p for f in folders for p in f.rglob("*") if p.suffix.lower() in (".ttf", ".otf", ".ttc")})
    files = [path for path in paths if legible(path)]
    found = len(families(files))
    if found < FEWEST:
        places = ", ".join(str(folder) for folder in folders)
        raise ValueError(
            f"only {found} trained font families with Latin letters in {places}; at least {FEWEST} are needed\n"
            "install more, for example: apt-get install fonts-dejavu fonts-liberation fonts-lato fonts-roboto-unhinted "
            "fonts-open-sans fonts-urw-base35 fonts-comic-neue fonts-texgyre fonts-inconsolata fonts-quicksand "
            "fonts-linuxlibertine fonts-sil-gentium fonts-cabin fonts-vollkorn fonts-lobster fonts-tuffy"
        )
    return files


def legible(path: Path) -> bool:
    """Whether a face has a glyph of its own for every letter and digit, and is no symbol face by name."""
    try:
        font = ImageFont.truetype(str(path), 32)
        if FOREIGN.search(" ".join(part or "" for part in font.getname())):
            return False
        missing = [drawn(font, char) for char in "\ufffe\U0010fffd"]
        for chars in (LETTERS, LETTERS.upper(), DIGITS):
            glyphs = [drawn(font, char) for char in chars]
            if None in glyphs or len(set(glyphs)) < len(chars) or any(m in glyphs for m in missing if m):
                return False
    except (OSError, ValueError):  # not a scalable face, or one that FreeType refuses
        return False
    return True


def drawn(font: ImageFont.FreeTypeFont, char: str) -> tuple[tuple[int, int], bytes] | None:
    """Size and pixels of a character; None if it comes out blank."""
    mask = font.getmask(char)
    pixels = bytes(mask)
    return (mask.size, pixels) if any(pixels) else None


@cache
def family(path: Path) -> str:
    """The name of the design: Pillow's family name without weights and sizes; look-alikes share one."""
    name = ImageFont.truetype(str(path), 32).getname()[0] or path.stem
    if name.startswith("Noto"):
        return "Noto " + next((word for word in ("Serif", "Mono") if word in name), "Sans")
    while STYLE.search(name) and STYLE.sub("", name):
        name = STYLE.sub("", name)
    name = SAME_DESIGN.get(name, name)
    beginning = next((word for word in BEGINNINGS if name.startswith(word)), name)
    return "CMU" if beginning == "cm" else beginning


# Held out by name, but drawn like a family that is not (Hack like DejaVu Sans Mono): neither trained on nor tested.
LIKE_TRAINED = ("Hack", "Liberation Mono", "Museum", "Switzera", "Tribun")


def is_held_out(name: str) -> bool:
    """Whether a family is kept for the test."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0


def families(files: Iterable[Path], *, held_out: bool = False) -> list[list[Path]]:
    """The files of each family that is trained on, or of each held out, in the order of their names."""
    gathered: dict[str, list[Path]] = {}
    for path in files:
        gathered.setdefault(family(path), []).append(path)
    return [gathered[name] for name in sorted(gathered) if is_held_out(name) == held_out]


@cache
def opened(path: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), GLYPH)


# --- colours ---


def named_colour(rng: Rng, name: str, box: int | None = None) -> Colour:
    """A colour that goes by the name; from one box of its region if that is given."""
    boxes = REGIONS[name]
    if box is None and rng.random() < 0.35:
        usual = USUAL[name]
        shade = np.array(usual[rng.integers(len(usual))]) + rng.normal(0, 4, 3)
        return np.clip(shade, 0, 255).astype(np.float32)
    if box is None:
        box = some_box(rng, name)
    values = rng.random(3)
    low, high = np.array(boxes[box][::2]), np.array(boxes[box][1::2])
    hue, saturation, lightness = (low + (high - low) * values).tolist()
    return np.array(colorsys.hls_to_rgb(hue / 360 % 1, lightness, saturation), np.float32) * 255


def some_box(rng: Rng, name: str) -> int:
    """One box of a region, the first most often."""
    return 0 if rng.random() < 0.5 else int(rng.integers(len(REGIONS[name])))


def any_colour(rng: Rng) -> Colour:
    """Mostly a colour with a name, sometimes any."""
    if rng.random() < 0.7:
        return named_colour(rng, COLOURS[rng.integers(len(COLOURS))])
    return rng.uniform(0, 255, 3).astype(np.float32)


def some_ink(rng: Rng) -> Colour:
    """What letters are written in: black or nearly so in four of ten."""
    return named_colour(rng, "black") if rng.random() < 0.4 else any_colour(rng)


def distance(a: Colour, b: Colour) -> float:
    """How far apart two colours look, 0 to 765 (https://www.compuphase.com/cmetric.htm)."""
    mean = float(a[0] + b[0]) / 2
    red, green, blue = ((a - b) ** 2).tolist()
    return float(((2 + mean / 256) * red + 4 * green + (3 - mean / 256) * blue) ** 0.5)


# --- surfaces: (80, 80, 3) float32 ---

RAMP = np.linspace(-1, 1, SIDE, dtype=np.float32)
RADIUS = RAMP[:, None] ** 2 + RAMP[None, :] ** 2  # (S, S), 0 in the middle, 2 in the corners


def slope(rng: Rng) -> np.ndarray:
    """A ramp from 0 to 1 in some direction, (S, S, 1)."""
    angle = rng.uniform(0, 2 * np.pi)
    ramp = RAMP[:, None] * np.float32(np.sin(angle)) + RAMP[None, :] * np.float32(np.cos(angle))
    shade: np.ndarray = ramp / (2 * max(abs(ramp[0, 0]), abs(ramp[0, -1]))) + 0.5
    return shade[..., None]


def grain(rng: Rng, strength: float, coarse: int = 1) -> np.ndarray:
    """Gray noise with a deviation of `strength`, (S, S, 1); coarse noise changes every few pixels."""
    small = rng.standard_normal((SIDE // coarse, SIDE // coarse), dtype=np.float32) * np.float32(strength)
    if coarse > 1:
        small = np.array(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    shade: np.ndarray = small.reshape(SIDE, SIDE, 1)
    return shade


def weave(rng: Rng, strength: float) -> np.ndarray:
    """The threads of cloth, (S, S, 1), or stripes of it."""
    across, down = (np.sin(RAMP * np.float32(rng.uniform(25, 110)) + rng.uniform(0, 6)) for _ in range(2))
    threads = across[None, :] * down[:, None] if rng.random() < 0.5 else (across[None, :] + down[:, None]) / 2
    cloth: np.ndarray = threads.astype(np.float32)[..., None] * np.float32(strength) + grain(rng, strength / 2)
    return cloth


def plain(shade: Colour) -> np.ndarray:
    surface = np.empty((SIDE, SIDE, 3), np.float32)
    surface[:] = shade
    return surface


def background(rng: Rng, ink: Colour, *, neutral: bool = False, apart: float = 170) -> np.ndarray:
    """What a letter or shape stands on: white most often, and never near the colour of the ink."""
    shade = backing(rng, ink, neutral, apart)
    surface = plain(shade)
    finish = rng.random()
    if finish < 0.12:  # towards a second colour that the ink stands out from as well
        other = backing(rng, ink, neutral, apart)
        if distance(shade, other) < 330:
            surface = surface + (other - shade) * slope(rng)
    elif finish < 0.20:
        surface = surface + grain(rng, rng.uniform(2, 12))
    elif finish < 0.28:  # paper
        surface = surface * (1 + grain(rng, 0.03, 8) + grain(rng, 0.03, 2)) - np.float32(rng.uniform(0, 12))
    elif finish < 0.30:
        surface = surface + weave(rng, rng.uniform(3, 10))
    return surface


def backing(rng: Rng, ink: Colour, neutral: bool, apart: float) -> Colour:
    """A plain colour at some distance from the ink."""
    for _ in range(40):
        kind = rng.random()
        if kind < 0.56:
            shade = named_colour(rng, "white")
        elif kind < 0.70:
            shade = named_colour(rng, "black")
        elif neutral:
            shade = named_colour(rng, "gray")
        else:
            shade = any_colour(rng)
        if distance(shade, ink) >= apart:
            return shade
    return np.full(3, 255 if ink.mean() < 128 else 0, np.float32)


# --- masks: an "L" image of side 320, 255 where there is ink ---


def placed(rng: Rng, width: float, height: float) -> tuple[float, float]:
    """A centre at which something this large is inside the picture, the middle more often than the edge."""
    spread = 1.0 if rng.random() < 0.5 else 0.25
    across, down = rng.uniform(-spread, spread, 2)
    free = max(CANVAS - width, 0.0) / 2, max(CANVAS - height, 0.0) / 2
    return CANVAS / 2 + free[0] * across, CANVAS / 2 + free[1] * down


def glyph(char: str, font: Path, line: int) -> Image.Image:
    """A character as its font has it, cut to what is drawn; thickened by a line if that is not 0."""
    face = opened(font)
    left, top, right, bottom = face.getbbox(char, stroke_width=line)
    image = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(image).text((2 - left, 2 - top), char, fill=255, font=face, stroke_width=line)
    return image


def letter_masks(rng: Rng, char: str, font: Path) -> list[Image.Image]:
    """A character somewhere in the picture: what is inked first, and then, if it has an outline, what is inside."""
    line = int(rng.integers(3, 9)) if rng.random() < 0.12 else 0
    outer = glyph(char, font, line)
    images = [outer]
    if line:
        inner = Image.new("L", outer.size)
        inner.paste(glyph(char, font, 0), (line, line))
        images.append(inner)
    box = outer.getbbox() or (0, 0, 1, 1)
    wide, high = box[2] - box[0], box[3] - box[1]
    angle = np.radians(rng.uniform(-12, 12)) if rng.random() < 0.5 else 0.0
    cos, sin = np.cos(angle), np.sin(angle)
    lean = rng.uniform(-0.12, 0.25) if rng.random() < 0.15 else 0.0
    stretch = np.exp(rng.uniform(-0.18, 0.18)) if rng.random() < 0.3 else 1.0
    forward = np.array([[cos, -sin], [sin, cos]]) @ np.array([[stretch, -lean], [0.0, 1.0]])  # glyph to picture
    extent = np.abs(forward) @ (wide, high)
    if rng.random() < 0.5:  # as type of one size is set: small letters are smaller
        size = rng.uniform(0.45, 1.15) * CANVAS / GLYPH
    else:
        size = rng.uniform(0.35, 0.95) * CANVAS / extent.max()
    size = min(max(size, 0.25 * CANVAS / extent.max()), 0.95 * CANVAS / extent.max())
    backward = np.linalg.inv(forward * size)
    centre = np.array(placed(rng, *(extent * size)))
    start = np.array([box[0] + wide / 2, box[1] + high / 2]) - backward @ centre
    matrix = (*backward[0], start[0], *backward[1], start[1])
    return [i.transform((CANVAS, CANVAS), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR) for i in images]


def polygon(sides: int, inner: float = 0) -> np.ndarray:
    """Corners on a circle; with an inner radius, the points of a star."""
    count = sides * 2 if inner else sides
    angles = np.arange(count) * 2 * np.pi / count - np.pi / 2
    radii = np.where(np.arange(count) % 2, inner, 1.0) if inner else np.ones(count)
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], 1)


def arc(start: float, end: float, count: int = 48) -> np.ndarray:
    angles = np.radians(np.linspace(start, end, count))
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def outline(rng: Rng, name: str) -> np.ndarray:
    """The corners of a shape, (P, 2), upright, of any size; shapes of one name differ in proportion."""
    u = rng.random
    if name in ("circle", "ring"):
        return arc(0, 360, 72)
    if name == "oval":
        return arc(0, 360, 72) * (1, rng.uniform(0.45, 0.74))
    if name == "square":
        return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (1, rng.uniform(0.96, 1.04))
    if name == "rectangle":
        flat, tall = (1, rng.uniform(0.38, 0.7)), (rng.uniform(0.38, 0.7), 1)
        return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (flat if u() < 0.65 else tall)
    if name == "triangle":
        kind = u()
        if kind < 0.45:
            return polygon(3)
        tip = 0.0 if kind < 0.75 else rng.uniform(-1, 1)
        return np.array([(tip, -1), (1, 1), (-1, 1)]) * (1, rng.uniform(0.6, 1.25))
    if name == "star":
        points = 5 if u() < 0.85 else int(rng.choice([4, 6, 7, 8]))
        return polygon(points, rng.uniform(0.35, 0.52) if points > 4 else rng.uniform(0.25, 0.42))
    if name == "heart":
        t = np.linspace(0, 2 * np.pi, 64)
        if u() < 0.6:
            y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
            return np.stack([16 * np.sin(t) ** 3, -y], 1) * (1, rng.uniform(0.9, 1.15))
        lobes = np.concatenate([arc(160, 360, 24) * 0.52 + (-0.5, -0.4), arc(180, 380, 24) * 0.52 + (0.5, -0.4)])
        return np.concatenate([lobes, [(0, rng.uniform(0.8, 1.05))]])
    if name == "diamond":
        return polygon(4) * (rng.uniform(0.55, 1.0) if u() < 0.8 else rng.uniform(1.1, 1.5), 1)
    if name in ("pentagon", "hexagon", "octagon"):
        turn = {"pentagon": 0.0, "hexagon": np.pi / 6 * (u() < 0.5), "octagon": np.pi / 8}[name]
        cos, sin = np.cos(turn), np.sin(turn)
        corners = polygon({"pentagon": 5, "hexagon": 6, "octagon": 8}[name])
        turned: np.ndarray = corners @ np.array([[cos, sin], [-sin, cos]])
        return turned
    if name == "cross":
        w = rng.uniform(0.14, 0.42)
        right = [(-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w), (w, 1)]
        corners = np.array([*right, (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w)])
        if u() < 0.15:  # the Latin cross
            corners[:, 0] *= 0.85
            corners[6:8, 1] = rng.uniform(1.5, 1.8)
        return corners
    if name == "arrow":
        w, h, neck = rng.uniform(0.12, 0.34), rng.uniform(0.55, 0.85), rng.uniform(-0.1, 0.4)
        corners = np.array([(-1, -w), (neck, -w), (neck, -h), (1, 0), (neck, h), (neck, w), (-1, w)])
        return corners[:, [(0, 1), (1, 0)][u() < 0.35]] * (-1 if u() < 0.4 else 1)
    if name == "crescent":
        bite = rng.uniform(0.78, 1.0)  # radius of the circle that is taken away
        shift = rng.uniform(0.35, 0.6)
        x = (1 - bite**2 + shift**2) / (2 * shift)
        y = max(1 - x**2, 0.0) ** 0.5
        outer = np.degrees(np.arctan2(y, x))
        inner = np.degrees(np.arctan2(y, x - shift))
        corners = np.concatenate([arc(outer, 360 - outer), arc(360 - inner, inner) * bite + (shift, 0)])
        return corners * ((1 if u() < 0.5 else -1), 1)
    if name == "semicircle":
        return arc(180, 360)
    if name == "trapezoid":
        top = rng.uniform(0.35, 0.68)
        flip = 1 if u() < 0.75 else -1
        return np.array([(-top, -1), (top, -1), (1, 1), (-1, 1)]) * (1, flip * rng.uniform(0.45, 0.8))
    if name == "spiral":
        turns = np.linspace(0.15, rng.uniform(2.2, 4.0), 110)
        angles = turns * 2 * np.pi * (1 if u() < 0.5 else -1)
        return np.stack([np.cos(angles), np.sin(angles)], 1) * turns[:, None]
    raise ValueError(f"no shape '{name}'")


def shape_masks(rng: Rng, name: str, *, hollow: bool | None = None) -> list[Image.Image]:
    """A shape somewhere in the picture: what is inked first, and then, if it has an outline, what is inside."""
    corners = outline(rng, name)
    most = TURN[name] if rng.random() < 0.6 else 0
    angle = np.radians(rng.uniform(-most, most))
    cos, sin = np.cos(angle), np.sin(angle)
    corners = corners @ np.array([[cos, sin], [-sin, cos]])
    corners = corners - (corners.max(0) + corners.min(0)) / 2
    extent = np.ptp(corners, axis=0)
    # A square as large as the picture is a plain colour.
    size = rng.uniform(0.35, 0.80 if name in ("square", "rectangle") else 0.95) * CANVAS
    if hollow is None:
        hollow = rng.random() < (0.15 if name in HOLLOW_SELDOM else 0.35)
    line = 0.0
    if name == "spiral":
        line = rng.uniform(0.025, 0.06) * size
    elif hollow and name not in HOLLOW_NEVER:
        line = size * rng.uniform(0.02, 0.05 if name in HOLLOW_SELDOM else 0.09)
    corners = corners * ((size - line) / extent.max())
    centre = placed(rng, *(np.ptp(corners, axis=0) + line))
    points = [(float(x), float(y)) for x, y in corners + centre]
    mask = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(mask)
    if name == "spiral":
        draw.line(points, 255, round(line), joint="curve")
        return [mask]
    draw.polygon(points, 255)
    if name == "ring":
        inside = [(float(x), float(y)) for x, y in corners * (1 - 2 * rng.uniform(0.10, 0.3)) + centre]
        draw.polygon(inside, 0)
    if not line:
        return [mask]
    inner = mask.copy()
    around = Image.new("L", (CANVAS, CANVAS))
    ImageDraw.Draw(around).line([*points, points[0], points[1]], 255, max(round(line), OVER), joint="curve")
    return [ImageChops.lighter(mask, around), ImageChops.subtract(inner, around)]


def blob_masks(rng: Rng) -> list[Image.Image]:
    """One to three things of no particular shape."""
    mask = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(mask)
    count = int(rng.choice([1, 1, 1, 2, 3]))
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    for _ in range(count):
        waves = sum(rng.uniform(0, 0.3) / k * np.cos(k * angles + rng.uniform(0, 6)) for k in (1, 2, 3, 4, 5))
        radius = (1 + waves) * rng.uniform(0.22, 0.42) * CANVAS / count**0.5
        corners = np.stack([np.cos(angles) * radius, np.sin(angles) * radius * rng.uniform(0.6, 1)], 1)
        corners = corners + placed(rng, *np.ptp(corners, axis=0))
        draw.polygon([(float(x), float(y)) for x, y in corners], 255)
    return [mask]


# --- pictures: (80, 80, 3) uint8 ---


def painted(rng: Rng, masks: Sequence[Image.Image], surface: np.ndarray, inks: Sequence[Colour]) -> np.ndarray:
    """Lay the masks on a surface one after the other, each in its ink, and finish the picture."""
    for mask, ink in zip(masks, inks, strict=True):
        cover = np.asarray(mask.reduce(OVER), np.float32)[..., None] / 255
        shade = ink if rng.random() < 0.85 else ink + (slope(rng) - 0.5) * np.float32(rng.uniform(10, 36))
        surface = surface + (shade - surface) * cover
    return finished(rng, surface)


def finished(rng: Rng, surface: np.ndarray) -> np.ndarray:
    """Round to bytes; now and then blurred, or as if it had been a small picture before, or noisy."""
    kind = rng.random()
    if kind > 0.94:
        surface = surface + rng.normal(0, rng.uniform(2, 9), surface.shape).astype(np.float32)
    pixels = np.clip(surface + 0.5, 0, 255).astype(np.uint8)
    if kind < 0.12:
        small = int(rng.integers(26, 60))
        image = Image.fromarray(pixels).resize((small, small), Image.Resampling.BOX)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    if kind < 0.20:
        return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.6))))
    return pixels


def inside(rng: Rng, masks: Sequence[Image.Image], surface: np.ndarray, ink: Colour) -> list[Colour | np.ndarray]:
    """The ink, and for what is inside an outline: the background again, or another colour."""
    if len(masks) == 1:
        return [ink]
    if rng.random() < 0.65:
        return [ink, surface]
    return [ink, backing(rng, ink, False, 150)]


def letter(rng: Rng, char: str, font: Path) -> np.ndarray:
    """A letter or digit in some ink on some background; the case is the caller's."""
    masks = letter_masks(rng, char, font)
    ink = some_ink(rng)
    surface = background(rng, ink, apart=240)
    return painted(rng, masks, surface, inside(rng, masks, surface, ink))


def shape(rng: Rng, name: str, colour: str | None = None) -> np.ndarray:
    """A shape in a colour; if none is named, in any, filled or as an outline."""
    if colour is not None:
        return thing(rng, shape_masks(rng, name, hollow=None if rng.random() < 0.5 else False), colour)
    masks = shape_masks(rng, name)
    ink = some_ink(rng) if rng.random() < 0.4 else any_colour(rng)
    surface = background(rng, ink)
    return painted(rng, masks, surface, inside(rng, masks, surface, ink))


def thing(rng: Rng, masks: Sequence[Image.Image], name: str) -> np.ndarray:
    """Something of a colour on white, black or gray; an outlined thing is filled, its outline black or white."""
    ink = named_colour(rng, name)
    surface = background(rng, ink, neutral=True, apart=55 if name == "beige" else 90)
    if len(masks) == 1:
        return painted(rng, masks, surface, [ink])
    if rng.random() < 0.4:
        return painted(rng, masks, surface, [ink, surface])
    return painted(rng, masks, surface, [backing(rng, ink, True, 200), ink])


def colour(rng: Rng, name: str) -> np.ndarray:
    """A picture that is one colour: flat, shaded, noisy, cloth, darker to the corners, or inside a thin border."""
    pale = name in PALE
    shade = named_colour(rng, name)
    surface = plain(shade)
    kind = rng.random()
    if kind < 0.20:
        box = some_box(rng, name)
        shade, other = named_colour(rng, name, box), named_colour(rng, name, box)
        surface = plain(shade) + (other - shade) * slope(rng)
    elif kind < 0.34:
        surface = surface + grain(rng, rng.uniform(2, 8 if pale else 14), int(rng.choice([1, 1, 2, 4])))
    elif kind < 0.46:
        surface = surface + weave(rng, rng.uniform(3, 7 if pale else 12))
    elif kind < 0.56:
        surface = surface * (1 - RADIUS[..., None] * np.float32(rng.uniform(0.02, 0.04 if pale else 0.14)))
    if rng.random() < 0.2:
        mask = Image.new("L", (CANVAS, CANVAS))
        left, top, right, bottom = rng.integers(4, CANVAS * 7 // 100, 4).tolist()
        ImageDraw.Draw(mask).rectangle((left, top, CANVAS - right, CANVAS - bottom), fill=255)
        frame = named_colour(rng, "white" if rng.random() < 0.6 else "gray")
        cover = np.asarray(mask.reduce(OVER), np.float32)[..., None] / 255
        surface = frame + (surface - frame) * cover
    return finished(rng, surface)


# --- sets ---


def class_names(kind: str = KINDS[0]) -> list[str]:
    """What the pictures of a kind are called."""
    if kind == "coloured shapes":
        return [f"{tone} {form}" for tone in COLOURS for form in SHAPES]
    if kind == "colours of things":
        return list(COLOURS)
    if kind == "simple":
        return [*(f"letter {c}" for c in LETTERS), *(f"digit {c}" for c in DIGITS), *SHAPES, *COLOURS]
    raise ValueError(f"no kind '{kind}'; one of {', '.join(KINDS)}")


def picture(rng: Rng, name: str, kind: str, fonts: Sequence[Sequence[Path]]) -> np.ndarray:
    """One picture of a name; `fonts` are families, each a list of files."""
    if kind == "coloured shapes":
        tone, form = name.split()
        return shape(rng, form, tone)
    if kind == "colours of things":
        which = rng.random()
        if which < 0.45:
            return shape(rng, SHAPES[rng.integers(len(SHAPES))], name)
        if which < 0.75:
            return thing(rng, blob_masks(rng), name)
        return thing(rng, letter_masks(rng, *written(rng, str(rng.choice(list(LETTERS + DIGITS))), fonts)), name)
    word, _, char = name.partition(" ")
    if char:
        return letter(rng, *written(rng, char, fonts))
    return colour(rng, word) if word in REGIONS else shape(rng, word)


def written(rng: Rng, char: str, fonts: Sequence[Sequence[Path]]) -> tuple[str, Path]:
    """A letter in upper or lower case, and a face of some family; a lower-case l looks like an I, so it is rare."""
    files = fonts[int(rng.integers(len(fonts)))]
    if rng.random() < (0.9 if char == "l" else 0.5):
        char = char.upper()
    return char, files[int(rng.integers(len(files)))]


def drawn_set(
    counts: Mapping[str, int], kind: str, fonts: Sequence[Sequence[Path]], seed: int
) -> tuple[np.ndarray, list[str]]:
    """Pictures (N, 80, 80, 3) uint8 and their names, name after name."""
    names = [name for name, count in counts.items() for _ in range(count)]
    pixels = np.empty((len(names), SIDE, SIDE, 3), np.uint8)
    numbers = (number for count in counts.values() for number in range(count))
    for row, (name, number) in enumerate(zip(names, numbers, strict=True)):
        rng = np.random.default_rng([seed, zlib.crc32(f"{kind}/{name}".encode()), number])
        pixels[row] = picture(rng, name, kind, fonts)
    return pixels, names


def draw_all(
    count: int | Mapping[str, int], fonts: Iterable[Path], seed: int, kind: str = KINDS[0]
) -> tuple[np.ndarray, list[str]]:
    """Training pictures of a kind, so many of every name; letters in trained families only.

    count    pictures of every name, or of each name that is given
    fonts    files as `font_files` gives them; those of held-out families are left alone
    kind     "simple": 'letter a', 'digit 0', 'circle', 'red'; "coloured shapes": 'red circle';
             "colours of things": coloured things on white, black or gray, named 'red'
    returns  (N, 80, 80, 3) uint8, and N names
    """
    counts = dict.fromkeys(class_names(kind), count) if isinstance(count, int) else count
    return drawn_set(counts, kind, families(fonts), seed)


def held_out(fonts: Iterable[Path], seed: int, count: int = 40, kind: str = KINDS[0]) -> tuple[np.ndarray, list[str]]:
    """Test pictures, `count` of every name: letters in held-out families only, everything drawn from another seed."""
    tested = [files for files in families(fonts, held_out=True) if not family(files[0]).startswith(LIKE_TRAINED)]
    return drawn_set(dict.fromkeys(class_names(kind), count), kind, tested, seed + 1_000_003)


def sheet(pixels: np.ndarray, columns: int) -> Image.Image:
    """All pictures on one, row after row."""
    rows = -(-len(pixels) // columns)
    tiles = np.full((rows * columns, SIDE + 4, SIDE + 4, 3), 90, np.uint8)
    tiles[: len(pixels), 2:-2, 2:-2] = pixels
    tiles = tiles.reshape(rows, columns, SIDE + 4, SIDE + 4, 3).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(np.ascontiguousarray(tiles.reshape(rows * (SIDE + 4), columns * (SIDE + 4), 3)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a sheet of examples, a row for every name.")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0])
    parser.add_argument("--held-out", action="store_true", help="the test pictures instead of the training ones")
    parser.add_argument("--count", type=int, default=20, help="pictures of every name")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    fonts = font_files()
    trained, tested = families(fonts), families(fonts, held_out=True)
    print(f"{len(fonts)} faces, {len(trained)} families to train on, {len(tested)} held out")
    if args.held_out:
        pixels, _ = held_out(fonts, args.seed, args.count, args.kind)
    else:
        pixels, _ = draw_all(args.count, fonts, args.seed, args.kind)
    sheet(pixels, args.count).save(args.out)


if __name__ == "__main__":
    main()
