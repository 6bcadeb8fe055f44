"""The commands, `python -m experiments.NAME`."""

import sys

from dreamjax.interrupt import watch

# Python imports this package before the module that it runs, and that one takes seconds
# to import JAX: Ctrl-C is to be answered there too.
if sys.argv[0] == "-m":
    watch()
