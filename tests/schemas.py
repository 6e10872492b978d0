"""Holds a document against a JSON schema, as far as the schemas of this repository go.

Knows `type`, `const`, `enum`, `properties`, `required`, `additionalProperties`, `items`, `$ref`
into `$defs`, `minimum`; refuses a schema with anything else, so that no rule is passed over.
"""

from __future__ import annotations

from typing import Any

_KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "number": (int, float),
    "integer": int,
    "null": type(None),
}
_KNOWN = {
    *("$schema", "$id", "$defs", "$ref", "title", "description", "type", "enum", "const"),
    *("properties", "required", "additionalProperties", "items", "minimum"),
}


def problems_of(document: Any, schema: dict[str, Any], place: str = "$") -> list[str]:
    """What of `document` the schema does not allow, each with its place."""
    return _problems(document, schema, schema, place)


def _problems(value: Any, rule: dict[str, Any], root: dict[str, Any], place: str) -> list[str]:
    unknown = set(rule) - _KNOWN
    if unknown:
        raise ValueError(f"the schema has keywords that are not known here: {sorted(unknown)}")
    if "$ref" in rule:
        return _problems(value, root["$defs"][rule["$ref"].removeprefix("#/$defs/")], root, place)
    found = []
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return [f"{place}: {value!r} is not of the type {kinds}"]
    if "const" in rule and value != rule["const"]:
        found.append(f"{place}: {value!r} is not {rule['const']!r}")
    if "enum" in rule and value not in rule["enum"]:
        found.append(f"{place}: {value!r} is none of {rule['enum']}")
    if "minimum" in rule and value < rule["minimum"]:
        found.append(f"{place}: {value!r} is less than {rule['minimum']}")
    if isinstance(value, dict):
        properties = rule.get("properties", {})
        found += [
            f"{place}: {name} is missing" for name in rule.get("required", []) if name not in value
        ]
        for name, each in value.items():
            if name in properties:
                found += _problems(each, properties[name], root, f"{place}.{name}")
            elif rule.get("additionalProperties") is False:
                found.append(f"{place}: {name} is not known")
    if isinstance(value, list) and "items" in rule:
        for number, each in enumerate(value):
            found += _problems(each, rule["items"], root, f"{place}[{number}]")
    return found


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind])
