"""A web server on this machine that behaves as well, or as badly, as it is told, and remembers what it was asked."""

import contextlib
import hashlib
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """A file, and how it is served.

    Attributes:
        content: of the file.
        ranges: whether a range that is asked for is heeded.
        tag, date: what tells its versions apart; empty if nothing does.
        length: whether its length is said; a number that is said instead.
        status: what is answered instead of the file.
        cuts: after how many bytes each next answer is cut off; the answers after those are whole.
        pause: seconds before the content of an answer.
        hold: after how many bytes an answer stops until the server is told to go on.
    """

    content: bytes
    ranges: bool = True
    tag: str = ""
    date: str = ""
    length: bool | int = True
    status: int = 0
    cuts: list[int] = field(default_factory=list)
    pause: float = 0.0
    hold: int = 0


@dataclass
class Asked:
    """A request: what for, with which headers, how many bytes of content the answer has had, and whether it ended."""

    path: str
    headers: dict
    sent: int = 0
    ended: bool = False


class Server:
    """The files by their paths, and the requests in their order."""

    def __init__(self, url):
        self.url, self.files = url, {}
        self._asked = []
        self.holding, self.go_on = threading.Event(), threading.Event()

    def serve(self, path, content, **ways):
        self.files[path] = Served(content, **ways)
        return f"{self.url}{path}"

    def requests(self):
        """All that were made; those that are still being answered are waited for."""
        while not all(each.ended for each in self._asked):
            time.sleep(0.001)
        return self._asked

    def forget(self):
        self.requests().clear()

    def ranges(self):
        """Which ranges were asked for, in order; None for all."""
        return [each.headers.get("Range") for each in self.requests()]

    def sent(self):
        """How many bytes of content each answer had."""
        return [each.sent for each in self.requests()]

    @contextlib.contextmanager
    def answering(self, path, headers):
        """While a request is answered; it is remembered when it comes, since its answer may end after the next came."""
        asked = Asked(path, dict(headers))
        self._asked.append(asked)
        try:
            yield asked
        finally:
            asked.ended = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        known = self.server.known
        self.close_connection = True
        with known.answering(self.path, self.headers) as asked:
            file = known.files.get(self.path)
            asked.sent = self._refuse(404) if file is None else self._answer(file)

    def _answer(self, file):
        if file.status:
            return self._refuse(file.status)
        first = self._first(file)
        if first >= len(file.content) > 0:
            return self._refuse(416, {"Content-Range": f"bytes */{len(file.content)}"})
        content = file.content[first:]
        heads = {"ETag": file.tag, "Last-Modified": file.date, "Connection": "close"}
        if first:
            heads["Content-Range"] = f"bytes {first}-{len(file.content) - 1}/{len(file.content)}"
        if file.length is not False:
            heads["Content-Length"] = str(len(content) if file.length is True else file.length)
        self._begin(206 if first else 200, heads)
        time.sleep(file.pause)
        cut = file.cuts.pop(0) if file.cuts else len(content)
        with contextlib.suppress(OSError):
            if file.hold:
                self._hold(content[: file.hold])
                return file.hold
            self.wfile.write(content[:cut])
        return len(content[:cut])

    def _hold(self, content):
        self.wfile.write(content)
        self.wfile.flush()
        self.server.known.holding.set()
        self.server.known.go_on.wait(30)

    def _first(self, file):
        asked, version = self.headers.get("Range"), self.headers.get("If-Range")
        if asked is None or not file.ranges or (version is not None and version not in {file.tag, file.date}):
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _refuse(self, status, heads=None):
        self._begin(status, {"Content-Length": "0", "Connection": "close", **(heads or {})})
        return 0

    def _begin(self, status, heads):
        self.send_response(status)
        for name, value in heads.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    """Run a server while the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    known = server.known = Server(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sha256(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
