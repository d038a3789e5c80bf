"""Functions of JAX arrays, and models of Flax and Equinox."""

from pellucid.adapters.jax.adapter import JaxAdapter

__all__ = ["JaxAdapter"]
