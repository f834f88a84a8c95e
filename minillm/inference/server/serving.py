"""Starting and stopping the server: uvicorn in front, the engine's thread behind.

    serve(engine)                        until Ctrl-C or SIGTERM
    with Server(engine, port=0) as server:
        OpenAI(base_url=server.url + "/v1", api_key="none")       in a notebook or a test

At the end no new connection is taken, running requests have `end_seconds` to finish, and what still runs then is ended
with an error. Nothing is kept on disk: after a crash the next server starts as the first did.
Book 8.4 LLM 서빙 프레임워크.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from typing import Any

from minillm._checks import check_int, check_text, describe
from minillm.inference.engine import Engine
from minillm.inference.params import SamplingParams
from minillm.nn.lora import adapters_of

try:
    import uvicorn

    from minillm.inference.server.app import App
    from minillm.inference.server.connection import patient
    from minillm.inference.server.embeddings import Embeddings
    from minillm.inference.server.loop import EngineLoop
    from minillm.inference.server.prepare import Limits, Preparing
    from minillm.inference.server.schemas import check_defaults
except ImportError as missing:
    raise ImportError(f"the server needs more packages ({missing}): pip install 'minillm[serve]'") from None

GRACE = 2.0  # seconds beyond end_seconds in which the last answers are sent


class Server:
    """An engine behind HTTP. While it runs nobody else may use the engine.

    engine: with a tokenizer. port: 0 for a free one. model_name: the name that clients ask for; LoRA adapters of the
    model are asked for by their own. api_key: None for an open server. defaults: temperature and the like where a
    client names none (of OpenAI's interface: temperature 1), and stops beside the client's; its max_tokens is not read,
    and what a form of the answer (response_format, tools) cannot have is left out there. encoder: a SentenceEncoder
    behind /v1/embeddings, or None; encoder_name: the name that clients ask for.
    limits: fields of `Limits`. ValueError for what does not fit, OSError for an address that is taken.
    """

    def __init__(
        self,
        engine: Engine,
        host: str = "127.0.0.1",
        port: int = 8000,
        model_name: str = "minillm",
        api_key: str | None = None,
        defaults: SamplingParams | None = None,
        encoder: Any = None,
        encoder_name: str = "encoder",
        **limits: Any,
    ):
        if not isinstance(engine, Engine):
            raise ValueError(f"engine must be an Engine, got {describe(engine)}")
        if engine.tokenizer is None:
            raise ValueError("a server needs an engine with a tokenizer")
        check_text("host", host)
        check_int("port", port, 0, 65535)
        if not check_text("model_name", model_name):
            raise ValueError("model_name must not be empty")
        if api_key is not None and not (check_text("api_key", api_key) and api_key.isascii()):
            raise ValueError("api_key must be ASCII text that is not empty")
        if unknown := sorted(limits.keys() - Limits.__dataclass_fields__.keys()):
            raise ValueError(
                f"{unknown[0]!r} is no limit: there are {', '.join(Limits.__dataclass_fields__)}"
            )
        if encoder is not None and (
            not check_text("encoder_name", encoder_name) or encoder_name == model_name
        ):
            raise ValueError(f"encoder_name must not be empty, and not be the model's, got {encoder_name!r}")
        served = adapters_of(engine.model)
        taken = set() if served is None else set(served.settings)
        for what, name in (("model_name", model_name), ("encoder_name", encoder_name)):
            if name in taken and (what == "model_name" or encoder is not None):
                raise ValueError(f"{what} must not be that of an adapter, got {name!r}")
        defaults = SamplingParams() if defaults is None else defaults
        check_defaults(defaults)
        bounds = Limits(**limits)
        embeddings = None if encoder is None else Embeddings(encoder, encoder_name)
        preparing = Preparing(engine, model_name, bounds, defaults)
        self.loop = EngineLoop(engine)
        self._loops = [self.loop, *([] if embeddings is None else [embeddings.loop])]
        self.app = App(self.loop, preparing, api_key, embeddings)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=1024)
        self.host, self.port = host, self._socket.getsockname()[1]
        config = uvicorn.Config(
            self.app, http=patient(bounds), log_config=None,
            access_log=False, lifespan="off", ws="none", server_header=False,
            timeout_graceful_shutdown=int(bounds.end_seconds + GRACE + 1),
        )  # fmt: skip
        self._server = _Uvicorn(config, self._loops, bounds.end_seconds)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def run(self) -> None:
        """Answer until `stop`, Ctrl-C or SIGTERM; those end it in order, and are not raised."""
        in_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGTERM, lambda *_: None) if in_main else None
        for loop in self._loops:
            loop.start()
        try:
            with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises what it was told again
                self._server.run(sockets=[self._socket])
        finally:
            for loop in self._loops:
                loop.stop()
            for loop in self._loops:
                loop.join(60)
            self.app.worker.shutdown(wait=False)
            self.app.grammars.shutdown(wait=False)
            self._socket.close()
            if in_main:
                signal.signal(signal.SIGTERM, before)

    def start(self) -> Server:
        """Answer in a thread of its own, from the return of this call on."""
        if self._thread is not None:
            raise ValueError("a server starts once")
        self._thread = threading.Thread(target=self.run, name="minillm-server", daemon=True)
        self._thread.start()
        if not self._server.ready.wait(30):
            raise RuntimeError("the server did not start within 30 s")
        return self

    def stop(self) -> None:
        """End it in order, and wait for that; RuntimeError where it does not end."""
        self._server.should_exit = True
        if self._thread is None:
            self._socket.close()
            return
        self._thread.join(self.app.limits.end_seconds + GRACE + 60)
        if self._thread.is_alive():
            raise RuntimeError("the server did not end")

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *error: Any) -> None:
        self.stop()


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, with the threads of engine and encoder told when it ends."""

    def __init__(self, config: uvicorn.Config, loops: list[Any], end_seconds: float):
        super().__init__(config)
        self.loops, self.end_seconds, self.ready = loops, end_seconds, threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: Any = None) -> None:
        for loop in self.loops:
            loop.stop(self.end_seconds)
        await super().shutdown(sockets)


def serve(
    engine: Engine, host: str = "127.0.0.1", port: int = 8000, encoder: Any = None, **settings: Any
) -> None:
    """Answer OpenAI's requests until Ctrl-C or SIGTERM. encoder: a SentenceEncoder for /v1/embeddings. settings, and
    what is raised: as of `Server`."""
    Server(engine, host, port, encoder=encoder, **settings).run()
