"""Graphs against `lensmill schema`, with another YAML parser and another schema validator: the example graphs are valid, and
what `lensmill check` refuses for its form the schema refuses too, so that an editor marks it."""

import copy
import json
import os
import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import support

try:
    import jsonschema
    import yaml
except ImportError as error:
    support.skip(f"{error} (python3-jsonschema, python3-yaml)")


class Core(yaml.SafeLoader):
    """YAML 1.2's core schema: `no` and `y` are text, `1e3` is a number."""


Core.yaml_implicit_resolvers = {}
for tag, pattern, first in [
    ("null", r"~|null|Null|NULL|", "~nN") , ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
]:
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first) + ([""] if tag == "null" else []))

GOOD = """\
lensmill: 1
name: good
params:
  n: {type: int, default: 30, min: 1, doc: iterations}
nodes:
  read: {op: fits.read, with: {path: "*.fits", tensors: {image: 0, psf: PSF}}}
  keep: {op: filter, in: read, with: {where: ".attrs.FLUX > 10"}}
  sharp: {op: deconvolve.richardson_lucy, in: keep, with: {iterations: "${n}"}, on_error: route, cache: none}
  save: {op: fits.write, in: sharp, with: {path: "out/{id}"}}
"""


def broken():
    """(what is wrong, graph)"""
    good = yaml.load(GOOD, Core)

    def but(what, change):
        graph = copy.deepcopy(good)
        change(graph)
        return what, graph

    node = lambda g, name: g["nodes"][name]
    yield but("no language version", lambda g: g.pop("lensmill"))
    yield but("a language version of the future", lambda g: g.update(lensmill=99))
    yield but("no nodes", lambda g: g.pop("nodes"))
    yield but("an unknown key of the graph", lambda g: g.update(node={}))
    yield but("a node without an operator", lambda g: node(g, "keep").pop("op"))
    yield but("an unknown operator", lambda g: node(g, "keep").update(op="filtre"))
    yield but("an unknown key of a node", lambda g: node(g, "keep").update(wiht={}))
    yield but("an unknown parameter", lambda g: node(g, "sharp")["with"].update(iteration=3))
    yield but("text for a number", lambda g: node(g, "sharp")["with"].update(iterations="many"))
    yield but("a number below its minimum", lambda g: node(g, "sharp")["with"].update(iterations=-1))
    yield but("a choice that is none", lambda g: node(g, "sharp")["with"].update(edge="round"))
    yield but("a required parameter that is missing", lambda g: node(g, "keep")["with"].pop("where"))
    yield but("a policy that is none", lambda g: node(g, "sharp").update(on_error="ignore"))
    yield but("a cache that is none", lambda g: node(g, "sharp").update(cache="perhaps"))
    yield but("a parameter type that is none", lambda g: g["params"]["n"].update(type="integral"))


def main():
    schema = json.loads(support.run("schema", cwd=support.ROOT).stdout)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.validators.validator_for(schema, jsonschema.Draft7Validator)(schema)
    failures = []

    kept = support.ROOT / "schemas" / "graph.schema.json"
    if json.loads(kept.read_text()) != schema:
        failures.append("schemas/graph.schema.json is not what `lensmill schema` prints: lensmill schema > schemas/graph.schema.json")

    graphs = sorted((support.ROOT / "graphs").rglob("*.yaml"))
    libraries = sorted(pathlib.Path(os.environ.get("LENSMILL_BUILD", support.ROOT / "build")).glob("plugins/*.so"))
    with_plugins = type(validator)(json.loads(support.run("schema", *libraries, cwd=support.ROOT).stdout))
    for path in graphs:
        graph = yaml.load(path.read_text(), Core)
        for error in (with_plugins if graph.get("plugins") else validator).iter_errors(graph):
            failures.append(f"{path.relative_to(support.ROOT)}: /{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}")
    if not graphs:
        failures.append("no graphs under graphs/")

    n_broken = 0
    with tempfile.TemporaryDirectory(prefix="lensmill-test-") as tmp:
        file = pathlib.Path(tmp) / "graph.yaml"
        file.write_text(GOOD)
        failures += [f"the good graph: {error.message[:300]}" for error in validator.iter_errors(yaml.load(GOOD, Core))]
        support.run("check", file, cwd=tmp)
        for what, graph in broken():
            n_broken += 1
            if validator.is_valid(graph):
                failures.append(f"the schema takes {what}")
            file.write_text(yaml.safe_dump(graph, sort_keys=False))
            result = support.run("check", file, cwd=tmp, check=False)
            if result.returncode != 2:
                failures.append(f"`lensmill check` ends with {result.returncode}, not 2, for {what}: {result.stderr[:300]}")
    print("\n".join(failures))
    print(f"{len(graphs)} graphs are valid, {n_broken} broken ones refused" if not failures else f"{len(failures)} failures")
    return 1 if failures else 0


sys.exit(main())
