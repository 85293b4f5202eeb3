"""Compile the Python modules whose paths, relative to the root folder, are lines of the standard input.

The argument is a folder with `source`, the files of an archive, and `bytecode`, into which the bytecode of a
module is written at the place of the module's own. What is no Python of this version, such as an example of a
test, is left out: it is not worth an error.
"""

import importlib.util
import py_compile
import sys
from pathlib import Path

folder = sys.argv[1]
for line in sys.stdin.buffer.read().splitlines():
    module = "/" + line.decode(errors="surrogateescape")
    source = f"{folder}/source{module}"
    if not Path(source).is_file():  # a link of the interpreter's own to another of its archives
        source = module
    try:
        py_compile.compile(
            source,
            cfile=f"{folder}/bytecode{importlib.util.cache_from_source(module)}",
            dfile=module,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            doraise=True,
        )
    except (FileNotFoundError, ValueError, RecursionError, MemoryError, py_compile.PyCompileError):
        continue
