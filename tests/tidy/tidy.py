#!/usr/bin/env python3
"""Style rules that are objective: columns, leftovers, headers, and who may include what."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

COLUMNS_MAX = 100
LINES_MAX = 600

# The rooms that each room may include; itself is understood. Nobody includes upward.
ROOMS = {
    "base": set(),
    "net": {"base"},
    "tls": {"base", "net"},
    "proxy": {"base", "net", "tls"},
    "md": {"base", "tls"},
    "app": {"base", "net", "tls", "proxy", "md"},
}

# Libraries, and the files under src/ that may know of them.
LIBRARIES = {
    r"liburing": r"net/ring\.",
    r"openssl/": r"(tls|md)/|base/(random|secret)\.cc",
    r"llhttp\.h": r"proxy/http1_parser",
    r"nghttp2/": r"proxy/",
    r"curl/": r"md/|app/(command/admin_client|version)\.cc",
    r"nlohmann/": r"(md|app)/",
    r"toml\+\+/|toml\.hpp": r"app/",
    r"CLI/": r"app/",
    r"ares": r"app/",
}

LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
INCLUDE = re.compile(r'\s*#\s*include\s+([<"])([^>"]+)[>"]')
# Our words are client and backend (design.md, section 12).
SIDES = re.compile(r"\b(up|down)" r"stream", re.IGNORECASE)


def tracked_files():
    """What git knows or would add."""
    output = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"], cwd=ROOT, check=True, capture_output=True).stdout
    return sorted({path for path in output.decode().split("\0")
                   if path and (ROOT / path).is_file()})


class Tidy:
    def __init__(self):
        self.complaints = []

    def complain(self, path, line, text):
        self.complaints.append(f"{path}:{line}: {text}")

    def check_any(self, path, lines):
        for number, line in enumerate(lines, 1):
            if LEFTOVER.search(line):
                self.complain(path, number, "a leftover; finish it or write an issue")

    def check_source(self, path, lines):
        formatted = True
        for number, line in enumerate(lines, 1):
            if "clang-format off" in line:
                formatted = False  # tables, whose lines are rows
            if "clang-format on" in line:
                formatted = True
            if formatted and len(line) > COLUMNS_MAX:
                self.complain(path, number, f"{len(line)} columns, {COLUMNS_MAX} are allowed")
            if "\t" in line:
                self.complain(path, number, "a tab")
            if line != line.rstrip():
                self.complain(path, number, "space at the end of the line")

    def check_cpp(self, path, lines):
        if len(lines) > LINES_MAX:
            self.complain(path, len(lines), f"more than {LINES_MAX} lines: two things live here")
        if path.endswith(".h"):
            code = [line for line in lines if line.strip() and not line.startswith("//")]
            if not lines or not lines[0].startswith("//"):
                self.complain(path, 1, "a header begins with a comment that says what it is")
            if not code or code[0] != "#pragma once":
                self.complain(path, 1, "#pragma once has to come first")
            for number, line in enumerate(lines, 1):
                if re.match(r"\s*using\s+namespace\s+(?!std::\w*literals;)", line):
                    self.complain(path, number, "using namespace in a header")

    def check_room(self, path, lines):
        inside = path.removeprefix("src/")
        room = inside.split("/")[0]
        for number, line in enumerate(lines, 1):
            if SIDES.search(line):
                self.complain(path, number, "the sides are called client and backend")
            include = INCLUDE.match(line)
            if not include:
                continue
            target = include.group(2)
            for library, allowed in LIBRARIES.items():
                if re.match(library, target) and not re.match(allowed, inside):
                    self.complain(path, number, f"{target} may be included by {allowed} only")
            if include.group(1) == '"':
                if not (ROOT / "src" / target).is_file():
                    self.complain(path, number, f'"{target}" is no path from src')
                elif target.split("/")[0] not in ROOMS[room] | {room}:
                    self.complain(path, number, f"{room} must not include {target}")

    def run(self):
        for path in tracked_files():
            try:
                text = (ROOT / path).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # an image, a recorded message
            lines = text.split("\n")
            last = lines.pop()
            if last:
                lines.append(last)
            self.check_any(path, lines)
            if last and "/corpus/" not in path:  # fuzzing inputs are as they are
                self.complain(path, len(lines), "no line break at the end of the file")
            if path.endswith((".h", ".cc", ".py")):
                self.check_source(path, lines)
            if path.endswith((".h", ".cc")):
                self.check_cpp(path, lines)
                if path.startswith("src/"):
                    self.check_room(path, lines)
        for complaint in self.complaints:
            print(complaint)
        return 1 if self.complaints else 0


if __name__ == "__main__":
    sys.exit(Tidy().run())
