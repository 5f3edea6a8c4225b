"""What a service says of itself, in the JSON that Curator's service discovery writes and reads.

Unknown fields are ignored, `@class` among them: a payload is plain JSON here. Source: the reference, "Payload".
"""

from __future__ import annotations

import enum
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

from corral.base.records import record

_PARTS: Final = re.compile(r"\{([^{}]*)\}|([^{}]+)")


class ServiceType(enum.Enum):
    """How an instance's znode lives.

    DYNAMIC: with the session. DYNAMIC_SEQUENTIAL: so too, and its name gets a number. STATIC: until its registration is
    closed. PERMANENT: until somebody deletes it.
    """

    DYNAMIC = "DYNAMIC"
    STATIC = "STATIC"
    PERMANENT = "PERMANENT"
    DYNAMIC_SEQUENTIAL = "DYNAMIC_SEQUENTIAL"

    @property
    def is_dynamic(self) -> bool:
        """Whether the znode lives with the session."""
        return self is ServiceType.DYNAMIC or self is ServiceType.DYNAMIC_SEQUENTIAL


@record
class ServiceInstance:
    """One instance of a service.

    id: unique among those of the name; a UUID unless given. payload: whatever JSON can say. registered_ms: wall-clock
    milliseconds. uri_spec: a text with variables in braces, as `{scheme}://{address}:{port}`; see `uri`.
    """

    name: str
    id: str
    address: str | None = None
    port: int | None = None
    ssl_port: int | None = None
    payload: Any = None
    registered_ms: int = 0
    type: ServiceType = ServiceType.DYNAMIC
    uri_spec: str | None = None
    is_enabled: bool = True

    def uri(self, variables: Mapping[str, object] | None = None) -> str:
        """Return `uri_spec` with its variables filled in; unknown ones are empty. variables: more, or other ones.

        Known are scheme (https where there is an ssl_port, else http), name, id, address, port, ssl-port,
        registration-time-utc, service-type, and `[` and `]` for the braces themselves.
        """
        known: dict[str, object] = {
            "scheme": "http" if self.ssl_port is None else "https",
            "name": self.name,
            "id": self.id,
            "address": self.address,
            "port": self.port,
            "ssl-port": self.ssl_port,
            "registration-time-utc": self.registered_ms,
            "service-type": self.type.value.lower(),
            "[": "{",
            "]": "}",
            **(variables or {}),
        }
        parts = _parts(self.uri_spec or "")
        values = (known.get(value) if is_variable else value for value, is_variable in parts)
        return "".join("" if value is None else str(value) for value in values)


def new_id() -> str:
    """Return an id for an instance."""
    return str(uuid.uuid4())


class InstanceSerializer:
    """An instance as JSON.

    has_enabled: whether `enabled` is written, which readers before Curator 2.12 refuse; it is always read.
    """

    def __init__(self, has_enabled: bool = False) -> None:
        self._has_enabled = has_enabled

    def dumps(self, model: ServiceInstance) -> bytes:
        """Encode. Raises ValueError for a `uri_spec` whose braces do not match."""
        spec = None
        if model.uri_spec is not None:
            spec = {"parts": [{"value": value, "variable": variable} for value, variable in _parts(model.uri_spec)]}
        fields = {
            "name": model.name,
            "id": model.id,
            "address": model.address,
            "port": model.port,
            "sslPort": model.ssl_port,
            "payload": model.payload,
            "registrationTimeUTC": model.registered_ms,
            "serviceType": model.type.value,
            "uriSpec": spec,
        }
        if self._has_enabled:
            fields["enabled"] = model.is_enabled
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()

    def loads(self, data: bytes) -> ServiceInstance:
        """Decode. Raises ValueError."""
        try:
            found = json.loads(data)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        if not isinstance(found, dict):
            raise ValueError(f"an instance is a JSON object, not {type(found).__name__}")
        address = found.get("address")
        return ServiceInstance(
            _text(found, "name"),
            _text(found, "id"),
            None if address is None else _text(found, "address"),
            _number(found, "port"),
            _number(found, "sslPort"),
            found.get("payload"),
            _number(found, "registrationTimeUTC") or 0,
            ServiceType(found.get("serviceType") or "DYNAMIC"),
            _spec(found.get("uriSpec")),
            found.get("enabled", True) is not False,
        )


def _text(found: Mapping[str, Any], field: str) -> str:
    value = found.get(field)
    if not isinstance(value, str):
        raise ValueError(f"{field} must be a text, not {value!r}")
    return value


def _number(found: Mapping[str, Any], field: str) -> int | None:
    value = found.get(field)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError(f"{field} must be a number, not {value!r}")


def _spec(found: Any) -> str | None:
    if found is None:
        return None
    try:
        parts = [(part["value"], part["variable"]) for part in found["parts"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"uriSpec must be an object with parts, not {found!r}") from error
    return "".join(f"{{{value}}}" if is_variable else str(value) for value, is_variable in parts)


def _parts(spec: str) -> list[tuple[str, bool]]:
    """Return the (value, is it a variable) of a spec. Raises ValueError."""
    parts = []
    at = 0
    while at < len(spec):
        found = _PARTS.match(spec, at)
        if found is None:
            raise ValueError(f"uri_spec {spec!r}: the brace at {at} has no match")
        at = found.end()
        parts.append((found[2], False) if found[1] is None else (found[1].strip(), True))
    return parts
