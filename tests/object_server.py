"""A played S3: moto's server, in a thread of the tests, over real HTTP on a loopback port."""

from __future__ import annotations

import logging
import threading
from typing import Any

from tests.rabbit import free_ports

BUCKET = "mails"


class ObjectServer:
    """``start`` and ``stop`` it, as often as is needed, on the same port; what it holds stays until ``clear``."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import create_backend_app

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
        self._application = create_backend_app("s3")
        self._lock = threading.Lock()  # moto bears no two requests at once for one object
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self.port = free_ports(1)[0]

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin."""
        if self._server is None:
            from moto.moto_server.werkzeug_app import MotoRequestHandler
            from werkzeug.serving import make_server

            self._server = make_server(
                "127.0.0.1", self.port, self._answer, threaded=True, request_handler=MotoRequestHandler
            )
            self._thread = threading.Thread(
                target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
            )
            self._thread.start()

    def _answer(self, environ: Any, start_response: Any) -> Any:
        with self._lock:
            return self._application(environ, start_response)

    def stop(self) -> None:
        """Nobody listens."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            assert self._thread is not None
            self._thread.join()

    def clear(self) -> None:
        """One empty bucket."""
        from moto.s3.models import s3_backends

        backend = s3_backends["123456789012"]["aws"]
        backend.reset()
        backend.create_bucket(BUCKET, "us-east-1")

    def names(self) -> list[str]:
        """Of all objects."""
        from moto.s3.models import s3_backends

        return sorted(s3_backends["123456789012"]["aws"].buckets[BUCKET].keys)
