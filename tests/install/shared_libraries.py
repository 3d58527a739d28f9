"""shared_libraries.py PROGRAM: the program needs no shared library but libc and libm (docs/decisions/0001)."""

import re
import subprocess
import sys

ALLOWED = re.compile(r"linux-vdso\.so|libc\.so|libm\.so|(/\S*/)?ld-linux[\w-]*\.so")

lines = subprocess.run(["ldd", sys.argv[1]], check=True, capture_output=True, text=True).stdout.splitlines()
others = [line.strip() for line in lines if not ALLOWED.match(line.strip())]
if not lines or others:
    sys.exit(f"{sys.argv[1]} also needs:\n  " + "\n  ".join(others) if others else f"ldd {sys.argv[1]} printed nothing")
print(f"{sys.argv[1]}: {len(lines)} libraries, all expected")
