"""The other side of a comparison: tuned PyTorch, and Lucent, on our networks."""
