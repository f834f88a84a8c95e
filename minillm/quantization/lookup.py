"""Sixteen numbers looked up by one instruction: what makes a codebook as cheap as even codes.

    sums[r] += table[codes[r] >> 4] · x + table[codes[r] & 15] · z          for all r side by side

A compiler reads a table entry by entry. But 16 float32 entries just fill one wide register (AVX-512), or two (AVX2),
and these processors can permute a register by the numbers in another: look-up without memory. No loop that one can
write in Python compiles to it, hence this one piece of LLVM's language. Elsewhere the loop on top does it.

Book: 7.2 양자화로 모델 용량 줄이기. Held against the plain loop.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic
from numba.np import arrayobj


def lanes() -> int:
    """How many numbers an instruction of this processor looks up: 16, 8, or 0 if the compiler is not to use it."""
    if (
        numba.config.CPU_NAME or numba.config.CPU_FEATURES
    ):  # someone has chosen another processor to compile for
        features = (numba.config.CPU_FEATURES or "").split(",")
        there = {name[1:] for name in features if name.startswith("+")}
    else:
        there = {name for name, here in binding.get_host_cpu_features().items() if here}
    return 16 if "avx512f" in there else 8 if "avx2" in there else 0


LANES = lanes()


def pointer_to(dtype: Any) -> Any:
    """A function for compiled code that makes a pointer to numbers of a dtype from an address, an int64."""

    @intrinsic
    def pointer(typing, address):  # pragma: no cover
        def cast(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(dtype)(types.int64), cast

    return pointer


floats_at, int8_at, uint8_at = pointer_to(types.float32), pointer_to(types.int8), pointer_to(types.uint8)
halves_at = pointer_to(types.int16)  # float16, which numba has no arithmetic for: its bits


@numba.njit(inline="always")
def from_half(bits):  # pragma: no cover
    """The float32 of a finite float16 given as int16: its bits in their new places, and 2^112 for the exponent."""
    placed = np.int32(np.int32(np.int32(bits) << np.int32(13)) & np.int32(-0x70002000))
    return placed.view(np.float32) * np.float32(2.0**112)


@intrinsic
def entry(typing, table, i):  # pragma: no cover
    """Number i of a table of int64 that begins at an address."""

    def build(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load(builder.gep(pointer, [arguments[1]]))

    return types.int64(types.int64, types.int64), build


@intrinsic
def address(typing, array):  # pragma: no cover
    """Where the numbers of an array begin."""

    def build(context, builder, signature, arguments):
        return arrayobj.make_array(array)(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), build


@intrinsic
def add_looked_up(typing, sums, r, table, codes, x, z):  # pragma: no cover
    """The line on top for r to r + LANES; sums, table, codes: addresses."""

    def build(context, builder, signature, arguments):
        return _add_looked_up(context, builder, *arguments)

    return types.void(sums, r, table, codes, x, z), build


def _add_looked_up(context, builder, sums, r, table, codes, x, z) -> Any:
    floats, ints = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)
    free = ("contract", "reassoc")  # sums in any order, as in the loops

    def at(pointer, index, kind):
        return builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())

    def all_of(value):
        one = builder.insert_element(ir.Constant(floats, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(one, ir.Constant(floats, ir.Undefined), ir.Constant(ints, [0] * LANES))

    def entries(first):
        return builder.load(at(table, ir.Constant(ir.IntType(64), first), floats), align=4)

    name = "avx512.permvar.sf.512" if LANES == 16 else "avx2.permps"
    permute = builder.module.declare_intrinsic(
        f"llvm.x86.{name}", (), ir.FunctionType(floats, [floats, ints])
    )

    def look_up(index):
        low = builder.call(permute, [entries(0), index])
        if LANES == 16:
            return low
        in_low = builder.icmp_unsigned("<", index, ir.Constant(ints, [8] * LANES))
        return builder.select(in_low, low, builder.call(permute, [entries(8), index]))

    eight_bits = ir.VectorType(ir.IntType(8), LANES)
    code = builder.zext(builder.load(at(codes, r, eight_bits), align=1), ints)
    total = builder.load(at(sums, r, floats), align=4)
    high, low = (
        builder.lshr(code, ir.Constant(ints, [4] * LANES)),
        builder.and_(code, ir.Constant(ints, [15] * LANES)),
    )
    for index, factor in ((high, x), (low, z)):
        product = builder.fmul(look_up(index), all_of(factor), flags=free)
        total = builder.fadd(total, product, flags=free)
    builder.store(total, at(sums, r, floats), align=4)
    return context.get_dummy_value()
