"""Build context of the broker's image: `python -m infra.kafka.image FOLDER; docker build FOLDER`."""

import logging
import shutil
import sys
from pathlib import Path

from infra.kafka.embedded import Distribution
from infra.kafka.install import install_kafka
from infra.kafka.properties import container_properties, render
from infra.settings import LocalSettings

_HERE = Path(__file__).parent


def make_build_context(folder: Path, distribution: Distribution) -> None:
    """Make a folder with the Dockerfile and all files of the image. The folder must not exist yet."""
    shutil.copytree(_HERE / "container", folder)
    shutil.copy(_HERE / "Dockerfile", folder)
    (folder / "server.properties").write_text(render(container_properties()))
    (folder / "lib").mkdir()
    for jar in distribution.jars:
        shutil.copy(jar, folder / "lib")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_build_context(Path(sys.argv[1]), install_kafka(LocalSettings().cache_dir))
