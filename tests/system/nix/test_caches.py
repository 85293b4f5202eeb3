"""Caches that a distribution computes at installation, and programs cannot write, are there and are used."""

import re

import pytest

from nix.cache import BuildLimits, Cache
from nix.dependencies import Expression, Packages, Pinned
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.support.registry import Registry, with_registry
from tests.system.nix.conftest import Host

STANDARD = ("json", "asyncio", "distutils.version", "test.support", "sqlite3", "sitecustomize")
COMPILED = re.compile(r"^# code object from (/\S+\.py)$", re.MULTILINE)
"""How `python3 -v` reports a module that it compiled."""
LOADED = re.compile(r"^# code object from '(/\S+\.pyc)'$", re.MULTILINE)
"""How it reports bytecode that it loaded."""
SEVERAL = Expression("""
    { pkgs }: [
      pkgs.fontconfig pkgs.fonts-dejavu-core pkgs.ca-certificates pkgs.shared-mime-info pkgs.python3
      (pkgs.writeTextDir "lib/python3.11/colorsys.py" "NAME = 'mine'\n")
    ]
""")
JAVA = Packages(("openjdk-17-jdk-headless",))


@pytest.mark.parametrize(
    ("debian", "pypi"),
    [(("python3-numpy",), ()), ((), ("table==1.0",)), (("python3-numpy",), ("table==1.0",))],
    ids=["debian", "pypi", "both"],
)
def test_no_module_that_a_program_imports_is_compiled_again(
    host: Host, sandboxes: Sandboxes, served: Registry, debian: tuple[str, ...], pypi: tuple[str, ...]
) -> None:
    modules = ["table/__init__.py", "table/frame.py", "table/test/__init__.py"]
    served.wheel("table", "1.0", dict.fromkeys(modules, "import csv, decimal\n"))
    cache = Cache(with_registry(host.settings, served), SandboxRunner(sandboxes))
    wanted = Packages(("python3", *debian), Pinned(pypi))
    installed = host.loop.run(cache.install(wanted, host.pin, BuildLimits(), print))

    names = [*STANDARD, *(["numpy"] if debian else []), *(["table.frame", "table.test"] if pypi else [])]
    printed = host.run(installed, "sh", "-c", f"python3 -v -c 'import {','.join(names)}' 2>&1")
    assert COMPILED.findall(printed) == []
    assert "stale" not in printed
    loaded = LOADED.findall(printed)
    assert len(loaded) > 100
    assert any("/distutils/" in path for path in loaded)
    assert any("/dist-packages/numpy/" in path for path in loaded) == bool(debian)
    assert any(path.startswith("/usr/local/lib/python3.11/") for path in loaded) == bool(pypi)


def test_a_small_file_is_not_hidden_by_the_bytecode_of_the_module_that_it_replaces(host: Host) -> None:
    code = "import colorsys; print(colorsys.NAME)"
    assert host.run(host.install(SEVERAL), "python3", "-c", code) == "mine\n"


def test_fontconfig_uses_the_cache_of_the_environment(host: Host) -> None:
    printed = host.run(host.install(SEVERAL), "sh", "-c", "FC_DEBUG=16 fc-list 2>&1")
    assert "DejaVuSans.ttf: DejaVu Sans" in printed
    assert "FcCacheTimeValid" in printed
    assert "FcDirCacheWriteDir" not in printed, "fontconfig scanned the fonts, and wrote a cache of its own"


@pytest.mark.parametrize(
    "file",
    [
        "/etc/ssl/certs/ca-certificates.crt",
        "/usr/share/mime/mime.cache",
        "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
        "/etc/ld.so.cache",
    ],
)
def test_what_maintainer_scripts_and_triggers_compute_is_there(host: Host, file: str) -> None:
    assert (
        host.run(host.install(SEVERAL), "sh", "-c", f"test -s {file} && echo there || echo absent")
        == "there\n"
    )


def test_the_dynamic_linker_reads_its_cache(host: Host) -> None:
    printed = host.run(host.install(SEVERAL), "sh", "-c", "LD_DEBUG=libs fc-list 2>&1")
    assert "search cache=/etc/ld.so.cache" in printed
    assert "(system search path)" not in printed


def test_java_maps_its_class_data_archive(host: Host) -> None:
    printed = host.run(host.install(JAVA), "sh", "-c", "java -Xshare:on -version 2>&1")
    assert "sharing" in printed
