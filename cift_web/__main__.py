"""`python -m cift_web > docs/openapi.json`: print the OpenAPI document."""

import json
import sys

from cift_web.app import openapi_document

sys.stdout.write(json.dumps(openapi_document(), indent=2, sort_keys=True) + "\n")
