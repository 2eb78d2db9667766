"""What the tests of the tables share."""

import pytest

from cift_core.models import Base
from cift_core.stores import Stores
from tests.models.rows import Add


@pytest.fixture
def add(stores: Stores) -> Add:
    """Commits rows."""

    def add(*rows: Base) -> None:
        with stores.postgres.transaction() as session:
            session.add_all(rows)

    return add
