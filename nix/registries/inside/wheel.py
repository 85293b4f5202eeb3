"""Wheels: the paths of their files below /usr/local, and the scripts of their entry points."""

import configparser
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from nix.registries.inside.refusal import COMMAND, Member, UnpackRefusedError, check_mode, plain_path

SMALL_BYTES = 1 << 20
"""Largest size of files that are read into memory: scripts and lists of entry points."""
ENCRYPTED = 1
TARGET = re.compile(r"\s*([\w.]+)\s*(?::\s*([\w.]+))?\s*(?:\[.*\])?\s*")
ANY_PYTHON, PYTHON = b"#!python", b"#!/usr/bin/python3"
"""First line of a script in a wheel, and of the installed script."""
SCRIPT = "{python}\nimport sys\nfrom {module} import {first}\nsys.exit({whole}())\n"


def wheel_members(file: Path, python_version: str) -> Iterator[Member]:
    """Yield the files of a wheel and the scripts of its entry points.

    Raises:
        UnpackRefusedError: the archive is not an acceptable wheel.
    """
    site = f"lib/python{python_version}/dist-packages"
    with zipfile.ZipFile(file) as wheel:
        infos = {plain_path(info.filename): info for info in wheel.infolist() if not info.is_dir()}
        about = _about(infos)
        for path, info in infos.items():
            check_mode(info.filename, info.external_attr >> 16)
            if info.flag_bits & ENCRYPTED:
                raise UnpackRefusedError(f"its member {info.filename[:200]!r} is encrypted")
            target = _target(path, about.removesuffix(".dist-info"), site, python_version)
            command = target.startswith("bin/")
            executable = command or bool(info.external_attr >> 16 & 0o111)
            if command and _begins(wheel, info, ANY_PYTHON):
                _, end, rest = _small(wheel, info).partition(b"\n")
                script = PYTHON + end + rest
                yield Member(target, len(script), io.BytesIO(script), executable)
            else:
                with wheel.open(info) as content:
                    yield Member(target, info.file_size, content, executable)
        if entry_points := infos.get(f"{about}/entry_points.txt"):
            yield from _entry_points(_small(wheel, entry_points))


def _about(infos: dict[str, zipfile.ZipInfo]) -> str:
    found = {path.split("/", 1)[0] for path in infos if path.endswith(".dist-info/METADATA")}
    found = {folder for folder in found if f"{folder}/METADATA" in infos}
    if len(found) != 1:
        raise UnpackRefusedError(f"it has {len(found)} folders *.dist-info, so it is no wheel")
    return found.pop()


def _target(path: str, package: str, site: str, python_version: str) -> str:
    folder, _, rest = path.partition("/")
    if folder != f"{package}.data":
        return f"{site}/{path}"
    scheme, _, rest = rest.partition("/")
    name = package.split("-", 1)[0]
    places = {
        "purelib": f"{site}/",
        "platlib": f"{site}/",
        "scripts": "bin/",
        "headers": f"include/python{python_version}/{name}/",
        "data": "",
    }
    if scheme not in places or not rest:
        raise UnpackRefusedError(f"its member {path[:200]!r} belongs nowhere")
    return places[scheme] + rest


def _small(wheel: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > SMALL_BYTES:
        raise UnpackRefusedError(f"its member {info.filename[:200]!r} is larger than {SMALL_BYTES} bytes")
    return wheel.read(info)


def _begins(wheel: zipfile.ZipFile, info: zipfile.ZipInfo, text: bytes) -> bool:
    with wheel.open(info) as file:
        return file.read(len(text)) == text


def _entry_points(text: bytes) -> Iterator[Member]:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # as configparser documents it
    try:
        parser.read_string(text.decode())
    except (configparser.Error, ValueError):
        return
    for section in ("console_scripts", "gui_scripts"):
        for name, value in parser[section].items() if section in parser else ():
            target = TARGET.fullmatch(value or "")
            if target and target[2] and COMMAND.fullmatch(name):
                first = target[2].split(".", 1)[0]
                script = SCRIPT.format(
                    python=PYTHON.decode(), module=target[1], first=first, whole=target[2]
                ).encode()
                yield Member(f"bin/{name}", len(script), io.BytesIO(script), executable=True)
