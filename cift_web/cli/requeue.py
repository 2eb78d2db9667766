"""`cift jobs requeue`: an operator's way to free a job."""

from uuid import UUID

import click

from cift_core.errors import NotFound
from cift_core.models import Backtest, Ingestion, JobColumns
from cift_core.services import jobs
from cift_web.cli.operator import audit_command, operator_stores

MODELS: tuple[type[JobColumns], ...] = (Backtest, Ingestion)


@click.command()
@click.argument("job_id", type=click.UUID)
def requeue(job_id: UUID) -> None:
    """For operators: take a queued or running job from whatever holds it, to be sent again.

    For a job whose worker hangs but still gives signs of life. What the worker still does has no effect; the
    attempt does not count. The service's upkeep sends the job within CIFT_REQUEUE_INTERVAL_S.
    """
    with operator_stores() as stores, stores.postgres.transaction() as session:
        for model in MODELS:
            if jobs.requeue(session, model, job_id):
                audit_command(session, "requeue_job", model.__tablename__, job_id)
                break
        else:
            raise NotFound("job_not_found", f"There is no queued or running job with the id {job_id}.")
    click.echo(f"{job_id} will be sent again.", err=True)
