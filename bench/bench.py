#!/usr/bin/env python3
"""CPU time per unit of work, and memory per idle connection, of mdfront and other TLS proxies."""
import argparse
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from peers import LOAD_CPU, PEERS, Bed, files_max, prepare_child  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
CLIENT = ROOT / "build/bench/bench_client"
SUITE = "--tls13-ciphers=TLS_AES_128_GCM_SHA256"

# Amounts: about a second of the proxy's CPU each.
REQUESTS, CLIENTS = 60_000, 32
HANDSHAKES, RESUMPTIONS = 3_000, 4_000
DOWNLOADS, DOWNLOAD_BYTES = 200, 10 * 1024 * 1024
IDLE, IDLE_MANY = 2_000, 10_000

WORKS = {
    "requests": ("µs/request", "HTTP/1.1 request on a kept connection, 1 KiB answer"),
    "handshakes": ("µs/connection", "full TLS 1.3 handshake (ECDSA P-256, X25519) + one request"),
    "resumed": ("µs/connection", "resumed TLS 1.3 handshake + one request"),
    "bulk": ("s/GiB", "10 MiB answers"),
    "idle": ("bytes/connection", f"{IDLE} idle TLS 1.3 connections after one request each"),
    "idle10000": ("bytes/connection", f"{IDLE_MANY} idle TLS 1.3 connections likewise"),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on_load_cpu():
    prepare_child(LOAD_CPU)


def run_tool(argv):
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True,
                          preexec_fn=on_load_cpu, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, argv))}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout


def h2load(port, path, count, clients, more=()):
    """HTTP/1.1 over TLS with `clients` kept connections; every answer has to be a 200."""
    output = run_tool(["h2load", "--h1", SUITE, "--groups=X25519", "-n", count, "-c", clients,
                       "-t", 1, *more, "--connect-to", f"127.0.0.1:{port}",
                       f"https://bench.test{path}"])
    if f"{count} succeeded, 0 failed" not in output or f"{count} 2xx" not in output:
        raise RuntimeError(f"h2load: {output}")
    settled = re.search(r"TLS Protocol: (\S+)\nCipher: (\S+)", output)
    return f"{settled.group(1)} {settled.group(2)}"


def connections(mode, port, count):
    """One request per connection; the kind of handshake is verified."""
    counts = json.loads(run_tool([CLIENT, mode, count, 8, port]))
    if counts[mode] != count:
        raise RuntimeError(f"{mode} handshakes were asked for: {counts}")
    return counts["settled"]


def cpu_per(server, work, units):
    before = server.cpu_seconds()
    settled = work()
    return (server.cpu_seconds() - before) / units, settled


def measure(name, server, port):
    """The value in the unit of WORKS, and what TLS settled."""
    if name == "requests":
        h2load(port, "/1k", REQUESTS // 10, CLIENTS)
        value, settled = cpu_per(server, lambda: h2load(port, "/1k", REQUESTS, CLIENTS), REQUESTS)
        return value * 1e6, settled
    if name == "handshakes":
        connections("full", port, HANDSHAKES // 10)
        value, settled = cpu_per(
            server, lambda: connections("full", port, HANDSHAKES), HANDSHAKES)
        return value * 1e6, settled
    if name == "resumed":
        connections("resumed", port, RESUMPTIONS // 10)
        value, settled = cpu_per(
            server, lambda: connections("resumed", port, RESUMPTIONS), RESUMPTIONS)
        return value * 1e6, settled
    h2load(port, "/10m", DOWNLOADS // 10, 4)
    return cpu_per(server, lambda: h2load(port, "/10m", DOWNLOADS, 4),
                   DOWNLOADS * DOWNLOAD_BYTES / 2**30)


def idle_count(work, peer):
    """hitch holds a backend connection for each client's: two descriptors."""
    count = IDLE_MANY if work == "idle10000" else IDLE
    return min(count, files_max() // 2 - 100) if peer == "hitch" else count


def measure_idle(server, port, count):
    """Growth of a fresh process that has served one request before."""
    connections("full", port, 1)
    before = server.memory()
    client = subprocess.Popen([CLIENT, "idle", str(count), "8", str(port)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              preexec_fn=on_load_cpu)
    try:
        if client.stdout.readline() != "ready\n":
            raise RuntimeError("the idle connections could not be opened")
        # What is freed a moment later is not held by a connection.
        last, memory = 0, server.memory()
        while memory != last:
            time.sleep(1)
            last, memory = memory, server.memory()
        return (memory - before) / count
    finally:
        client.stdin.close()
        client.wait()


def wait_until_serving(bed, server, port):
    deadline = time.monotonic() + 15
    while True:
        if server.popen.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{server.name} does not serve:\n{bed.log_of(server.name)}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)


def run(arguments, bed):
    """Values by work and peer, over all rounds; peers take turns within each."""
    values = {work: {peer: [] for peer in arguments.only} for work in arguments.work}
    settled = {}
    lasting = {}
    try:
        if any(not work.startswith("idle") for work in arguments.work):
            for peer in arguments.only:
                lasting[peer] = bed.start(peer)
                wait_until_serving(bed, *lasting[peer])
        for number in range(arguments.rounds):
            for work in arguments.work:
                # Turn and turn about: who goes first meets other caches than who goes last.
                for peer in arguments.only if number % 2 == 0 else arguments.only[::-1]:
                    if work.startswith("idle"):
                        fresh, port = bed.start(peer)
                        try:
                            wait_until_serving(bed, fresh, port)
                            value = measure_idle(fresh, port, idle_count(work, peer))
                        finally:
                            fresh.stop()
                    else:
                        value, settled[peer] = measure(work, *lasting[peer])
                    values[work][peer].append(value)
                    print(f"round {number + 1}/{arguments.rounds} {work:10} {peer:8} "
                          f"{value:10.2f} {WORKS[work][0]}", file=sys.stderr)
    finally:
        for server, _ in lasting.values():
            server.stop()
    return values, settled


def print_table(values, settled):
    print("Medians; × is the median of the rounds' ratios to the best of the others and to nginx "
          "(below 1: less is used).")

    def ratio(rounds, others):
        """A machine that is shared drifts: only what was measured in one round is compared."""
        return statistics.median(mine / theirs for mine, theirs in zip(rounds, others))

    for work, peers in values.items():
        unit, meaning = WORKS[work]
        medians = {peer: statistics.median(rounds) for peer, rounds in peers.items()}
        print(f"\n{work}: {meaning}, {unit}")
        for peer, median in sorted(medians.items(), key=lambda item: item[1]):
            others = [rounds for name, rounds in peers.items() if name != peer]
            best = (f"{max(ratio(peers[peer], rounds) for rounds in others):6.2f}×"
                    if others else "      -")
            nginx = (f"{ratio(peers[peer], peers['nginx']):6.2f}×"
                     if "nginx" in peers else "      -")
            spread = (max(peers[peer]) - min(peers[peer])) / median * 100
            print(f"  {peer:8} {median:12.2f}   best other {best}   nginx {nginx}   "
                  f"spread {spread:4.1f} %")
    if settled:
        print("\nTLS: " + "; ".join(f"{peer} {what}" for peer, what in sorted(settled.items())))


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {"cpu": model.group(1) if model else "", "cpus": os.cpu_count(),
            "kernel": os.uname().release}


def list_of(known):
    def parse(text):
        items = text.split(",")
        for item in items:
            if item not in known:
                raise argparse.ArgumentTypeError(f"{item}: not one of {', '.join(known)}")
        return items

    return parse


def main():
    parser = argparse.ArgumentParser(description=__doc__, prog="bench/run")
    parser.add_argument("--only", type=list_of(PEERS), default=list(PEERS), metavar="PEERS",
                        help=", ".join(PEERS))
    parser.add_argument("--work", type=list_of(WORKS), metavar="WORKS",
                        default=[work for work in WORKS if work != "idle10000"],
                        help=", ".join(WORKS) + "; all but the last by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--mdfront", type=pathlib.Path, default=ROOT / "build/release/mdfront",
                        metavar="BINARY")
    arguments = parser.parse_args()
    if os.cpu_count() < 2:
        sys.exit("bench/run: needs two CPUs, one for the proxies and one for the load")
    if os.getloadavg()[0] > 1:
        print(f"bench/run: something else is running here (load {os.getloadavg()[0]:.1f}): "
              "expect numbers that are too high and scatter", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="mdfront-bench-") as name:
        folder = pathlib.Path(name)
        bed = Bed(folder, arguments.mdfront.resolve(), free_port)
        try:
            wait_until_serving(bed, bed.backend, bed.backend_port)
            values, settled = run(arguments, bed)
        except RuntimeError as error:
            sys.exit(f"bench/run: {error}")
        finally:
            bed.backend.stop()
    print_table(values, settled)
    if arguments.json:
        arguments.json.write_text(json.dumps(
            {"machine": machine(), "rounds": arguments.rounds, "settled": settled,
             "units": {work: WORKS[work][0] for work in values},
             "values": values,
             "medians": {work: {peer: statistics.median(rounds) for peer, rounds in peers.items()}
                         for work, peers in values.items()}}, indent=2) + "\n")


if __name__ == "__main__":
    main()
