#!/usr/bin/env python3
"""Compares every #include of src/ and include/ with the picture in docs/explanation/architecture.md.

include_directions.py [ROOT]: prints one line a violation; exit status 1 if there is any, 2 if the picture is missing.
"""

import re
import sys
from pathlib import Path

PICTURE = "docs/explanation/architecture.md"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)[">]', re.MULTILINE)

# Third-party headers: beginning of the name -> the files that may include them, as one regular expression.
_TESTS = r".*/(\w+_)?(test|testing|contract)(_\w+)?\.(h|cc)"
THIRD_PARTY = {
    "CLI/": r"src/cli/.*",
    "spdlog/": r"src/base/log\.cc",
    "fmt/": r"src/base/(format\.h|log\.h|log\.cc)",
    "nlohmann/": r"src/base/json\.h|src/.*\.cc",
    "pcre2.h": r"src/tokenizer/.*\.cc",
    "utf8proc.h": r"src/tokenizer/.*\.cc",
    "cblas.h": r"src/(kernels|diagnose)/.*\.cc",
    "histedit.h": r"src/cli/.*\.cc",
    "cublasLt.h": r"src/kernels/.*\.cc",
    "cuda": r"src/(device|comm|kernels)/.*\.(cc|cu|cuh)",
    "nccl.h": r"src/comm/nccl/\w+_test\.cc",
    "gtest/": _TESTS,
    "gmock/": _TESTS,
}
# Our own headers that bring heavy ones: for .cc files, and for each other.
HEAVY = {"base/json.h", "comm/trust/snapshot_field.h", "tokenizer/json_reader.h"}
# What C, POSIX, Linux and the compiler provide. Names without a dot are the C++ library.
SYSTEM = re.compile(
    r"(sys|linux|arpa|net|netinet|asm)/[\w/-]+\.h|(aio|cpuid|ctype|dirent|dlfcn|endian|errno|fcntl|fenv|float|ftw|getopt|"
    r"glob|immintrin|inttypes|langinfo|limits|link|locale|malloc|math|netdb|numeric|poll|pthread|pwd|sched|semaphore|"
    r"setjmp|signal|spawn|stdarg|stddef|stdint|stdio|stdlib|string|strings|syslog|termios|time|ucontext|unistd|wchar|"
    r"x86intrin)\.h")


def read_picture(root):
    """{folder: height}: the lowest line of the picture is 0."""
    page = root / PICTURE
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    match = re.search(r"<!-- tests/include_directions.*?-->\n```text\n(.*?)```", text, re.DOTALL)
    if not match:
        sys.exit(f"include_directions: no picture in {page}")
    lines = match.group(1).strip().split("\n")
    return {folder: height for height, line in enumerate(reversed(lines)) for folder in line.split()}


def violations_of(path, text, heights, exists):
    """Violations of one file; `path` is relative to the root, exists(name) says whether src/ or include/ has a file."""
    public = path.parts[0] == "include"
    folder = path.parts[1]
    if not public and folder not in heights:
        yield f"{path}: folder {folder} is not in the picture of {PICTURE}"
        return
    # Comments may quote an include.
    code = re.sub(r"//[^\n]*", "", re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.DOTALL))
    for match in INCLUDE.finditer(code):
        where = f"{path}:{code.count(chr(10), 0, match.start()) + 1}"
        quoted, name = match.group(1) == '"', match.group(2)
        if quoted:
            target = name.split("/")[0]
            if not exists(name):
                yield f'{where}: "{name}" is not a path below src/ or include/'
            elif target == "tandem":
                continue
            elif public:
                yield f'{where}: a public header includes "{name}"; only tandem/ and the standard library are allowed'
            elif target not in heights:
                yield f'{where}: "{name}": folder {target} is not in the picture of {PICTURE}'
            elif target != folder and heights[target] >= heights[folder]:
                place = "beside" if heights[target] == heights[folder] else "above"
                yield f'{where}: {folder} includes "{name}", but {target} stands {place} it'
            elif name in HEAVY and path.suffix != ".cc" and path.relative_to("src").as_posix() not in HEAVY:
                yield f'{where}: "{name}" is heavy: include it in .cc files only'
            continue
        if "." not in name and "/" not in name:
            continue  # the C++ library
        if public:
            yield f"{where}: a public header includes <{name}>; only tandem/ and the C++ library are allowed"
            continue
        owner = next((prefix for prefix in THIRD_PARTY if name.startswith(prefix)), None)
        if owner is not None:
            if not re.fullmatch(THIRD_PARTY[owner], path.as_posix()):
                yield f"{where}: <{name}> is allowed only in {THIRD_PARTY[owner]}"
        elif name.startswith("tandem/") or exists(name):
            yield f'{where}: <{name}> is ours: write it in quotes'
        elif not SYSTEM.fullmatch(name):
            yield f"{where}: <{name}> is unknown: add it to the tables of tests/include_directions/include_directions.py"


def violations(root):
    heights = read_picture(root)

    def exists(name):
        return (root / "src" / name).is_file() or (root / "include" / name).is_file()

    for path in sorted(p for top in ("src", "include") for p in (root / top).rglob("*")):
        if path.suffix in (".h", ".cc", ".cu", ".cuh"):
            yield from violations_of(path.relative_to(root), path.read_text(encoding="utf-8"), heights, exists)


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
    found = list(violations(root))
    print("\n".join(found), end="\n" if found else "")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
