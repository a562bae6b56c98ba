"""What the tree promises: includes point one way, the ground knows nothing above it, memory and output have one door,
no file outgrows a reader, and the top level holds the agreed names."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOP = set("CMakeLists.txt LICENSE README.md graphs operators runtime schemas store tests tools".split())
GROUND = {f"runtime/{name}" for name in "error alloc arena text log digest".split()}
# A layer may include itself and what stands before it. runtime/plugin.h is the plugins' way in.
LAYERS = ["ground", "core", "store", "schemas", "runtime", "operators", "tools", "tests"]
MAY_NOT = {"core": {"store", "schemas", "runtime"}, "store": {"core", "schemas"}, "schemas": {"core", "store"},
           "runtime": {"core"}}
LONGEST = 900  # lines of a file

findings = []


def layer(name):
    name = str(name)
    if re.sub(r"\.[ch]$", "", name) in GROUND:
        return "ground"
    if name.startswith("operators/core/"):
        return "core"
    return name.split("/")[0]


def code_only(text):
    """The text without comments and strings, with its lines kept."""
    blank = lambda match: re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def check_includes(name, text):
    own = layer(name)
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match:
            continue
        what = match.group(1)
        where = f"{name}:{number}"
        if "/" not in what or ".." in what:
            findings.append(f'{where}: "{what}": write the name from the root of the tree')
            continue
        if what != "schemas/lensmill.pb-c.h" and not (ROOT / what).is_file():
            findings.append(f'{where}: "{what}" is no file of the tree')
            continue
        other = layer(what)
        if LAYERS.index(other) > LAYERS.index(own) or other in MAY_NOT.get(own, ()):
            findings.append(f"{where}: {own} includes {what} of {other}, which stands above or beside it")


def check_doors(name, text):
    """Library code allocates through runtime/alloc.h, and neither prints nor exits."""
    if layer(name) in ("tools", "tests") or str(name) == "runtime/alloc.c":
        return
    code = code_only(text)
    for match in re.finditer(r"(?<![\w.>])(malloc|calloc|realloc|strdup|strndup|asprintf|vasprintf|aligned_alloc|posix_memalign"
                             r"|printf|puts|putchar|exit)\s*\(", code):
        number = code.count("\n", 0, match.start()) + 1
        findings.append(f"{name}:{number}: {match.group(1)}(): memory comes from runtime/alloc.h, and library code "
                        "never prints or exits")


def main():
    files = sorted(p for f in LAYERS[2:] if (ROOT / f).is_dir() for p in (ROOT / f).rglob("*.[ch]"))
    for path in files:
        name, text = path.relative_to(ROOT), path.read_text()
        check_includes(name, text)
        check_doors(name, text)
        if text.count("\n") > LONGEST:
            findings.append(f"{name}: {text.count(chr(10))} lines: is there a second file inside?")
    git = subprocess.run(["git", "-C", ROOT, "ls-tree", "--name-only", "HEAD"], capture_output=True, text=True)
    for name in git.stdout.split():
        if not name.startswith(".") and name not in TOP:
            findings.append(f"{name}: not one of the names agreed for the top level")
    print("\n".join(findings))
    print(f"{len(files)} files, {len(findings)} findings")
    return 1 if findings or not files else 0


sys.exit(main())
