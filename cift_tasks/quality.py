"""The task that checks the quality of market data; not among the upkeep, which must not wait for QuestDB."""

from cift_core.errors import StoreUnavailable
from cift_core.services import quality_checks
from cift_tasks.app import app, stores

CHECKS_BUDGET_S = 10.0  # ingestions wait meanwhile


@app.task(name="cift.quality.check", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def check_quality() -> None:
    """Find the quality of the days that ingestions touched since; what is left waits for the next."""
    quality_checks.check_touched(stores(), budget_s=CHECKS_BUDGET_S)
