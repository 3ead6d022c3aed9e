"""Transduction: label all images together, so that each one's label also depends on the others.

Three things vote on the label of an image: how near the words of a class are, how near the images are that already have
that label, and which labels its nearest neighbours have. The votes are counted again and again until hardly a label
changes. How much each of the three counts is worked out from the images themselves.

Written out, it is expectation-maximisation of Gaussian classes with one shared metric, whose means are anchored by the
words:

    z_ik ∝ exp( λ (s x_i·t_k - b_k) + τ (κ d_ik + ℓ p³ Σ_j w_ij z_jk) - paid_ik )
                                    words; class means and neighbours; what names without proof pay (proof.py)
    d_ik = x_i·m_k - |m_k|²/2       m_k without x_i's own share of it
    m_k  = (Σ_i z_ik x_i + α a_k) / (n_k + α)            n_k = Σ_i z_ik
    a_k  = g (t_k - Σ_c π_c t_c)    the words moved among the images: centred, times the gain g that fits them
                                    to the class means by least squares; π_k = n_k / N
    κ    = 0.7 ν tr(S) / tr(S²)     S the covariance of the images in the metric: one over the variance of a typical
                                    direction, less because images differ along fewer directions than a Gaussian
    ℓ    = 4.5 ν^(-1/8)             ν = n / K, share of the names that are in use; n = exp(entropy of π)
    p    = Σ z_i·(W z)_i / Σ z_i·z_i      purity: how far neighbours agree
    τ    = p n̄ / (n̄ + 5)            trust in what images say of each other; n̄ = N / n, images of a class that is in
                                    use. With few, or where neighbours differ, words decide
    λ    ← √(λ (1 - 0.34 τ) λ*),     λ* = argmax_λ Σ_ik z_ik log softmax_k(λ (s x_i·t_k - b_k)), from the second pass
                                    on; λ = 1 before
    b_k  = a τ h_k + (1 - a) (1 - 0.34 τ) b*_k      the words' bias to a class; a the share of labels that are not
                                    zero-shot's own, 1 in the first two passes
    h_k  = r_k s (t_k·v - Σ_c r_c t_c·v / Σ_c r_c),      v = Σ_c r_c v_c / Σ_c r_c,      r_k = n_k / (n_k + α)
                                    how near a class's words are to all classes alike; v_k its images' mean
    b*   = argmax_b Σ_ik z_ik log softmax_k(λ (s x_i·t_k - b_k)) - |b|²/2       the likeliest bias given the labels

x and t are raw in the words' term; in the others they are seen in the metric, images from their mean. The metric is
Σ^(-1/4) for the covariance Σ of the images, shrunk toward a sphere (OAS, Chen et al. 2010) and scaled to keep the mean
squared length. w are the rows of the graph of 6 nearest neighbours.

The model of the classes follows TransCLIP (Zanella et al. 2024) and StatA (Zanella et al. 2025): Gaussians with a text
term and a graph, means drawn to the text. Moving the anchors among the images, leaving one out, κ, τ and λ are ours.
λ is the likeliest weight of the words given the labels so far, less a part because those labels come from the words
too: words that contradict what the images agree on lose weight.

Where few of the names are in use, the images that zero-shot gave to an absent name form a small class of their own, and
the mean of that class then attracts them. A large κ keeps them there; their neighbours win them back. So κ falls with
ν, and ℓ rises a little.

Words that are near to every image (hubs; Radovanović et al. 2010) take images from the other classes. Two numbers
correct that. h needs no labels, so it is used alone in the first passes; but it assumes that all words would be equally
near to the images of other classes. b* assumes nothing of the kind, and it also holds back names that have no images;
but it is fitted to the labels, and so repeats their errors. From the third pass on both are used: the more labels
differ from zero-shot's, which means that the images contradict the words, the more h counts. A class that has no images
takes no part in h.

N images, K classes, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotate.kernels.blocks import BLOCK, across, products, single, slices
from annotate.kernels.chances import MOST_WHOLE, Chances
from annotate.kernels.joint_images import JointImages, Totals, as_matrix
from annotate.kernels.lesson import Answers, Lesson
from annotate.kernels.proof import pay
from annotate.kernels.vectors import Doubles, Floats, Ints, Rows, unit
from annotate.kernels.zeroshot import probabilities

NEIGHBOURS = 6  # of each image; this and the next seven were chosen on real embeddings (docs/refinement.md)
SHARPNESS = 0.7  # κ in units of one over the variance of a typical direction, where all names are in use
AGREEMENT = 4.5  # ℓ where all names are in use
ABSENT = 0.125  # power of 1/ν by which ℓ rises where some are not
DOUBT = 3.0  # power of the purity: neighbours that differ lose weight faster than they differ
ANCHOR = 6.0  # α, images that the words of a class count for
FEW = 5.0  # images of a class at which they are trusted by half
DISCOUNT = 0.34  # taken off the likeliest weight of the words where images are trusted fully
LIGHTEST, HEAVIEST = 0.05, 1.5  # bounds of λ
BIASED = 1.0  # variance of a word's bias beforehand, in logits²
HUBS_FIRST = 2  # passes that use h alone; before them labels are still those of the words, and b* would repeat these
SETTLED = 0.001  # share of images; where fewer change their label in a pass, it was the last
FEWEST_PASSES = 4  # even if hardly a label changes: λ moves by small steps from where it starts


@dataclass(frozen=True)
class JointPass:
    """One pass over all images at once.

    prototypes   (K, D) the class means that it leads to; the words themselves in the zero-shot pass
    sample       (S, K) log z of a sample of the images, over s; in the zero-shot pass their cosines to the words
    counts       (K,) images of each class
    moved        images whose label is not that of the pass before
    text_weight  λ
    similarity   (n, K) as in `sample`, of any block of images
    labels       (N,)
    shares       π, (K,) mean of z
    centre       (D,) mean of the embeddings
    kept         share of the labels that are zero-shot's own
    """

    prototypes: Floats
    sample: Floats
    counts: Ints
    moved: int
    text_weight: float
    similarity: Callable[[slice], Floats]
    labels: Ints
    shares: Doubles
    centre: Doubles
    kept: float


def transduce(
    embeddings: Rows,
    texts: Floats,
    graph: Any,
    sample: Ints,
    *,
    logit_scale: float,
    iterations: int,
    balanced: bool = False,
    kept: int | None = None,
    answers: Answers | None = None,
) -> Iterator[JointPass]:
    """Label all images together: yield the zero-shot pass, then better ones until hardly a label changes.

    The last pass is the outcome.

    embeddings   (N, D) float16 or float32 unit rows, in memory or mapped
    texts        (K, D) float32 unit rows
    graph        (N, N) sparse, of `neighbour_graph`
    sample       (S,) rows, ascending, on which λ and b* are fitted; all of them where there are few
    logit_scale  s of the model
    balanced     classes are known to be of about equal size: in each pass the logits of a class all move by what makes
                 its share of the images 1 / K (Sinkhorn's scaling; Cuturi 2013)
    kept         how many shares z of each image are kept between passes, the largest; None for all
    answers      of people: such images bear them, and what they teach takes the words' place (lesson.py)
    A pass's similarity is the logarithm of z over s, its text weight λ: softmax(s · similarity) is z, but for shares
    below 1e-12, which count as none.
    """
    n, k = len(embeddings), len(texts)
    images = JointImages(embeddings, graph, sample)
    metric, temperature = images.metric, 1 / logit_scale
    origin = metric.centre @ metric.map
    t = texts.astype(np.float64) @ metric.map
    spoken = (
        None
        if kept
        else np.concatenate([*across(lambda rows: products(single(embeddings[rows]), texts), images.blocks)])
    )

    def words_alone(rows: slice) -> Floats:
        return products(single(embeddings[rows]), texts) if spoken is None else spoken[rows]

    words: Callable[[slice], Floats] = words_alone
    chances, totals, by_words = images.place(words, k, temperature, kept)
    yield JointPass(
        texts, by_words, class_counts(chances, k), 0, 1.0, words, chances.labels, totals.counts / n, metric.centre, 1.0
    )
    zero_shot, weight = chances.labels, 1.0
    lesson = Lesson.of(embeddings, texts, answers, logit_scale) if answers and len(answers.images) else None
    if lesson:
        if spoken is not None:
            spoken = np.concatenate([*across(lambda rows: lesson.words(embeddings[rows]), images.blocks)])
        words = taught_words(lesson, embeddings, spoken)
        by_words = lesson.words(embeddings[sample])
        chances, totals, _ = images.place(lesson.kept(words), k, temperature, kept)
    by_model = chances.labels
    spoke, sampled, same = np.float32(logit_scale) * by_words, by_words, 1.0
    likeliest_bias = np.zeros(k)
    for iteration in range(iterations):
        before, shares = chances, as_matrix(chances, k)
        counts = totals.counts
        sums = (totals.sums - counts[:, None] * metric.centre) @ metric.map
        anchored = sums + ANCHOR * anchors(t, counts, sums)
        fit = ClassFit.from_sums(anchored, counts, metric.map, origin)
        pure = images.purity(chances, shares, k)
        in_use = classes_in_use(counts / n)
        trusted, share = pure * abundance(n / in_use), in_use / k
        sharpness = trusted * SHARPNESS * share / metric.typical
        agreement = trusted * AGREEMENT * share**-ABSENT * pure**DOUBT
        if lesson:
            bias = trusted * lesson.hubness(spoke, probabilities(sampled, temperature), counts, ANCHOR)
        else:
            bias = trusted * logit_scale * hubness(texts, totals)
        if iteration < HUBS_FIRST:
            likeliest_bias = bias
        else:
            likeliest_bias = word_bias(spoke, probabilities(sampled, temperature), weight, start=likeliest_bias)
            bias = (1 - same) * bias + same * (1 - DISCOUNT * trusted) * likeliest_bias
        proven = None if balanced else totals.proven  # names that have their share of the images are all in use
        free = LogChances(images, words, before, shares, fit, logit_scale, weight, bias, sharpness, agreement, proven)
        similarity = evened(free, n, k, logit_scale) if balanced else free
        if lesson:
            similarity = lesson.kept(similarity)
        chances, totals, sampled = images.place(similarity, k, temperature, kept)
        moved = int((chances.labels != before.labels).sum())
        means = class_means(totals, texts, metric.centre)
        same = float((chances.labels == by_model).mean())
        counted, shares_now = class_counts(chances, k), totals.counts / n
        own = float((chances.labels == zero_shot).mean())
        yield JointPass(
            means, sampled, counted, moved, weight, similarity, chances.labels, shares_now, metric.centre, own
        )
        if moved < SETTLED * n and iteration >= FEWEST_PASSES:
            return
        if iteration:
            unbiased = spoke - bias.astype(np.float32)
            likeliest = word_weight(unbiased, probabilities(sampled, temperature), start=weight)
            weight = float(np.sqrt(weight * np.clip((1 - DISCOUNT * trusted) * likeliest, LIGHTEST, HEAVIEST)))


def taught_words(lesson: Lesson, embeddings: Rows, spoken: Floats | None) -> Callable[[slice], Floats]:
    """ℓ / s of any block of images; spoken are those of all, where they are held."""
    return lambda rows: lesson.words(embeddings[rows]) if spoken is None else spoken[rows]


@dataclass(frozen=True)
class LogChances:
    """How well each class suits each image in one pass, for any block of images.

    It is log z_ik over the logit scale, up to a constant of the image.

    words      the cosines of a block to the words, (n, K)
    before     z of the pass before, and shares as of `as_matrix`
    weight     λ
    bias       (K,) b
    sharpness  τ κ
    agreement  τ ℓ p³
    proven     (K,) how far images prove that each name is in use; None where all names are known to be
    """

    images: JointImages
    words: Callable[[slice], Floats]
    before: Chances
    shares: Any
    fit: ClassFit
    logit_scale: float
    weight: float
    bias: Doubles
    sharpness: float
    agreement: float
    proven: Doubles | None

    def __call__(self, rows: slice) -> Floats:
        mine = self.before.probabilities[rows] if self.before.classes is None else self.shares[rows].toarray()
        images = single(self.images.embeddings[rows])
        logits: Floats = np.float32(self.weight * self.logit_scale) * self.words(rows)
        logits -= (self.weight * self.bias).astype(np.float32)
        logits += np.float32(self.sharpness) * self.fit(images, mine, self.images.lengths[rows, None])
        logits += np.float32(self.agreement) * self.images.around(self.shares, rows)
        if self.proven is not None:
            pay(logits, mine, self.proven)
        logits /= np.float32(self.logit_scale)
        return logits


def class_counts(chances: Chances, k: int) -> Ints:
    return np.bincount(chances.labels, minlength=k)


def anchors(t: Doubles, counts: Doubles, sums: Doubles) -> Doubles:
    """Move the words to where the images lie, (K, D): centred, times the gain that fits them to the class means.

    sums   (K, D) of the images of each class
    """
    centred = t - counts @ t / counts.sum()
    reached = float((sums * centred).sum())
    extent = float((counts[:, None] * centred**2).sum())
    moved: Doubles = centred * max(reached / extent, 0.0) if extent > 0 else centred * 0
    return moved


@dataclass(frozen=True)
class ClassFit:
    """How well images fit the mean of each class, each image left out of the mean that it is compared with: d_ik.

    Σ = Σ_i z_ik x_i + α a_k is what a class has with its anchor; x_i·Σ is taken on the embeddings themselves, as
    e_i·(Σ map) - centre·(Σ map).

    toward   (K, D) Σ map
    offset   (K,) centre·(Σ map)
    squares  (K,) |Σ|²
    mass     (K,) n_k + α
    """

    toward: Floats
    offset: Floats
    squares: Floats
    mass: Floats

    @staticmethod
    def from_sums(anchored: Doubles, counts: Doubles, straight: Doubles, origin: Doubles) -> ClassFit:
        """From sums of the images of each class with their anchors.

        anchored  (K, D) Σ of each class
        counts    (K,) n_k
        straight  (D, D) the map of the metric
        origin    (D,) its centre, mapped
        """
        wide = anchored @ straight, anchored @ origin, np.einsum("kd,kd->k", anchored, anchored), counts + ANCHOR
        toward, offset, squares, mass = (array.astype(np.float32) for array in wide)
        return ClassFit(toward, offset, squares, mass)

    def __call__(self, embeddings: Floats, shares: Floats, lengths: Floats) -> Floats:
        """How well images fit each class mean that they had no part in, (n, K).

        shares   (n, K) z of these images
        lengths  (n, 1) |x_i|²
        """
        along = products(embeddings, self.toward) - self.offset
        own = shares * lengths
        mass = self.mass - shares
        squares = self.squares - 2 * shares * along + shares * own
        fit: Floats = (along - own) / mass - np.float32(0.5) * squares / mass**2
        return fit


def evened(
    similarity: Callable[[slice], Floats], n: int, k: int, logit_scale: float, sweeps: int = 10
) -> Callable[[slice], Floats]:
    """Shift each class so that all classes get about the same number of images.

    Where images times classes are too many to hold, the first of every few images stand for the others.
    """
    every = max(1, -(-n * k // MOST_WHOLE))
    held = np.concatenate([*across(lambda block: similarity(block)[::every], slices(n, BLOCK))])
    held *= np.float32(logit_scale)
    offsets = np.zeros(k, np.float32)
    for _ in range(sweeps):
        shares = probabilities(held + offsets, 1.0).mean(axis=0, dtype=np.float64)
        offsets -= np.log(np.maximum(shares * k, 1e-6)).astype(np.float32)
    offsets /= np.float32(logit_scale)
    return lambda rows: similarity(rows) + offsets


def abundance(images: float) -> float:
    """How far classes of n̄ images are trusted to say what they look like: n̄ / (n̄ + 5)."""
    return images / (images + FEW)


def class_size(shares: Doubles, n: int) -> float:
    """How many images a class that is in use has on average: n̄."""
    return n / classes_in_use(shares)


def classes_in_use(shares: Doubles) -> float:
    """About how many classes have images: exp(entropy of their shares).

    K where all have equally many, 1 where one has everything.
    """
    return float(np.exp(-float((shares * np.log(np.maximum(shares, 1e-300))).sum())))


def hubness(texts: Floats, totals: Totals) -> Doubles:
    """How much nearer a class's words are to the images of all classes than other words are: h_k / s, (K,).

    It is 0 for a class without images.
    """
    mass = totals.counts + ANCHOR
    present = totals.counts / mass
    near = texts @ ((1 / mass) @ totals.sums) / present.sum()
    above: Doubles = present * (near - present @ near / present.sum())
    return above


def word_bias(logits: Floats, chances: Floats, weight: float, *, start: Doubles, steps: int = 4) -> Doubles:
    """How much the words of each class draw too many images: b*, (K,).

    It is the bias that makes the labels likeliest under softmax(λ (logits - b)).

    It is drawn to 0 by a Gaussian of variance BIASED.

    Each step is Newton's for one class alone with twice its curvature, for diag(p) - p pᵀ ≼ 2 diag(p (1 - p)): with
    two classes the step would else overshoot. No step is longer than one logit.
    """
    bias = start
    target = chances.sum(axis=0, dtype=np.float64)
    for _ in range(steps):
        shares = probabilities(logits - bias.astype(np.float32), 1 / weight)
        spread = np.einsum("nk,nk->k", shares, 1 - shares).astype(np.float64)
        slope = weight * (shares.sum(axis=0, dtype=np.float64) - target) - bias / BIASED
        bias = bias + np.clip(slope / (2 * weight**2 * spread + 1 / BIASED), -1, 1)
    return bias


def word_weight(logits: Floats, chances: Floats, *, start: float, steps: int = 4) -> float:
    """How much the words should count, by the labels so far: λ*.

    It makes the labels likeliest under softmax(λ · logits), by Newton's method on a convex function.
    """
    weight = start
    target = float(np.einsum("ij,ij->", chances, logits)) / len(logits)
    for _ in range(steps):
        shares = probabilities(logits, 1 / weight)
        mean = np.einsum("ij,ij->i", shares, logits)
        spread = float((np.einsum("ij,ij->i", shares, logits**2) - mean**2).mean())
        if spread <= 1e-12:
            return weight
        step = (target - float(mean.mean())) / spread
        weight = float(np.clip(weight + np.clip(step, -weight / 2, weight), LIGHTEST, 2 * HEAVIEST / (1 - DISCOUNT)))
    return weight


def class_means(totals: Totals, texts: Floats, centre: Doubles) -> Floats:
    """The mean image of each class, (K, D) unit rows; for a class without images its words, moved among the images."""
    words = moved_words(texts, totals.counts, centre)
    return np.where(totals.counts[:, None] >= 1, unit(totals.sums), words)


def moved_words(texts: Floats, sizes: Doubles, centre: Doubles) -> Floats:
    """The words moved so that their mean, weighted by the classes' sizes, is the mean of the images; (K, D)."""
    return unit(texts - sizes @ texts / sizes.sum() + centre)
