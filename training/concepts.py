"""What the encoder is taught to name: concepts, their synonyms, their broader words, and their prompts.

A concept is one direction in the embedding space. Its first name is the one under which a data set or the
bank of CLIP text embeddings knows it; the other names mean the same thing. Digits written by hand and
digits shown by hand are two concepts each, "the digit two" and "hand sign for two".
"""

import numpy as np

from annotate.prompts import CLIP7

ALIKE = 0.4  # cosine of two base vectors above which the names may mean one image
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

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

# Every template of annotate/prompts.py for ordinary names, the seven published with CLIP among them, and
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
    "a photo of many {name}",
    "a drawing of {a} {name}",
)

# Groups of names for one thing. The first that a data set or the bank uses names the concept.
SYNONYMS = (
    ("automobile", "car", "motor car", "auto", "passenger car"),
    ("airplane", "plane", "aeroplane", "aircraft", "airliner", "jet"),
    ("ship", "vessel", "boat", "big boat"),
    ("cat", "kitten", "house cat", "kitty"),
    ("dog", "puppy", "pet dog", "doggy"),
    ("horse", "pony", "stallion"),
    ("deer", "stag", "doe"),
    ("frog", "toad"),
    ("bird", "wild bird", "songbird"),
    ("truck", "lorry", "trucks"),
    ("bike", "motorcycle", "motorbike", "motorcycles"),
    ("juggernaut", "heavy truck", "semi truck", "articulated lorry"),
    ("minibus", "van", "minivan"),
    ("pickup", "pickup truck", "pick-up truck"),
    ("zucchini", "courgette"),
    ("aubergine", "eggplant"),
    ("satsumas", "satsuma", "mandarin orange", "mandarin", "tangerine", "clementine"),
    ("red beet", "beetroot", "beet", "beets"),
    ("carrots", "carrot"),
    ("orange", "orange fruit", "oranges"),
    ("red grapefruit", "grapefruit"),
    ("kiwi", "kiwi fruit", "kiwifruit"),
    ("pepper", "capsicum", "sweet pepper", "peppers"),
    ("passion fruit", "passionfruit"),
    ("chihuahua dog", "chihuahua"),
    ("german shepherd dog", "german shepherd", "alsatian"),
    ("labrador retriever dog", "labrador retriever", "labrador"),
    ("yorkshire terrier dog", "yorkshire terrier"),
    ("golden retriever dog", "golden retriever"),
    ("standard poodle dog", "standard poodle", "poodle"),
    ("tabby cat", "tabby"),
    ("atm cash machine", "cash machine", "atm"),
    ("alpine mountain", "alp"),
    ("banister", "bannister", "handrail"),
    ("bighorn sheep", "bighorn", "mountain sheep"),
    ("black widow spider", "black widow"),
    ("tarantula spider", "tarantula"),
    ("brass memorial plaque", "brass"),
    ("confectionery candy store", "confectionery", "candy store", "sweet shop"),
    ("construction crane", "crane"),
    ("convertible car", "convertible"),
    ("fishing reel", "reel"),
    ("fly insect", "fly", "housefly"),
    ("freight train car", "freight car"),
    ("gas mask", "gasmask"),
    ("meatloaf", "meat loaf"),
    ("monarch butterfly", "monarch"),
    ("pay phone", "pay-phone", "telephone box"),
    ("pipe organ", "organ"),
    ("plate of food", "plate", "meal", "dish of food"),
    ("pot pie", "potpie"),
    ("priest vestment", "vestment"),
    ("projectile missile", "projectile", "missile"),
    ("red panda", "lesser panda"),
    ("rickshaw", "jinrikisha"),
    ("seashore beach", "seashore", "beach"),
    ("soda bottle", "pop bottle"),
    ("station wagon", "beach wagon", "estate car"),
    ("stick insect", "walking stick"),
    ("thatched roof", "thatch"),
    ("toilet plunger", "plunger"),
    ("wooden chest", "chest"),
    ("sunglasses", "shades"),
    ("refrigerator", "fridge"),
    ("frying pan", "skillet"),
    ("cougar", "puma", "mountain lion"),
    ("ladybug", "ladybird"),
    ("hog", "pig"),
    ("ox", "bull"),
    ("trash", "garbage", "rubbish", "litter", "waste"),
    ("pants", "trousers"),
    ("t-shirt", "tee shirt", "tee"),
    ("shoes", "shoe", "footwear"),
    ("outerwear jacket", "jacket", "coat", "outerwear"),
    ("baby bodysuit", "onesie", "baby onesie"),
    ("hoodie", "hooded sweatshirt"),
    ("polo", "polo shirt"),
    ("inside city", "inner city", "city"),
    ("tall building", "skyscraper", "high-rise"),
    ("highway", "motorway", "freeway"),
    ("open country", "countryside", "fields"),
    ("suburb", "suburban house", "suburban houses"),
    ("industrial", "factory", "industrial plant"),
    ("store", "shop"),
    ("coast", "seaside"),
    ("forest", "woods", "woodland"),
    ("living room", "lounge"),
)

# Broader word: what it covers. An image of a thing on the right is also, truly, an image of the word on the
# left, so the pair is never a negative, and now and then the broader word is what is taught.
BROADER = {
    "dog": "chihuahua dog|german shepherd dog|labrador retriever dog|yorkshire terrier dog|"
    "golden retriever dog|standard poodle dog",
    "cat": "egyptian cat|persian cat|tabby cat",
    "bird": "albatross|black stork|goose|king penguin",
    "frog": "bullfrog|tailed frog",
    "deer": "gazelle",
    "automobile": "convertible car|limousine|sports car|station wagon",
    "truck": "moving van|juggernaut|pickup",
    "ship": "lifeboat|gondola",
    "bus": "school bus|trolleybus|minibus",
    "train": "bullet train|freight train car",
    "fish": "goldfish",
    "insect": "bee|cockroach|dragonfly|fly insect|grasshopper|ladybug|mantis|monarch butterfly|"
    "stick insect|sulphur butterfly",
    "butterfly": "monarch butterfly|sulphur butterfly",
    "spider": "black widow spider|tarantula spider",
    "reptile": "american alligator|boa constrictor",
    "snake": "boa constrictor",
    "bear": "brown bear|koala",
    "monkey": "baboon|chimpanzee|orangutan",
    "elephant": "african elephant",
    "lobster": "american lobster|spiny lobster",
    "sheep": "bighorn sheep",
    "cattle": "ox|bison",
    "animal": "dog|cat|bird|frog|deer|horse|fish|insect|spider|reptile|bear|monkey|elephant|sheep|cattle|"
    "lion|cougar|camel|hog|guinea pig|red panda|dugong|gazelle|lobster|european fire salamander|scorpion|"
    "centipede|snail|slug|sea slug|sea cucumber|jellyfish|brain coral|trilobite",
    "vehicle": "automobile|truck|bus|train|bike|minibus|pickup|juggernaut|go-kart|tractor|police van|"
    "rickshaw|lawn mower",
    "fruit": "apple|avocado|banana|kiwi|lemon|lime|mango|melon|nectarine|orange|papaya|passion fruit|peach|"
    "pear|pineapple|plum|pomegranate|red grapefruit|satsumas",
    "vegetable": "asparagus|aubergine|cabbage|carrots|cucumber|garlic|ginger|leek|onion|pepper|potato|"
    "red beet|tomato|zucchini|cauliflower|bell pepper|mushroom",
    "food": "fruit|vegetable|guacamole|ice cream|mashed potato|meatloaf|pizza|plate of food|popsicle|"
    "pot pie|pretzel|espresso",
    "furniture": "desk|dining table|rocking chair|wooden chest|refrigerator",
    "clothing": "academic gown|apron|bikini|bow tie|cardigan|christmas stocking|fur coat|kimono|"
    "military uniform|miniskirt|poncho|priest vestment|sandal|sock|sombrero|swimming trunks|baby bodysuit|"
    "blazer|blouse|dress|hat|hoodie|long-sleeve top|outerwear jacket|pants|polo|shirt|shoes|shorts|skirt|"
    "t-shirt|top|undershirt",
    "footwear": "shoes|sandal",
    "building": "barn|lighthouse|thatched roof|cliff dwelling|water tower|triumphal arch|tall building|"
    "suburb|barbershop|butcher shop|confectionery candy store",
    "bridge": "steel arch bridge|suspension bridge|viaduct",
    "musical instrument": "oboe|pipe organ|drumstick",
    "ball": "basketball|rugby ball|volleyball",
    "bottle": "beer bottle|soda bottle|pill bottle|water jug",
    "house": "suburb",
    "pepper": "bell pepper",
    "mountain": "alpine mountain",
    "store": "barbershop|butcher shop|confectionery candy store",
    "coast": "seashore beach",
    "skirt": "miniskirt",
    "hat": "sombrero",
    "outerwear jacket": "fur coat",
}

# Names that may describe one image at once although neither covers the other: never negatives.
COMPATIBLE = (
    "glass|metal|paper|plastic|trash|cardboard|beer bottle|soda bottle|pill bottle|water jug|comic book|"
    "bucket|chain|nail|barrel|bottle|beaker|torch|syringe",
    "coast|mountain|open country|lakeside|cliff|seashore beach|alpine mountain|forest|dam|coral reef",
    "highway|street|inside city|tall building|suburb|industrial|steel arch bridge|suspension bridge|"
    "viaduct|triumphal arch|fountain|obelisk|parking meter|trolleybus|school bus|turnstile|water tower|"
    "barn|lighthouse|automobile|truck|building|house|vehicle|construction crane|flagpole|pole|crane",
    "kitchen|living room|bedroom|office|store|desk|dining table|refrigerator|wok|frying pan|teapot|"
    "computer keyboard|rocking chair|lampshade|banister|space heater|barbershop|butcher shop|"
    "confectionery candy store|furniture",
    "baby bodysuit|blazer|blouse|dress|hat|hoodie|long-sleeve top|outerwear jacket|pants|polo|shirt|shoes|"
    "shorts|skirt|t-shirt|top|undershirt|cardigan|fur coat|bikini|miniskirt|kimono|poncho|apron|"
    "military uniform|academic gown|swimming trunks|sandal|sock|clothing|footwear|christmas stocking|"
    "sombrero",
    "automobile|truck|bike|minibus|pickup|juggernaut|moving van|police van|sports car|convertible car|"
    "station wagon|limousine|bus|vehicle|school bus|trolleybus|go-kart|tractor",
    "orange|satsumas|red grapefruit|lemon|lime",
    "bell pepper|pepper",
    "peach|nectarine|plum|apple",
    "deer|gazelle|camel|bison|ox|horse|bighorn sheep",
    "ship|lifeboat|gondola|dam|lakeside",
)


def canonical(name: str) -> str:
    """Lower case, spaces for underscores, no LVIS-style remark in brackets."""
    return name.replace("_", " ").split(" (")[0].split("(")[0].strip().lower()


def article(name: str) -> str:
    return "an" if name[:1] in "aeiou" else "a"


class Concepts:
    """Every concept with its names, the names' base vectors, and which pairs must not be negatives.

    names      one tuple of names per concept; index c
    base       (C, D) float32, unit rows: projected CLIP text embedding, zero where CLIP's is not known
    covers     (C, C) bool: row is the broader word of column, or the same
    related    (C, C) bool, symmetric: broader words and compatible names
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
        self.base = self._project(bank, dimensions)
        self.covers = self._coverage()
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
        norms = np.linalg.norm(base, axis=1, keepdims=True)
        unit: np.ndarray = base / np.maximum(norms, 1e-6)
        return unit

    def _coverage(self) -> np.ndarray:
        covers = np.eye(len(self), dtype=np.float32)
        for broader, parts in BROADER.items():
            for part in parts.split("|"):
                covers[self.index[broader], self.index[part]] = 1
        for _ in range(3):  # a breed is a dog is an animal
            covers = np.minimum(covers @ covers, 1)
        reached: np.ndarray = covers > 0
        return reached

    def _relations(self) -> np.ndarray:
        related: np.ndarray = self.covers | self.covers.T
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
        return [t.format(name=n, a=article(n)) for n in self.names[c] for t in TEMPLATES]
