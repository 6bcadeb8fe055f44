"""Dreaming in JAX: optimize the pixels until a network fires.

Read `dreamjax.dream` first; `dreamjax.runner.run` is the whole job.
"""

__version__ = "0.1.0"
