#!/usr/bin/env python3
"""Requests by the number of clients that ask at once: CPU time of the proxy per request, requests
per second, and how long half and 99 % of the requests took. No cliff may be between 1 and 1,000.

bench/run --concurrency [--only nginx,haproxy,mdfront] [--clients 1,64] [--rounds N] [--json FILE]
"""
import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from bench import ROOT, free_port, h2load, list_of, machine, wait_until_serving  # noqa: E402
from peers import PEERS, Bed  # noqa: E402

# Clients at once, and how many requests they make together.
STEPS = {1: 10_000, 4: 30_000, 16: 60_000, 64: 60_000, 256: 60_000, 1000: 60_000}
COLUMNS = (("cpu", "µs CPU"), ("rate", "req/s"), ("p50", "p50 ms"), ("p99", "p99 ms"))


def measure(server, port, clients, log):
    """One step: the values of COLUMNS."""
    count = STEPS[clients]
    h2load(port, "/1k", max(count // 10, clients), clients)
    log.unlink(missing_ok=True)
    cpu, start = server.cpu_seconds(), time.monotonic()
    h2load(port, "/1k", count, clients, ["--log-file", log])
    seconds, cpu = time.monotonic() - start, server.cpu_seconds() - cpu
    # A line for each request: when it began, its status, how long it took in µs.
    took = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    if len(took) != count:
        raise RuntimeError(f"{len(took)} of {count} requests are in h2load's log")
    return {"cpu": cpu / count * 1e6, "rate": count / seconds,
            "p50": took[count // 2] / 1000, "p99": took[count * 99 // 100] / 1000}


def run(arguments, bed):
    """Values by clients and peer, over all rounds; peers take turns within each step."""
    values = {clients: {peer: [] for peer in arguments.only} for clients in arguments.clients}
    servers = {}
    try:
        for peer in arguments.only:
            servers[peer] = bed.start(peer)
            wait_until_serving(bed, *servers[peer])
        for number in range(arguments.rounds):
            for clients in arguments.clients:
                for peer in arguments.only if number % 2 == 0 else arguments.only[::-1]:
                    one = measure(*servers[peer], clients, bed.folder / "requests.log")
                    values[clients][peer].append(one)
                    print(f"round {number + 1}/{arguments.rounds} {clients:5} {peer:8} "
                          + "  ".join(f"{one[key]:9.2f} {name}" for key, name in COLUMNS),
                          file=sys.stderr)
    finally:
        for server, _ in servers.values():
            server.stop()
    return values


def print_table(values):
    print("Medians over the rounds; × is the median of the rounds' ratios to nginx.")
    print(f"{'clients':>7} {'proxy':8}" + "".join(f"{name:>11}" for _, name in COLUMNS)
          + "   CPU ×   p99 ×")
    for clients, peers in values.items():
        for peer, rounds in peers.items():
            line = f"{clients:7} {peer:8}" + "".join(
                f"{statistics.median(one[key] for one in rounds):11.2f}" for key, _ in COLUMNS)
            for key in ("cpu", "p99"):
                if "nginx" in peers:
                    ratio = statistics.median(
                        mine[key] / theirs[key] for mine, theirs in zip(rounds, peers["nginx"]))
                    line += f"{ratio:8.2f}"
            print(line)


def clients_of(text):
    return [int(one) for one in list_of([str(step) for step in STEPS])(text)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, prog="bench/run --concurrency",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=list_of(PEERS), default=["mdfront", "nginx", "haproxy"],
                        metavar="PEERS", help=", ".join(PEERS))
    parser.add_argument("--clients", metavar="NUMBERS", default=list(STEPS),
                        type=clients_of, help=", ".join(map(str, STEPS)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--mdfront", type=pathlib.Path, default=ROOT / "build/release/mdfront",
                        metavar="BINARY")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mdfront-bench-") as name:
        bed = Bed(pathlib.Path(name), arguments.mdfront.resolve(), free_port)
        try:
            wait_until_serving(bed, bed.backend, bed.backend_port)
            values = run(arguments, bed)
        except RuntimeError as error:
            sys.exit(f"bench/run: {error}")
        finally:
            bed.backend.stop()
    print_table(values)
    if arguments.json:
        arguments.json.write_text(json.dumps(
            {"machine": machine(), "rounds": arguments.rounds, "values": values}, indent=2) + "\n")


if __name__ == "__main__":
    main()
