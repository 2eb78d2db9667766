"""What the tests of the services share."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from cift_core.services.workers import QUEUES
from cift_core.stores import Stores
from tests.services.desk import SAMPLE, Desk

# what beat and the workers leave in the broker
TRACES = ("cift:beat", *(f"cift:canary:{queue}" for queue in QUEUES))


@pytest.fixture
def desk(stores: Stores, owner_id: UUID, tmp_path: Path) -> Desk:
    settings = replace(stores.settings, data_dir=tmp_path, upload_dir=tmp_path / ".uploads")
    return Desk(replace(stores, settings=settings), owner_id)


@pytest.fixture
def sample_desk(desk: Desk) -> Desk:
    return Desk(replace(desk.stores, settings=replace(desk.settings, data_dir=SAMPLE)), desk.owner_id)
