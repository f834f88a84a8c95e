"""The voting page: one local address, two texts, three keys.

    serve_arena(Arena("votes.db"))       http://127.0.0.1:8321, until Ctrl-C

    GET  /          the page: all of its style and script is in it, nothing is loaded from elsewhere
    GET  /next      {"id", "question", "left", "right"}, or {} when this voter has judged all
    POST /vote      {"id", "choice"} -> {"counted": true or false}

Keys: 1 or ← left, 2 or → right, 0 or = a tie. Texts come in as text, never as HTML. A voter is a random number in a
cookie. A vote is sent once: the page waits for the answer, and the arena refuses a second one.

Book: 13.3.3. Held against: a real browser (tests/apps/judging/test_page.py).
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from minillm._checks import check_int, check_text
from minillm.apps.judging.arena import Arena

COOKIE, MOST = "minillm_voter", 10_000  # bytes of a vote

PAGE = Path(__file__).with_name("page.html")
# nothing but this page's own script, and requests to this address alone
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def arena_app(arena: Arena) -> Any:
    """The page as an ASGI application (extra `serve`)."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    async def page(request: Request) -> Response:
        reply = HTMLResponse(
            PAGE.read_text("utf-8"), headers={"content-security-policy": POLICY, "cache-control": "no-store"}
        )
        if COOKIE not in request.cookies:
            reply.set_cookie(COOKIE, secrets.token_hex(16), httponly=True, samesite="strict", max_age=10**7)
        return reply

    async def following(request: Request) -> Response:
        voter = request.cookies.get(COOKIE)
        if not voter:
            return PlainTextResponse("open the page first: it makes you a voter", 403)
        ballot = await run_in_threadpool(arena.next, voter)
        return JSONResponse({} if ballot is None else vars(ballot), headers={"cache-control": "no-store"})

    async def vote(request: Request) -> Response:
        voter = request.cookies.get(COOKIE)
        if not voter or request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return PlainTextResponse("a vote comes from the page, as JSON", 403)
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MOST:
                return PlainTextResponse("a vote is a few bytes", 413)
        try:
            given = json.loads(body)
            counted = await run_in_threadpool(arena.vote, given["id"], voter, given["choice"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return PlainTextResponse(f'a vote is {{"id": ..., "choice": "left"|"right"|"tie"}}: {error}', 400)
        return JSONResponse({"counted": counted})

    return Starlette(
        routes=[Route("/", page), Route("/next", following), Route("/vote", vote, methods=["POST"])]
    )


def serve_arena(arena: Arena, host: str = "127.0.0.1", port: int = 8321) -> None:
    """Serve the page until Ctrl-C. host: this machine alone by default; there is no password."""
    import uvicorn

    check_text("host", host), check_int("port", port, 1, 65_535)
    uvicorn.run(arena_app(arena), host=host, port=port, log_level="warning")
