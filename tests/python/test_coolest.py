"""coolest.read and coolest.write against the COOLEST package (pip install coolest): templates that it makes are read and written again,
and it loads what we write. Compared are values, priors, posteriors, files, and deflections by the package's own formulas."""

import csv
import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import support

try:
    from astropy.io import fits
    from coolest.api.profiles import light as api_light
    from coolest.api.profiles import mass as api_mass
    from coolest.template.classes.coordinates import CoordinatesOrigin
    from coolest.template.classes.cosmology import Cosmology
    from coolest.template.classes.galaxy import Galaxy
    from coolest.template.classes.grid import PixelatedRegularGrid
    from coolest.template.classes.instrument import Instrument
    from coolest.template.classes.lensing_entity_list import LensingEntityList
    from coolest.template.classes.likelihood import ImagingDataLikelihood
    from coolest.template.classes.likelihood_list import DataLikelihoodList
    from coolest.template.classes.mass_field import MassField
    from coolest.template.classes.mass_light_model import LightModel, MassModel
    from coolest.template.classes.noise import NoiseMap, UniformGaussianNoise
    from coolest.template.classes.observation import Observation
    from coolest.template.classes.probabilities import GaussianPrior, PosteriorStatistics
    from coolest.template.classes.psf import GaussianPSF, PixelatedPSF
    from coolest.template.json import JSONSerializer
    from coolest.template.standard import COOLEST
except ImportError as error:
    support.skip(f"{error} (pip install coolest)")

PIXEL, SIDE = 0.05, 40
FIELD = (-SIDE * PIXEL / 2, SIDE * PIXEL / 2)
failures = []


def expect(condition, what):
    if not condition:
        failures.append(what)
        print(f"FAILED  {what}")


def graph(folder, text):
    (folder / "graph.yaml").write_text("lensmill: 1\nname: coolest\nnodes:\n" + text)
    return support.run("run", "graph.yaml", "--progress", "none", cwd=folder)


def load(path, files=True):
    """By the package, with all its checks."""
    return JSONSerializer(str(path.with_suffix("")), check_external_files=files).load(verbose=False)


def put(model, index, **values):
    for name, value in values.items():
        model[index].parameters[name].set_point_estimate(value)


def grid(folder, name, array, field=FIELD):
    fits.writeto(folder / name, array, overwrite=True)
    return dict(fits_path=name, field_of_view_x=field, field_of_view_y=field, num_pix_x=array.shape[1],
                num_pix_y=array.shape[0], check_fits_file=True, fits_file_dir=str(folder))


def make_template(folder, noise, psf):
    """Every kind of profile that the package has and we have, some that we have not, in three entities and a field."""
    random = np.random.default_rng(7)
    lens_mass = MassModel("PEMD", "NIE", "NFW", "SIE", "Chameleon")
    put(lens_mass, 0, theta_E=1.2345678901234567, gamma=2.07, q=0.71, phi=-33.3, center_x=0.01, center_y=-0.02)
    put(lens_mass, 1, theta_E=0.21, r_core=0.03, q=0.8, phi=90.0, center_x=0.7, center_y=0.1)
    put(lens_mass, 2, r_s=10.0, rho_c=1e7, q=0.9, phi=12.0, center_x=0.0, center_y=0.0)
    put(lens_mass, 3, theta_E=0.1, q=1.0, phi=0.0, center_x=-0.6, center_y=0.4)
    put(lens_mass, 4, b=0.3, s_c=0.1, s_t=0.5, q=1.0, phi=0.0, center_x=0.0, center_y=0.0)
    theta_E = lens_mass[0].parameters["theta_E"]
    theta_E.set_prior(GaussianPrior(mean=1.2, width=0.1))
    theta_E.set_posterior(PosteriorStatistics(mean=1.23, median=1.234, percentile_16th=1.22, percentile_84th=1.25))
    lens_light = LightModel("Sersic", "Uniform")
    put(lens_light, 0, I_eff=12.5, theta_eff=0.6, n=3.9, q=0.77, phi=41.0, center_x=0.0, center_y=0.01)
    put(lens_light, 1, A=0.2)
    field = MassModel("ExternalShear", "ConvergenceSheet")
    put(field, 0, gamma_ext=0.057, phi_ext=10.56151016652079)
    put(field, 1, kappa_s=-0.02)
    source_light = LightModel("Sersic", "Shapelets", "PixelatedRegularGrid")
    put(source_light, 0, I_eff=3.0, theta_eff=0.15, n=1.0, q=0.6, phi=-89.0, center_x=0.05, center_y=0.03)
    put(source_light, 1, n_max=2, beta=0.1, center_x=0.05, center_y=0.03, amps=[1.0, 0.1, -0.2, 0.05, 0.0, 0.3])
    source_light[2].parameters["pixels"].set_grid("source.fits", (-0.5, 0.7), (-0.6, 0.6), check_fits_file=False)
    fits.writeto(folder / "source.fits", random.normal(size=(24, 24)), overwrite=True)
    source_light[2].parameters["pixels"].num_pix_x = source_light[2].parameters["pixels"].num_pix_y = 24
    entities = LensingEntityList(Galaxy("lens", 0.5, light_model=lens_light, mass_model=lens_mass),
                                 MassField("field", 0.5, mass_model=field),
                                 Galaxy("source", 2.1, light_model=source_light))
    image = grid(folder, "data.fits", random.normal(size=(SIDE, SIDE)).astype(np.float32))
    observation = Observation(pixels=PixelatedRegularGrid(**image), noise=noise, exposure_time=1000.0, mag_zero_point=25.9,
                              mag_sky_brightness=22.0)
    instrument = Instrument(PIXEL, name="HST", band="F814W", readout_noise=4.0, psf=psf)
    mask = ImagingDataLikelihood(mask=PixelatedRegularGrid(**grid(folder, "mask.fits", (random.random((SIDE, SIDE)) > 0.1).astype(np.uint8))))
    return COOLEST("MAP", CoordinatesOrigin("09h46m56.68s", "+10d06m52.6s"), entities, observation, instrument,
                   Cosmology(67.7, 0.31), DataLikelihoodList(mask), metadata={"chain_file_name": "chain.csv", "code": {"name": "x"}})


def numbers(coolest):
    """{id: (point, posterior, prior)} of every parameter with one value, or the array of a grid's file."""
    found = {}
    for parameter in coolest.lensing_entities.get_parameters():
        if hasattr(parameter, "point_estimate"):
            found[parameter.id] = (parameter.point_estimate.value, vars(parameter.posterior_stats),
                                   {k: v for k, v in vars(parameter.prior).items() if k != "documentation"})
        else:
            found[parameter.id] = (parameter.field_of_view_x, parameter.field_of_view_y, parameter.num_pix_x, parameter.num_pix_y)
    return found


def plain(document):
    """The template's JSON without what may differ: names of files, our own meta."""
    if isinstance(document, dict):
        return {k: plain(v) for k, v in document.items() if k not in ("fits_file", "lensmill")}
    return [plain(v) for v in document] if isinstance(document, list) else document


def read_lists(folder):
    """The rows of out/table.csv, lists of components parsed."""
    csv.field_size_limit(1 << 24)
    with open(folder / "out" / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: json.loads(v) if k in ("mass", "source", "light") else v for k, v in row.items()} for row in rows]


def test_round_trip(folder, kind):
    models = folder / "models"
    models.mkdir(parents=True)
    if kind == "maps":
        noise = NoiseMap(PixelatedRegularGrid(**grid(models, "noise.fits", np.full((SIDE, SIDE), 0.1))))
        psf = PixelatedPSF(PixelatedRegularGrid(**grid(models, "psf.fits", support.gaussian(11, 1.5), (-11 * PIXEL / 2, 11 * PIXEL / 2))))
    else:
        noise, psf = UniformGaussianNoise(0.3), GaussianPSF(fwhm=2.0)
    JSONSerializer(str(models / "lens"), make_template(models, noise, psf)).dump_simple()
    done = graph(folder, """\
  read: {op: coolest.read, with: {path: models}}
  save: {op: coolest.write, in: read, with: {path: "out/{id}.json"}}
  table:
    op: table.write
    in: read
    window: all
    with: {path: out/table.csv, columns: [id, mass, source, light, z_lens, z_source, H0, Omega_m, pixel, exposure, band]}
""")
    for profile in ("NFW", "Uniform"):
        expect(f"profile {profile} is not in" in done.stderr + done.stdout, f"{kind}: a warning names {profile}")
    before, after = load(models / "lens.json"), load(folder / "out" / "lens.json")
    expect(numbers(before) == numbers(after), f"{kind}: every number comes back")
    original, written = (json.loads(p.read_text()) for p in (models / "lens.json", folder / "out" / "lens.json"))
    expect(plain(original) == plain(written), f"{kind}: the template comes back as it was")
    for what in ("image", "mask", "source_pixels") + (("noise", "psf") if kind == "maps" else ()):
        name = {"image": "data"}.get(what, what.replace("_pixels", ""))
        a, b = fits.getdata(models / f"{name}.fits"), fits.getdata(folder / "out" / f"lens_{what}.fits")
        expect(np.array_equal(a, b), f"{kind}: the pixels of {what} come back")
    row, = read_lists(folder)
    expect([float(row[k]) for k in ("z_lens", "z_source", "H0", "Omega_m", "pixel", "exposure")] == [0.5, 2.1, 67.7, 0.31, PIXEL, 1000.0],
           f"{kind}: attributes")
    expect([c["type"] for c in row["mass"]] == ["epl", "sie", "sie", "pjaffe", "shear", "sheet"], f"{kind}: masses")
    expect([c["type"] for c in row["source"]] == ["sersic", "shapelets", "pixels"], f"{kind}: source")
    expect([c["type"] for c in row["light"]] == ["sersic"], f"{kind}: light")
    epl, pixels = row["mass"][0], row["source"][2]
    expect(abs(epl["phi"] - np.radians(90 - 33.3)) < 1e-15 and epl["theta_E"] == 1.2345678901234567, f"{kind}: angle and radius")
    expect(np.allclose([pixels["scale"], pixels["x"], pixels["y"], pixels["amp"]], [0.05, 0.1, 0, 1 / PIXEL**2], rtol=1e-14, atol=1e-16), f"{kind}: pixels")


def test_deflections(folder):
    """The package's deflections of its own parameters against lens.maps with our components."""
    models = folder / "models"
    models.mkdir(parents=True)
    cases = [dict(theta_E=1.2, gamma=2.1, q=0.6, phi=phi, center_x=0.1, center_y=-0.2) for phi in (-89.0, -45.0, 0.0, 30.0, 90.0)]
    for k, case in enumerate(cases):
        mass, field = MassModel("PEMD"), MassModel("ExternalShear", "ConvergenceSheet")
        put(mass, 0, **case)
        put(field, 0, gamma_ext=0.1, phi_ext=case["phi"])
        put(field, 1, kappa_s=0.05)
        entities = LensingEntityList(Galaxy("lens", 0.3, mass_model=mass), MassField("field", 0.3, mass_model=field), Galaxy("source", 1.0))
        JSONSerializer(str(models / f"m{k}"), COOLEST("MOCK", CoordinatesOrigin(), entities, Observation(), Instrument(PIXEL))).dump_simple()
    graph(folder, """\
  read: {op: coolest.read, with: {path: "models/*.json"}}
  maps: {op: lens.maps, in: read, with: {mass: "{mass}", grid: {shape: [30, 30], pixel: 0.1}}}
  save: {op: fits.write, in: maps, with: {path: "out/{id}.fits", tensors: [alpha_x, alpha_y]}}
""")
    at = (np.arange(30) - 14.5) * 0.1
    x, y = np.meshgrid(at, at)
    for k, case in enumerate(cases):
        wanted = np.array(api_mass.PEMD().deflection(x, y, **case))
        wanted += np.array(api_mass.ExternalShear().deflection(x, y, gamma_ext=0.1, phi_ext=case["phi"]))
        wanted += np.array(api_mass.ConvergenceSheet().deflection(x, y, kappa_s=0.05))
        with fits.open(folder / "out" / f"m{k}.fits") as file:
            found = np.array([file["ALPHA_X"].data, file["ALPHA_Y"].data])
        expect(np.abs(found - wanted).max() < 1e-12, f"deflections at phi = {case['phi']}: {np.abs(found - wanted).max():.1e} arcsec apart")


def test_written(folder):
    """Our components in the package, with a posterior of draws in ellipticities and shear components."""
    folder.mkdir()
    random = np.random.default_rng(3)
    n = 5000
    draws = np.stack([1.3 + 0.02 * random.normal(size=n), 0.02 + 0.05 * random.normal(size=n), -0.19 + 0.05 * random.normal(size=n),
                      0.03 + 0.01 * random.normal(size=n), 0.01 * random.normal(size=n), 2.2 + 0.1 * random.normal(size=n),
                      random.normal(size=n)], axis=1)
    draws[17, 0] = np.nan
    names = "theta_E, e1, e2, shear.gamma1, shear.gamma2, source.I_e, sky"
    fits.HDUList([fits.PrimaryHDU(support.gaussian(SIDE, 6.0)), fits.ImageHDU(draws, name="SAMPLES")]).writeto(folder / "fit.fits")
    done = graph(folder, f"""\
  read:
    op: fits.read
    with:
      path: fit.fits
      id: fit
      tensors: {{image: 0, samples: SAMPLES}}
      attrs: {{names: "{names}", pixel: {PIXEL}, z_lens: 0.3, z_source: 1.5, H0: 70, Omega_m: 0.3, psf_fwhm: 0.1, noise_sigma: 0.02,
              exposure: 900, zero_point: 25.0, sky_brightness: 22.0, read_noise: 3.0, instrument: HST, band: F160W}}
  save:
    op: coolest.write
    in: read
    with:
      path: "out/{{id}}.json"
      mass: [{{type: epl, theta_E: 1.3, gamma: 2.0, e1: 0.02, e2: -0.19, x: 0.01, y: 0}}, {{type: shear, gamma1: 0.03, gamma2: 0.0}},
             {{type: multipole, m: 4, a_m: 0.01, phi_m: 0}}]
      source: [{{type: sersic, I_e: 2.2, R_e: 0.2, n: 1.5, q: 0.7, phi: 1.0, x: 0.05, y: -0.02}}]
      light: [{{type: gaussian, flux: 3.0, sigma: 0.3, q: 0.8, phi: -0.5}}]
""")
    expect('component 3 is not in the template' in done.stderr + done.stdout, "the multipole is named")
    expect('posterior of "sky"' in done.stderr + done.stdout, "a column that belongs to nothing is named")
    coolest = load(folder / "out" / "fit.json")
    lens, field, source = coolest.lensing_entities
    expect((lens.redshift, field.redshift, source.redshift) == (0.3, 0.3, 1.5), "redshifts")
    expect([p.type for e in (lens, field, source) for p in e.mass_model] == ["PEMD", "ExternalShear"], "mass profiles")
    expect(coolest.observation.pixels.pixel_size == PIXEL and abs(coolest.instrument.psf.fwhm - 2) < 1e-14, "pixel and PSF")

    good = np.isfinite(draws).all(axis=1)
    theta_E, e1, e2, g1, g2, I_e, _ = draws[good].T
    e = np.hypot(e1, e2)
    pemd, shear, sersic = lens.mass_model[0].parameters, field.mass_model[0].parameters, source.light_model[0].parameters
    phi = np.degrees(np.arctan2(e2, e1) / 2) - 90
    phi = pemd["phi"].point_estimate.value + (phi - pemd["phi"].point_estimate.value + 90) % 180 - 90
    phi_ext = np.degrees(np.arctan2(g2, g1) / 2) - 90
    phi_ext = shear["phi_ext"].point_estimate.value + (phi_ext - shear["phi_ext"].point_estimate.value + 90) % 180 - 90
    # our light's b_n is the series' (Ciotti & Bertin 1999), the standard's is linear: the same function has another I_eff
    n_s = 1.5
    b = 2 * n_s - 1 / 3 + 4 / (405 * n_s) + 46 / (25515 * n_s**2) + 131 / (1148175 * n_s**3) - 2194697 / (30690717750 * n_s**4)
    scale = np.exp(b - (1.9992 * n_s - 0.3271))
    for name, parameter, values in (("theta_E", pemd["theta_E"], theta_E), ("q", pemd["q"], (1 - e) / (1 + e)), ("phi", pemd["phi"], phi),
                                    ("gamma_ext", shear["gamma_ext"], np.hypot(g1, g2)), ("phi_ext", shear["phi_ext"], phi_ext),
                                    ("I_eff", sersic["I_eff"], I_e * scale)):
        stats = parameter.posterior_stats
        found = [stats.mean, stats.median, stats.percentile_16th, stats.percentile_84th]
        wanted = [values.mean(), np.median(values), *np.percentile(values, [16, 84])]
        expect(None not in found and np.allclose(found, wanted, rtol=1e-11, atol=1e-12), f"posterior of {name}: {found}, not {wanted}")
    expect(pemd["gamma"].posterior_stats.mean is None, "a parameter that was not drawn has no posterior")

    # brightness by the package's formula against ours, a Gaussian and a Sersic profile
    x, y = np.random.default_rng(1).normal(size=(2, 200)) * 0.4
    def by_package(profile):
        values = {name: p.point_estimate.value for name, p in profile.parameters.items()}
        return api_light.Sersic().evaluate_surface_brightness(x, y, **values)
    def radius(q, phi, x0, y0):
        u, v = np.cos(phi) * (x - x0) + np.sin(phi) * (y - y0), -np.sin(phi) * (x - x0) + np.cos(phi) * (y - y0)
        return np.sqrt(q * u**2 + v**2 / q)
    gaussian = 3.0 / (2 * np.pi * 0.09) * np.exp(-radius(0.8, -0.5, 0, 0) ** 2 / 0.18)
    profile = 2.2 * np.exp(-b * ((radius(0.7, 1.0, 0.05, -0.02) / 0.2) ** (1 / 1.5) - 1))
    expect(np.allclose(by_package(lens.light_model[0]), gaussian, rtol=1e-11), "a Gaussian as a Sersic profile")
    expect(np.allclose(by_package(source.light_model[0]), profile, rtol=1e-11), "a Sersic profile with the series")


def test_own_form(folder):
    """What we wrote comes back as it was, even where the standard has another form or none."""
    folder.mkdir()
    mass = [dict(type="shear", gamma1=0.03, gamma2=-0.04, x=0.3, y=0.1), dict(type="epl", theta_E=1.1, t=0.9, e1=0.1, e2=0.05),
            dict(type="multipole", m=3, a_m=0.02, phi_m=0.3), dict(type="sis", theta_E=0.2, x=1.0), dict(type="nfw", kappa_s=0.1, theta_s=5.0),
            dict(type="sie", theta_E=1.0, q=0.5, phi=0.7, s=0.05), dict(type="pjaffe", kappa_0=0.5, a=0.1, s=1.0),
            dict(type="sheet", kappa=0.01, x=0.2, y=-0.1)]
    source = [dict(type="sersic", I_e=1.0, R_e=0.1, n=2.5, radius="major", q=0.5, phi=0.2, x=0.01), dict(type="sersic", I_e=1.0, R_e=0.1, n=0.4),
              dict(type="shapelets", beta=0.2, n_max=1, coefficients=[1.0, 0.5, -0.5]), dict(type="gaussian", flux=1.0, sigma=0.1)]
    (folder / "graph.yaml").write_text("")
    graph(folder, f"""\
  start: {{op: lens.maps, with: {{mass: [{{type: sis, theta_E: 1}}], grid: {{shape: [4, 4], pixel: 1}}}}}}
  save: {{op: coolest.write, in: start, with: {{path: "models/a.json", pixel: 0.1, mass: {json.dumps(mass)}, source: {json.dumps(source)}}}}}
""")
    load(folder / "models" / "a.json", files=False)
    graph(folder, """\
  read: {op: coolest.read, with: {path: models}}
  table: {op: table.write, in: read, window: all, with: {path: out/table.csv, columns: [id, mass, source, light]}}
  again: {op: coolest.write, in: read, with: {path: "models2/{id}.json"}}
""")
    row, = read_lists(folder)
    expect(row["mass"] == mass, f"masses come back: {row['mass']}")
    expect(row["source"] == source and row["light"] == [], f"lights come back: {row['source']}")
    expect((folder / "models" / "a.json").read_text() == (folder / "models2" / "a.json").read_text(), "the same file again")
    sersic = load(folder / "models" / "a.json", files=False).lensing_entities[2].light_model[0].parameters
    moved = 0.01 - (0.03 * 0.3 - 0.04 * 0.1 + 0.01 * 0.2) # a shear and a sheet off the origin deflect by a constant more
    expect(abs(sersic["center_x"].point_estimate.value - moved) < 1e-15, "the source moves with the origin of the shear")


def main():
    with support.temporary() as tmp:
        tmp = pathlib.Path(tmp).resolve()
        test_round_trip(tmp / "maps", "maps")
        test_round_trip(tmp / "uniform", "uniform")
        test_deflections(tmp / "deflections")
        test_written(tmp / "written")
        test_own_form(tmp / "own")
    print(f"{len(failures)} failures" if failures else "templates agree with the COOLEST package")
    return 1 if failures else 0


sys.exit(main())
