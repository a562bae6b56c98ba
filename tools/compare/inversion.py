#!/usr/bin/env python3
"""One log evidence of a pixelised source: lensmill's core beside PyAutoLens, in one run, on one core.

    tools/compare/inversion.py [--bench PROGRAM] [--rounds 3] [--core N] [--side 40] [--psf 11]

100 x 100 pixels of 0.07 arcsec, a circular mask of 3 arcsec, 4 x 4 rays a pixel, an isothermal lens with shear; tracing counts on
both sides, what is set up once a data set does not. PyAutoLens is in an environment of its own: LENSMILL_AUTOLENS names its python
(envs/autolens beside the peers'). Rounds alternate between the two; the best counts, in processor time, so that other programs on the
machine do less harm. One JSON line a case. The bars are ratios: 4 to its sparse operator, 20 to its plain solver, 5 to its
positive-only one.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

import peers

BARS = {"sparse": 4, "plain": 20, "positive": 5}
OURS = {"sparse": "linear", "plain": "linear", "positive": "positive"}

# Reads a line, answers with a line: seconds of the three ways, the best of two.
PEER = r"""
import json, logging, os, sys, time, warnings
os.environ.setdefault("PYAUTO_SKIP_WORKSPACE_VERSION_CHECK", "1")
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
import numpy as np
import autolens as al
side, psf_side, pixel = int(sys.argv[1]), int(sys.argv[2]), 0.07
axis = np.arange(-(psf_side // 2), psf_side // 2 + 1) * pixel
radius2 = axis[:, None] ** 2 + axis ** 2
kernel = np.exp(-radius2 / (2 * 0.06 ** 2)) + (1e-4 * np.exp(-np.sqrt(radius2) / 0.3) if psf_side > 11 else 0)
psf = al.Convolver(kernel=al.Array2D.no_mask(kernel / kernel.sum(), pixel_scales=pixel))
lens = al.Galaxy(redshift=0.5, mass=al.mp.Isothermal(centre=(0.0, 0.0), einstein_radius=1.4, ell_comps=(0.1, 0.05)),
                 shear=al.mp.ExternalShear(gamma_1=0.03, gamma_2=-0.02))
light = al.lp.Sersic(centre=(0.05, 0.1), intensity=1.0, effective_radius=0.2, sersic_index=1.2, ell_comps=(0.1, 0.0))
grid = al.Grid2D.uniform(shape_native=(100, 100), pixel_scales=pixel)
data = al.SimulatorImaging(exposure_time=1000.0, psf=psf, background_sky_level=0.5, noise_seed=1).via_tracer_from(
    tracer=al.Tracer(galaxies=[lens, al.Galaxy(redshift=1.5, bulge=light)]), grid=grid)
mask = al.Mask2D.circular(shape_native=(100, 100), pixel_scales=pixel, radius=3.0)
plain = al.Imaging(data=data.data, noise_map=data.noise_map, psf=psf, over_sample_size_lp=1,
                   over_sample_size_pixelization=4).apply_mask(mask)
sparse = plain.apply_sparse_operator_cpu()
mesh = al.Pixelization(mesh=al.mesh.RectangularUniform(shape=(side, side)), regularization=al.reg.Constant(coefficient=1.0))
tracer = al.Tracer(galaxies=[lens, al.Galaxy(redshift=1.5, pixelization=mesh)])
def fit(dataset, positive):
    settings = al.Settings(use_positive_only_solver=positive, use_border_relocator=True)
    return lambda: al.FitImaging(dataset=dataset, tracer=tracer, settings=settings).log_evidence
ways = {"sparse": fit(sparse, False), "plain": fit(plain, False), "positive": fit(plain, True)}
for call in ways.values():
    call()
print(al.__version__, flush=True)
for _ in sys.stdin:
    times = {}
    for name, call in ways.items():
        times[name] = 1e9
        for _ in range(2):
            start = time.process_time()
            call()
            times[name] = min(times[name], time.process_time() - start)
    print(json.dumps(times), flush=True)
"""


def autolens():
    named = os.environ.get("LENSMILL_AUTOLENS")
    path = pathlib.Path(named) if named else pathlib.Path(sys.executable).parent.parent / "envs/autolens/bin/python"
    if not os.access(path, os.X_OK):
        raise SystemExit(f"there is no PyAutoLens at {path} (LENSMILL_AUTOLENS)")
    return str(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default=peers.bench("bench_inversion"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int)
    parser.add_argument("--side", type=int, default=40)
    parser.add_argument("--psf", type=int, default=11)
    options = parser.parse_args()
    peers.one_core(options.core)
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")

    peer = subprocess.Popen([autolens(), "-c", PEER, str(options.side), str(options.psf)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    version = peer.stdout.readline().strip()
    if not version:
        raise SystemExit("PyAutoLens did not start")
    theirs, ours = {name: [] for name in BARS}, {name: [] for name in set(OURS.values())}
    for _ in range(options.rounds):
        peer.stdin.write("\n")
        peer.stdin.flush()
        for name, seconds in json.loads(peer.stdout.readline()).items():
            theirs[name].append(seconds)
        for case in ours:
            for line in peers.lines(options.bench, options.side, options.psf, 5, case):
                ours[case].append(float(line["seconds"]))
    peer.stdin.close()
    peer.wait()
    met = [peers.report("inversion", f"autolens {version} {name}", min(theirs[name]), min(ours[OURS[name]]),
                        min(theirs[name]) / min(ours[OURS[name]]), BARS[name], source=options.side, psf=options.psf)
           for name in BARS]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
