"""Free ports for servers under test."""
import random
import socket

_given = set()


def _range():
    """Ports that the kernel does not hand out to outgoing connections: nobody else takes one
    between our look and the server's bind."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = map(int, file.read().split())
    return (10240, low - 1) if low > 12000 else (high + 1, 65535)


def _is_free(port):
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            probe = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue  # no IPv6 here
        with probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def free_port():
    """A TCP port that nobody listens on and that this process has not given out yet."""
    low, high = _range()
    for _ in range(1000):
        port = random.randint(low, high)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise AssertionError("no free port")
