#!/usr/bin/env python3
"""TARP: lensmill's core beside the package tarp, in one run, on one core.

    PYTHON tools/compare/tarp.py [--bench PROGRAM] [--rounds 7] [--core N] [--size 1000 1000 10]

PYTHON has numpy and tarp. Rounds alternate between the two, so that both meet the same disturbances; the best of all
rounds counts. One JSON line a case; the bar is a ratio of 5.
"""
import argparse
import importlib.metadata
import sys

import peers

BAR = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default=peers.bench("bench_tarp"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--core", type=int)
    parser.add_argument("--size", type=int, nargs=3, default=[1000, 1000, 10], metavar=("SAMPLES", "SIMS", "DIMS"))
    options = parser.parse_args()
    peers.one_core(options.core)

    sys.path.pop(0)  # this script's own folder: it has the package's name
    import numpy as np
    import tarp
    rng = np.random.default_rng(0)
    samples, sims, dims = options.size
    draws, truth = rng.standard_normal((samples, sims, dims)), rng.standard_normal((sims, dims))
    theirs, ours = {0: [], 1: []}, {0: [], 1: []}
    for _ in range(options.rounds):
        for normalise in theirs:
            theirs[normalise].append(peers.seconds(lambda: tarp.get_tarp_coverage(
                draws, truth, references="random", metric="euclidean", norm=bool(normalise), seed=1)))
        for line in peers.lines(options.bench, *options.size):
            ours[int(line["normalise"])].append(float(line["seconds"]))
    met = [peers.report("tarp", "tarp " + importlib.metadata.version("tarp"), min(theirs[k]), min(ours[k]),
                        min(theirs[k]) / min(ours[k]), BAR, samples=samples, sims=sims, dims=dims, normalise=k)
           for k in theirs]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
