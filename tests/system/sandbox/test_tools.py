"""Tools that keep attributes of files do without those that the sandbox does not have."""

from tests.system.sandbox.laboratory import Laboratory

COPIES = """
set -e
echo x > a; chmod 640 a; touch -d @1000000000 a; mkdir -p d u; ln -s ../a d/link
cp -a a copied; cp -a d copied-folder; cp --preserve=all a preserved; install -p -m 640 a installed
tar --xattrs --acls -cf archive a d; tar -xpf archive -C u
python3 -c 'import shutil; shutil.copy2("a", "by-python"); shutil.copytree("d", "tree", symlinks=True)'
mv a /tmp/moved
stat -c '%n %a %Y' copied preserved installed u/a by-python /tmp/moved
readlink copied-folder/link u/d/link tree/link
"""


def test_copies_keep_mode_and_time(laboratory: Laboratory) -> None:
    done = laboratory.script(COPIES)
    copies = ("copied", "preserved", "installed", "u/a", "by-python", "/tmp/moved")
    assert (done.stdout.decode(), done.stderr) == (
        "".join(f"{name} 640 1000000000\n" for name in copies) + "../a\n" * 3,
        b"",
    )


def test_npm_writes_its_files(laboratory: Laboratory) -> None:
    done = laboratory.script("export HOME=/tmp; mkdir app && cd app && npm init -y > log && npm pkg get name")
    assert (done.stdout, done.stderr, done.exit_code) == (b'"app"\n', b"", 0)


def test_setting_an_attribute_says_that_there_are_none(laboratory: Laboratory) -> None:
    source = """
import os
for call in (lambda: os.setxattr("main.py", "user.x", b""), lambda: os.listxattr("main.py")):
    try: print(call())
    except OSError as error: print(error.strerror)
"""
    assert laboratory.python(source).stdout == b"Operation not supported\n[]\n"
