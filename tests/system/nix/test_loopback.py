"""Servers and clients of the usual runtimes over the loopback, with the options that they set on sockets."""

from textwrap import dedent

import pytest

from nix.dependencies import Packages
from processors.sandbox import Command, Completed, Rootfs, Sandboxes
from tests.system.nix.conftest import Host
from tests.system.nix.test_real_programs import Real
from topics.request.limits import CompileLimits

ASYNCIO = """
    import asyncio, socket, urllib.request
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport): self.transport = transport
        def datagram_received(self, data, address): self.transport.sendto(data, address)

    class Ask(asyncio.DatagramProtocol):
        def __init__(self, answer): self.answer = answer
        def connection_made(self, transport): transport.sendto(b"udp")
        def datagram_received(self, data, address): self.answer.set_result(data)

    async def echo(reader, writer):
        peer = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT:
            peer.setsockopt(socket.IPPROTO_TCP, option, 60)
        writer.write(await reader.readline()); await writer.drain(); writer.close()

    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(echo, "127.0.0.1", 0, reuse_address=True, reuse_port=True)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"tcp\\n"); print((await reader.readline()).decode().strip())
        there, _ = await loop.create_datagram_endpoint(
            Echo, ("127.0.0.1", 0), reuse_port=True, allow_broadcast=True)
        answer = loop.create_future()
        here, _ = await loop.create_datagram_endpoint(
            lambda: Ask(answer), remote_addr=there.get_extra_info("sockname"))
        print((await answer).decode())

    asyncio.run(main())
    SimpleHTTPRequestHandler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        print(urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/").status)
        server.shutdown()
"""
NODE = """
    const net = require("net"), http = require("http"), dgram = require("dgram");
    const server = net.createServer(s => { s.setNoDelay(true); s.setKeepAlive(true, 1000); s.pipe(s); });
    server.listen(0, "127.0.0.1", () => {
        const client = net.connect(server.address().port, "127.0.0.1", () => {
            client.setNoDelay(true); client.setKeepAlive(true, 1000); client.end("tcp");
        });
        client.on("data", data => { console.log(String(data)); server.close(); overHttp(); });
    });
    const overHttp = () => {
        const agent = new http.Agent({ keepAlive: true });
        const site = http.createServer((_, answer) => answer.end("http")).listen(0, "127.0.0.1", () =>
            http.get({ port: site.address().port, host: "127.0.0.1", agent }, answer =>
                answer.on("data", data => {
                    console.log(String(data)); agent.destroy(); site.close(); overUdp();
                })));
    };
    const overUdp = () => {
        const socket = dgram.createSocket({ type: "udp4", reuseAddr: true });
        socket.on("message", data => { console.log(String(data)); socket.close(); });
        socket.bind(0, "127.0.0.1", () => {
            socket.setBroadcast(true); socket.setTTL(9); socket.setMulticastTTL(9);
            socket.setMulticastLoopback(true);
            socket.setRecvBufferSize(10000); socket.setSendBufferSize(10000);
            socket.send("udp", socket.address().port, "127.0.0.1");
        });
    };
"""
JAVA = """
    import com.sun.net.httpserver.HttpServer;
    import java.net.*;
    import java.net.http.*;
    import java.nio.ByteBuffer;
    import java.nio.channels.*;
    import java.util.Set;

    public class Main {
        static final InetSocketAddress ANY = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
        static final Set<String> READ_ONLY = Set.of("SO_INCOMING_NAPI_ID");

        @SuppressWarnings("unchecked")
        static <C extends NetworkChannel> C set(C channel) throws Exception {
            for (var option : channel.supportedOptions()) {
                if (READ_ONLY.contains(option.name())) continue;
                Object value = channel.getOption(option);
                if (option == StandardSocketOptions.IP_MULTICAST_IF) value = NetworkInterface.getByName("lo");
                channel.setOption((SocketOption<Object>) option, value);
            }
            return channel;
        }

        static String read(ByteBuffer from) { return new String(from.array(), 0, from.position()); }

        public static void main(String[] args) throws Exception {
            var server = set(ServerSocketChannel.open()).bind(ANY);
            var client = set(SocketChannel.open());
            client.connect(server.getLocalAddress());
            var accepted = set(server.accept());
            client.write(ByteBuffer.wrap("tcp".getBytes()));
            client.shutdownOutput();
            var got = ByteBuffer.allocate(9);
            while (accepted.read(got) >= 0) {}
            System.out.println(read(got));

            var there = set(DatagramChannel.open(StandardProtocolFamily.INET)).bind(ANY);
            set(DatagramChannel.open(StandardProtocolFamily.INET))
                .send(ByteBuffer.wrap("udp".getBytes()), there.getLocalAddress());
            there.receive(got = ByteBuffer.allocate(9));
            System.out.println(read(got));

            var site = HttpServer.create(ANY, 0);
            site.createContext("/", call -> { call.sendResponseHeaders(204, -1); call.close(); });
            site.start();
            var uri = URI.create("http://127.0.0.1:" + site.getAddress().getPort() + "/");
            var request = HttpRequest.newBuilder(uri).build();
            var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode());
            System.exit(0);
        }
    }
"""
GO = """
    package main
    import ("fmt"; "io"; "net"; "net/http"; "time")
    func must(err error) { if err != nil { panic(err) } }
    func main() {
        listener, err := net.Listen("tcp", "127.0.0.1:0"); must(err)
        http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "http") })
        go http.Serve(listener, nil)
        answer, err := http.Get("http://" + listener.Addr().String()); must(err)
        body, err := io.ReadAll(answer.Body); must(err)
        fmt.Println(string(body))
        connection, err := net.Dial("tcp", listener.Addr().String()); must(err)
        tcp := connection.(*net.TCPConn)
        must(tcp.SetNoDelay(true)); must(tcp.SetKeepAlive(true)); must(tcp.SetKeepAlivePeriod(time.Minute))
        must(tcp.SetLinger(1)); must(tcp.SetReadBuffer(9999)); must(tcp.SetWriteBuffer(9999))
        udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); must(err)
        must(udp.SetReadBuffer(9999))
        _, err = udp.WriteTo([]byte("udp"), udp.LocalAddr()); must(err)
        got := make([]byte, 9)
        n, _, err := udp.ReadFrom(got); must(err)
        fmt.Println(string(got[:n]))
    }
"""
SCCACHE = """
    set -e
    sccache --start-server > started 2>&1
    echo 'int main(void) { return 0; }' > a.c
    sccache gcc -c a.c -o a.o
    sccache --show-stats | sed -nE 's/^Compile requests +([0-9]+)$/compiled \\1/p'
    sccache --stop-server > stopped
"""
MPI = """
    from mpi4py import MPI
    world = MPI.COMM_WORLD
    if world.rank == 0:
        world.send({"big": "x" * 1_000_000}, dest=1)
    else:
        print(len(world.recv(source=0)["big"]), flush=True)
    world.Barrier()
    total = world.allreduce(world.rank + 1)
    if world.rank == 0: print(total)
"""
MPIRUN = (
    "mpirun --oversubscribe -n 2 --mca plm isolated --mca btl tcp,self --mca btl_tcp_if_include lo "
    "--mca oob_tcp_if_include lo python3 main.py"
)

PROGRAMS = [
    Real(
        "asyncio",
        ("python3", "python3-numpy", "libopenblas0-pthread"),
        {"main.py": ASYNCIO},
        "python3 main.py",
        "tcp\nudp\n200\n",
    ),
    Real("node", ("nodejs",), {"main.js": NODE}, "node main.js", "tcp\nhttp\nudp\n"),
    Real(
        "java",
        ("openjdk-17-jdk-headless",),
        {"Main.java": JAVA},
        "java -Xmx128m Main",
        "tcp\nudp\n204\n",
        compile="javac Main.java",
    ),
]
SLOW = [
    Real(
        "go",
        ("golang-go",),
        {"main.go": GO},
        "./main",
        "http\nudp\n",
        compile="go build -o main main.go",
        env={"GOCACHE": "/tmp/go-build", "GO111MODULE": "off"},
    ),
    Real(  # a server and its client, both written with tokio
        "tokio",
        ("sccache", "gcc"),
        {"main.sh": SCCACHE},
        "bash main.sh",
        "compiled 1\n",
        env={"SCCACHE_DIR": "/tmp/sccache"},
    ),
    Real(
        "mpi",
        ("python3", "python3-mpi4py", "openmpi-bin"),
        {"main.py": MPI},
        MPIRUN,
        "1000000\n3\n",
        env={"HWLOC_HIDE_ERRORS": "2"},
    ),
]
SLOWLY = pytest.mark.soak


@pytest.mark.parametrize(
    "program",
    [*PROGRAMS, *(pytest.param(slow, marks=SLOWLY) for slow in SLOW)],
    ids=lambda program: program.name,
)
def test_a_server_answers_its_client(host: Host, sandboxes: Sandboxes, program: Real) -> None:
    installed = host.install(Packages(program.packages))

    async def compile_and_run() -> tuple[Completed, Completed]:
        limits = CompileLimits(wall_time_s=300, cpu_time_s=300, processes=256)
        files = {name: dedent(content).encode() for name, content in program.files.items()}
        with host.cache.hold(installed.store_path) as tree:
            rootfs = Rootfs.of_environment(tree)
            async with sandboxes.box(files, limits) as box:
                built, ran = [
                    await box.run(Command(["bash", "-c", script], program.env), rootfs, limits)
                    for script in (program.compile, program.run)
                ]
                return built, ran

    built, ran = host.loop.run(compile_and_run())
    assert (built.exit_code, built.limit_exceeded) == (0, None), built
    assert (ran.stdout.decode(), ran.stderr, ran.exit_code) == (program.prints, b"", 0), ran
