"""A server of one page on this machine: pairs of pictures to judge by eye.

It listens on 127.0.0.1 only. Every address starts with a random token, which the
printed address holds: who does not know it gets 404, other users of the machine and
other web pages too. Pictures are asked for by the number of their run, never by a
path. A request must name this machine as its host (a foreign name that points here is
refused), and an answer must be JSON from the page's own origin.
"""

import hmac
import json
import re
import secrets
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from dreamjax.errors import os_error_text, printable
from dreamjax.json_file import loads
from dreamjax.judgments import ANSWERS, Session, picture_of
from dreamjax.report import embed

LOCAL = {"127.0.0.1", "localhost"}
MAX_BODY = 1000  # bytes of an answer
PATIENCE = 30.0  # seconds that a request may take to arrive
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "style-src 'unsafe-inline'",
            "script-src 'unsafe-inline'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Server(ThreadingHTTPServer):
    """Ends with the process, and says what goes wrong in one line."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"a request failed: {printable(repr(error))}", file=sys.stderr)


def rank_page(title: str) -> str:
    """Returns the HTML of the page."""
    return embed.fill("rank.html", {"data": embed.json_text({"title": title})})


def make_server(
    session: Session, page: str, port: int = 0
) -> tuple[ThreadingHTTPServer, str]:
    """Returns a server, not yet serving, and the address of its page.

    Args:
      session: what is judged. `ranking.csv` is written anew after every answer.
      page: HTML, of `rank_page`.
      port: 0 takes a free one.

    Raises:
      ValueError: the port is taken.
    """
    token, lock = secrets.token_urlsafe(24), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE

        def do_GET(self) -> None:
            self.guarded(self.get)

        def do_POST(self) -> None:
            self.guarded(self.post)

        def guarded(self, answer: Callable[[], None]) -> None:
            """Answers, also where a request or the disk is not as it should be."""
            try:
                answer()
            except ConnectionError:  # the browser has gone
                self.close_connection = True
            except (ValueError, RecursionError) as error:
                self.refuse(400, printable(error))
            except OSError as error:
                self.refuse(500, os_error_text(error))

        def get(self) -> None:
            place = self.place()
            if place == "":
                self.reply(200, "text/html; charset=utf-8", page.encode())
            elif place == "state":
                with lock:
                    self.reply_json(200, state_of(session))
            elif place is not None and place.startswith("picture/"):
                self.picture(place.removeprefix("picture/"))
            else:
                self.refuse(404, "not found")

        def post(self) -> None:
            if self.place() != "answer":
                return self.refuse(404, "not found")
            origin = self.headers.get("Origin")
            if origin not in (None, f"http://{self.headers.get('Host')}"):
                return self.refuse(403, "another origin")
            if self.headers.get_content_type() != "application/json":
                return self.refuse(415, "not JSON")
            length = self.headers.get("Content-Length", "")
            if re.fullmatch("[0-9]{1,9}", length) is None:
                return self.refuse(400, "no length")
            if int(length) > MAX_BODY:
                return self.refuse(413, "too long")
            given = _parsed(self.rfile.read(int(length)))
            if given is None:
                return self.refuse(400, "not an answer")
            with lock:
                if given["number"] != session.number:  # answered in another window
                    return self.reply_json(409, state_of(session))
                if given["answer"] != "undo" and session.pair is None:
                    return self.refuse(400, "no pair is left")
                session.answer(given["answer"])
                session.export()
                return self.reply_json(200, state_of(session))

        def place(self) -> str | None:
            """Returns the path after the token; None where it may not be known.

            Raises:
              ValueError: the request names no host that can be.
            """
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
            start, _, rest = self.path.removeprefix("/").partition("/")
            known = hmac.compare_digest(start.encode(), token.encode())
            return rest if known and host in LOCAL else None

        def picture(self, name: str) -> None:
            rows = {str(row["run"]): row for row in session.rows}
            path = picture_of(session.workdir, rows[name]) if name in rows else None
            if path is None:
                return self.refuse(404, "no such picture")
            return self.reply(200, "image/png", path.read_bytes())

        def refuse(self, status: int, why: str) -> None:
            self.close_connection = True  # the body was not read
            self.reply(status, "text/plain; charset=utf-8", why.encode())

        def reply_json(self, status: int, value: Any) -> None:
            body = json.dumps(value, allow_nan=False).encode()
            self.reply(status, "application/json", body)

        def reply(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            headers = {"Content-Type": kind, "Content-Length": str(len(body))}
            for header, value in (HEADERS | headers).items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Says nothing: the terminal is for the ranking."""

    try:
        server = _Server(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        raise ValueError(f"port={port} cannot be opened ({error}): give 0.") from error
    return server, f"http://127.0.0.1:{server.server_address[1]}/{token}/"


def state_of(session: Session) -> dict[str, Any]:
    """Returns what the page shows: the pair, and how far the judge is."""
    judged = session.ranking.judgments > 0
    spread = float(np.mean(session.ranking.error[judged])) if judged.any() else None
    return {
        "number": session.number,
        "pair": session.pair,
        "judgments": len(session.judgments),
        "runs": len(session.rows),
        "seen": int(judged.sum()),
        "error": spread,
    }


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        given = loads(body)
    except ValueError:
        return None
    whole = isinstance(given, dict) and type(given.get("number")) is int
    text = whole and isinstance(given.get("answer"), str)
    return given if text and given["answer"] in ANSWERS else None
