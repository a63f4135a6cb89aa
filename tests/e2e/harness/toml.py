"""Writes the TOML that the tests need: tables, lists of tables, plain values."""
import json


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(str(value), ensure_ascii=False)


def _is_tables(value):
    return isinstance(value, list) and value and all(isinstance(item, dict) for item in value)


def _table(name, table, lines):
    later = []
    for key, value in table.items():
        if _is_tables(value):
            later.append((key, value))
        else:
            lines.append(f"{key} = {_value(value)}")
    for key, tables in later:
        for item in tables:
            lines.append(f"\n[[{name}.{key}]]")
            _table(f"{name}.{key}", item, lines)


def to_toml(document):
    """`document`: {"server": {…}, "listen": [{…}, …], "md": {"domain": [{…}]}}"""
    lines = []
    for name, value in document.items():
        for item in value if isinstance(value, list) else [value]:
            lines.append(f"\n[[{name}]]" if isinstance(value, list) else f"\n[{name}]")
            _table(name, item, lines)
    return "\n".join(lines).lstrip() + "\n"
