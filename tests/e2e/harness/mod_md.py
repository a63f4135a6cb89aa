"""Debian's Apache httpd with mod_ssl and mod_md: Apache's own engine for managed domains."""
import os
import pathlib
import signal
import socket

from .process import Process
from .waiting import wait_until

MODULES = pathlib.Path("/usr/lib/apache2/modules")

_CONFIG = """
ServerRoot {root}
PidFile {root}/httpd.pid
DefaultRuntimeDir {root}
ServerName localhost
Listen 127.0.0.1:{http}
Listen 127.0.0.1:{https}
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule md_module {modules}/mod_md.so
<IfModule !mod_watchdog.c>
    LoadModule watchdog_module {modules}/mod_watchdog.so
</IfModule>
ErrorLog {root}/error.log
LogLevel warn md:debug
StartServers 1
ServerLimit 2
ThreadsPerChild 10
MaxRequestWorkers 20
DocumentRoot {files}
<Directory {files}>
    Require all granted
</Directory>
MDStoreDir {store}
MDCertificateAuthority {directory}
MDCACertificateFile {trust}
MDCertificateAgreement accepted
MDContactEmail ops@example.test
MDPortMap 80:{http} 443:{https}
MDInitialDelay 0s
MDCheckInterval 1s
MDRetryDelay 1s
{domains}
"""

_HOST = """
<VirtualHost 127.0.0.1:{http}>
    ServerName {names[0]}
    {aliases}
</VirtualHost>
<VirtualHost 127.0.0.1:{https}>
    ServerName {names[0]}
    {aliases}
    SSLEngine on
</VirtualHost>
<MDomain {names[0]}>
    MDMember {members}
    {settings}
</MDomain>
"""


class ModMd:
    """httpd with mod_ssl and mod_md on `store`. `domains`: name → (further names, directives)."""

    def __init__(self, folder, store, ca, https, http, domains, more=""):
        folder.mkdir()
        files = folder / "files"
        files.mkdir()
        (files / "index.html").write_text("<p>httpd serves it.</p>\n")
        for path, mode in ((folder, 0o755), (files, 0o755), (files / "index.html", 0o644)):
            path.chmod(mode)
        self.folder = folder
        self.https = https
        hosts = [_HOST.format(http=http, https=https, names=[name],
                              aliases="\n    ".join(f"ServerAlias {one}" for one in others),
                              members=" ".join([name, *others]), settings="\n    ".join(settings))
                 for name, (others, settings) in domains.items()]
        # mod_md's renewals run in a child that is not root: ca.trust has to be readable for it.
        trust = folder / "trust.pem"
        trust.write_bytes(ca.trust.read_bytes())
        trust.chmod(0o644)
        self._config = folder / "httpd.conf"
        self._config.write_text(_CONFIG.format(
            root=folder, files=files, modules=MODULES, store=store, directory=ca.directory,
            user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
            trust=trust, http=http, https=https, domains="".join(hosts) + more))
        self.process = None
        self.start()

    def start(self):
        self.process = Process(["/usr/sbin/apache2", "-f", self._config, "-DFOREGROUND"],
                               self.folder / "output.log")
        self.process.wait_for(self._answers, f"httpd answers; its log:\n{self.log}")

    def _answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.https), 2).close()
            return True
        except OSError:
            return False

    def restart(self):
        """The graceful restart that mod_md activates at."""
        before = self.log.count("resuming normal operations")
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self.log.count("resuming normal operations") > before,
                   f"httpd's restart; its log:\n{self.log}")

    @property
    def log(self):
        path = self.folder / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self):
        if self.process:
            self.process.stop(signal.SIGTERM, 20)
            self.process = None
