"""The store's verbs on a real survey: damage is found and mended, digests are those of sha256sum, garbage goes and what is in
use stays, and two stores become one."""

import hashlib
import json
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import support

import numpy as np

N = 12
failures = []


def check(what, is_so):
    if not is_so:
        failures.append(what)


def as_json(*args, cwd, check=True):
    return json.loads(support.run(*args, "--json", cwd=cwd, check=check).stdout)


def log_of(folder, store=".lensmill"):
    return next((folder / store).glob("generation-*/log/data.mdb"))


def export_everything(folder):
    """Every artifact and tensor, as stored and as .npy; returns {digest: bytes} of the tensors."""
    tensors = {}
    for step in as_json("store", "ls", "--records", "--limit", 10**6, cwd=folder):
        for output in step["outputs"]:
            record = as_json("store", "show", output["digest"], cwd=folder)
            check(f"{record['id']} is {output['id']}", record["id"] == output["id"])
            support.run("store", "export", output["digest"], "--to", "x", cwd=folder)
            check(f"sha256 of {output['digest']}",
                  hashlib.sha256((folder / "x").read_bytes()).hexdigest() == output["digest"])
            for tensor in record["tensors"]:
                if tensor.get("digest") in tensors or "digest" not in tensor:
                    continue
                support.run("store", "export", tensor["digest"], "--to", "x", cwd=folder)
                tensors[tensor["digest"]] = (folder / "x").read_bytes()
                check(f"sha256 of {tensor['digest']}",
                      hashlib.sha256(tensors[tensor["digest"]]).hexdigest() == tensor["digest"])
                support.run("store", "export", tensor["digest"], "--to", "x.npy", cwd=folder)
                array = np.load(folder / "x.npy")
                check(f"shape of {tensor['digest']}", list(array.shape) == tensor["shape"] and
                      str(array.dtype) == tensor["dtype"] and tensors[tensor["digest"]].endswith(array.tobytes()))
    return tensors


def damage(folder, stored, at):
    """Flips one bit of a stored message, of which at counts the bytes, inside the log."""
    log = log_of(folder)
    data = log.read_bytes()
    where = data.find(stored)
    assert where > 0 and data.find(stored, where + 1) < 0, "the message lies in the log once"
    with open(log, "r+b") as f:
        f.seek(where + at)
        f.write(bytes([data[where + at] ^ 0x10]))


def test_damage(folder, tensors):
    support.run("store", "verify", cwd=folder)
    before = support.digests(folder / "out")
    saved = as_json("store", "trace", "out/" + next(name for name in before if name.startswith("g")), cwd=folder)
    quality = next(step for step in saved["steps"] if step.get("node") == "quality")
    record = as_json("store", "show", quality["outputs"][0]["digest"], cwd=folder)
    residual = next(tensor["digest"] for tensor in record["tensors"] if tensor["name"] == "residual")
    damage(folder, tensors[residual], len(tensors[residual]) // 2)

    found = support.run("store", "verify", cwd=folder, check=False)
    check(f"verify ends with 1 after damage, not {found.returncode}", found.returncode == 1)
    check(f"verify names the tensor and the record: {found.stdout}",
          residual[:12] in found.stdout and f'record "{quality["id"]}"' in found.stdout)
    found = as_json("store", "verify", cwd=folder, check=False)["damaged"]
    check(f"verify reports the damage once: {found}", [(d["kind"], d["digest"]) for d in found] == [("tensor", residual)])
    refused = support.run("store", "export", residual, "--to", "y", cwd=folder, check=False)
    check("a damaged tensor is not exported", refused.returncode == 1 and not (folder / "y").exists())

    (folder / saved["file"]).unlink()  # so that the next run needs the record
    again = support.run("run", "graph.yaml", "--progress", "none", cwd=folder)
    check(f"the run says what it computed again: {again.stderr}", quality["id"] in again.stderr and "digest" in again.stderr)
    check("the outputs are what they were", support.digests(folder / "out") == before)
    check("the store is sound again", support.run("store", "verify", cwd=folder, check=False).returncode == 0)


def test_collect(folder):
    shutil.copytree(folder / ".lensmill", folder / "copy")
    run = ["run", "graph.yaml", "--progress", "none", "--store", "copy"]
    for iterations in 5, 6:
        support.run(*run, "--set", f"iterations={iterations}", cwd=folder)
    support.run(*run, cwd=folder)
    gc = ["store", "gc", "--store", "copy"]
    runs = as_json("store", "ls", "--runs", "--store", "copy", cwd=folder)
    check("nothing goes while all runs are kept", as_json(*gc, "--keep-runs", 99, cwd=folder)["dropped_bytes"] == 0)
    check("nothing young goes", as_json(*gc, "--keep-runs", 0, "--older-than", "1h", cwd=folder)["dropped_bytes"] == 0)
    planned = as_json(*gc, "--keep-runs", 1, "--dry-run", cwd=folder)
    check("a dry run changes nothing", as_json("store", "ls", "--runs", "--store", "copy", cwd=folder) == runs)
    gone = as_json(*gc, "--keep-runs", 1, cwd=folder)
    same = {name: value for name, value in gone.items() if name not in ("dry_run", "file_bytes")}
    check("what goes is what was planned", same == {name: planned[name] for name in same})
    check("two deconvolutions of everything went", gone["steps"]["dropped"] >= 4 and gone["tensors"]["dropped"] > 0)
    check("the file is smaller", gone["file_bytes"] < gone["file_bytes_before"])
    check("it is sound", support.run("store", "verify", "--store", "copy", cwd=folder, check=False).returncode == 0)
    check("its files can be traced", as_json("store", "trace", "out/table.csv", "--store", "copy", cwd=folder)["state"] == "as written")
    report = as_json(*run, cwd=folder)
    check("the last run is all there", all(node["cached"] == node["in"] for node in report["nodes"]))

    kept = gone["steps"]["kept_bytes"] + gone["artifacts"]["kept_bytes"] + gone["tensors"]["kept_bytes"]
    small = as_json(*gc, "--max-size", kept // 2, cwd=folder)
    left = small["steps"]["kept_bytes"] + small["artifacts"]["kept_bytes"] + small["tensors"]["kept_bytes"]
    check(f"--max-size: {left} of {kept} bytes stay", 0 < left <= kept // 2)
    check("what is left is sound", support.run("store", "verify", "--store", "copy", cwd=folder, check=False).returncode == 0)
    support.run(*run, cwd=folder)
    empty = as_json(*gc, "--keep-runs", 0, cwd=folder)
    check("--keep-runs 0 empties it", empty["steps"]["kept"] == empty["tensors"]["kept"] == 0)


def test_merge(folder):
    run = ["run", "graph.yaml", "--progress", "none"]
    for store, limit in ("first", 5), ("second", N):
        support.run(*run, "--store", store, "--limit", limit, "--set", f"iterations={limit}", cwd=folder)
    support.run(*run, "--store", "second", "--set", "iterations=5", "--limit", 7, cwd=folder)
    merged = as_json("store", "merge", "second", "--store", "first", cwd=folder)
    check(f"rows are copied, and nothing differs: {merged}", merged["copied_rows"] > 0 and not merged["differences"])
    check("common steps are counted", merged["same_steps"] > 0)
    runs = as_json("store", "ls", "--runs", "--store", "first", cwd=folder)
    check(f"all runs are there, each under a number of its own: {runs}", len({run["run"] for run in runs}) == 3)
    again = as_json("store", "merge", "second", "--store", "first", cwd=folder)
    check("merging again changes nothing", again["copied_rows"] == 0 and again["renumbered_runs"] == 0)
    check("it is sound", support.run("store", "verify", "--store", "first", cwd=folder, check=False).returncode == 0)
    report = as_json(*run, "--store", "first", "--set", f"iterations={N}", cwd=folder)
    check("what the other store had is taken from this one",
          all(node["cached"] == node["in"] for node in report["nodes"] if node["name"] in ("read", "sharp", "quality")))


def test_read_only(folder):
    if os.geteuid() == 0:
        print("the read-only store is skipped: nothing is read-only for root")
        return
    os.chmod(folder / ".lensmill", 0o555)
    refused = support.run("run", "graph.yaml", "--progress", "none", cwd=folder, check=False)
    os.chmod(folder / ".lensmill", 0o755)
    check(f"a read-only store is named: {refused.stderr}", refused.returncode == 1 and '".lensmill"' in refused.stderr)


def main():
    with support.temporary() as tmp:
        folder = support.make_survey(pathlib.Path(tmp), N, size=40)
        support.run("run", "graph.yaml", "--progress", "none", cwd=folder)
        tensors = export_everything(folder)
        check("there are tensors", len(tensors) >= N)
        test_damage(folder, tensors)
        test_collect(folder)
        test_merge(folder)
        test_read_only(folder)
    print("\n".join(failures))
    print(f"{len(tensors)} tensors exported; {len(failures)} failures")
    return 1 if failures else 0


sys.exit(main())
