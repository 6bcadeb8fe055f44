"""Statistics of pictures, clips and signals, in NumPy: numbers in, numbers out.

For an image [H, W, 3] in [0, 1]: `light`, `spectrum`, `histogram`. For a signal [N]:
`lempel_ziv`, `ordinal`, `sample_entropy`. For a clip [T, H, W, 3]: `motion`.
A constant image, clip or signal has a defined value everywhere, never NaN.
"""
