"""The server of the explorer: one page and one stream, for who has the token and comes from this machine."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dynlib.errors import ConfigError, DynlibError
from dynlib.explore.study import SLICE, Study

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn import Server

LONGEST = 65536
"""Bytes of a command at most."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = {"": ("index.html", "text/html"), "explore.js": ("explore.js", "text/javascript"),
         "explore.css": ("explore.css", "text/css")}  # fmt: skip


class Gate:
    """Lets in what names this server as its host, comes from no other page, and has the token in its path."""

    def __init__(self, inner: ASGIApp, port: int, token: str) -> None:
        self._inner, self._token = inner, token
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 403."""
        from starlette.datastructures import Headers
        from starlette.responses import PlainTextResponse

        if scope["type"] == "http" and not self._lets_in(scope["path"], Headers(scope=scope)):
            refusal = PlainTextResponse("403: open the address that dynlib printed", 403, headers=_HEADERS)
            await refusal(scope, receive, send)
            return
        await self._inner(scope, receive, send)

    def _lets_in(self, path: str, headers: Any) -> bool:
        origins = [origin.removeprefix("http://") for origin in headers.getlist("origin")]
        named = headers.getlist("host")
        return (
            len(named) == 1
            and named[0] in self._hosts
            and all(origin == named[0] for origin in origins)
            and headers.get("sec-fetch-site", "none") in ("none", "same-origin")
            and secrets.compare_digest(path.split("/")[1].encode() if "/" in path else b"", self._token.encode())
        )


def application(study: Study, port: int, token: str) -> Starlette:
    """The application that shows a study."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    def page(request: Request) -> Response:
        name, kind = _PAGE[request.url.path.rpartition("/")[2]]
        return Response((files(__package__) / "page" / name).read_bytes(), media_type=kind, headers=_HEADERS)

    def about(_: Request) -> Response:
        return JSONResponse(study.about(), headers=_HEADERS)

    async def do(request: Request) -> Response:
        try:
            await asyncio.wrap_future(study.do(await _command(request)))
        except DynlibError as problem:
            return _refused(problem)
        return JSONResponse({"ok": True}, headers=_HEADERS)

    async def stream(_: Request) -> Response:
        return StreamingResponse(_frames(study), media_type="text/event-stream", headers=_HEADERS)

    def download(ask: Callable[[], Any], name: str, kind: str) -> Callable[[Request], Any]:
        async def answer(_: Request) -> Response:
            try:
                content = await asyncio.wrap_future(ask())
            except DynlibError as problem:
                return _refused(problem)
            sent = {**_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
            return Response(content, media_type=kind, headers=sent)

        return answer

    routes = [
        *(Route(f"/{token}/{path}", page) for path in _PAGE),
        Route(f"/{token}/about", about),
        Route(f"/{token}/do", do, methods=["POST"]),
        Route(f"/{token}/stream", stream),
        Route(f"/{token}/explored.py", download(study.script, "explored.py", "text/x-python")),
        Route(f"/{token}/explored.npz", download(study.snapshot_file, "explored.npz", "application/octet-stream")),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Gate, port=port, token=token)])


def _refused(problem: DynlibError) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse({"kind": type(problem).__name__, "message": str(problem)}, 400, headers=_HEADERS)


async def _command(request: Request) -> dict[str, Any]:
    """The command in the body of a request. Raises `ConfigError`."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST:
            raise ConfigError(f"a command has at most {LONGEST} bytes")
    try:
        found = json.loads(body, parse_int=float)
    except (ValueError, RecursionError):
        raise ConfigError("a command is one JSON object, such as {'what': 'pause'}") from None
    if not isinstance(found, dict):
        raise ConfigError("a command is one JSON object, such as {'what': 'pause'}")
    return found


async def _frames(study: Study) -> AsyncIterator[str]:
    """Server-sent events: whatever is new, as often as a slice ends; a page that is slow gets fewer and larger ones."""
    version, epoch, blocks = -1, -1, 0
    while not study.closed:
        frame = study.frame(version, epoch, blocks)
        if frame is not None:
            version, epoch, blocks = frame["version"], frame["epoch"], frame["blocks"]
            yield f"data: {json.dumps(frame, allow_nan=False)}\n\n"
        await asyncio.sleep(SLICE)


def listening(port: int) -> socket.socket:
    """A socket on 127.0.0.1; port 0 is a free one. Raises `ConfigError`."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"port must be from 0 (a free one) to 65535, not {port}")
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port))
    except OSError as problem:
        found.close()
        raise ConfigError(f"port {port} cannot be used ({problem.strerror}); port 0 takes a free one") from None
    return found


def server(study: Study, port: int, token: str) -> Server:
    """The server, not yet running. Raises `ConfigError` if a package is missing."""
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as problem:
        raise ConfigError(
            f"the explorer needs {problem.name}: pip install starlette uvicorn (the extra 'explore')"
        ) from None
    config = uvicorn.Config(
        application(study, port, token), log_level="warning", access_log=False, ws="none", lifespan="off",
        server_header=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    return uvicorn.Server(config)
