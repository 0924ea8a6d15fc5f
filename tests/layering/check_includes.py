#!/usr/bin/env python3
"""Keeps the shape of the sources: which folder may include which, and how large a file may be.

The list of folders is the architecture: a folder includes only itself and those above it. Includes are written
from the repository root, so that each include line names the boundary it crosses. The front ends see nothing but
the public header. A file of more than 800 lines wants to be two.

Usage: check_includes.py [ROOT]      prints each violation as path:line: text; exit code 1 if there are any
       check_includes.py --self-test
"""
import os
import re
import sys
import tempfile

LAYERS = [
    "checksum",
    "raid",
    "libpool/base",
    "libpool/rt",
    "libpool/format",
    "libpool/disk",
    "libpool/alloc",
    "libpool/store",
    "libpool/block",
    "libpool/object",
    "libpool/txg",
    "libpool/dataset",
    "libpool/fs",
    "scrub",
    "libpool/pool",
    "libpool/control",
]
PUBLIC = "libpool/include"  # above all: it includes nothing of the project
PUBLIC_USERS = ["libpool/pool", "libpool/control"]  # the layers that implement it
PUBLIC_ONLY = ["libpool/control"]  # layers that see nothing else of the library
FRONT_ENDS = ["cli", "fuse-export", "docs/examples"]  # <libpool.h> and their own headers
FREE = ["bench", "tests"]  # may look at everything but the front ends' headers
LINES_MAX = 800
SUFFIXES = (".c", ".h", ".cc", ".cpp", ".hpp")
SKIPPED = {".git", "build"}

INCLUDE = re.compile(r'\s*#\s*include\s*(?:"([^"]*)"|<([^>]*)>)')


def folder_of(path):
    """The folder of the lists above that a path belongs to; None if it is in none."""
    for folder in LAYERS + [PUBLIC] + FRONT_ENDS + FREE:
        if path.startswith(folder + "/"):
            return folder
    return None


def allowed(source, target):
    """Whether a file of the folder `source` may include one of the folder `target`."""
    if source == target:
        return True
    if source in FREE:
        return target not in FRONT_ENDS or source == "tests"
    if target == PUBLIC:
        return source in PUBLIC_USERS + FRONT_ENDS
    if source in PUBLIC_ONLY:
        return False
    if source in LAYERS and target in LAYERS:
        return LAYERS.index(target) < LAYERS.index(source)
    return False


def sources(root):
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in sorted(names):
            if name.endswith(SUFFIXES):
                yield os.path.relpath(os.path.join(directory, name), root).replace(os.sep, "/")


def without_comments(text):
    """The text with comments blanked, line numbers kept."""

    def blank(match):
        found = match.group(0)
        return re.sub(r"[^\n]", " ", found) if found[0] == "/" else found

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.DOTALL)


def check_include(root, path, quoted, angled):
    """What is wrong with one include line, or None."""
    source = folder_of(path)
    if angled is not None:
        if angled == "libpool.h":
            target_path = PUBLIC + "/libpool.h"
        elif os.path.exists(os.path.join(root, angled)):
            return f'<{angled}> is of this project: include "{angled}"'
        else:
            return None  # the system's
    else:
        target_path = quoted
        if not os.path.isfile(os.path.join(root, quoted)):
            if os.path.isfile(os.path.join(root, os.path.dirname(path), quoted)):
                return f'"{quoted}" is not written from the repository root'
            return f'"{quoted}" does not exist in the repository'
        if os.path.normpath(quoted) != quoted:
            return f'"{quoted}" is not the plain path from the repository root'
    target = folder_of(target_path)
    if target is None:
        return f"{target_path} is in a folder that tests/layering doesn't know"
    if not allowed(source, target):
        return f"{source} may not include {target_path}"
    return None


def check_file(root, path):
    """All violations of one file as (line, text)."""
    if folder_of(path) is None:
        return [(1, "in a folder that tests/layering doesn't know")]
    with open(os.path.join(root, path), encoding="utf-8") as file:
        text = file.read()
    violations = []
    count = text.count("\n")
    if count > LINES_MAX:
        violations.append((count, f"{count} lines, more than {LINES_MAX}"))
    for number, line in enumerate(without_comments(text).split("\n"), 1):
        match = INCLUDE.match(line)
        wrong = match and check_include(root, path, match.group(1), match.group(2))
        if wrong:
            violations.append((number, wrong))
    return violations


def check(root):
    violations = []
    files = 0
    for path in sources(root):
        files += 1
        violations += [f"{path}:{line}: {text}" for line, text in check_file(root, path)]
    return files, violations


# Each: what it shows, the files of a repository, and a part of the one expected complaint (None: it is sound).
CASES = [
    ("a layer above", {"libpool/rt/a.c": '#include "libpool/base/b.h"\n', "libpool/base/b.h": ""}, None),
    ("itself", {"raid/a.c": '#include "raid/a.h"\n', "raid/a.h": ""}, None),
    ("a layer below", {"libpool/base/a.c": '#include "libpool/rt/b.h"\n', "libpool/rt/b.h": ""}, "libpool/base may not include"),
    ("a layer below, oddly written", {"raid/a.h": '#\tinclude "scrub/b.h" /* x */\n', "scrub/b.h": ""}, "raid may not include"),
    ("in a comment", {"raid/a.h": '/*\n#include "scrub/b.h"\n*/\n// #include "scrub/b.h"\n', "scrub/b.h": ""}, None),
    ("not from the root", {"raid/a.c": '#include "a.h"\n', "raid/a.h": ""}, "not written from the repository root"),
    ("a detour", {"raid/a.c": '#include "raid/../raid/a.h"\n', "raid/a.h": ""}, "not the plain path"),
    ("missing", {"raid/a.c": '#include "raid/b.h"\n'}, "does not exist"),
    ("in angle brackets", {"raid/a.c": "#include <raid/a.h>\n", "raid/a.h": ""}, "is of this project"),
    ("the system's", {"cli/a.c": "#include <stdio.h>\n"}, None),
    ("a front end's", {"cli/a.c": '#include <libpool.h>\n#include "cli/a.h"\n', "cli/a.h": "", "libpool/include/libpool.h": ""}, None),
    ("a front end that looks inside", {"cli/a.c": '#include "libpool/base/b.h"\n', "libpool/base/b.h": ""}, "cli may not include"),
    ("a front end that looks at another", {"fuse-export/a.c": '#include "cli/b.h"\n', "cli/b.h": ""}, "fuse-export may not include"),
    ("the pool implements it", {"libpool/pool/a.c": "#include <libpool.h>\n"}, None),
    ("control uses the public header", {"libpool/control/a.c": "#include <libpool.h>\n"}, None),
    ("control looks inside", {"libpool/control/a.c": '#include "libpool/pool/b.h"\n', "libpool/pool/b.h": ""}, "control may not include"),
    ("a layer that knows the public header", {"scrub/a.c": "#include <libpool.h>\n"}, "scrub may not include"),
    ("the public header looks inside", {"libpool/include/libpool.h": '#include "libpool/base/b.h"\n', "libpool/base/b.h": ""}, "may not include"),
    ("a test", {"tests/unit/x/test_a.c": '#include "libpool/txg/b.h"\n', "libpool/txg/b.h": ""}, None),
    ("the library uses a test", {"libpool/rt/a.c": '#include "tests/b.h"\n', "tests/b.h": ""}, "libpool/rt may not include"),
    ("an unknown folder", {"misc/a.c": ""}, "doesn't know"),
    ("a file that is long enough", {"raid/a.c": "\n" * LINES_MAX}, None),
    ("a file that is too long", {"raid/a.c": "\n" * (LINES_MAX + 1)}, "801 lines"),
    ("what was built", {"build/x/a.c": '#include "nowhere.h"\n', "raid/a.c": ""}, None),
]


def self_test():
    failures = 0
    for name, files, expected in CASES:
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            found = check(root)[1]
        sound = not found if expected is None else len(found) == 1 and expected in found[0]
        if not sound:
            failures += 1
            print(f"{name}: expected {expected!r}, got {found}")
    print(f"{len(CASES) - failures} cases passed, {failures} failed")
    return failures


def main(arguments):
    if arguments == ["--self-test"]:
        return 1 if self_test() else 0
    root = arguments[0] if arguments else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    files, violations = check(root)
    for violation in violations:
        print(violation)
    print(f"{files} files, {len(violations)} violations")
    return 1 if violations or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
