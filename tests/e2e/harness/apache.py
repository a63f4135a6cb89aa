"""Debian's Apache httpd as a backend: static files, PUT (mod_dav), and /reflect, which answers
with the body of the request."""
import os
import signal

from .http1 import Client
from .ports import free_port
from .process import Process

_CONFIG = """
ServerRoot {root}
PidFile {root}/httpd.pid
DefaultRuntimeDir {root}
ServerName localhost
Listen {address}
{user}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule reflector_module /usr/lib/apache2/modules/mod_reflector.so
LoadModule dav_module /usr/lib/apache2/modules/mod_dav.so
LoadModule dav_fs_module /usr/lib/apache2/modules/mod_dav_fs.so
TypesConfig /dev/null
ErrorLog {root}/error.log
LogFormat "%h \\"%r\\" %>s %b k=%k" backend
CustomLog {root}/access.log backend
StartServers 1
ServerLimit 2
ThreadsPerChild 50
MaxRequestWorkers 100
KeepAlive {keep_alive}
KeepAliveTimeout {keep_alive_timeout}
MaxKeepAliveRequests {keep_alive_requests}
Timeout 60
DocumentRoot {files}
DavLockDB {root}/dav.lock
<Directory {files}>
    Require all granted
</Directory>
<Location /upload>
    Dav On
</Location>
<Location /reflect>
    SetHandler reflector
    ReflectorHeader Content-Type
</Location>
{more}
"""


class Apache:
    """`files` is the folder that it serves."""

    def __init__(self, folder, keep_alive=True, keep_alive_timeout=5, keep_alive_requests=0,
                 more=""):
        folder.mkdir()
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir()
        (self.files / "upload").mkdir()
        (self.files / "index.html").write_text("<p>It is served.</p>\n")
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        user = ""
        if os.geteuid() == 0:  # httpd's children give up root
            user = "User www-data\nGroup www-data"
            for path in (folder, self.files, self.files / "upload"):
                os.chmod(path, 0o777)
        config = folder / "httpd.conf"
        config.write_text(_CONFIG.format(
            root=folder, address=self.address, user=user, files=self.files,
            keep_alive="On" if keep_alive else "Off", keep_alive_timeout=keep_alive_timeout,
            keep_alive_requests=keep_alive_requests, more=more))
        self.process = Process(["/usr/sbin/apache2", "-f", config, "-DFOREGROUND"],
                               folder / "output.log")
        self.process.wait_for(self._answers, "httpd answers")

    def _answers(self):
        try:
            with Client(("127.0.0.1", self.port)) as client:
                return client.exchange(host="localhost").status == 200
        except OSError:
            return False

    def add_file(self, name, content):
        path = self.files / name
        path.write_bytes(content)
        os.chmod(path, 0o644)

    @property
    def access_log(self):
        return (self.folder / "access.log").read_text()

    def close(self):
        self.process.stop(signal.SIGTERM)
