"""Every example graph of graphs/ on the data that `lensmill demo-data` makes: the counts that its expected.json promises, the
same bytes with 1, 2 and 8 workers, with edges of one record and of many, after the store was deleted, and nothing computed
the second time.

expected.json: {"set": {param: value with {data} and {build}}, "needs": [Python modules], "nodes": {name: {"in", "out", "empty",
"dead", "records"}}, "files": how many, "outside": true where a run cannot end by itself (another test runs it)}
"""

import importlib.util
import json
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import support

BUILD = os.environ.get("LENSMILL_BUILD", str(support.ROOT / "build"))
COUNTS = ("in", "out", "empty", "dead", "records")
failures = []


def settings(expected, data):
    for name, value in expected.get("set", {}).items():
        yield "--set"
        yield f"{name}={value.format(data=data, build=BUILD, python=sys.executable)}"


def run(graph, args, folder, *more):
    result = support.run("run", graph, *args, *more, "--progress", "none", "--json", cwd=folder, check=False, timeout=120)
    try:
        return json.loads(result.stdout), result
    except json.JSONDecodeError:
        failures.append(f"{graph.parent.name} {' '.join(more)}: status {result.returncode}\n{result.stderr[-2000:]}")
        return None, result


def compare_counts(name, how, report, expected):
    if report["status"] != expected.get("status", 0):
        failures.append(f"{name} ({how}): status {report['status']}")
    found = {node["name"]: {count: node[count] for count in COUNTS} for node in report["nodes"]}
    for node in sorted(set(found) | set(expected["nodes"])):
        if found.get(node) != expected["nodes"].get(node):
            failures.append(f"{name} ({how}), node {node}: {found.get(node)}, expected {expected['nodes'].get(node)}")


def check(path, data, tmp):
    name, graph = path.parent.name, path.parent / "graph.yaml"
    expected = json.loads(path.read_text())
    lacking = [module for module in expected.get("needs", []) if importlib.util.find_spec(module) is None]
    if lacking or expected.get("outside"):
        print(f"{name}: {'without ' + ', '.join(lacking) if lacking else 'run elsewhere'}")
        return
    args = list(settings(expected, data))
    first = None
    for workers, edge in [(1, 1), (2, 1), (8, 1), (2, 4096)]:
        how = f"{workers} workers, edges of {edge}"
        folder = tmp / f"{name}-{workers}-{edge}"
        folder.mkdir()
        report, _ = run(graph, args, folder, "--workers", str(workers), "--edge", str(edge))
        if not report:
            return
        compare_counts(name, how, report, expected)
        outputs = support.digests(folder / "out")
        first = first or outputs
        failures.extend(f"{name} ({how}): {line}" for line in support.differences(first, outputs))
    if len(first) != expected["files"]:
        failures.append(f"{name}: {len(first)} files, expected {expected['files']}")

    shutil.rmtree(folder / ".lensmill")  # the files are there, what they were made from is not
    report, _ = run(graph, args, folder)
    failures.extend(f"{name} (a new store): {line}" for line in support.differences(first, support.digests(folder / "out")))
    report, _ = run(graph, args, folder)
    if report:
        compare_counts(name, "again", report, expected)
        failures.extend(f"{name} (again): node {node['name']} took {node['cached']} of {node['in']} from the store"
                        for node in report["nodes"] if node["cached"] != node["in"])
    shutil.rmtree(folder / "out")  # and now the files are gone: sinks write them again, from the store
    report, _ = run(graph, args, folder)
    failures.extend(f"{name} (files deleted): {line}" for line in support.differences(first, support.digests(folder / "out")))


def main():
    only = sys.argv[1:]
    paths = sorted(support.ROOT.glob("graphs/*/expected.json"))
    for folder in sorted(p for p in (support.ROOT / "graphs").iterdir() if p.is_dir()):
        failures.extend(f"graphs/{folder.name} has no {name}" for name in ("graph.yaml", "README.md", "expected.json")
                        if not (folder / name).is_file())
    with support.temporary() as tmp:
        tmp = pathlib.Path(tmp)
        data = tmp / "data"
        support.run("demo-data", data, cwd=tmp)
        again = tmp / "again"
        support.run("demo-data", again, cwd=tmp)
        failures.extend(f"demo-data, made twice: {line}" for line in support.differences(support.digests(data), support.digests(again)))
        for path in paths:
            if not only or path.parent.name in only:
                check(path, data, tmp)
    print("\n".join(failures) if failures else f"{len(only or paths)} graphs")
    return 1 if failures else 0


sys.exit(main())
