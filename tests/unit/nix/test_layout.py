from collections.abc import Mapping
from pathlib import Path

import pytest

from nix import farm
from nix.layout import FOLDER, SKELETON, Entry, change, merge, not_folders, scan


def tree(name: str, **paths: str) -> list[tuple[str, Entry]]:
    """A tree: `a__b="file"`, `"folder"`, or `"-> TARGET"`; its folders are added."""
    entries: dict[str, Entry] = {}
    for key, kind in paths.items():
        path = key.replace("__", "/")
        for n in range(1, path.count("/") + 1):
            entries.setdefault("/".join(path.split("/")[:n]), FOLDER)
        entries[path] = (
            FOLDER
            if kind == "folder"
            else Entry("link", kind[3:])
            if kind.startswith("-> ")
            else Entry("file", f"/{name}/{path}")
        )
    return sorted(entries.items())


def sources(layout: Mapping[str, Entry]) -> dict[str, str]:
    return {
        path: entry.source
        for path, entry in layout.items()
        if entry.kind != "folder" and path not in SKELETON
    }


def test_the_files_of_all_trees_are_in_the_layout() -> None:
    layout = merge([tree("a", usr__bin__x="file"), tree("b", usr__bin__y="file", etc__z="file")])
    assert sources(layout) == {"usr/bin/x": "/a/usr/bin/x", "usr/bin/y": "/b/usr/bin/y", "etc/z": "/b/etc/z"}
    assert layout["bin"] == Entry("link", "usr/bin")


def test_of_two_files_the_later_counts() -> None:
    layout = merge([tree("a", usr__x="file"), tree("b", usr__x="file")])
    assert sources(layout) == {"usr/x": "/b/usr/x"}


def test_files_of_a_linked_folder_are_where_the_link_leads() -> None:
    first = tree("a", usr__share__real__x="file", usr__share__doc="-> real")
    layout = merge([first, tree("b", usr__share__doc__y="file", bin__sh="file")])
    assert layout["usr/share/doc"] == Entry("link", "real")
    assert layout["usr/share/real/y"].source == "/b/usr/share/doc/y"
    assert layout["usr/bin/sh"].source == "/b/bin/sh"
    assert "usr/share/doc/y" not in layout


def test_links_are_resolved_as_in_a_root_folder() -> None:
    first = tree(
        "a",
        usr__one="-> /usr/../../usr/two",
        usr__two="-> ./three/../three",
        usr__three="folder",
        usr__loop="-> loop",
        usr__out="-> ../../../etc",
    )
    layout = merge(
        [first, tree("b", usr__one__x="file", usr__loop__x="file", usr__out__x="file", usr__gone__x="file")]
    )
    assert layout["usr/three/x"].source == "/b/usr/one/x"
    assert layout["etc/x"].source == "/b/usr/out/x"
    assert layout["usr/loop"] == FOLDER
    assert layout["usr/loop/x"].source == "/b/usr/loop/x"


def test_a_folder_stays_whatever_comes_later_and_takes_the_place_of_a_file() -> None:
    layout = merge(
        [
            tree("a", usr__x__y="file", usr__file="file", usr__dangling="-> nowhere"),
            tree("b", usr__x="-> /tmp", usr__file__z="file", usr__dangling__z="file", var__lib="-> /etc"),
            tree("c", usr__x="file"),
        ]
    )
    assert layout["usr/x"] == FOLDER
    assert layout["usr/x/y"].source == "/a/usr/x/y"
    assert layout["usr/file/z"].source == "/b/usr/file/z"
    assert layout["usr/dangling"] == FOLDER
    assert layout["var/lib"] == FOLDER


def test_what_is_removed_goes_with_all_that_is_below() -> None:
    layout = merge([tree("a", usr__x__y__z="file", usr__keep="file")])
    changed = change(layout, layout.keys() - {"usr/x"}, [])
    assert sources(changed) == {"usr/keep": "/a/usr/keep"}
    assert "usr/x/y" not in changed


def test_what_is_written_takes_the_place_of_what_was_there() -> None:
    layout = merge([tree("a", usr__folder__x="file", usr__file="file", usr__kept__x="file")])
    written = tree("w", usr__folder="-> /etc", usr__file__x="file", usr__kept__y="file", etc__new="file")
    changed = change(layout, layout, written)
    assert sources(changed) == {
        "usr/folder": "/etc",
        "usr/file/x": "/w/usr/file/x",
        "usr/kept/x": "/a/usr/kept/x",
        "usr/kept/y": "/w/usr/kept/y",
        "etc/new": "/w/etc/new",
    }


def test_a_folder_that_became_something_else_is_found() -> None:
    layout = change(SKELETON, SKELETON.keys() - {"var/lib"}, tree("w", etc="-> /tmp"))
    assert not_folders(layout, ("usr", "etc", "var", "var/lib")) == ["etc", "var/lib"]


def test_a_folder_of_links_becomes_what_the_layout_says(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "usr/share").mkdir(parents=True)
    for name in ("one", "two", "three"):
        (source / "usr/share" / name).write_text(name)
    (source / "usr/link").symlink_to("/etc")
    before = merge([scan(source)])
    farmed = tmp_path / "farm"
    farmed.mkdir()
    farm.write(farmed, {}, before)
    assert (farmed / "usr/share/one").stat().st_ino == (source / "usr/share/one").stat().st_ino
    assert (farmed / "usr/link").readlink() == Path("/etc")

    written = tmp_path / "written"
    (written / "usr/share/one").mkdir(parents=True)
    (written / "usr/share/one/inside").write_text("inside")
    (written / "usr/link").mkdir()
    (written / "usr/link/passwd").write_text("mine")
    after = change(before, before.keys() - {"usr/share/two"}, scan(written))
    farm.write(farmed, before, after)
    farm.seal(farmed, after)
    assert {path: entry.kind for path, entry in scan(farmed)} == {p: e.kind for p, e in after.items()}
    assert (farmed / "usr/share/one/inside").read_text() == "inside"
    assert (farmed / "usr/link/passwd").read_text() == "mine"
    assert not (farmed / "usr/share/two").exists()
    assert (source / "usr/share/one").read_text() == "one"
    assert (farmed / "usr").stat().st_mode & 0o777 == 0o555
    assert (farmed / "usr").stat().st_mtime == 1


def test_nothing_is_created_below_a_link(tmp_path: Path) -> None:
    layout = {"link": Entry("link", "/tmp"), "link/x": Entry("file", "/etc/passwd")}
    with pytest.raises(ValueError, match="the parent of 'link/x' is no folder"):
        farm.write(tmp_path, {}, layout)
    with pytest.raises(ValueError, match="is no folder"):
        farm.write(tmp_path, {}, {"gone/x": FOLDER})


def test_a_link_to_a_folder_is_not_scanned(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(NotADirectoryError):
        list(scan(tmp_path / "link"))
