"""What speaks TLS before a server that does not: on threads, since asyncio's servers send no alerts."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

from tests.support.certificates import Issued

PATIENCE_S = 10.0


class TlsProxy:
    """Takes TLS on 127.0.0.1:`port` and passes on what is inside, to 127.0.0.1:`target`; used as `with`.

    own: the certificate that it shows. ca: clients must show one of this authority. newest: the newest version of TLS
    that it speaks; in 1.3 a client without the right certificate is refused behind its own handshake. names: the common
    names of the clients that got through, "" for those without a certificate; refused: how many handshakes failed.
    """

    def __init__(
        self, target: int, own: Issued, ca: Path | None = None, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.maximum_version = newest
        self.show(own)
        if ca is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(ca)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self.names: list[str] = []
        self.refused = 0

    def show(self, own: Issued) -> None:
        """Show another certificate from now on."""
        self._context.load_cert_chain(own.cert, own.key)

    def cut(self) -> None:
        """Break all connections."""
        for sock in list(self._open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It has ended by itself.
                pass

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self._listener.close()

    def _start(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, near)

    def _serve(self, raw: socket.socket) -> None:
        raw.settimeout(PATIENCE_S)
        try:
            with self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False) as near:
                try:
                    near.do_handshake()
                except ssl.SSLError:
                    self.refused += 1
                    _linger(near)
                    return
                shown = near.getpeercert() or {}
                subject: object = shown.get("subject", ())
                self.names.append("".join(value for part in subject for _, value in part))  # type: ignore[attr-defined]
                with socket.create_connection(("127.0.0.1", self._target)) as far:
                    ends = {near, far}
                    self._open |= ends
                    try:
                        _pass(near, far)
                    finally:
                        self._open -= ends
        except OSError:
            # Refused, or cut.
            pass


def _linger(near: ssl.SSLSocket) -> None:
    """Wait until a client that was refused has gone: a reset for what it sent meanwhile could outrun the alert."""
    with socket.socket(fileno=near.detach()) as raw:
        raw.settimeout(PATIENCE_S)
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(65_536):
            pass


def _pass(near: ssl.SSLSocket, far: socket.socket) -> None:
    """Pass on bytes until an end is reached."""
    with selectors.DefaultSelector() as selector:
        selector.register(near, selectors.EVENT_READ, far)
        selector.register(far, selectors.EVENT_READ, near)
        while True:
            for key, _ in selector.select(PATIENCE_S):
                source = near if key.fileobj is near else far
                data = source.recv(65_536)
                while source is near and near.pending():
                    data += near.recv(near.pending())
                if not data:
                    return
                key.data.sendall(data)
