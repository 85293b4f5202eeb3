"""Copies of boxes that programs arranged."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from processors.sandbox import Sandboxes
from tests.system.sandbox.laboratory import LIMITS, Laboratory, bash

LIST = """
find . -printf '%p %y %m %n %s %b %T@ %l\\n' | sort
find . -type f -perm -u=r -exec sha256sum {} + | sort
linked=$(find . ! -type d ! -type l -links +1 | sort)
for one in $linked; do for other in $linked; do [ $one -ef $other ] && echo $one $other; done; done
"""


SCRIPTS = {
    "hard links": "mkdir hard; echo x > hard/one; ln hard/one hard/two; ln hard/one three",
    "special": "mkdir hard; mkfifo pipe; ln pipe hard/one; ln -s pipe link; ln link other",
    "holes": "truncate -s 1G holes; printf x | dd of=holes bs=1 seek=500M conv=notrunc",
    "modes": "echo x > a; chmod 4751 a; mkdir b; chmod 1000 b; touch -d @1.5 a b; ln -s /etc c",
    "many": "for n in {1..200}; do mkdir $n; echo $n > $n/$n; done; mkdir -p a/{b,c}/{d,e}",
    "names": "printf x > $'\\n'; mkdir $'\\xff'; touch -- $'\\xff/-r' '*' ' '",
    "links that lead out": "ln -s . self; ln -s ../../../etc/shadow up; ln -s self/self/up again",
    "closed": "mkdir shut; echo x > shut/file; chmod 0 shut/file shut",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_fork_is_equal(laboratory: Laboratory, script: str) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({"main.py": b"1"}, LIMITS) as box:
            await bash(box, script + "; chmod u+rwx .; touch -d @0 .")
            async with box.fork(LIMITS) as fork:
                copied = await bash(fork, "chmod u+rwx shut; " + LIST)
            original = await bash(box, "chmod u+rwx shut; " + LIST)
        assert copied.stdout == original.stdout
        assert b"main.py" in copied.stdout

    laboratory.run(experiment)


DEEP = """
import os
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
open("end", "w")
"""
DEPTH = """
import os
depth = 0
while os.path.isdir("d"):
    os.chdir("d")
    depth += 1
print(depth, os.listdir())
"""


def test_a_deep_tree_needs_few_descriptors(laboratory: Laboratory) -> None:
    files = {"deep.py": DEEP.encode(), "depth.py": DEPTH.encode()}

    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box(files, LIMITS) as box:
            await bash(box, "python3 -I deep.py")
            with few_descriptors(100):
                async with box.fork(LIMITS) as fork:
                    done = await bash(fork, "python3 -I depth.py")
        assert done.stdout == b"3000 ['end']\n"

    laboratory.run(experiment)


@contextmanager
def few_descriptors(most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
