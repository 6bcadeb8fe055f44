"""The other side of a comparison: tuned PyTorch, and Lucent, on our networks."""

VIEW = 12  # pixels by which dreamjax's view of an image exceeds it
