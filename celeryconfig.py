"""Celery's settings: queues, routes, limits and the beat schedule."""

from kombu import Exchange, Queue

from cift_core.settings import settings

_settings = settings()

broker_url = _settings.broker_url
broker_connection_retry_on_startup = True
# The row in PostgreSQL decides who runs a job; redelivery only has to happen, and soon.
VISIBILITY_TIMEOUT_S = 2 * 3600
broker_transport_options = {
    "visibility_timeout": VISIBILITY_TIMEOUT_S,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "socket_timeout": 2,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
task_publish_retry_policy = {
    "max_retries": 1,
    "interval_start": 0.0,
    "interval_step": 0.2,
    "interval_max": 0.2,
}

accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"
task_ignore_result = True
timezone = "UTC"

task_acks_late = True
task_reject_on_worker_lost = False  # the lease handles loss; on, a task that kills its worker loops
worker_prefetch_multiplier = 1
worker_max_tasks_per_child = 1_000
worker_soft_shutdown_timeout = 5.0  # always whole while a job runs: what is not done then is handed back
worker_cancel_long_running_tasks_on_connection_loss = False
worker_send_task_events = True
task_track_started = True
worker_hijack_root_logger = False

task_default_queue = "maintenance"
task_create_missing_queues = False
# Exchange and key named, or Celery would bind every queue to the default queue's.
task_queues = [
    Queue(name, Exchange(name), routing_key=name)
    for name in ("backtests", "sweeps", "ingestion", "health", "maintenance")
]
task_routes = {
    "cift.backtests.*": {"queue": "backtests"},
    "cift.ingestions.*": {"queue": "ingestion"},
    "cift.quality.*": {"queue": "ingestion"},
    "cift.health.*": {"queue": "health"},
    "cift.maintenance.*": {"queue": "maintenance"},
}
task_annotations = {
    "cift.backtests.run": {"soft_time_limit": 1_800, "time_limit": 1_860},
    "cift.ingestions.run": {"soft_time_limit": 3_600, "time_limit": 3_660},
    "cift.health.probe": {"soft_time_limit": 20, "time_limit": 30},
    "cift.health.canary": {"soft_time_limit": 10, "time_limit": 20},
    "cift.maintenance.requeue_stale": {"soft_time_limit": 10, "time_limit": 20},
    "cift.maintenance.remove_uploads": {"soft_time_limit": 60, "time_limit": 90},
    "cift.maintenance.settle_instruments": {"soft_time_limit": 300, "time_limit": 330},
    "cift.maintenance.watch_folders": {"soft_time_limit": 300, "time_limit": 330},
    "cift.quality.check": {"soft_time_limit": 300, "time_limit": 330},
    "cift.maintenance.forget_alerts": {"soft_time_limit": 300, "time_limit": 330},
    "cift.maintenance.drop_old_series": {"soft_time_limit": 150, "time_limit": 180},
    "cift.maintenance.seal_audit_trail": {"soft_time_limit": 50, "time_limit": 60},
    "cift.maintenance.forget_answers": {"soft_time_limit": 300, "time_limit": 330},
}

# A periodic task that could not run in its interval is dropped: the next one does its work.
beat_schedule = {
    "probe the stores": {
        "task": "cift.health.probe",
        "schedule": _settings.probe_interval_s,
        "options": {"expires": _settings.probe_interval_s},
    },
    "requeue stale jobs": {
        "task": "cift.maintenance.requeue_stale",
        "schedule": _settings.requeue_interval_s,
        "options": {"expires": _settings.requeue_interval_s},
    },
    "remove ended uploads": {
        "task": "cift.maintenance.remove_uploads",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "settle instruments": {
        "task": "cift.maintenance.settle_instruments",
        "schedule": 30.0,
        "options": {"expires": 30.0},
    },
    "watch folders": {
        "task": "cift.maintenance.watch_folders",
        "schedule": 30.0,
        "options": {"expires": 30.0},
    },
    "check the quality of market data": {
        "task": "cift.quality.check",
        "schedule": 30.0,
        "options": {"expires": 30.0},
    },
    "seal the audit trail": {
        "task": "cift.maintenance.seal_audit_trail",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "forget old alerts": {
        "task": "cift.maintenance.forget_alerts",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "drop old series": {
        "task": "cift.maintenance.drop_old_series",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "forget old idempotency keys": {
        "task": "cift.maintenance.forget_answers",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
}
beat_max_loop_interval = 1
