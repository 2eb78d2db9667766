"""Whatever is sent, within the document's shapes and beside them: an answer that the document describes."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cift_web.app import openapi_document
from tests.web.conftest import Client, MakeClient

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
TOO_LONG = 414  # a rejection too, which schemathesis does not count as one
schema = schemathesis.openapi.from_dict(json.loads(json.dumps(openapi_document())))


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    """A user of this test's own."""
    return make_client()


@schema.parametrize()
@settings(max_examples=8, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_described(case: schemathesis.Case, gunicorn: str, client: Client) -> None:
    headers = {"Authorization": f"Bearer {client.token}"}
    response = case.call(base_url=gunicorn, headers=headers)
    unsuited = [negative_data_rejection] if response.status_code == TOO_LONG else []
    case.validate_response(response, checks=CHECKS, excluded_checks=unsuited)
