"""A web server of one file that does as it is told, request by request."""

import contextlib
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """Serves `content` at any path, with ranges, and counts what it is asked.

    Attributes:
      content, etag, ranges: the file, its tag, whether Range is honored.
      script: what to do for the next requests, each a function of the handler; when it
        is used up, `whole`.
      requests: the headers of each request, in order.
      served: bytes of bodies that were sent.
    """

    def __init__(self, content: bytes):
        self.content, self.etag, self.ranges = content, '"1"', True
        self.script, self.requests, self.served = [], [], 0
        self.extra: dict[str, str] = {}

    def whole(self, handler, *, length=None, declared=None):
        """Answers with the file, or the range that is asked for."""
        start, asked = 0, handler.headers.get("Range", "")
        same = handler.headers.get("If-Range", self.etag) == self.etag
        if asked and same and self.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        if start:
            total = len(self.content)
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        headers = {"ETag": self.etag, "Content-Length": str(declared or len(body))}
        for name, value in (headers | self.extra).items():
            if value:
                handler.send_header(name, value)
        handler.end_headers()
        self.send(handler, body[:length])

    def send(self, handler, body):
        handler.wfile.write(body)
        handler.wfile.flush()
        self.served += len(body)

    def cut(self, length):
        """Sends so many bytes of what it said it would and closes."""
        return lambda handler: self.whole(handler, length=length)

    def reset(self, length):
        """The same with a reset, as of a router that forgot the connection."""

        def answer(handler):
            self.whole(handler, length=length)
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        return answer

    def stall(self, length, go_on: threading.Event):
        """Sends so many bytes, and the others when it may."""

        def answer(handler):
            self.whole(handler, length=length)
            go_on.wait(60)
            with contextlib.suppress(OSError):  # who asked may have been killed
                self.send(handler, self.content[length:])

        return answer


def status(code, **headers):
    """Returns an answer without a file."""

    def answer(handler):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@contextlib.contextmanager
def serving(site: Site):
    """Serves in a thread; yields the address of the root, without a slash."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            site.requests.append(dict(self.headers))
            answer = site.script.pop(0) if site.script else site.whole
            answer(self)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
