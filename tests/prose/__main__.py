"""Print violations as `file:line: rule: text`, below the given paths or of everything."""

import sys

from tests.prose.rules import check
from tests.prose.texts import DOCUMENTS, PRODUCT, files

if __name__ == "__main__":
    found = check(list(files(tuple(path.rstrip("/") for path in sys.argv[1:]) or PRODUCT + DOCUMENTS)))
    sys.stdout.writelines(f"{violation}\n" for violation in found)
    sys.exit(bool(found))
