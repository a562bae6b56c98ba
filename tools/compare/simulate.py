#!/usr/bin/env python3
"""Images of a lens beside caustics and lenstronomy, in turns on one core: an SIE and shear before a Sersic source, 128 x 128
pixels of 0.05 arcsec, a PSF of 21 x 21 pixels.

    PYTHON tools/compare/simulate.py [--bench PROGRAM] [--rounds 3] [--core N]

PYTHON has caustics and lenstronomy. Build the program with `cmake --build build --target bench`. All build their simulator once
and are timed on images; caustics one at a time and as a batch of 64 (torch.vmap) in single precision, its fastest. The best of
all rounds counts. sub=4: the peers take 4 x 4 samples a pixel everywhere, with a PSF given on these; ours does so too (uniform), or takes
more only where the light varies (adaptive). error: the largest difference from 5 x 5 times as many samples, over the peak. The peers'
is that of the uniform samples, which are theirs. differs: our uniform image from caustics', over the peak (single precision).
Bars: 4 times the faster peer without supersampling, 10 times with, at no larger error.
"""
import argparse
import importlib.metadata
import os
import sys
import tempfile
import warnings

import peers

import numpy as np

warnings.simplefilter("ignore")
PIXELS, PIXEL = 128, 0.05
SIE = dict(theta_E=1.3, q=0.7, phi=0.5, x=0.02, y=-0.03)
SHEAR = (0.04, -0.03)
SERSIC = dict(I_e=1.0, R_e=0.3, n=1.0, q=0.8, phi=0.4, x=0.05, y=0.0)


def gaussian(sub):
    """A PSF of 0.1 arcsec (full width at half maximum) on parts of a pixel, 21 pixels wide."""
    c = np.arange(-(21 * sub // 2), 21 * sub // 2 + 1.0)
    k = np.exp(-(c[:, None] ** 2 + c**2) / (2 * (0.1 / 2.3548 * sub / PIXEL) ** 2))
    return k / k.sum()


def caustics_image(sub):
    """A function that makes one image, and one that makes 64."""
    import caustics
    import torch
    torch.set_num_threads(1)
    dtype, cosmology = torch.float32, caustics.FlatLambdaCDM(name="c")
    plane = dict(cosmology=cosmology, z_l=0.5, z_s=2.0)
    lens = caustics.SinglePlane(name="l", **plane, lenses=[caustics.SIE(name="sie", **plane), caustics.ExternalShear(
        name="shear", x0=0.0, y0=0.0, **plane)])
    simulator = caustics.LensSource(lens=lens, source=caustics.Sersic(name="src"), pixelscale=PIXEL, pixels_x=PIXELS,
                                    upsample_factor=sub, psf=torch.tensor(gaussian(sub)), name="sim").to(dtype=dtype)
    values = {"sie": dict(x0=SIE["x"], y0=SIE["y"], q=SIE["q"], phi=SIE["phi"], Rein=SIE["theta_E"]),
              "shear": dict(gamma_1=SHEAR[0], gamma_2=SHEAR[1]),
              "src": dict(x0=SERSIC["x"], y0=SERSIC["y"], q=SERSIC["q"], phi=SERSIC["phi"], n=SERSIC["n"],
                          Re=SERSIC["R_e"] / SERSIC["q"] ** 0.5, Ie=SERSIC["I_e"])}
    owner = {id(p): name for name, module in (("sie", lens.lenses[0]), ("shear", lens.lenses[1]),
                                              ("src", simulator.source)) for p in module.dynamic_params}
    one = torch.tensor([values[owner[id(p)]][p.name] for p in simulator.dynamic_params], dtype=dtype)
    many, batched = one.repeat(64, 1), torch.vmap(simulator)

    def run(f, x):
        with torch.no_grad():
            return f(x).numpy()
    return lambda: run(simulator, one), lambda: run(batched, many)


def lenstronomy_image(sub):
    from lenstronomy.Data.imaging_data import ImageData
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel
    corner = -(PIXELS - 1) / 2 * PIXEL
    data = ImageData(image_data=np.zeros((PIXELS, PIXELS)), background_rms=1, exposure_time=1, ra_at_xy_0=corner,
                     dec_at_xy_0=corner, transform_pix2angle=np.eye(2) * PIXEL)
    psf = PSF(psf_type="PIXEL", kernel_point_source=gaussian(sub), point_source_supersampling_factor=sub)
    numerics = dict(supersampling_factor=sub, supersampling_convolution=sub > 1, supersampling_kernel_size=None)
    model = ImageModel(data, psf, lens_model_class=LensModel(["SIE", "SHEAR"]),
                       source_model_class=LightModel(["SERSIC_ELLIPSE"]), kwargs_numerics=numerics)

    def shape(q, phi):
        e = (1 - q) / (1 + q)
        return dict(e1=e * np.cos(2 * phi), e2=e * np.sin(2 * phi))
    lens = [dict(theta_E=SIE["theta_E"], center_x=SIE["x"], center_y=SIE["y"], **shape(SIE["q"], SIE["phi"])),
            dict(gamma1=SHEAR[0], gamma2=SHEAR[1], ra_0=0, dec_0=0)]
    source = [dict(amp=SERSIC["I_e"], R_sersic=SERSIC["R_e"], n_sersic=SERSIC["n"], center_x=SERSIC["x"],
                   center_y=SERSIC["y"], **shape(SERSIC["q"], SERSIC["phi"]))]
    return lambda: model.image(lens, source)


def best(call, seconds=1.0):
    """The fastest of as many calls as fit."""
    call()
    times = []
    while sum(times) < seconds or len(times) < 3:
        times.append(peers.seconds(call))
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    program = options.bench or peers.bench("bench_simulate")
    peers.one_core(options.core)
    versions = {name: importlib.metadata.version(name) for name in ("caustics", "lenstronomy")}

    met = []
    for sub, bar in ((1, 4), (4, 10)):
        one, many = caustics_image(sub)
        theirs = [("caustics", one, 1), ("caustics batched", many, 64), ("lenstronomy", lenstronomy_image(sub), 1)]
        ways = {"uniform": 0} if sub == 1 else {"uniform": 0, "adaptive": 3e-3}
        times, error = {}, {}
        for _ in range(options.rounds):
            for name, call, images in theirs:
                times.setdefault(name, []).append(best(call) / images)
            for way, tolerance in ways.items():
                line, = peers.lines(program, PIXELS, sub, len(gaussian(sub)), 500 if sub == 1 else 100, tolerance)
                times.setdefault(way, []).append(float(line["best_s"]))
                error[way] = float(line["error"])
        times = {name: min(of) for name, of in times.items()}
        fastest = min((name for name, _, _ in theirs), key=times.get)
        with tempfile.TemporaryDirectory(prefix="lensmill-compare-") as folder:
            peers.lines(program, PIXELS, sub, len(gaussian(sub)), 1, 0, os.path.join(folder, "image"))
            image = np.fromfile(os.path.join(folder, "image")).reshape(PIXELS, PIXELS)
        differs = float(np.abs(image - one()).max() / image.max())
        for way in ways:
            for name, _, _ in theirs:
                judged = name == fastest and way == list(ways)[-1]
                ratio = times[name] / times[way]
                met.append(peers.report("simulate", f"{name} {versions[name.split()[0]]}", times[name], times[way], ratio,
                                        bar if judged else None, met=ratio >= bar and error[way] <= error["uniform"] if judged else None,
                                        sub=sub, way=way, error=error[way], their_error=error["uniform"], differs=differs))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
