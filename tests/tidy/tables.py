#!/usr/bin/env python3
"""Tables in docs/ that say which test proves what: every test that they name has to exist, and
every row has to name one, or say why there is none."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLES = ("docs/acceptance.md", "docs/stapling.md", "docs/store-faults.md")

REFERENCE = re.compile(r"`(\w+\.py)::(\w+)`|`(\w+\.cc): ([^`]+)`")
LITERALS = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'
# What may stand where no test is named.
REASONS = ("not applicable: ", "with etcd")


def tests_of(path):
    """Names of the tests in a file: functions of pytest, cases of Catch2."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return set(re.findall(r"^def (test_\w+)", text, re.MULTILINE))
    return {"".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals)).replace('\\"', '"')
            for literals in re.findall(r"TEST_CASE\(\s*" + LITERALS, text)}


def complaints(name, files):
    rows = 0
    seen = set()
    for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|") or line.startswith("|---") or len(cells) < 3:
            continue
        if cells[-1] == "test":
            continue  # the head
        rows += 1
        if (cells[0], cells[1]) in seen:
            yield f"{name}:{number}: {cells[0]} stands twice with the same behaviour"
        seen.add((cells[0], cells[1]))
        references = REFERENCE.findall(cells[-1])
        if not references and not cells[-1].startswith(REASONS):
            yield f"{name}:{number}: names no test and gives no reason"
        for python, function, cpp, case in references:
            wanted, test = (python, function) if python else (cpp, case)
            if wanted not in files:
                yield f"{name}:{number}: there is no {wanted} under tests/"
            elif not any(test in tests_of(path) for path in files[wanted]):
                yield f"{name}:{number}: {wanted} has no test {test!r}"
        if cells[-1].count("`") != 2 * len(references):
            yield f"{name}:{number}: a test is named in an unknown form"
    if rows == 0:
        yield f"{name}: there is no table"


def main():
    files = {}
    for path in (ROOT / "tests").rglob("*"):
        if path.suffix in (".py", ".cc"):
            files.setdefault(path.name, []).append(path)
    found = [text for name in TABLES for text in complaints(name, files)]
    for text in found:
        print(text)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
