"""`fetch`: downloads the archives that /box/artifacts.json lists, and sends each to the deposit's socket.

The deposit verifies their hashes. The program prints a JSON object: the reason for each failure by hash.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.request import OpenerDirector

from nix.registries.inside.deposit import Deposited
from nix.registries.inside.tunnel import PIECE_BYTES, open_tunnel
from nix.registries.inside.web import opener, request

AT_ONCE = 4
TIMEOUT_S = 30.0


def main() -> None:
    """Fetch all archives; the failure of one does not stop the others."""
    artifacts = json.loads(Path("artifacts.json").read_text())
    web = opener(open_tunnel())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reasons = list(pool.map(partial(_fetch, web), artifacts))
    failed = {artifact["hash"]: why for artifact, why in zip(artifacts, reasons, strict=True) if why}
    sys.stdout.write(json.dumps(failed))


def _fetch(web: OpenerDirector, artifact: dict[str, str]) -> str:
    """Fetch one archive and return the reason for a failure, empty if it succeeded."""
    asked = request(artifact["url"], **{"Accept-Encoding": "identity"})
    try:
        with web.open(asked, timeout=TIMEOUT_S) as answer, Deposited(artifact["hash"]) as deposited:
            while piece := answer.read(PIECE_BYTES):
                deposited.write(piece)
            return deposited.finish()
    except OSError as error:
        return str(error)[:500] or type(error).__name__


if __name__ == "__main__":
    main()
