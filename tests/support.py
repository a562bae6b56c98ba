"""What the Python tests share: the program, a small survey of FITS files, digests of what a run wrote."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
LENSMILL = os.environ.get("LENSMILL", str(ROOT / "build" / "lensmill"))

# Every kind of work that a chain does: a source, a filter, a costly map, a cheap one, a sink a record and one for all.
GRAPH = """\
lensmill: 1
name: survey
params:
  iterations: {type: int, default: 20, min: 1, doc: Richardson-Lucy iterations}
nodes:
  read:
    op: fits.read
    with: {path: survey, tensors: {image: 0, psf: PSF}}
  bright: {op: filter, in: read, with: {where: ".attrs.FLUX > 60"}}
  sharp: {op: deconvolve.richardson_lucy, in: bright, with: {iterations: "${iterations}"}}
  quality: {op: compare.residuals, in: sharp}
  save: {op: fits.write, in: quality, with: {path: "out/{id}"}}
  table:
    op: table.write
    in: quality
    window: all
    with: {path: out/table.csv, columns: [id, FLUX, iterations, chi2_reduced]}
"""


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def card(name, value):
    text = f"{value!r:>20}" if not isinstance(value, bool) else f"{'T' if value else 'F':>20}"
    return f"{name:<8}= {text}".ljust(80)


def hdu(array, name=None, **cards):
    """The bytes of an image HDU: FITS 4.0, 32-bit floats, big-endian."""
    first = f"{'XTENSION':<8}= {chr(39)}IMAGE   {chr(39)}".ljust(80) if name else card("SIMPLE", True)
    lines = [first, card("BITPIX", -32), card("NAXIS", array.ndim)]
    lines += [card(f"NAXIS{i + 1}", n) for i, n in enumerate(reversed(array.shape))]
    if name:
        lines += [card("PCOUNT", 0), card("GCOUNT", 1), f"{'EXTNAME':<8}= '{name:<8}'".ljust(80)]
    lines += [card(key, value) for key, value in cards.items()] + ["END".ljust(80)]
    pad = lambda data, fill: data + fill * (-len(data) % 2880)
    return pad("".join(lines).encode(), b" ") + pad(array.astype(">f4").tobytes(), b"\0")


def gaussian(size, sigma, x=0.0, y=0.0):
    at = np.arange(size) - (size - 1) / 2
    return np.exp(-((at[None, :] - x) ** 2 + (at[:, None] - y) ** 2) / (2 * sigma**2))


def make_survey(folder, n, size=32):
    """n galaxies with a PSF each under folder/survey, and the graph folder/graph.yaml."""
    folder = pathlib.Path(folder)
    (folder / "survey").mkdir(parents=True)
    psf = gaussian(9, 1.4)
    psf /= psf.sum()
    for i in range(n):
        random = np.random.default_rng([2026, i])
        flux = 50 + 100 * random.random()
        image = flux * gaussian(size, 1.5 + random.random(), *random.normal(size=2)) + 10 + random.normal(size=(size, size))
        (folder / "survey" / f"g{i:05}.fits").write_bytes(
            hdu(image, FLUX=round(flux, 3), NUMBER=i) + hdu(psf, "PSF"))
    (folder / "graph.yaml").write_text(GRAPH)
    return folder


def run(*args, cwd, check=True, env=None, timeout=300):
    """The program's run; check: it must end with status 0."""
    result = subprocess.run([LENSMILL, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=timeout,
                            stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    if check and result.returncode != 0:
        raise SystemExit(f"lensmill {' '.join(map(str, args))}: status {result.returncode}\n{result.stdout}{result.stderr}")
    return result


def digests(folder):
    """{relative name: SHA-256} of every file under a folder, hidden ones too."""
    folder = pathlib.Path(folder)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}


def differences(expected, found):
    lines = [f"missing: {name}" for name in expected if name not in found]
    lines += [f"not expected: {name}" for name in found if name not in expected]
    lines += [f"differs: {name}" for name in expected if name in found and expected[name] != found[name]]
    return lines


def forget(folder):
    """Removes the store and the outputs of a run in a folder."""
    for name in ".lensmill", "out":
        shutil.rmtree(pathlib.Path(folder) / name, ignore_errors=True)


def temporary():
    return tempfile.TemporaryDirectory(prefix="lensmill-test-")
