"""The admin server: health, readiness, metrics and the commands, over HTTP.

It decides nothing: what is shown is in `answers` and `prometheus`, what needs rights in `restricted`.
Source: reference "AdminServer".
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, BinaryIO

from aiohttp import web
from aiohttp.typedefs import Handler

from corral.base.ids import zxid_hex
from corral.server.admin.answers import ALIASES, ALWAYS, COMMANDS
from corral.server.admin.prometheus import Exposition
from corral.server.admin.restoring import check_restore, restore
from corral.server.admin.restricted import (
    METHODS,
    RateLimit,
    Refused,
    Snapshot,
    authorize,
    check_snapshot,
    shed,
    take_snapshot,
)
from corral.server.admin.status import Status
from corral.server.admin.words import NOT_SERVING
from corral.server.peers import plain_address

if TYPE_CHECKING:
    from corral.server.node import Node

CHUNK_BYTES = 1 << 18


class AdminServer:
    """One HTTP listener for all, and one for metrics alone where that is configured."""

    def __init__(self, node: Node, config: Any, log: Any) -> None:
        self._node = node
        self._config = config
        self._log = log
        self._runners: list[web.AppRunner] = []
        # With the words one view: a trace mask set there is shown here.
        self._status: Status = node.commands.status if node.commands is not None else Status(node)
        self._metrics = Exposition(self._status, config.metrics_export_jvm_info)
        self._snapshots = RateLimit(config.admin_rate_limiter_interval_ms)
        self._restores = RateLimit(config.admin_rate_limiter_interval_ms)
        self._is_restoring = False
        # A snapshot that was asked for is of one database, not of two.
        self._one_at_a_time = asyncio.Lock()
        self._url = config.admin_command_url.rstrip("/")
        self.port = 0
        self.metrics_port = 0

    async def start(self) -> None:
        """Listen; where that fails the server goes on without, and says so."""
        config = self._config
        if config.admin_enabled:
            if config.admin_force_https or config.admin_need_client_auth:
                self._log.warning("no admin server: it is to speak TLS only, which this server cannot yet")
            else:
                app = self._application()
                key = "admin.serverPort"
                self.port = await self._listen(app, config.admin_address, config.admin_port, "admin server", key)
        if config.metrics_provider == "prometheus":
            app = web.Application()
            app.router.add_get("/metrics", self._serve_metrics)
            key = "metricsProvider.httpPort"
            self.metrics_port = await self._listen(
                app, config.metrics_http_host, config.metrics_http_port, "metrics", key
            )

    async def stop(self) -> None:
        """Stop listening."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners = []

    async def _listen(self, app: web.Application, host: str, port: int, what: str, key: str) -> int:
        keep_s = self._config.admin_idle_timeout_ms / 1000
        runner = web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=keep_s, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            why = error.strerror or str(error)
            self._log.warning(f"no {what}: cannot listen", address=host, port=port, key=key, why=why)
            return 0
        self._runners.append(runner)
        bound: int = runner.addresses[0][1]
        self._log.info(f"{what} listens", address=host, port=bound)
        return bound

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[_refuse_trace])
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get(self._url or "/", self._index)
        if self._url:
            app.router.add_get("/", self._start)
            app.router.add_get(self._url + "/", self._index)
        app.router.add_get(self._url + "/{name}", self._command)
        app.router.add_post(self._url + "/{name}", self._command)
        return app

    async def _start(self, request: web.Request) -> web.Response:
        return web.Response(text=_links("/health", "/ready", "/metrics", self._url), content_type="text/html")

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _ready(self, request: web.Request) -> web.Response:
        is_serving = self._status.is_serving
        return web.json_response({"ready": is_serving}, status=200 if is_serving else 503)

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        content = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self._metrics.text(), headers=content)

    async def _index(self, request: web.Request) -> web.Response:
        links = _links(*sorted([*COMMANDS, *METHODS]), below=f"{self._url}/")
        return web.Response(text=links, content_type="text/html")

    async def _command(self, request: web.Request) -> web.StreamResponse:
        given = request.match_info["name"]
        name = ALIASES.get(given, given)
        answer = COMMANDS.get(name)
        if answer is None and name not in METHODS:
            return reply(given, {}, f"Unknown command: {given}")
        wanted = METHODS.get(name, "GET")
        if request.method not in (wanted, "HEAD"):
            return reply(name, {}, f"{name} is not a {request.method} command", 500)
        if not self._status.is_serving and name not in ALWAYS:
            # Nobody is to take this answer for a snapshot, or for a restore that is done.
            return reply(name, {}, NOT_SERVING, 503 if name in METHODS else 200)
        if answer is not None:
            data = answer(self._status, request.query)
            return reply(name, data, data.get("error"))
        if request.method == "HEAD":
            return reply(name, {}, None)
        try:
            return await self._restricted(name, request)
        except Refused as refused:
            return reply(name, {}, str(refused), refused.status)

    # The commands that need rights.

    async def _restricted(self, name: str, request: web.Request) -> web.StreamResponse:
        authorize(self._node, request.headers.get("Authorization"), self._client(request))
        if name == "snapshot":
            return await self._snapshot(request)
        if name == "restore":
            return await self._restore(request)
        try:
            wanted = json.loads(await request.read())
        except ValueError:
            raise Refused(400, "The body must be a JSON object with a percentage") from None
        return reply(name, shed(self._node, wanted), None)

    def _client(self, request: web.Request) -> str:
        """Return who asks, for scheme ip."""
        forwarded = request.headers.getall("X-Forwarded-For", [])
        if self._config.ip_use_x_forwarded_for and forwarded:
            return str(forwarded[-1]).rsplit(",", 1)[-1].strip()
        return plain_address(request.remote or "")

    async def _snapshot(self, request: web.Request) -> web.StreamResponse:
        check_snapshot(self._node)
        self._require_no_restore()
        if not self._snapshots.take(self._node.now()):
            self._node.replica.metrics.count("snapshot_rate_limited_count")
            raise Refused(429, "Rate limit exceeded for snapshot command")
        async with self._one_at_a_time:
            made = await take_snapshot(self._node)
        if request.query.get("streaming", "true").lower() == "true":
            return await _stream(request, made)
        return reply("snapshot", {}, None, headers=_snapshot_headers(made))

    async def _restore(self, request: web.Request) -> web.Response:
        check_restore(self._node)
        self._require_no_restore()
        metrics = self._node.replica.metrics
        if not self._restores.take(self._node.now()):
            metrics.count("restore_rate_limited_count")
            raise Refused(429, "Rate limit exceeded for restore command")
        may_be_mixed = request.query.get("mixed", "").lower() == "true"
        self._is_restoring = True
        try:
            async with self._one_at_a_time:
                body = request.content.iter_chunked(CHUNK_BYTES)
                zxid = await restore(self._node, request.content_length, body, may_be_mixed)
        except Exception as error:
            metrics.count("restore_error_count")
            # Who was refused may try again at once: nothing was replaced.
            self._restores.give_back()
            if isinstance(error, web.RequestPayloadError):
                raise Refused(400, f"Nothing was restored: the request's body cannot be read: {error}") from error
            raise
        finally:
            self._is_restoring = False
        return reply("restore", {"last_zxid": zxid}, None)

    def _require_no_restore(self) -> None:
        if self._is_restoring:
            raise Refused(409, "A restore is under way")


def _links(*names: str, below: str = "") -> str:
    return "".join(f'<a href="{below}{name}">{name}</a>\n<br/>\n' for name in names)


@web.middleware
async def _refuse_trace(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse TRACE everywhere: what it sends back may hold credentials."""
    return web.Response(status=403) if request.method == "TRACE" else await handler(request)


def _snapshot_headers(made: Snapshot) -> dict[str, str]:
    return {"last_zxid": zxid_hex(made.zxid), "snapshot_size": str(made.size)}


async def _stream(request: web.Request, made: Snapshot) -> web.StreamResponse:
    """Send a snapshot's file, read on another thread."""
    headers = {"Content-Type": "application/octet-stream", **_snapshot_headers(made)}
    response = web.StreamResponse(headers=headers)
    response.content_length = made.size
    file: BinaryIO = await asyncio.to_thread(open, made.path, "rb")
    try:
        await response.prepare(request)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            await response.write(chunk)
        await response.write_eof()
    except ConnectionError:
        # Who asked is gone.
        pass
    finally:
        file.close()
    return response


def reply(
    name: str, data: dict[str, Any], error: str | None, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Make a command's answer, printed as ZooKeeper prints it: the data, then the command, then the error."""
    shown = {key: value for key, value in data.items() if key != "error"}
    text = json.dumps({**shown, "command": name, "error": error}, indent=2, separators=(",", " : "))
    return web.Response(text=text, content_type="application/json", status=status, headers=headers)
