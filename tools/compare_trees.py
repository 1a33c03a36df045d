"""Compare two output folders that should have the same files: ``compare_trees.py FIRST SECOND``.

Two analyses of the same inputs with the same settings give the same bytes, except for the log, the
resources used, and the section of the report about them.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import sys
from pathlib import Path

# Files about the run itself; the work folder is not compared either.
OF_THE_RUN = frozenset({"logs/nidecomp.log", "logs/resources.tsv", "logs/resources.json"})
_WORK = "work"
_REPORT, _MANIFEST = "report.html", "logs/manifest.tsv"
_IN_THE_REPORT = re.compile(rb'<section id="part-execution".*?</section>', re.DOTALL)
_IN_THE_MANIFEST = re.compile(rb"^report\.html\t.*\n", re.MULTILINE)


def digests(folder: Path) -> dict[str, str]:
    """Return hashes of the content of each file that should be the same.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict
        Path of each file, relative to the folder, to its hash.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name in OF_THE_RUN or name.split("/")[0] == _WORK:
            continue
        content = path.read_bytes()
        if name == _REPORT:
            content = _IN_THE_REPORT.sub(b"", content)
        elif name == _MANIFEST:
            content = _IN_THE_MANIFEST.sub(b"", content)
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def _how(first: Path, second: Path) -> str:
    """Return how compressed files differ: in their content, or only in the compression."""
    if first.suffix != ".gz":
        return ""
    one, other = (gzip.decompress(path.read_bytes()) for path in (first, second))
    if one == other:
        return " (same content, different compression)"
    n_different = sum(a != b for a, b in zip(one, other, strict=False))
    return f" ({n_different} of {len(one)} uncompressed bytes differ)"


def main(first: Path, second: Path) -> int:
    """Print the names of files that differ; return 0 if there are none."""
    one, other = digests(first), digests(second)
    if not one:
        print(f"{first} contains no files to compare.")
        return 2
    different = sorted(
        name for name in one.keys() | other.keys() if one.get(name) != other.get(name)
    )
    for name in different:
        where = "" if name in one and name in other else " (in one folder only)"
        print(f"{name}{where or _how(first / name, second / name)}")
    if not different:
        print(f"All {len(one)} files are identical.")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
