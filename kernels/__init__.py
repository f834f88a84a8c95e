"""Triton kernels, each beside a plain torch reference of the same function (book ch. 8.2-8.3).

Kept free of imports: transformers looks for a package of this name and must find a harmless one.
"""

__version__ = "0.0.1"
