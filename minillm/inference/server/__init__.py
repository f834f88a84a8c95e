"""An HTTP server for the engine: the interface of OpenAI, so that any client of it talks to a model of ours.

Read first: loop.py (the engine's thread), then app.py (what each address answers), then serving.py (start and stop).
Needs the extra `serve`: pip install 'minillm[serve]'.
"""

from minillm.inference.server.serving import Server, serve

__all__ = ["Server", "serve"]
