"""Settings for every test: ranks must match, and nothing touches the network."""

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
