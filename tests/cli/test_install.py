"""What `cmake --install` leaves is enough: the program runs from there, and a plugin builds against the headers there alone."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = os.environ.get("LENSMILL_BUILD", str(ROOT / "build"))
GRAPH = """\
lensmill: 1
name: installed
plugins: [./smooth.so]
nodes:
  read: {op: fits.read, with: {path: data/cutouts, tensors: {image: 0}}}
  smooth: {op: image.smooth, in: read, with: {sigma: 1.5}}
  save: {op: fits.write, in: smooth, with: {path: "out/{id}"}}
"""


def run(*command, cwd=None):
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout


def main():
    place = pathlib.Path(tempfile.mkdtemp(prefix="lensmill-install-"))
    try:
        prefix, work = place / "prefix", place / "work"
        work.mkdir()
        run("cmake", "--install", BUILD, "--prefix", prefix)
        program = prefix / "bin" / "lensmill"
        sources = sorted((ROOT / "operators" / "plugins" / "image_smooth").glob("*.c"))
        run("gcc", "-std=gnu17", "-shared", "-fPIC", "-O2", "-DLM_PLUGIN", "-I", prefix / "include" / "lensmill", *sources,
            "-o", work / "smooth.so", "-lm")
        (work / "graph.yaml").write_text(GRAPH)
        run(program, "demo-data", work / "data")
        run(program, "run", "graph.yaml", cwd=work)
        made, given = len(list((work / "out").glob("*.fits"))), len(list((work / "data" / "cutouts").glob("*.fits")))
        if not given or made != given:
            sys.exit(f"{made} files of {given} were written")
        graphs = sorted((prefix / "share" / "lensmill" / "graphs").glob("*/graph.yaml"))
        if len(graphs) != len(list((ROOT / "graphs").glob("*/graph.yaml"))):
            sys.exit("not every example graph was installed")
        for graph in graphs:
            if "plugins:" not in graph.read_text():  # what it loads is built, not installed
                run(program, "check", graph)
        print(f"{made} files smoothed with the installed program, {len(graphs)} graphs installed")
    finally:
        shutil.rmtree(place)


main()
