"""Random views of the training images, made for a whole batch at a time with one resampling.

Photos are cropped, turned a little, mirrored where that keeps the class, coarsened, recoloured, greyed and
partly covered. Handwritten digits are moved, inverted and coarsened, as far down as 8x8 counts of ink.
"""

import torch
from torch import Tensor
from torch.nn import functional


def uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    return torch.rand(n, generator=rng) * (high - low) + low


def chance(n: int, probability: float, rng: torch.Generator) -> Tensor:
    return torch.rand(n, generator=rng) < probability


def photos(pixels: Tensor, side: int, *, mirror: bool, smallest: float, rng: torch.Generator) -> Tensor:
    """(B, S, S, 3) uint8 to (B, 3, side, side) float32 in [0, 1].

    smallest   the least share of the area that a crop keeps
    """
    images = crop(pixels, side, mirror=mirror, smallest=smallest, rng=rng)
    return cover(recolour(images, rng), rng)


def crop(pixels: Tensor, side: int, *, mirror: bool, smallest: float, rng: torch.Generator) -> Tensor:
    """A part of each image, turned a little, perhaps mirrored, perhaps coarsened; colours stay, as drawings need."""
    b = len(pixels)
    images = pixels.permute(0, 3, 1, 2).float().div_(255)
    area = uniform(b, smallest, 1.0, rng)
    stretch = torch.exp(uniform(b, -0.22, 0.22, rng))
    width, height = (area * stretch).sqrt().clamp(max=1), (area / stretch).sqrt().clamp(max=1)
    angle = torch.where(chance(b, 0.5, rng), uniform(b, -0.2, 0.2, rng), torch.zeros(b))  # radians
    across = torch.where(chance(b, 0.5, rng), -1.0, 1.0) if mirror else torch.ones(b)
    affine = torch.zeros(b, 2, 3)
    affine[:, 0, 0], affine[:, 0, 1] = width * angle.cos() * across, -height * angle.sin()
    affine[:, 1, 0], affine[:, 1, 1] = width * angle.sin() * across, height * angle.cos()
    affine[:, 0, 2] = (1 - width) * uniform(b, -1, 1, rng)
    affine[:, 1, 2] = (1 - height) * uniform(b, -1, 1, rng)
    grid = functional.affine_grid(affine, [b, 3, side, side], align_corners=False)
    images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    coarse = chance(b, 0.15, rng)
    if coarse.any():
        small = functional.interpolate(images[coarse], size=32, mode="bicubic", antialias=True)
        images[coarse] = functional.interpolate(small, size=side, mode="bicubic", antialias=True).clamp(0, 1)
    return images


def recolour(images: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and a colour cast as one 3x3 matrix per image; some turn grey."""
    b = len(images)
    brightness, contrast = uniform(b, 0.7, 1.3, rng), uniform(b, 0.7, 1.3, rng)
    saturation = torch.where(chance(b, 0.1, rng), torch.zeros(b), uniform(b, 0.6, 1.4, rng))
    cast = uniform(3 * b, 0.94, 1.06, rng).view(b, 3)
    luma = torch.tensor([0.299, 0.587, 0.114])
    matrix = torch.eye(3) * saturation.view(b, 1, 1) + luma.view(1, 1, 3) * (1 - saturation).view(b, 1, 1)
    matrix = matrix * (brightness * contrast).view(b, 1, 1) * cast.unsqueeze(2)
    middle = images.mean(dim=(1, 2, 3)) * brightness * (1 - contrast)
    coloured = torch.baddbmm(middle.view(b, 1, 1), matrix, images.flatten(2))
    return coloured.view_as(images).clamp_(0, 1)


def cover(images: Tensor, rng: torch.Generator) -> Tensor:
    """Grey squares of a fifth to near half of the side over a quarter of the images."""
    side = images.shape[-1]
    for i in chance(len(images), 0.25, rng).nonzero().flatten().tolist():
        share, down, across = uniform(3, 0, 1, rng).tolist()
        size, top, left = (round(length * side) for length in (0.19 + 0.25 * share, down - 0.12, across - 0.12))
        images[i, :, max(top, 0) : top + size, max(left, 0) : left + size] = 0.45
    return images


def digits(pixels: Tensor, side: int, rng: torch.Generator) -> Tensor:
    """(B, 28, 28, 3) uint8 handwritten digits, white on black, to (B, 3, side, side) float32 in [0, 1].

    A third stay as they were scanned, a third are coarsened to 9 to 20 pixels, and a third are made as the
    UCI digits were: the digit fills a 32x32 bitmap, of which 4x4 blocks are counted (0 to 16).
    """
    b = len(pixels)
    images = pixels[..., 0].float().div_(255).unsqueeze(1)
    kind = torch.randint(3, (b,), generator=rng)
    angle, shear = uniform(b, -0.2, 0.2, rng), uniform(b, -0.2, 0.2, rng)
    ink = images[:, 0] > 0.3
    rows, columns = ink.any(dim=2).float(), ink.any(dim=1).float()
    steps = torch.arange(28)
    top, bottom = rows.argmax(1), (rows * steps).argmax(1)
    left, right = columns.argmax(1), (columns * steps).argmax(1)
    height, width = (bottom - top + 1) / 28, (right - left + 1) / 28
    tight = kind == 2
    down = torch.where(tight, height * uniform(b, 0.95, 1.12, rng), uniform(b, 0.8, 1.25, rng))
    square, loose = height * uniform(b, 0.8, 1.25, rng), down * uniform(b, 0.85, 1.15, rng)
    across = torch.where(tight, torch.maximum(square, width), loose)
    affine = torch.zeros(b, 2, 3)
    affine[:, 0, 0], affine[:, 0, 1] = across * angle.cos(), down * (shear - angle.sin())
    affine[:, 1, 0], affine[:, 1, 1] = across * angle.sin(), down * angle.cos()
    affine[:, 0, 2] = torch.where(tight, (left + right + 1) / 28 - 1, uniform(b, -0.15, 0.15, rng))
    affine[:, 1, 2] = torch.where(tight, (top + bottom + 1) / 28 - 1, uniform(b, -0.15, 0.15, rng))
    views = torch.empty(b, 1, side, side)
    for i in range(b):
        size = (28, int(torch.randint(9, 21, (), generator=rng)), 8)[int(kind[i])]
        fine = 32 if size == 8 else 56
        grid = functional.affine_grid(affine[i : i + 1], [1, 1, fine, fine], align_corners=False)
        view = functional.grid_sample(
            images[i : i + 1], grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        if size == 8:
            bitmap = (view > float(uniform(1, 0.25, 0.65, rng))).float()
            view = functional.avg_pool2d(bitmap, 4)
        else:
            view = functional.interpolate(view, size=size, mode="area")
        views[i] = functional.interpolate(view, size=(side, side), mode="bicubic", antialias=True)[0]
    views = views.clamp_(0, 1) * uniform(b, 0.8, 1.0, rng).view(b, 1, 1, 1)
    views = torch.where(chance(b, 0.2, rng).view(b, 1, 1, 1), 1 - views, views)
    views = views + torch.randn(views.shape, generator=rng) * uniform(b, 0, 0.03, rng).view(b, 1, 1, 1)
    return views.clamp_(0, 1).expand(b, 3, side, side)
