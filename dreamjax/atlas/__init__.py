"""The layer atlas: every layer of a network × its channels, as one static site.

    make_atlas(config, workdir, site)      one sweep for each tap, then the site

`taps` and `units` choose what is shown, `recipe` makes the sweep of one tap, `photos`
what its channels do on photos, `classes` what the network sees in the pictures,
`layer` puts the results together, `sprites` draws sheets, `site` writes the pages.
"""

from dreamjax.atlas.run import Wanted, make_atlas

__all__ = ["Wanted", "make_atlas"]
