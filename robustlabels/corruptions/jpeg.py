"""JPEG: what an image loses when it is written and read again.

The baseline standard (ITU-T T.81) in the arithmetic that libjpeg has by default: whole
numbers of fixed point, chroma at half the size, interpolated when read. Coding itself
is free of loss, and left out.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from robustlabels.corruptions.filters import Image, Severity, at_severity

__all__ = ["jpeg_compression"]

Plane = Int[Array, "_ _"]

# Tables K.1 and K.2 of the standard.
_LUMA_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMA_TABLE = np.full((8, 8), 99)
_CHROMA_TABLE[:4, :4] = [
    [17, 18, 24, 47],
    [18, 21, 26, 66],
    [24, 26, 56, 99],
    [47, 66, 99, 99],
]
# The orthonormal cosine transform times √8, in fixed point of 13 bits: frequency by
# position, of which the second half mirrors the first. Sums of constants that libjpeg
# has rounded one by one may be 1 or 2 off.
_COSINES = np.array(
    [
        [8192, 8192, 8192, 8192],
        [11363, 9633, 6437, 2260],
        [10703, 4433, -4433, -10703],
        [9633, -2259, -11362, -6436],
        [8192, -8192, -8192, 8192],
        [6437, -11362, 2261, 9633],
        [4433, -10704, 10704, -4433],
        [2260, -6436, 9633, -11363],
    ]
)
_MIRRORED = _COSINES[:, ::-1] * np.tile([[1], [-1]], (4, 1))
_COSINES = np.concatenate([_COSINES, _MIRRORED], axis=1)
# Colours, in fixed point of 16 bits.
_TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.16874, -0.33126, 0.5], [0.5, -0.41869, -0.08131]]
)
_TO_YCBCR = np.round(2**16 * _TO_YCBCR).astype(int)
_FROM_CHROMA = np.array([[0, 1.402], [-0.34414, -0.71414], [1.772, 0]])
_FROM_CHROMA = np.round(2**16 * _FROM_CHROMA).astype(int)


def jpeg_compression(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Writes a JPEG and reads it, to the byte as Pillow does with libjpeg.

    Values are rounded to bytes before. The quality falls from 80 to 40.
    """
    del key
    luma_steps, chroma_steps = (
        at_severity(
            [_steps(table, quality) for quality in (80, 65, 58, 50, 40)], severity
        )
        for table in (_LUMA_TABLE, _CHROMA_TABLE)
    )
    pixels = jnp.round(255 * image).astype(jnp.int32)
    if image.shape[-1] == 1:
        return _coded(pixels[..., 0], luma_steps)[..., None] / 255
    luma, *chroma = jnp.einsum("yr,hwr->yhw", _TO_YCBCR, pixels)
    # Half of one is rounded up in luma, and down in chroma.
    luma = _coded(_descaled(luma, 16), luma_steps)
    chroma = [_halved(_descaled(plane - 1, 16) + 128) for plane in chroma]
    chroma = [_coded(plane, chroma_steps) for plane in chroma]
    chroma = jnp.stack([_doubled(plane, luma.shape) - 128 for plane in chroma])
    colour = _descaled(jnp.einsum("rc,chw->hwr", _FROM_CHROMA, chroma), 16)
    return jnp.clip(luma[..., None] + colour, 0, 255) / 255


def _descaled(scaled, bits):
    """Divided by 2^bits and rounded, half of one up."""
    return (scaled + (1 << (bits - 1))) >> bits


def _steps(table: np.ndarray, quality: int) -> np.ndarray:
    """The steps of a quality, in libjpeg's count from 1 to 100."""
    percent = 200 - 2 * quality if quality >= 50 else 5000 // quality
    return np.clip((table * percent + 50) // 100, 1, 255)


def _coded(plane: Plane, steps: Int[Array, "8 8"]) -> Plane:
    """A plane of bytes after the cosine transform of its blocks was quantised."""
    step = steps[None, :, None, :]
    height, width = plane.shape
    padded = jnp.pad(plane, ((0, -height % 8), (0, -width % 8)), mode="edge")
    blocks = (padded - 128).reshape(-(-height // 8), 8, -(-width // 8), 8)
    rows = _descaled(jnp.einsum("lj,aibj->aibl", _COSINES, blocks), 11)
    # Eight times the orthonormal transform.
    transformed = _descaled(jnp.einsum("ki,aibl->akbl", _COSINES, rows), 15)
    levels = (jnp.abs(transformed) + 4 * step) // (8 * step)
    restored = jnp.sign(transformed) * levels * step
    columns = _descaled(jnp.einsum("ki,akbl->aibl", _COSINES, restored), 11)
    restored = _descaled(jnp.einsum("lj,aibl->aibj", _COSINES, columns), 18) + 128
    return jnp.clip(restored, 0, 255).reshape(padded.shape)[:height, :width]


def _halved(plane: Plane) -> Plane:
    """The mean of each 2 x 2 pixels, with columns to fill the last block.

    A half is rounded down in even columns and up in odd ones.
    """
    height, width = plane.shape
    padded = jnp.pad(plane, ((0, height % 2), (0, -width % 16)), mode="edge")
    height, width = (side // 2 for side in padded.shape)
    total = padded.reshape(height, 2, width, 2).sum(axis=(1, 3))
    return (total + 1 + jnp.arange(width)[None, :] % 2) >> 2


def _doubled(plane: Plane, shape: tuple[int, ...]) -> Plane:
    """Of the shape asked for: 3/4 of the nearest pixel and 1/4 of the next, a side."""
    height, width = shape
    plane = plane[: (height + 1) // 2, : (width + 1) // 2]
    weighted = _twice_the_rows(_twice_the_rows(plane).T).T[:height, :width]
    return (weighted + 8 - jnp.arange(width)[None, :] % 2) >> 4


def _twice_the_rows(plane: Plane) -> Plane:
    """Three of the nearest row and one of the next."""
    padded = jnp.pad(plane, ((1, 1), (0, 0)), mode="edge")
    doubled = jnp.stack([3 * plane + padded[:-2], 3 * plane + padded[2:]], axis=1)
    return doubled.reshape(-1, plane.shape[1])
