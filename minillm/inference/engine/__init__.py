"""The serving engine: pages of the KV cache, a scheduler, batching policies, and what they waste."""

from minillm.inference.engine.block_manager import BlockManager, BlockTable
from minillm.inference.engine.engine import Engine
from minillm.inference.engine.paged_cache import Chunk, PagedKVCache
from minillm.inference.engine.request import StepOutput

__all__ = ["BlockManager", "BlockTable", "Chunk", "Engine", "PagedKVCache", "StepOutput"]
