"""Real programs, with all their threads and processes, are not hurt by the default limits, but those of time:
how long they take is the machine's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import dedent

import pytest

from nix.dependencies import Packages
from processors.sandbox import Command, Completed, Rootfs, Sandboxes
from tests.system.nix.conftest import Host
from topics.request.limits import CompileLimits, RunLimits

THREADS_IN_JAVA = """
    import java.util.stream.*;
    public class Main {
        public static void main(String[] args) throws Exception {
            var threads = IntStream.range(0, 8).mapToObj(i -> new Thread(() -> {
                for (int n = 0; n < 2000; n++) if (new byte[100_000].length == n) throw new Error();
            })).toList();
            threads.forEach(Thread::start);
            for (var thread : threads) thread.join();
            System.out.println(IntStream.range(0, 1_000_000).parallel().filter(n -> n % 7 == 0).count());
        }
    }
"""
GOROUTINES = """
    package main
    import ("fmt"; "runtime"; "sync")
    func main() {
        runtime.GOMAXPROCS(8)
        var all sync.WaitGroup
        sums := make(chan int, 2000)
        for i := 0; i < 2000; i++ {
            all.Add(1)
            go func(n int) { defer all.Done(); sums <- len(make([]byte, 50_000)) / 50_000 * n }(i)
        }
        all.Wait(); close(sums)
        total := 0
        for n := range sums { total += n }
        fmt.Println(total)
    }
"""
WORKER_THREADS = """
    const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");
    if (isMainThread) {
        const ask = n => new Promise((done, failed) =>
            new Worker(__filename, { workerData: n }).on("message", done).on("error", failed));
        Promise.all([1, 2, 3, 4].map(ask)).then(all => console.log(all.reduce((a, b) => a + b)));
    } else {
        let sum = 0;
        for (let i = 0; i < 1e6; i++) sum += i % workerData;
        parentPort.postMessage(sum);
    }
"""
MATRICES = """
    import multiprocessing, threading
    import numpy
    def trace(n):
        return int((numpy.eye(500) @ numpy.full((500, 500), float(n))).trace())
    with multiprocessing.Pool(2) as pool:
        print(pool.map(trace, range(4)), trace(4))
"""
CARGO = """
    [workspace]
    members = ["one", "two", "app"]
"""
CRATE = """
    [package]
    name = "{name}"
    version = "0.1.0"
    edition = "2021"
    [dependencies]
    {dependencies}
"""


@dataclass(frozen=True)
class Real:
    """A program as people write it."""

    name: str
    packages: tuple[str, ...]
    files: Mapping[str, str]
    run: str
    prints: str
    compile: str = "true"
    env: Mapping[str, str] = field(default_factory=dict)


PROGRAMS = [
    Real(
        "jvm",
        ("openjdk-17-jdk-headless",),
        {"Main.java": THREADS_IN_JAVA},
        compile="javac Main.java",
        run="java -Xmx128m Main",  # it would size its heap by the machine's memory
        prints="142858\n",
    ),
    Real(
        "go",
        ("golang-go",),
        {"main.go": GOROUTINES},
        compile="go build -o main main.go",
        run="./main",
        prints="1999000\n",
        env={"GOCACHE": "/tmp/go-build", "GO111MODULE": "off"},
    ),
    Real(
        "node",
        ("nodejs",),
        {"main.js": WORKER_THREADS},
        run="node main.js",
        prints="2999999\n",
    ),
    Real(
        "numpy",
        ("python3", "python3-numpy", "libopenblas0-pthread"),
        {"main.py": MATRICES},
        run="python3 main.py",
        prints="[0, 500, 1000, 1500] 2000\n",
        env={"OPENBLAS_NUM_THREADS": "8"},
    ),
    Real(
        "rust",
        ("cargo", "rustc"),
        {
            "Cargo.toml": CARGO,
            "one/Cargo.toml": CRATE.format(name="one", dependencies=""),
            "two/Cargo.toml": CRATE.format(name="two", dependencies=""),
            "app/Cargo.toml": CRATE.format(
                name="app", dependencies='one = { path = "../one" }\n    two = { path = "../two" }'
            ),
            "one/src/lib.rs": "pub fn one() -> u32 { 1 }",
            "two/src/lib.rs": "pub fn two() -> u32 { 2 }",
            "app/src/main.rs": 'fn main() { println!("{}", one::one() + two::two()); }',
        },
        compile="cargo build --offline --release --jobs 4",
        run="target/release/app",
        prints="3\n",
    ),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_inside_the_defaults(host: Host, sandboxes: Sandboxes, program: Real) -> None:
    installed = host.install(Packages(program.packages))

    async def compile_and_run() -> tuple[Completed, Completed]:
        compiling, running = (
            CompileLimits(wall_time_s=300, cpu_time_s=300),
            RunLimits(wall_time_s=60, cpu_time_s=60),
        )
        files = {name: dedent(content).encode() for name, content in program.files.items()}
        with host.cache.hold(installed.store_path) as tree:
            rootfs = Rootfs.of_environment(tree)
            async with sandboxes.box(files, compiling) as box:
                build = Command(["bash", "-c", program.compile], program.env)
                built = await box.run(build, rootfs, compiling)
                async with box.fork(running) as fork:
                    return built, await fork.run(
                        Command(["bash", "-c", program.run], program.env), rootfs, running
                    )

    built, ran = host.loop.run(compile_and_run())
    assert (built.exit_code, built.limit_exceeded) == (0, None), built
    assert (ran.stdout.decode(), ran.stderr, ran.exit_code, ran.limit_exceeded) == (
        program.prints,
        b"",
        0,
        None,
    )
