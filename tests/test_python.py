"""The Python interface: what is public, and that what the documents show of it works."""

from __future__ import annotations

import doctest
import pydoc
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from support import FIXTURES, REPOSITORY
from surface_reports import N_VERTICES, report_folder

import nidecomp
from nidecomp import start
from nidecomp.config.settings import Settings
from nidecomp.core.inventory import Inventory
from nidecomp.outputs.comparison_tables import COMPARISONS
from nidecomp.outputs.model_order import MODEL_ORDER
from nidecomp.outputs.result import Outcome

PUBLIC = [
    "CanICA", "Decomposition", "DictLearning", "NidecompError", "Outcome", "__version__",
    "component_table", "decompose", "group_table", "load_results",
]  # fmt: skip
DOCUMENTS = [
    path
    for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
    if "```python" in path.read_text(encoding="utf-8")
]


def test_what_is_public_is_listed_and_nothing_else() -> None:
    assert dir(nidecomp) == PUBLIC == sorted(nidecomp.__all__)
    shown = pydoc.render_doc(nidecomp, renderer=pydoc.plaintext)
    described, _, rest = shown.partition("PACKAGE CONTENTS")
    assert "load_results" in described
    members = rest.partition("CLASSES")[2]
    for name in PUBLIC:
        assert name in members or name == "__version__"
    for name in ("annotations", "TYPE_CHECKING", "import_module", "Any ="):
        assert f"    {name}" not in members


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ICA'"):
        nidecomp.ICA  # noqa: B018


# ---------------------------------------------------------------- what documents show
@pytest.fixture(scope="module")
def folders(small_output: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that documents name: one tiny output folder, with a run for each participant."""
    root = tmp_path_factory.mktemp("documents")
    one = shutil.ignore_patterns("*_task-nback_*", "work")
    shutil.copytree(small_output, root / "networks", ignore=one)
    (root / "networks" / "logs" / "order.tsv").write_text("\t".join(MODEL_ORDER) + "\n")
    for name in ("demo_output", "demo_several", "demo_auto"):
        (root / name).symlink_to("networks")
    compared = root / "demo_output_groups"
    compared.mkdir()
    (compared / "comparisons.tsv").write_text("\t".join(COMPARISONS) + "\n")
    maps = np.random.default_rng(0).standard_normal((2, 2, 2 * N_VERTICES)).astype(np.float32)
    report_folder(root / "surfaces_output", maps, None)
    (root / "fmriprep").symlink_to(FIXTURES / "several_tasks")
    return root


@pytest.fixture
def in_folders(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work where these folders are; `decompose` reads its options and finds its results there."""
    import matplotlib.pyplot as plt

    def carry_out(settings: Settings) -> Outcome:
        return Outcome(Inventory(), settings.output_dir)

    monkeypatch.setattr(start, "carry_out", carry_out)
    monkeypatch.chdir(folders)
    yield
    plt.close("all")


def images() -> dict[str, Any]:
    """What a reader is said to have: images of some runs and their mask."""
    rng = np.random.default_rng(0)
    networks = rng.laplace(size=(5, 600))
    runs = [(rng.normal(size=(40, 5)) @ networks).T.reshape(10, 10, 6, 40) for _ in range(3)]
    return {
        "mask_img": nib.Nifti1Image(np.ones((10, 10, 6), np.uint8), np.eye(4)),
        "images": [nib.Nifti1Image(run.astype(np.float32), np.eye(4)) for run in runs],
    }


# What `plotting.show` says where there is no screen.
@pytest.mark.filterwarnings("ignore:You are using the 'agg' matplotlib backend")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_python_of_documents_runs(document: Path, in_folders: None) -> None:
    """All of a document, from its first line to its last."""
    names = images()
    blocks = re.findall(r"^```python\n(.*?)^```", document.read_text("utf-8"), re.DOTALL | re.M)
    for block in blocks:
        exec(compile(block, document.name, "exec"), names)  # noqa: S102  our own documents


def test_the_examples_of_docstrings_run(in_folders: None) -> None:
    runner, n_examples = doctest.DocTestRunner(), 0
    for name in PUBLIC:
        for example in doctest.DocTestFinder().find(getattr(nidecomp, name), name):
            runner.run(example)
            n_examples += len(example.examples)
    assert n_examples > 5
    assert runner.failures == 0


# ---------------------------------------------------------------- figures
def test_maps_are_plotted_by_index_or_name(in_folders: None) -> None:
    import matplotlib.pyplot as plt

    canica, _ = nidecomp.load_results("networks")
    for component in ("canica02", None):
        display = canica.plot(component, display_mode="z", cut_coords=[40])
        texts = [text.get_text() for axes in plt.gcf().axes for text in axes.texts]
        said = "canica, 3 components" if component is None else "canica02 Posterior default mode"
        assert said in texts
        display.close()
    for component in (3, -4, "canica04"):
        with pytest.raises(
            nidecomp.NidecompError, match=r"There is no component .* index from 0 to 2, or a"
        ):
            canica.plot(component)
