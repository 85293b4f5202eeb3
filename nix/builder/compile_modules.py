"""Compile the Python modules whose paths, relative to the root folder, are lines of the standard input.

The argument is a folder for the bytecode, at the place that each module's own would have. What is no Python
of this version, such as a test's example, is left out: it is not worth an error.
"""

import importlib.util
import py_compile
import sys

for line in sys.stdin.buffer.read().splitlines():
    module = "/" + line.decode(errors="surrogateescape")
    try:
        py_compile.compile(
            module,
            cfile=sys.argv[1] + importlib.util.cache_from_source(module),
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            doraise=True,
        )
    except (OSError, ValueError, RecursionError, py_compile.PyCompileError):
        continue
