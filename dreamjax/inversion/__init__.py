"""Natural pre-images: pictures that a network sees as it sees a given one.

Mahendran & Vedaldi 2015 (`cvpr2015`) and 2016 (`ijcv2016`), in the network's own
units: values minus the mean, in its own order of channels. Any `Model` whose
preprocessing is known apart (`Model.network`) can be inverted, gray ones too:

    x = np.asarray(preprocess(photos, model.record))         # [R, H, W, C]
    goals = features(model, ["conv2/norm2"], x)["conv2/norm2"]  # [R, h, w, K]
    found = cvpr2015.invert(
        model, "conv2/norm2", goals, size=(H, W), sigma=norms(x),
        energy=cvpr2015.Energy(tv=10.0), rates=cvpr2015.CNN_RATES,
    )
    found.images, found.errors                               # [R, B, H, W, C], [R, B]

All R runs are one compiled program: goals, masks, weights, exponents and rates are
traced. The energies are in `energy`, the two optimizers in `descent`, masks on
features in `masks`; what remains here says how the papers put them together.
"""
