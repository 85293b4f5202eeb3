"""Print violations as `file:line: rule: text` below the given paths, or of everything, pending or not.

The number of violations of each area, as `pending.PENDING` names them, goes to standard error.
"""

import sys
from collections import Counter
from pathlib import Path

from tests.prose.pending import area
from tests.prose.rules import check
from tests.prose.texts import DOCUMENTS, PRODUCT, files

if __name__ == "__main__":
    found = check(list(files(tuple(path.rstrip("/") for path in sys.argv[1:]) or PRODUCT + DOCUMENTS)))
    sys.stdout.writelines(f"{violation}\n" for violation in found)
    areas = Counter(area(Path(violation.file)) for violation in found)
    sys.stderr.writelines(f"{count:5} {name}\n" for name, count in sorted(areas.items()))
    sys.exit(bool(found))
