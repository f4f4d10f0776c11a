"""The actions of a source as services of Foxglove, with the types of the node's services."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from foxglove import MessageSchema, Schema, Service, ServiceRequest, ServiceSchema

from semla_ros.errors import SemlaError
from semla_ros.view.source import FREEZE, RELOAD, RESET, Source

REQUESTS: dict[str, dict[str, Any]] = {FREEZE: {"data": {"type": "boolean"}}, RESET: {}, RELOAD: {}}
ANSWER = {"success": {"type": "boolean"}, "message": {"type": "string"}}


def services(source: Source, prefix: str) -> list[Service]:
    """The services.

    Args:
        source: Does the actions.
        prefix: Beginning of the services' names, for example "/semla".
    """
    return [_service(source, prefix, name, fields) for name, fields in REQUESTS.items()]


def _service(source: Source, prefix: str, name: str, fields: Mapping[str, Any]) -> Service:
    kind = "std_srvs/srv/SetBool" if fields else "std_srvs/srv/Trigger"
    request, response = _schema(f"{kind}_Request", fields), _schema(f"{kind}_Response", ANSWER)
    described = ServiceSchema(name=kind, request=request, response=response)
    return Service(name=f"{prefix}/{name}", schema=described, handler=lambda asked: _answer(source, name, asked))


def _answer(source: Source, name: str, asked: ServiceRequest) -> bytes:
    """Runs in a thread of the SDK."""
    try:
        text, is_done = source.act(name, json.loads(asked.payload or b"{}").get("data")), True
    except (SemlaError, ValueError, AttributeError) as error:  # refused, not JSON, or no object
        text, is_done = str(error), False
    return json.dumps({"success": is_done, "message": text}).encode()


def _schema(name: str, fields: Mapping[str, Any]) -> MessageSchema:
    data = json.dumps({"type": "object", "properties": fields}).encode()
    return MessageSchema(encoding="json", schema=Schema(name=name, encoding="jsonschema", data=data))
