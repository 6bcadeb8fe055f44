"""Deep networks of 2006 to 2009: stacked Boltzmann machines and autoencoders.

The networks that activation maximization was invented on (Erhan, Bengio, Courville &
Vincent 2009). They are trained here, in a minute or two, on digits or patches of
photos (`data`), layer by layer (`training`), by contrastive divergence (`rbm`) or
denoising (`autoencoder`). Both come out as a stack of the same layers (`layers`), which
is a `Model` to dream with: `maximize` climbs its units. `units` has the two older ways
to see what a unit stands for, and `agreement` says how much the answers agree.
"""
