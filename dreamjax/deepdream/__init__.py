"""DeepDream: pictures of any size, octave by octave, tile by tile.

`reach` says how far a unit sees, `tiles` how an axis is cut so that no unit misses
anything, `octaves` how the picture grows, `engine` puts them together.
"""
