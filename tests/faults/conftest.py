"""The server and the undisturbed run, which fast and slow tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import support
from cases import Case, Undisturbed, undisturbed
from served import Server


@pytest.fixture(scope="session")
def server() -> Server:
    """What runs NiDecomp with faults."""
    return support.server()


@pytest.fixture(scope="session")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What a run gives that nothing disturbs."""
    return undisturbed(server, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def case(server: Server, tmp_path: Path) -> Case:
    """A dataset and an output folder for one fault."""
    return Case(server, tmp_path)
