"""The proxies that are compared, each with the configuration that its makers would choose for this
work: one worker, tickets, no log, kept connections to the backend. What makes one faster is on."""
import ctypes
import os
import pathlib
import resource
import signal
import subprocess
import time

PROXY_CPU, LOAD_CPU = 0, 1
CONNECTIONS_MAX = 15_000
FILES_WANTED = 65_536

NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
{user}
worker_processes 1;
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ecdh_curve X25519:P-256;
    ssl_session_cache off;
    ssl_session_tickets on;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    upstream backend {{
        server 127.0.0.1:{backend};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        server_name bench.test;
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto https;
            proxy_max_temp_file_size 0;
            proxy_buffer_size 16k;
            proxy_buffers 8 32k;
        }}
    }}
}}
"""

HAPROXY = """
global
    nbthread 1
    maxconn {connections}
    no strict-limits
    ssl-default-bind-options ssl-min-ver TLSv1.2
    ssl-default-bind-curves X25519:P-256
defaults
    mode http
    timeout connect 5s
    timeout client 3600s
    timeout server 3600s
    timeout http-keep-alive 3600s
    option http-keep-alive
    option forwardfor
    http-reuse always
frontend https
    bind 127.0.0.1:{port} ssl crt {pem} alpn http/1.1 backlog 4096
    http-request set-header X-Forwarded-Proto https
    default_backend backend
backend backend
    server one 127.0.0.1:{backend} pool-max-conn -1
"""

HITCH = """
frontend = {{ host = "127.0.0.1" port = "{port}" }}
backend = "[127.0.0.1]:{backend}"
pem-file = "{pem}"
workers = 1
backlog = 4096
daemon = off
{user}
log-level = 0
tls-protos = TLSv1.2 TLSv1.3
ecdh-curve = "X25519:P-256"
alpn-protos = "http/1.1"
"""

H2O = """
num-threads: 1
max-connections: {connections}
pid-file: {folder}/h2o.pid
error-log: {folder}/h2o.log
http1-request-timeout: 3600
ssl-session-resumption: {{ mode: ticket }}
{user}
listen:
  host: 127.0.0.1
  port: {port}
  ssl:
    neverbleed: OFF
    ocsp-update-interval: 0
    certificate-file: {certificate}
    key-file: {key}
    minimum-version: TLSv1.2
hosts:
  default:
    paths:
      "/":
        proxy.reverse.url: "http://127.0.0.1:{backend}"
        proxy.preserve-host: ON
        proxy.timeout.keepalive: 3600000
"""

MDFRONT = """
[server]
workers = 1
log_level = "error"

[[listen]]
address = "127.0.0.1:{port}"
protocol = "https"

[limits]
idle_timeout = "1h"
backend_idle_timeout = "1h"
backend_idle_max = 1024

[md]
store_dir = "{folder}/md"

[[site]]
hosts = ["bench.test"]
backend = "127.0.0.1:{backend}"
certificate_file = "{certificate}"
certificate_key_file = "{key}"
"""

BACKEND = """
daemon off;
pid {folder}/backend.pid;
error_log {folder}/backend.log error;
{user}
worker_processes 1;
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=10;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder}/files;
    }}
}}
"""

# name: configuration, its file, command, the line that keeps it from giving up root
PEERS = {
    "mdfront": (MDFRONT, "mdfront.toml", ["{binary}", "run", "--config", "{config}"], ""),
    "nginx": (NGINX, "nginx.conf", ["nginx", "-c", "{config}"], "user root;"),
    "haproxy": (HAPROXY, "haproxy.cfg", ["haproxy", "-db", "-f", "{config}"], ""),
    "hitch": (HITCH, "hitch.conf", ["hitch", "--config={config}"], 'user = "root"'),
    "h2o": (H2O, "h2o.yaml", ["h2o", "-c", "{config}"], "user: root"),
}


def processes_below(pid):
    """`pid` and all that it started."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += processes_below(int(child))
    return found


def files_max():
    """Descriptors that a process may have here."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)


def prepare_child(cpu):
    """For preexec_fn: pins, raises the limit of descriptors, and ends with its parent."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    os.sched_setaffinity(0, {cpu})
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max(), files_max()))


class Server:
    """A started program, pinned to a CPU."""

    def __init__(self, name, argv, folder, cpu):
        self.name = name
        self.output = open(folder / f"{name}.out", "ab")

        self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.output,
                                      stderr=subprocess.STDOUT,
                                      preexec_fn=lambda: prepare_child(cpu))

    def stop(self):
        self.popen.terminate()
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            for pid in processes_below(self.popen.pid):
                os.kill(pid, 9)
            self.popen.wait()
        self.output.close()

    def cpu_seconds(self):
        """User and system time of all its threads, in ns precision: the CPU clock of each
        process, which is what utime + stime of /proc/<pid>/stat are rounded from."""
        return sum(time.clock_gettime((~pid << 3) | 2)
                   for pid in processes_below(self.popen.pid))

    def memory(self):
        """Proportional set size of its processes, in bytes."""
        total = 0
        for pid in processes_below(self.popen.pid):
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total


class Bed:
    """Folder, certificate and backend of a run; starts peers in front of them."""

    def __init__(self, folder, mdfront, free_port):
        self.folder = folder
        self.mdfront = mdfront
        self._free_port = free_port
        self._is_root = os.geteuid() == 0
        files = folder / "files"
        files.mkdir()
        (files / "1k").write_bytes(bytes(65 + i % 26 for i in range(1024)))
        (files / "10m").write_bytes(bytes(10 * 1024 * 1024))
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "30", "-subj", "/CN=bench.test", "-addext",
             "subjectAltName=DNS:bench.test", "-keyout", self.key, "-out", self.certificate],
            check=True, capture_output=True)
        self.pem = folder / "both.pem"
        self.pem.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())
        self.pem.chmod(0o600)
        self.backend_port = free_port()
        self.backend = self._start("backend", BACKEND, "backend.conf", ["nginx", "-c", "{config}"],
                                   "user root;", self.backend_port, LOAD_CPU)

    def _start(self, name, template, file, command, user, port, cpu):
        folder = self.folder / f"{name}-{port}"
        folder.mkdir()
        if name == "backend":
            (folder / "files").symlink_to(self.folder / "files")
        config = folder / file
        config.write_text(template.format(
            folder=folder, port=port, backend=self.backend_port, certificate=self.certificate,
            key=self.key, pem=self.pem, user=user if self._is_root else "", files=files_max(),
            connections=CONNECTIONS_MAX))
        argv = [part.format(config=config, binary=self.mdfront) for part in command]
        return Server(name, argv, folder, cpu)

    def start(self, name):
        """The peer and its port, before anything has been asked of it."""
        port = self._free_port()
        return self._start(name, *PEERS[name], port, PROXY_CPU), port

    def log_of(self, name):
        return "\n".join(path.read_text(errors="replace")[-2000:]
                         for path in self.folder.glob(f"{name}-*/*.*")
                         if path.suffix in (".out", ".log"))
