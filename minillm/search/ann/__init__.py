"""Approximate nearest neighbours: lists (IVF) and graphs (NSW, HNSW)."""
