"""Writing a BIDS-Derivatives dataset: every file whole or not there, all of them in a manifest."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import nibabel as nib

from nidecomp.files import replace_atomically

MANIFEST = PurePosixPath("logs/manifest.tsv")


class OutputTree:
    """One output folder while it is written.

    The manifest of an earlier run is taken away first and a new one is written last: a folder
    with a manifest is complete, and holds the results of one run only.

    Parameters
    ----------
    root : Path
        The output folder; made where it is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._written: dict[str, tuple[int, str]] = {}
        self._earlier = _read_manifest(root / MANIFEST)
        (root / MANIFEST).unlink(missing_ok=True)

    def write_bytes(self, path: PurePosixPath, content: bytes) -> None:
        """Write one file, `path` relative to the output folder."""
        with replace_atomically(self.root / path) as temporary:
            temporary.write_bytes(content)
        self._written[str(path)] = (len(content), hashlib.sha256(content).hexdigest())

    def write_text(self, path: PurePosixPath, text: str) -> None:
        """Write text as UTF-8."""
        self.write_bytes(path, text.encode("utf-8"))

    def write_json(self, path: PurePosixPath, content: Mapping[str, object]) -> None:
        """Write a JSON object, its keys in the order given."""
        self.write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def write_tsv(
        self,
        path: PurePosixPath,
        columns: Sequence[str],
        table: Iterable[Mapping[str, object]],
    ) -> None:
        """Write a table; a value of None is ``n/a``, as BIDS wants it."""
        text = io.StringIO()
        writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        writer.writerow(columns)
        for row in table:
            writer.writerow([_cell(row[column]) for column in columns])
        self.write_text(path, text.getvalue())

    def write_image(self, path: PurePosixPath, image: nib.Nifti1Image) -> None:
        """Write a .nii.gz that holds no time stamp: the same image gives the same bytes."""
        self.write_bytes(path, gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))

    def finish(self) -> None:
        """Remove what an earlier run wrote and this one did not; write the manifest."""
        for name, digest in self._earlier.items():
            path = self.root / name
            if name not in self._written and path.is_file() and _digest(path) == digest:
                path.unlink()
        written = dict(sorted(self._written.items()))
        self.write_tsv(
            MANIFEST,
            ("path", "size", "sha256"),
            [
                {"path": name, "size": size, "sha256": digest}
                for name, (size, digest) in written.items()
            ],
        )


def _cell(value: object) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    # A tab or a line break in a reason would break the table.
    return " ".join(str(value).split()) if isinstance(value, str) else str(value)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> dict[str, str]:
    """Give path and hash of every file of an earlier run; nothing where there is no manifest."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file, delimiter="\t"))
        return {row["path"]: row["sha256"] for row in table if _is_inside(row["path"])}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error):
        return {}


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
