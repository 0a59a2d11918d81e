"""Noise: Gaussian, of photon counts, and of dead and stuck pixels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from robustlabels.corruptions.filters import Image, Severity, at_severity

__all__ = ["gaussian_noise", "impulse_noise", "shot_noise"]


def gaussian_noise(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Adds Gaussian noise to every value."""
    scale = at_severity([0.04, 0.06, 0.08, 0.09, 0.10], severity)
    return image + scale * jax.random.normal(key, image.shape)


def shot_noise(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Counts photons: a Poisson number, of which a value of 1 has so many."""
    photons = at_severity([500.0, 250.0, 100.0, 75.0, 50.0], severity)
    return jax.random.poisson(key, photons * image) / photons


def impulse_noise(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Salt and pepper: this share of the values becomes 0 or 1, each as often."""
    share = at_severity([0.01, 0.02, 0.03, 0.05, 0.07], severity)
    chance = jax.random.uniform(key, image.shape)
    salt = (chance < share / 2).astype(image.dtype)
    return jnp.where(chance < share, salt, image)
