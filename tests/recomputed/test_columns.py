"""Every column of every table has a recomputation."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from document_tables import TABLES

from recomputed.published import RECOMPUTED

# Columns that name, count files or quote a text: no number is computed for them.
NOT_COMPUTED: dict[str, set[str]] = {
    "logs/matching.tsv": {"method", "scale", "component", "other_method", "other_scale"},
    "logs/stability.tsv": {"method", "scale", "split"},
    "logs/splits.tsv": {"split", "participant_id"},
    "logs/datasets.tsv": {"method", "scale", "component", "dataset"},
    # Time and memory were measured while the analysis ran: no file has them a second time.
    "logs/resources.tsv": {"step", "run", "seconds", "cpu_seconds", "peak_memory_mb"},
    "participants.tsv": {"participant_id", "role"},
    # The label is that of the table of metrics.
    "comparisons.tsv": {"decomposition", "component", "label", "contrast", "test"},
    "comparisons_edges.tsv": {"decomposition", "contrast"},
    "amplitudes.tsv": {"participant_id", "decomposition", "component"},
    "logs/inventory.tsv": {
        *("run", "status", "reason", "notes", "source_file", "repetition_time_source")
    },
    "logs/quality.tsv": {"run", "method"},
    "logs/quality_components.tsv": {"run", "method", "component"},
}


def test_every_column_is_recomputed() -> None:
    for module in Path(__file__).parent.glob("test_*.py"):
        import_module(f"recomputed.{module.stem}")
    documented = {(table.file, column) for table in TABLES for column in table.columns}
    excused = {(file, column) for file, columns in NOT_COMPUTED.items() for column in columns}
    assert excused <= documented
    assert RECOMPUTED <= documented
    assert documented - RECOMPUTED - excused == set()
