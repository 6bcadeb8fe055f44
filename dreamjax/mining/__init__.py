"""Dataset examples: which pictures of a folder excite a channel most, least, a little.

    mine(model, taps, folder, settings)      a folder, looked at once

`windows` says what of a picture is looked at, `watch` what the channels answer,
`ledger` keeps the few examples that matter and the statistics of all, `run` is the
loop that can be killed and goes on, `choose` reads the examples of one channel off,
`sheet` shows them.
"""

from dreamjax.mining.choose import KINDS, Example, examples
from dreamjax.mining.run import Mined, Settings, mine

__all__ = ["KINDS", "Example", "Mined", "Settings", "examples", "mine"]
