"""kernels/measure/compile_ahead.py: the kernels that ship compile for three GPUs without a fault, and a fault is seen.

Compiling needs a process in which the interpreter was never on, so everything here runs in child processes.
"""

import dataclasses
import json
import pkgutil
import re

import pytest

from kernels.measure import cases, compile_ahead, machine_code
from tests.kernels.compiling import python

FILES = [module.name for module in pkgutil.iter_modules(cases.__path__)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """(the finished command, its JSON, its markdown) over a spread of the cases; .ci/run compiles them all."""
    folder = tmp_path_factory.mktemp("table")
    files = {"json": folder / "table.json", "markdown": folder / "table.md"}
    written = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    done = python("-m", "kernels.measure.compile_ahead", "--spread", *written)
    assert sorted(path.name for path in folder.iterdir()) == ["table.json", "table.md"], done.stderr[-3000:]
    return done, json.loads(files["json"].read_text()), files["markdown"].read_text()


@pytest.fixture(scope="module")
def probe():
    done = python("-m", "tests.kernels.measure.probe_compile_ahead")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


# what ships


def test_everything_that_ships_compiles_without_a_fault(table):
    done, content, _ = table
    faults = [
        f"sm_{r['target']} {r['case']}, {r['kernel']}: {r['faults']}"
        for r in content["reports"]
        if r["faults"]
    ]
    assert not faults, "\n".join(faults)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert {r["target"] for r in content["reports"]} == {80, 90, 100}
    for r in content["reports"]:
        assert (r["spill"], r["registers"] <= 255) == (0, True)
        assert r["shared"] <= machine_code.SHARED_MEMORY[r["target"]]


def test_large_products_reach_wgmma_on_hopper(table):
    _, content, _ = table
    hopper = [r for r in content["reports"] if r["target"] == 90]
    flash = [
        r for r in hopper if r["module"].startswith("kernels.flash") and r["dots"] and "fp32" not in r["case"]
    ]
    assert len({r["kernel"] for r in flash}) >= 3  # forward; dq; dk and dv
    assert all(r["wgmma"] for r in flash), [r["case"] for r in flash if not r["wgmma"]]
    assert any(r["module"] == "kernels.paged_prefill" and r["wgmma"] for r in hopper)
    assert any("int8" in r["case"] and r["wgmma"] for r in hopper)
    assert any("w4a16" in r["case"] and r["wgmma"] for r in hopper)


def test_every_kernel_that_can_be_launched_is_in_the_table(table, probe):
    _, content, _ = table
    compiled = {(r["module"], r["kernel"], r["target"]) for r in content["reports"]}
    assert len(probe["launchable"]) > 10
    for target in (80, 90, 100):
        missing = [place for place in probe["launchable"] if (*place, target) not in compiled]
        assert not missing, f"no case in kernels/measure/cases/ launches {missing} on sm_{target}"


def test_the_markdown_table_has_a_line_a_kernel_and_case(table):
    _, content, text = table
    lines = text.splitlines()
    assert lines[0] == "| case | kernel | sm_80 | sm_90 | sm_100 |"
    assert len(lines) == 2 + len({(r["case"], r["kernel"]) for r in content["reports"]})
    assert len({line.count("|") for line in lines}) == 1


# a fault is seen


def test_good_kernels_pass_and_bad_ones_are_named(probe):
    said = {(case, target): "; ".join(faults) for case, target, faults in probe["judged"]}
    for target in (80, 90, 100):
        for good in ("good", "good product", "few rows", "full precision", "wide bytes"):
            assert said[good, target] == ""
    assert said["two warps", 90] == "no wgmma instruction"
    assert said["two warps", 80] == ""  # there it is mma, which one warp can do
    assert re.search(r"spills \d+ bytes a thread", said["spills", 90])
    assert f"bytes of shared memory of {machine_code.SHARED_MEMORY[90]}" in said["shared memory", 90]
    assert said["bytes", 90] == "8 byte-wide loads"
    assert said["launches nothing", 90] == "launches nothing"
    assert said["multiplies nothing", 90] == "multiplies nothing"
    assert "does not compile: CompilationError" in said["does not compile", 90]
    assert "a grid of (1, 70000) programs" in said["grid", 90]
    assert "a grid of (1, 65536) programs" in said["grid from settings", 90]


def test_arguments_are_specialised_as_on_a_gpu(probe):
    # 16 divides an address or a number: said to the compiler. 1 and None: constants. Large ints: 64 bits.
    signature, divisible, settings = probe["specialised"]["16"]
    assert signature == {
        "x": "*fp32", "number": "i32", "flag": "u1", "real": "fp32", "nothing": "constexpr", "untouched": "*fp32",
        "BLOCK": "constexpr", "default": "i32",
    }  # fmt: skip
    assert (divisible, settings) == (["x", "number"], {"num_warps": 8})  # x[1:] is not aligned
    signature, divisible, settings = probe["specialised"]["17"]
    assert (signature["number"], signature["real"]) == ("i32", "constexpr")
    assert (divisible, settings) == (["x", "untouched"], {"num_stages": 2})
    signature, divisible, _ = probe["specialised"]["1"]
    assert (signature["x"], signature["number"], signature["untouched"]) == ("*bf16", "constexpr", "i64")
    assert divisible == ["x", "untouched", "default"]
    signature, divisible, _ = probe["specialised"]["-16"]
    assert (signature["x"], signature["number"], signature["untouched"]) == ("*i8", "i32", "i64")
    assert divisible == ["x", "number", "flag"]


def test_the_same_is_compiled_as_tritons_own_launcher_compiles(probe):
    assert probe["same"] == [True] * 4


# reading PTX


def test_instructions_are_counted():
    counts = machine_code.count(
        """
        wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%f1}, %rd1, %rd2, 1, 1, 1;
        mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 { %f1 }, { %r1 }, { %r2 }, { %f2 };
        @%p1 tcgen05.mma.cta_group::1.kind::f16 [ %r1 + 0 ], %rd1, %rd2, %r2, %p2;
        tcgen05.commit.cta_group::1.mbarrier::arrive::one.b64 [%r1];
        @%p1 cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2}], [%r4];
        @%p1 cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd1, {%r2, %r3}], [%r1];
        cp.async.cg.shared.global [ %r1 + 0 ], [ %rd1 + 0 ], 0x10, %r2;
        @%p4 cp.async.ca.shared.global [ %r1 + 0 ], [ %rd1 + 64 ], 8;
        cp.async.commit_group;
        ld.shared.b8 %rs1, [%r1];
        ld.param.b8 %rs1, [kernel_param_0];
        """
    )
    assert counts == machine_code.Counts(
        wgmma=1, mma=1, tcgen05=1, cp_async=2, tma=1, widest_load=16, byte_loads=0
    )


@pytest.mark.parametrize(
    ("ptx", "widest", "byte_loads"),
    [
        ("ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ];", 16, 0),
        ("@%p1 ld.global.L1::evict_last.L2::cache_hint.v2.b32 { %r1, %r2 }, [ %rd1 + 0 ], %rd2;", 8, 0),
        ("ld.global.L2::128B.v8.b32 { %r1 }, [ %rd1 + 0 ];", 32, 0),
        ("ld.global.nc.b16 %rs1, [%rd1];", 2, 0),
        ("ld.relaxed.gpu.global.b64 %rd1, [%rd2];", 8, 0),
        ("ld.global.b8 { %rs1 }, [ %rd1 + 0 ];\nld.global.u8 %rs1, [%rd1];", 1, 2),
        ("ld.global.v4.b8 { %rs1 }, [ %rd1 + 0 ];", 4, 0),
        ("st.global.b8 [%rd1], %rs1;", 0, 0),
    ],
)
def test_widths_of_loads(ptx, widest, byte_loads):
    counts = machine_code.count(ptx)
    assert (counts.widest_load, counts.byte_loads) == (widest, byte_loads)


def test_products_are_found_in_the_ir_and_sent_to_the_right_unit():
    ttir = """
    %5 = tt.dot %1, %2, %3, inputPrecision = tf32 : tensor<128x64xf16> * tensor<64x32xf16> -> tensor<128x32xf32> loc(#1)
    %6 = tt.dot %1, %2, %3 : tensor<64x64xf32> * tensor<64x32xf32> -> tensor<64x32xf32>
    %7 = tt.dot %1, %2, %3, inputPrecision = tf32 : tensor<16x64xf32> * tensor<64x32xf32> -> tensor<16x32xf32>
    %8 = tt.dot %1, %2, %3 {maxNumImpreciseAcc = 0 : i32} : tensor<32x64xi8> * tensor<64x32xi8> -> tensor<32x32xi32>
    """
    assert machine_code.products(ttir) == [(128, "f16"), (16, "f32"), (32, "i8")]
    none = machine_code.Counts(0, 0, 0, 0, 0, 0, 0)
    mma, wgmma = dataclasses.replace(none, mma=4), dataclasses.replace(none, wgmma=4)
    large, small = [(128, "f16"), (16, "f32")], [(32, "i8")]
    assert machine_code.missing_units(mma, large, 90) == "wgmma"
    assert machine_code.missing_units(wgmma, large, 90) == ""
    assert machine_code.missing_units(mma, small, 90) == ""
    assert machine_code.missing_units(mma, large, 80) == ""
    assert machine_code.missing_units(none, small, 100) == "tensor-core"
    assert machine_code.missing_units(none, [], 90) == ""


# the files of cases


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_cases_has_cases(name):
    found = __import__(f"kernels.measure.cases.{name}", fromlist=["CASES"]).CASES
    assert len(found) > 0
    assert all(isinstance(case, compile_ahead.Case) and callable(case.call) for case in found)


def test_names_of_cases_are_unique_and_chosen_by_part():
    names = [case.name for case in compile_ahead.all_cases()]
    assert len(names) == len(set(names)) >= len(FILES) > 0
    part = names[-1].split()[0]
    assert [case.name for case in compile_ahead.all_cases(part)] == [name for name in names if part in name]
    assert compile_ahead.all_cases("no such kernel") == []


@pytest.mark.parametrize(("interpret", "arguments", "said"), [
    (True, [], "TRITON_INTERPRET is set"),
    (False, ["--only", "no such kernel"], "no case's name holds 'no such kernel'"),
])  # fmt: skip
def test_the_command_says_why_there_is_nothing_to_compile(monkeypatch, capsys, interpret, arguments, said):
    monkeypatch.setattr(compile_ahead.triton.knobs.runtime, "interpret", interpret)
    with pytest.raises(SystemExit, match="2"):
        compile_ahead.main(arguments)
    assert said in capsys.readouterr().err
