"""Small valid files, and how a careless copy or a hostile hand would change them.

What is drawn is a change of a valid file and not noise: noise ends at the first check of a reader,
and a valid file with one absurd field goes deep into it.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from hypothesis import strategies as st
from nibabel import cifti2

SHAPE = (5, 6, 4)
N_VOLUMES = 24
AFFINE = np.array([[30.0, 0, 0, -60], [0, 30, 0, -75], [0, 0, 30, -45], [0, 0, 0, 1]])
REPETITION_TIME_S = 2.0
# Numbers that are at or beyond some edge; the text of each is valid JSON, TOML and TSV alike.
NUMBERS = (
    "0", "-1", "1", "2", "0.5", "-0.0", "1e-320", "1e308", "-1e308", "1e999", "32767", "65536",
    "2147483648", "-9223372036854775809", "1e18", "9" * 400, "9" * 5000,
)  # fmt: skip
# What a shell, a browser, a spreadsheet, a terminal or a path would take for more than text.
TEXTS = (
    "", " ", "n/a", "NaN", "nan", "inf", "-inf", "true", "null", "None", "$(reboot)", "; rm -rf ~",
    "`id`", "<script>alert(1)</script>", '"><img src=x>', "&amp;", "=1+1", "../../etc/passwd",
    "/etc/passwd", "\x00", "a\x00b", "\x1b[2J", "é", "\ud7ff", "\u202e", "😀", "a" * 10_000,
    "\t\t", "\r", "\n", '"', "'", "\\", "{", "[", "1,5", "1 2", "1+2j", "0x10", "1_000",
)  # fmt: skip


# ---------------------------------------------------------------- images
def write_run(folder: Path) -> Path:
    """Write one valid run with all its small files; give its image."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    bold = folder / "sub-01_task-rest_space-X_desc-preproc_bold.nii"
    data = rng.integers(50, 150, (*SHAPE, N_VOLUMES)).astype(np.int16)
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = REPETITION_TIME_S
    nib.save(image, bold)
    bold.with_suffix(".json").write_text(
        json.dumps({"RepetitionTime": REPETITION_TIME_S, "StartTime": 0.0, "TaskName": "rest"})
    )
    table = folder / "sub-01_task-rest_desc-confounds_timeseries.tsv"
    table.write_text(confounds_text())
    table.with_suffix(".json").write_text(json.dumps({"a_comp_cor_00": {"Method": "aCompCor"}}))
    return bold


def confounds_text() -> str:
    """Give a table with all that the strategy ``simple`` needs, few digits each."""
    bases = ["csf", "white_matter", *(f"{a}_{b}" for a in ("trans", "rot") for b in "xyz")]
    parts = ("", "_derivative1", "_power2", "_derivative1_power2")
    columns = [base + part for base in bases for part in parts]
    columns += ["a_comp_cor_00", "a_comp_cor_01", "framewise_displacement", "std_dvars"]
    columns += ["cosine00", "non_steady_state_outlier00"]
    values = np.round(np.random.default_rng(1).normal(0, 0.1, (N_VOLUMES, len(columns))), 4)
    values[:, -4:-1] = np.abs(values[:, -4:-1])
    values[:, -1] = 0
    values[0, -1] = 1
    rows = [[f"{value:g}" for value in row] for row in values]
    for index, name in enumerate(columns):
        if "derivative" in name or name in {"framewise_displacement", "std_dvars"}:
            rows[0][index] = "n/a"
    return "\n".join("\t".join(row) for row in [columns, *rows]) + "\n"


def image_bytes(shape: tuple[int, ...], dtype: str, version: int) -> bytes:
    """Give a valid NIfTI file of small whole numbers."""
    kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    data = np.arange(np.prod(shape)).reshape(shape) % 7
    image = kind(data.astype(dtype), AFFINE, dtype=np.dtype(dtype))
    image.header.set_xyzt_units("mm", "sec")
    return bytes(image.to_bytes())


# Fields of NIfTI-1 and NIfTI-2: offset and type. Eight dims, eight pixdims, then what says where
# and how the numbers and the space are stored.
_FIELDS = {
    1: {
        **{f"dim{index}": (40 + 2 * index, "h") for index in range(8)},
        **{f"pixdim{index}": (76 + 4 * index, "f") for index in range(8)},
        "sizeof_hdr": (0, "i"), "datatype": (70, "h"), "bitpix": (72, "h"),
        "vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f"),
        "xyzt_units": (123, "b"), "qform_code": (252, "h"), "sform_code": (254, "h"),
        **{f"quatern{index}": (256 + 4 * index, "f") for index in range(6)},
        **{f"srow{index}": (280 + 4 * index, "f") for index in range(12)},
        "extension": (348, "i"), "extension_size": (352, "i"), "extension_code": (356, "i"),
    },
    2: {
        **{f"dim{index}": (16 + 8 * index, "q") for index in range(8)},
        **{f"pixdim{index}": (104 + 8 * index, "d") for index in range(8)},
        "sizeof_hdr": (0, "i"), "datatype": (12, "h"), "bitpix": (14, "h"),
        "vox_offset": (168, "q"), "scl_slope": (176, "d"), "scl_inter": (184, "d"),
        "qform_code": (344, "i"), "sform_code": (348, "i"),
        **{f"quatern{index}": (352 + 8 * index, "d") for index in range(6)},
        **{f"srow{index}": (400 + 8 * index, "d") for index in range(12)},
        "xyzt_units": (500, "i"), "extension": (540, "i"), "extension_size": (544, "i"),
    },
}  # fmt: skip
_EXTREMES = {
    "b": (0, 1, 2, 8, 16, 127, -1),
    "h": (0, 1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 128, 512, 768, 1024, 1536, 1792, 2304, 32767, -1),
    "i": (0, 1, 348, 540, 1543569408, 2147483647, -1, -2147483648, 16777216),
    "q": (0, 1, 2, 4, 5, 7, 8, 352, 544, 32767, 10**6, 10**9, 2**40, 2**62, 2**63 - 1, -1),
    "f": (0.0, -1.0, 1.0, 0.5, 352.0, 1e-40, 3e38, float("inf"), float("-inf"), float("nan")),
    "d": (0.0, -1.0, 1.0, 0.5, 544.0, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")),
}


@st.composite
def images(draw: st.DrawFn, n_dims: int) -> tuple[str, bytes]:
    """Draw a suffix and the bytes of a changed image, its gzip layer changed, too."""
    version = draw(st.sampled_from([1, 2]))
    dtype = draw(st.sampled_from(["uint8", "int16", "float32", "float64"]))
    shape = (*SHAPE, N_VOLUMES)[:n_dims]
    content = bytearray(image_bytes(shape, dtype, version))
    fields = _FIELDS[version]
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True)):
        offset, kind = fields[name]
        value = draw(st.sampled_from(_EXTREMES[kind]))
        struct.pack_into(f"<{kind}", content, offset, value)
    content = bytearray(draw(changed_bytes(bytes(content))))
    if draw(st.booleans()):
        return ".nii", bytes(content)
    packed = gzip.compress(bytes(content), 1, mtime=0)
    if draw(st.integers(0, 3)) == 0:
        packed = draw(changed_bytes(packed))
    packed += draw(st.sampled_from([b"", b"", b"\0" * 100, b"x", gzip.compress(b"more" * 99)]))
    return ".nii.gz", packed


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw some damage: bytes changed, cut off, doubled, put in; often none."""
    damage = draw(st.sampled_from(["none", "none", "flip", "cut", "double", "insert", "empty"]))
    where = draw(st.integers(0, max(0, len(content) - 1)))
    match damage:
        case "flip":
            changed = bytearray(content)
            for _ in range(draw(st.integers(1, 4))):
                place = draw(st.integers(0, len(content) - 1)) if content else 0
                changed[place : place + 1] = bytes([draw(st.integers(0, 255))])
            return bytes(changed)
        case "cut":
            return content[:where]
        case "double":
            return content[:where] + content
        case "insert":
            odd = st.sampled_from(
                [b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b'"', b"\t"]
            )
            return content[:where] + draw(odd | st.binary(max_size=8)) + content[where:]
        case "empty":
            return b""
    return content


# ---------------------------------------------------------------- surfaces
# An octahedron, whose vertices are enough for whatever a reader may do.
CORNERS = np.array([*np.eye(3), *-np.eye(3)], dtype=np.float32) * 100
FACES = np.array(
    [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]],
    dtype=np.int32,
)
N_VERTICES = len(CORNERS)
# Attributes and texts of XML: what stands between quotes or tags.
_XML_VALUE = re.compile(r'(?<==")[^"]*(?=")|(?<=>)[^<>]+(?=<)')


@cache
def grayordinate_bytes(kind: str) -> tuple[bytes, str, bytes]:
    """Give the parts of a valid CIFTI-2 file: its header, its XML and its numbers."""
    models = cifti2.BrainModelAxis.from_surface(np.arange(N_VERTICES), N_VERTICES, "CortexLeft")
    models += cifti2.BrainModelAxis.from_surface(np.arange(5), N_VERTICES, "CortexRight")
    thalamus = np.zeros(SHAPE, dtype=bool)
    thalamus[2:4, 2:4, 1:3] = True
    models += cifti2.BrainModelAxis.from_mask(thalamus, "thalamus_left", AFFINE)
    rows = {
        "dtseries": cifti2.SeriesAxis(0, REPETITION_TIME_S, N_VOLUMES),
        "dscalar": cifti2.ScalarAxis(["one", "two"]),
        "dlabel": cifti2.LabelAxis(["all"], {0: ("???", (1, 1, 1, 0)), 1: ("A", (1, 0, 0, 1))}),
    }[kind]
    data = np.arange(len(rows) * len(models)).reshape(len(rows), -1) % 7
    image = nib.Cifti2Image(data.astype(np.float32), (rows, models))
    content = image.to_bytes()
    offset = struct.unpack_from("<q", content, 168)[0]
    return content[:544], image.header.to_xml().decode(), content[offset:]


@st.composite
def grayordinates(draw: st.DrawFn, *kinds: str) -> tuple[str, bytes]:
    """Draw an extension and the bytes of a changed CIFTI-2 file."""
    kind = draw(st.sampled_from(kinds))
    header, xml, numbers = grayordinate_bytes(kind)
    text = draw(_changed_xml(xml)).encode("utf-8", "surrogatepass")
    size = -(-(len(text) + 8) // 16) * 16
    content = bytearray(header)
    struct.pack_into("<q", content, 168, 544 + size)
    fields = _FIELDS[2]
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=2, unique=True)):
        offset, number = fields[name]
        if offset < len(content):
            extreme = draw(st.sampled_from(_EXTREMES[number]))
            struct.pack_into(f"<{number}", content, offset, extreme)
    content += struct.pack("<ii", size, 32) + text.ljust(size - 8, b"\0") + numbers
    return f".{kind}.nii", draw(changed_bytes(bytes(content)))


@cache
def gifti_text(kind: str) -> str:
    """Give a valid GIFTI file of one hemisphere: a series, labels or a surface."""
    arrays = {
        "func": [(np.full(N_VERTICES, index), "TIME_SERIES", "FLOAT32") for index in range(3)],
        "label": [(np.arange(N_VERTICES) % 3, "LABEL", "INT32")],
        "surf": [(CORNERS, "POINTSET", "FLOAT32"), (FACES, "TRIANGLE", "INT32")],
    }[kind]
    image = nib.GiftiImage(
        darrays=[
            nib.gifti.GiftiDataArray(
                values.astype(np.int32 if number == "INT32" else np.float32),
                intent=f"NIFTI_INTENT_{intent}",
                datatype=f"NIFTI_TYPE_{number}",
            )
            for values, intent, number in arrays
        ]
    )
    image.meta["AnatomicalStructurePrimary"] = "CortexLeft"
    if kind == "label":
        for key, name in enumerate(("???", "A", "B")):
            label = nib.gifti.GiftiLabel(key, 1, 0, 0, 1)
            label.label = name
            image.labeltable.labels.append(label)
    return image.to_bytes().decode()


@st.composite
def giftis(draw: st.DrawFn, kind: str) -> bytes:
    """Draw the bytes of a changed GIFTI file."""
    text = draw(_changed_xml(gifti_text(kind))).encode("utf-8", "surrogatepass")
    return draw(changed_bytes(text))


@st.composite
def freesurfer_surfaces(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a changed surface of FreeSurfer."""
    numbers = [N_VERTICES, len(FACES)]
    if draw(st.booleans()):
        numbers[draw(st.integers(0, 1))] = draw(st.sampled_from(_EXTREMES["i"]))
    magic = draw(st.sampled_from([b"\xff\xff\xfe", b"\xff\xff\xfe", b"\xff\xff\xff"]))
    head = magic + b"made by a test\n\n" + struct.pack(">ii", *numbers)
    return draw(
        changed_bytes(head + CORNERS.astype(">f4").tobytes() + FACES.astype(">i4").tobytes())
    )


@st.composite
def _changed_xml(draw: st.DrawFn, xml: str) -> str:
    """Draw a text with up to two of its values replaced by odd ones."""
    odd = (*NUMBERS, *TEXTS, "0 0 0", "1 2 3 4", "999999999999", "1000000000,1000000000,1000000000")
    for _ in range(draw(st.integers(0, 2))):
        found = draw(st.sampled_from(list(_XML_VALUE.finditer(xml))))
        xml = xml[: found.start()] + draw(st.sampled_from(odd)) + xml[found.end() :]
    return xml


# ---------------------------------------------------------------- text
def values() -> st.SearchStrategy[str]:
    """Draw the JSON text of a value that is not what is wanted."""
    texts = st.sampled_from(TEXTS).map(json.dumps)
    containers = st.sampled_from(
        ["null", "true", "[]", "{}", "[[]]", '{"a": []}', "[1, null]", '["a", 2]', "[NaN]",
         "NaN", "Infinity", "-Infinity", "[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000]
    )  # fmt: skip
    return st.sampled_from(NUMBERS) | texts | containers


@st.composite
def json_files(draw: st.DrawFn, valid: dict[str, object]) -> bytes:
    """Draw a changed JSON object: values replaced, keys lost or strange, bytes damaged."""
    parts = {name: json.dumps(value) for name, value in valid.items()}
    for name in draw(st.lists(st.sampled_from(sorted(parts)), max_size=2, unique=True)):
        parts[name] = draw(values())
    for name in draw(st.lists(st.sampled_from(sorted(parts)), max_size=1)):
        del parts[name]
    if draw(st.integers(0, 4)) == 0:
        parts[draw(st.sampled_from(TEXTS))] = draw(values())
    text = "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in parts.items()) + "}"
    if draw(st.integers(0, 6)) == 0:
        text = draw(values())
    return draw(changed_bytes(text.encode("utf-8", "surrogatepass")))


@st.composite
def tables(draw: st.DrawFn, valid: str) -> bytes:
    """Draw a changed table: cells, names, rows and bytes."""
    rows = [line.split("\t") for line in valid.splitlines()]
    odd = st.sampled_from((*NUMBERS, *TEXTS))
    for _ in range(draw(st.integers(0, 3))):
        # The header is where most goes wrong.
        row = rows[draw(st.sampled_from([0, 1, draw(st.integers(0, len(rows) - 1))]))]
        row[draw(st.integers(0, len(row) - 1))] = draw(odd | st.sampled_from(rows[0]))
    match draw(st.sampled_from(["keep", "keep", "less", "more", "ragged", "column"])):
        case "less":
            rows = rows[: draw(st.integers(0, len(rows) - 1))]
        case "more":
            rows.append(rows[-1])
        case "ragged":
            index = draw(st.integers(0, len(rows) - 1))
            rows[index] = rows[index] * 2 if draw(st.booleans()) else rows[index][:1]
        case "column":
            value = draw(odd)
            rows = [[*row, rows[0][0] if row is rows[0] else value] for row in rows]
    text = "\n".join("\t".join(row) for row in rows) + "\n"
    return draw(changed_bytes(text.encode("utf-8", "surrogatepass")))


def sidecar_of(bold: Path) -> Path:
    """Name the JSON file beside an image."""
    return bold.with_name(bold.name.removesuffix(".gz").removesuffix(".nii") + ".json")
