"""A search engine with SearXNG's JSON API and the one page that it knows, on loopback, for programs that search and
fetch, or have the server do it."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PAGE = """<!doctype html><html><head><title>On bees</title></head><body><article><h1>On bees</h1>
<p>Bees fly from flower to flower, and bring home what they find there for the winter that always comes.</p>
<p>A colony may have some fifty thousand of them, of which nearly all are workers that live for six weeks.</p>
</article></body></html>"""


class Site:
    """Listens on free ports of loopback in threads of its own: at `url`, and at `secure_url` with a certificate that it
    leaves in a folder as `site.pem`."""

    def __init__(self, folder: Path) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path == "/search" and "json" in parse_qs(parts.query).get("format", []):
                    hit = {
                        "title": "On bees",
                        "url": f"{site.url}/bees.html",
                        "content": "Bees fly from flower to flower.",
                    }
                    self._answer("application/json", json.dumps({"results": [hit]}))
                else:
                    self._answer("text/html; charset=utf-8", PAGE)

            def _answer(self, kind: str, text: str) -> None:
                body = text.encode()
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
        plain, secure = self._servers
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*_certificate(folder))
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        self.url = f"http://127.0.0.1:{plain.server_address[1]}"
        self.secure_url = f"https://127.0.0.1:{secure.server_address[1]}"
        self._threads = [threading.Thread(target=each.serve_forever, daemon=True) for each in self._servers]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(10)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback that signs itself, and its key."""
    certificate, key = folder / "site.pem", folder / "site.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return certificate, key
