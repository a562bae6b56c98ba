#!/usr/bin/env python3
"""Times Richardson-Lucy beside scikit-image's, in turns on one core, and compares the results' speed in one run.

    taskset -c 1 PYTHON tools/compare/richardson_lucy.py [--bench build/bench/bench_richardson_lucy] [--rounds 5]

PYTHON needs scikit-image. Build the program with `cmake --build build --target bench`. Each round times the peer and then
lensmill on the same case, and the best of all rounds counts on both sides. One JSON line a case: ratio = peer / lensmill.
The bar is a ratio of 2.5 for 256 x 256 pixels and 50 iterations in equal precision.
"""
import argparse
import json
import os
import subprocess
import sys
import time

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import numpy as np
import skimage
from skimage.restoration import richardson_lucy

BAR = 2.5


def gaussian(half, fwhm=4.0):
    c = np.arange(-half, half + 1.0)
    k = np.exp(-(c[:, None] ** 2 + c**2) / (2 * (fwhm / 2.3548) ** 2))
    return k / k.sum()


def peer_once(image, psf, iterations):
    start = time.perf_counter()
    richardson_lucy(image, psf, num_iter=iterations, clip=False)
    return time.perf_counter() - start


def ours(bench, pixels, psf, iterations, precision):
    text = subprocess.run([bench, str(pixels), str(psf), str(iterations), precision, "4"], check=True,
                          capture_output=True, text=True).stdout
    return float(dict(word.split("=", 1) for word in text.split())["best_s"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--bench", default=os.path.join(root, "build", "bench", "bench_richardson_lucy"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=50)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # both on the core that we are on
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    image = np.random.default_rng(0).random((args.pixels, args.pixels))
    worst = float("inf")
    for precision, dtype in (("double", np.float64), ("single", np.float32)):
        for half in (8, 16):
            x, k = image.astype(dtype), gaussian(half).astype(dtype)
            peer_once(x, k, 2)
            peer, mine = [], []
            for _ in range(args.rounds):
                peer.append(peer_once(x, k, args.iterations))
                mine.append(ours(args.bench, args.pixels, 2 * half + 1, args.iterations, precision))
            ratio = min(peer) / min(mine)
            worst = min(worst, ratio)
            print(json.dumps({"case": "richardson_lucy", "pixels": args.pixels, "iterations": args.iterations,
                              "psf": 2 * half + 1, "precision": precision, "peer": "scikit-image " + skimage.__version__,
                              "peer_s": round(min(peer), 5), "lensmill_s": round(min(mine), 5),
                              "ratio": round(ratio, 2), "bar": BAR}), flush=True)
    return 0 if worst >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
