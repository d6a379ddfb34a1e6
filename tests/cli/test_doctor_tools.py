"""The doctor tries the tools that run on the server."""

from __future__ import annotations

import http.server
import json
import threading

from antiphon.cli.doctor.tools import tools
from antiphon.settings.sources import Settings


class _Engine(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"results": [{"url": "https://a.example", "title": "a"}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_each_tool_is_tried() -> None:
    """One that works says what it found, one that does not says why; where none is set up nothing is said."""
    assert list(tools(Settings())) == []
    with http.server.HTTPServer(("127.0.0.1", 0), _Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"searxng+http://127.0.0.1:{server.server_port}"
        found = {each.check: each for each in tools(Settings(web_search=address))}
        server.shutdown()
    assert (found["web_search"].status, "found 1" in found["web_search"].detail) == ("fine", True)
    found = {each.check: each for each in tools(Settings(web_search="searxng+http://127.0.0.1:9"))}
    assert (found["web_search"].status, bool(found["web_search"].remedy)) == ("fail", True)
    (wrong,) = tools(Settings(web_search="brave"))
    assert "web_search_key" in wrong.detail
