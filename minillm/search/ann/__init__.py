"""Approximate nearest neighbours: lists (IVF) and graphs (NSW, HNSW), each with its plain version beside it."""

from minillm.search.ann.filtered_plain import FilteredHNSW
from minillm.search.ann.hnsw import HNSWIndex, NSWIndex
from minillm.search.ann.hnsw_plain import FirstNSW, PlainHNSW, PlainNSW, SimpleHNSW, plain_copy
from minillm.search.ann.ivf import IVFIndex
from minillm.search.ann.kmeans import kmeans

__all__ = [
    "FilteredHNSW",
    "FirstNSW",
    "HNSWIndex",
    "IVFIndex",
    "NSWIndex",
    "PlainHNSW",
    "PlainNSW",
    "SimpleHNSW",
    "kmeans",
    "plain_copy",
]
