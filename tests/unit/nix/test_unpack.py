"""Archives of packages are treated as if they were hostile."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from nix.registries.inside.npm_package import npm_members
from nix.registries.inside.refusal import Member, UnpackRefusedError
from nix.registries.inside.unpack import Layer
from nix.registries.inside.wheel import wheel_members

ABOUT = "a-1.0.dist-info"


def make_wheel(folder: Path, members: dict[str, str], mode: int = 0, **described: str) -> Path:
    file = folder / "a.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        for name, text in {f"{ABOUT}/METADATA": "", **members, **described}.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode if name in members else 0) << 16
            wheel.writestr(info, text)
    return file


def of_wheel(file: Path) -> dict[str, tuple[str, bool]]:
    found = {}
    for member in wheel_members(file, "3.11"):
        assert member.content is not None
        found[member.path] = (member.content.read().decode(), member.executable)
    return found


def test_a_wheel_s_files_get_their_places(tmp_path: Path) -> None:
    members = {
        "a/__init__.py": "1",
        "a-1.0.data/purelib/b.py": "2",
        "a-1.0.data/scripts/run": "#!python\nprint()\n",
        "a-1.0.data/scripts/other": "#!/bin/sh\n",
        "a-1.0.data/data/share/x": "3",
        "a-1.0.data/headers/a.h": "4",
        f"{ABOUT}/entry_points.txt": (
            "[console_scripts]\ngo = a.b:main\nwith-extra = a:m [x]\n../evil = a:b\nbad = a;import os:b\n"
        ),
    }
    found = of_wheel(make_wheel(tmp_path, members))
    site = "lib/python3.11/dist-packages"
    assert found[f"{site}/a/__init__.py"] == ("1", False)
    assert found[f"{site}/b.py"] == ("2", False)
    assert found["bin/run"] == ("#!/usr/bin/python3\nprint()\n", True)
    assert found["bin/other"] == ("#!/bin/sh\n", True)
    assert found["share/x"] == ("3", False)
    assert found["include/python3.11/a/a.h"] == ("4", False)
    assert found["bin/go"] == (
        "#!/usr/bin/python3\nimport sys\nfrom a.b import main\nsys.exit(main())\n",
        True,
    )
    assert [path for path in found if path.startswith("bin/")] == [
        "bin/run",
        "bin/other",
        "bin/go",
        "bin/with-extra",
    ]


@pytest.mark.parametrize(
    ("name", "mode", "told"),
    [
        ("../escaped", 0, "leads out"),
        ("a/../../escaped", 0, "leads out"),
        ("/tmp/escaped", 0, "leads out"),
        ("a\\..\\escaped", 0, "leads out"),
        ("a-1.0.data/scripts/../../escaped", 0, "leads out"),
        ("a-1.0.data/elsewhere/x", 0, "belongs nowhere"),
        ("a/\n", 0, "control characters"),
        ("a" * 300, 0, "no usable name"),
        ("link", stat.S_IFLNK | 0o777, "neither file nor folder"),
        ("null", stat.S_IFCHR | 0o666, "neither file nor folder"),
        ("pipe", stat.S_IFIFO | 0o666, "neither file nor folder"),
        ("su", stat.S_IFREG | 0o4755, "setuid"),
        ("a-1.0.data/scripts/su", stat.S_IFREG | 0o2755, "setuid"),
        ("b-1.0.dist-info/METADATA", 0, "2 folders"),
    ],
)
def test_a_hostile_wheel_is_refused(tmp_path: Path, name: str, mode: int, told: str) -> None:
    with pytest.raises(UnpackRefusedError, match=told):
        of_wheel(make_wheel(tmp_path, {name: "x"}, mode))


def make_package(folder: Path, *members: tuple[str, bytes, int, str], about: str = '{"name": "a"}') -> Path:
    """Of members: name, type, mode, and a link's target or a file's content."""
    file = folder / "a.tgz"
    with tarfile.open(file, "w:gz") as tar:
        for name, kind, mode, text in (("package/package.json", tarfile.REGTYPE, 0o644, about), *members):
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, mode
            content = text.encode() if kind == tarfile.REGTYPE else b""
            info.size, info.linkname = len(content), "" if content else text
            tar.addfile(info, io.BytesIO(content))
    return file


def of_package(file: Path, place: str = "node_modules/@s/a") -> dict[str, Member]:
    return {member.path: member for member in npm_members(file, place, "@s/a")}


def test_a_package_s_files_get_their_places(tmp_path: Path) -> None:
    about = '{"name": "@s/a", "bin": "./cli.js"}'
    file = make_package(tmp_path, ("package/cli.js", tarfile.REGTYPE, 0o644, "x"), about=about)
    found = of_package(file)
    folder = "lib/node_modules/@s/a"
    assert found.keys() == {f"{folder}/package.json", f"{folder}/cli.js", "bin/a"}
    assert found[f"{folder}/cli.js"].executable
    assert found["bin/a"].link == f"../{folder}/cli.js"
    assert "bin/a" not in of_package(file, "node_modules/b/node_modules/@s/a")


@pytest.mark.parametrize(
    "programs", ['"../../../etc/passwd"', '{"x": "/etc/passwd"}', '{"../x": "cli.js"}', '{"x": "none"}', "1"]
)
def test_programs_do_not_lead_out(tmp_path: Path, programs: str) -> None:
    try:
        found = of_package(make_package(tmp_path, about=f'{{"bin": {programs}}}'))
    except UnpackRefusedError as error:
        assert "leads out" in str(error)  # noqa: PT017
    else:
        assert found.keys() == {"lib/node_modules/@s/a/package.json"}


@pytest.mark.parametrize(
    ("name", "kind", "mode", "target", "told"),
    [
        ("package/../../escaped", tarfile.REGTYPE, 0o644, "x", "leads out"),
        ("/package/escaped", tarfile.REGTYPE, 0o644, "x", "leads out"),
        ("package/link", tarfile.SYMTYPE, 0o777, "/etc/passwd", "neither file nor folder"),
        ("package/link", tarfile.LNKTYPE, 0o777, "package/package.json", "neither file nor folder"),
        ("package/null", tarfile.CHRTYPE, 0o666, "", "neither file nor folder"),
        ("package/disk", tarfile.BLKTYPE, 0o666, "", "neither file nor folder"),
        ("package/pipe", tarfile.FIFOTYPE, 0o666, "", "neither file nor folder"),
        ("package/su", tarfile.REGTYPE, 0o4755, "x", "setuid"),
    ],
)
def test_a_hostile_package_is_refused(
    tmp_path: Path, name: str, kind: bytes, mode: int, target: str, told: str
) -> None:
    with pytest.raises(UnpackRefusedError, match=told):
        of_package(make_package(tmp_path, (name, kind, mode, target)))


def layer(*members: Member, limit_bytes: int = 1 << 20) -> bytes:
    output = io.BytesIO()
    made = Layer(output, limit_bytes)
    for member in members:
        made.add(member)
    made.close()
    return output.getvalue()


def small(path: str, text: bytes = b"x") -> Member:
    return Member(path, len(text), io.BytesIO(text))


def test_a_layer_is_plain_and_the_same_each_time(tmp_path: Path) -> None:
    file = make_wheel(tmp_path, {"a.py": "1", "run": "2"}, stat.S_IFREG | 0o700)
    once, again = (layer(*members) for members in (of_layer(file), of_layer(file)))
    assert once == again
    with tarfile.open(fileobj=io.BytesIO(once)) as tar:
        assert {(info.mode, info.mtime, info.uid, info.uname) for info in tar} == {
            (0o755, 0, 0, ""),
            (0o644, 0, 0, ""),
        }


def of_layer(file: Path) -> list[Member]:
    found = []
    for member in wheel_members(file, "3.11"):
        assert member.content is not None
        found.append(
            Member(member.path, member.size_bytes, io.BytesIO(member.content.read()), member.executable)
        )
    return found


def test_a_layer_has_its_bounds() -> None:
    with pytest.raises(UnpackRefusedError, match="hit the limit environment_bytes"):
        layer(small("a", bytes(600)), small("b", bytes(600)), limit_bytes=1000)
    for paths in (("a", "a/b"), ("a/b", "a")):
        with pytest.raises(UnpackRefusedError, match="is a file and a folder"):
            layer(*map(small, paths))
