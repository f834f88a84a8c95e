"""Brains for an agent: a language model, routing by meaning, a model of a few thousand weights, a script."""
