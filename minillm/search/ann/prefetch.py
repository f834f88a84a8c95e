"""Asking for memory before it is needed: a hint to the processor that no result depends on.

A graph search jumps to rows that lie anywhere. Each row takes some 80 ns to come from memory, about as long as
measuring four distances. While one distance is measured, the rows that come next can already be on their way:

    prefetch(rows, i, 64)       the cache line that holds byte 64 of rows[i]

Python has no word for it, hence this one piece of LLVM's language.
"""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, options
from numba.extending import intrinsic

# How inner functions are compiled. They make no arrays, so nobody counts references to those they are given: counting
# costs as much as a distance. The option is numba's own and not promised; without it all is the same, but slower.
BARE = {"cache": True, "nogil": True} | ({"_nrt": False} if hasattr(options.DefaultOptions, "_nrt") else {})
LINE = 64  # bytes in a cache line
MOST = 512  # bytes of a row to ask for: the processor itself follows a longer row


@intrinsic
def prefetch(typing, array, row, byte):  # pragma: no cover
    """Ask for the cache line at array[row] + byte."""

    def build(context, builder, signature, arguments):
        made = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte_pointer, int32, int64 = ir.IntType(8).as_pointer(), ir.IntType(32), types.int64
        stride = builder.extract_value(made.strides, 0)
        offset = builder.mul(context.cast(builder, arguments[1], signature.args[1], int64), stride)
        offset = builder.add(offset, context.cast(builder, arguments[2], signature.args[2], int64))
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, int32, int32, int32])
        hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        pointer = builder.gep(builder.bitcast(made.data, byte_pointer), [offset])
        builder.call(hint, [pointer, int32(0), int32(3), int32(1)])  # to read, for all caches, data
        return context.get_dummy_value()

    return types.void(array, row, byte), build


@njit(**BARE)
def prefetch_row(rows, i):  # pragma: no cover
    """Ask for row i of rows."""
    for byte in range(0, min(MOST, rows.shape[1] * rows.itemsize), LINE):
        prefetch(rows, i, byte)
