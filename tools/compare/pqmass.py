#!/usr/bin/env python3
"""PQMass: lensmill's core beside the package pqm (on torch and on NumPy), in one run, on one core.

    PYTHON tools/compare/pqmass.py [--bench PROGRAM] [--rounds 5] [--core N] [--coretype Zen] [--size 10000 10000 4096 100]

PYTHON has numpy, torch and pqm. Rounds alternate, so that all meet the same disturbances; the best of all rounds counts.
--coretype: which kernels OpenBLAS uses (OPENBLAS_CORETYPE); left out, its own choice. NumPy's version takes seconds and
runs in two rounds only. One JSON line a peer; the bars are 4 for torch and 15 for NumPy.
"""
import argparse
import importlib.metadata
import sys
import warnings

import peers

BARS = {"torch": 4, "numpy": 15}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default=peers.bench("bench_pqmass"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int)
    parser.add_argument("--coretype")
    parser.add_argument("--size", type=int, nargs=4, default=[10000, 10000, 4096, 100], metavar=("NX", "NY", "DIMS", "REGIONS"))
    options = parser.parse_args()
    peers.one_core(options.core)
    warnings.simplefilter("ignore")

    import numpy as np
    import torch
    from pqm import pqm_chi2
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    nx, ny, dims, regions = options.size
    x, y = rng.standard_normal((nx, dims), dtype=np.float32), rng.standard_normal((ny, dims), dtype=np.float32)
    xt, yt = torch.from_numpy(x), torch.from_numpy(y)

    environment = {"OPENBLAS_CORETYPE": options.coretype} if options.coretype else {}
    ours, theirs = [], {"torch": [], "numpy": []}
    pqm_chi2(xt, yt, num_refs=regions)  # torch's first call is slower
    for i in range(options.rounds):
        theirs["torch"] += [peers.seconds(lambda: pqm_chi2(xt, yt, num_refs=regions)) for _ in range(3)]
        ours += [float(line["seconds"]) for line in peers.lines(options.bench, *options.size, env=environment)]
        if i < 2:
            theirs["numpy"].append(peers.seconds(lambda: pqm_chi2(x, y, num_refs=regions)))
    version = importlib.metadata.version("pqm")
    met = [peers.report("pqmass", f"pqm {version} ({name})", min(best), min(ours), min(best) / min(ours), BARS[name], nx=nx,
                        ny=ny, dims=dims, regions=regions, **({"coretype": options.coretype} if options.coretype else {}))
           for name, best in theirs.items()]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
