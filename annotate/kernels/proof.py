"""Names without proof pay: where photos are few and names many, most names are of nothing that the photos show.

A name that no image needs still draws images whose own name it resembles. So each name pays in every pass what it costs
to believe that it is in use (a spike-and-slab prior; Mitchell and Beauchamp 1988), until images prove it:

    e_ik = -log(1 - z_ik)             how far image i proves that name k is in use; z of the pass before
    E_k  = Σ_i e_ik                   the proof of name k
    u    = Σ_k (1 - exp(-E_k))        names that label an image, as far as is proven
    paid = log(1 + ((K - u) / u)^1.5 · exp(-2 (E_k - e_ik)))      taken from the logit of name k for image i

No image proves its own name: e_ik is left out. A name that a few images bear surely pays nothing, so how large classes
are does not matter. Where most names are in use the odds are below one, and nearly nothing is paid.

N images, K classes.
"""

from __future__ import annotations

import numpy as np

from annotate.kernels.vectors import Doubles, Floats

ODDS = 1.5  # power of the odds that a name is absent; this and the next err toward paying little (docs/refinement.md)
PROVES = 2.0  # how fast proof ends the payment
LEAST_DOUBT = 1e-9  # 1 - z of an image that is sure; its proof is 20.7
FEWEST, MOST = 1e-6, 0.999  # bounds of u / K
NOTHING = 1e-6  # a payment below is none


def proof(shares: Floats) -> Floats:
    """How far each image proves that each name is in use: e, of the same shape as z."""
    doubt = 1 - shares
    np.maximum(doubt, np.float32(LEAST_DOUBT), out=doubt)
    proven: Floats = np.log(doubt, out=doubt)
    return np.negative(proven, out=proven)


def log_odds_of_absence(proven: Doubles) -> float:
    """The logarithm of the odds that a name is not in use, ((K - u) / u)^1.5.

    proven  (K,) E
    """
    in_use = np.clip(-np.expm1(-proven).mean(), FEWEST, MOST)
    return float(ODDS * np.log((1 - in_use) / in_use))


def pay(logits: Floats, shares: Floats, proven: Doubles) -> None:
    """Take from the logits of a block of images, (n, K), what names without proof pay, in place.

    shares  (n, K) z of these images in the pass before
    proven  (K,) E of all images
    """
    odds = log_odds_of_absence(proven)
    most = -np.log(LEAST_DOUBT)  # that an image can prove
    doubted = np.flatnonzero(odds - PROVES * (proven - most) > np.log(NOTHING))
    if not len(doubted):
        return
    others = proven[doubted].astype(np.float32) - proof(shares[:, doubted])
    logits[:, doubted] -= np.log1p(np.exp(np.float32(odds) - np.float32(PROVES) * others))
