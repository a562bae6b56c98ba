#!/usr/bin/env python3
"""Times Richardson-Lucy beside scikit-image's, in turns on one core, and compares the results' speed in one run.

    PYTHON tools/compare/richardson_lucy.py [--bench PROGRAM] [--rounds 5] [--core N]

PYTHON needs scikit-image. Build the program with `cmake --build build --target bench`. Each round times the peer and then
lensmill on the same case, and the best of all rounds counts on both sides. One JSON line a case: ratio = peer / lensmill.
The bar is a ratio of 2.5 for 256 x 256 pixels and 50 iterations in equal precision.
"""
import argparse
import sys

import peers

import numpy as np
import skimage
from skimage.restoration import richardson_lucy

BAR = 2.5


def gaussian(half, fwhm=4.0):
    c = np.arange(-half, half + 1.0)
    k = np.exp(-(c[:, None] ** 2 + c**2) / (2 * (fwhm / 2.3548) ** 2))
    return k / k.sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default=peers.bench("bench_richardson_lucy"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int)
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=50)
    options = parser.parse_args()
    peers.one_core(options.core)

    image = np.random.default_rng(0).random((options.pixels, options.pixels))
    met = []
    for precision, dtype in (("double", np.float64), ("single", np.float32)):
        for half in (8, 16):
            x, k = image.astype(dtype), gaussian(half).astype(dtype)
            once = lambda iterations: peers.seconds(lambda: richardson_lucy(x, k, num_iter=iterations, clip=False))
            once(2)
            theirs, ours = [], []
            for _ in range(options.rounds):
                theirs.append(once(options.iterations))
                ours += [float(line["best_s"]) for line in peers.lines(
                    options.bench, options.pixels, 2 * half + 1, options.iterations, precision, 4)]
            met.append(peers.report("richardson_lucy", "scikit-image " + skimage.__version__, min(theirs), min(ours),
                                    min(theirs) / min(ours), BAR, pixels=options.pixels, iterations=options.iterations,
                                    psf=2 * half + 1, precision=precision))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
