"""Labels and losses for robust image classifiers, in JAX."""

__version__ = "0.1.0"
