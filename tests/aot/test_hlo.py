"""Programs as text: shapes, loops, what is sent and what is moved, each counted by hand."""

import pathlib

import pytest

from research.aot import collectives, hlo, traffic

# A loop of 24 turns that gathers a kernel from 4 devices, slices a stack, and writes into one in place.
PROGRAM = pathlib.Path(__file__).with_name("program.hlo").read_text()


@pytest.fixture(scope="module")
def program():
    return hlo.parse(PROGRAM)


@pytest.mark.parametrize(
    "shape, size, in_hbm",
    [
        ("f32[8,3]{1,0:T(8,128)}", 96, 96),
        ("bf16[5]{0:T(8,128)(2,1)S(1)}", 10, 0),  # in the chip's own memory
        ("(pred[7], s64[2]{0}, token[], u8[])", 24, 24),
        ("s4[8]", 4, 4),
        ("f8e4m3fn[6]", 6, 6),
    ],
)
def test_bytes_of_shapes(shape, size, in_hbm):
    assert (hlo.num_bytes(shape), hlo.num_bytes(shape, hbm=True)) == (size, in_hbm)


def test_a_line_with_parentheses_everywhere():
    shape = "(f32[2]{0:T(8,128)(2,1)}, (s32[], u8[3]{0:S(1)}))"
    line = f'  ROOT %x.1 = {shape} custom-call(%a.b, %c-d), call="f(x)", calls=%g.2'
    one = hlo.instruction(line)
    assert (one.name, one.op, one.operands) == ("x.1", "custom-call", ("a.b", "c-d"))
    assert hlo.num_bytes(one.shape) == 15 and one.called("calls") == "g.2" and one.called("body") is None


def test_computations_and_their_parameters(program):
    computations, entry = program
    assert entry == "main" and computations["keep"].parameters == ("stack.2", "x", "i.2")
    assert computations["body"].root == "next" and len(computations) == 9


def test_a_loop_counts_by_its_length(program):
    runs, unknown = hlo.runs(*program)
    assert {name: times for times, name in runs} == {"main": 1, "body": 24} and unknown == 0


HALVES = """%c (s: (u32[], u32[])) -> pred[] {
  %s = (u32[], u32[]) parameter(0)
  %low = u32[] get-tuple-element(%s), index=0
  %high = u32[] get-tuple-element(%s), index=1
  %zero = u32[] constant(0)
  %many = u32[] constant(12)
  %none = s32[] constant(0)
  %same = pred[] compare(%high, %zero), direction=EQ
  %below = pred[] compare(%low, %many), direction=LT
  %both = pred[] and(%same, %below)
  %signed = s32[] bitcast-convert(%high)
  %under = pred[] compare(%signed, %none), direction=LT
  ROOT %or = pred[] or(%under, %both)
}
"""
FUSED = """%inside (t: s32[], n: s32[]) -> pred[] {
  %t = s32[] parameter(0)
  %n = s32[] parameter(1)
  ROOT %less = pred[] compare(%t, %n), direction=LT
}

%c (s: (s32[], s32[])) -> pred[] {
  %s = (s32[], s32[]) parameter(0)
  %turn = s32[] get-tuple-element(%s), index=0
  %many = s32[] constant(12)
  ROOT %fused = pred[] fusion(%turn, %many), kind=kLoop, calls=%inside
}
"""
OPEN = FUSED.replace("constant(12)", "get-tuple-element(%s), index=1")


@pytest.mark.parametrize("text, length", [(HALVES, 12), (FUSED, 12), (OPEN, None)], ids=["64 bits", "fused", "unknown"])
def test_lengths_of_loops(text, length):
    loop = hlo.instruction("  %w = (s32[], s32[]) while(%x), condition=%c, body=%b")
    assert hlo.trip_count(hlo.parse(text)[0], loop) == length


def test_an_unknown_length_counts_once_and_is_told():
    entry = (
        "ENTRY %e (x: s32[]) -> s32[] {\n  %x = s32[] parameter(0)\n  %w = s32[] while(%x), condition=%c, body=%e\n}\n"
    )
    text = OPEN + entry.replace("body=%e", "body=%inside")
    runs, unknown = hlo.runs(*hlo.parse(text))
    assert (1, "inside") in runs and unknown == 1


def test_collectives_by_kind_and_bytes(program):
    computations, entry = program
    found = collectives.find(computations, hlo.runs(computations, entry)[0], devices=8, slices=4)
    assert collectives.by_kind(found) == {
        "all-gather": {"count": 24, "bytes": 24 * 4 * 64 * 2},  # two parts of one, on the way through other work
        "all-reduce": {"count": 1, "bytes": 288},
        "dcn all-reduce": {"count": 1, "bytes": 64},
        "reduce-scatter": {"count": 1, "bytes": 256},  # what XLA writes as a sum of which a part is kept
    }
    groups = {one.kind: one.group for one in found}
    assert groups == {"all-gather": 4, "all-reduce": 8, "dcn all-reduce": 4, "reduce-scatter": 4}
    assert [one.kind for one in found if one.crosses] == ["dcn all-reduce"]


@pytest.mark.parametrize(
    "attributes, size",
    [
        ("channel_id=1, replica_groups={{0,1,2},{3,4,5}}, x={}", 3),
        ("replica_groups=[16,8]<=[8,16]T(1,0), dimensions={1}", 8),
        (
            "replica_groups=mesh['x_0'=16,'x_1'=2,'x_2'=4], device_ids=([16,8]T(1,0)) {'x_0','x_2'}, d={1}",
            64,
        ),
        ("replica_groups=mesh['a'=16,'b'=2] {'a':(2)4}, dimensions={1}", 4),
        ("replica_groups={}, to_apply=%add", 32),
    ],
)
def test_how_many_devices_take_part(attributes, size):
    assert collectives.group_size(attributes, 32) == size


@pytest.mark.parametrize(
    "kind, sent",
    [
        ("all-gather", 75),
        ("reduce-scatter", 75),
        ("all-to-all", 75),
        ("all-reduce", 150),
        ("dcn all-reduce", 150),
        ("dcn all-gather", 75),
        ("collective-permute", 100),
    ],
)
def test_what_a_ring_of_four_sends(kind, sent):
    assert collectives.Collective(kind, 3, 100, 4).sent == 3 * sent


def test_traffic_counts_slices_by_their_own_size(program):
    computations, _ = program
    moved = traffic.moved(computations, "body")
    assert "room" not in moved and moved["layer"] == 256 + 4  # a row of the stack and the turn; what it returns stays
    assert moved["layers.2"] == 256 + 4  # a row of what is changed in place, which comes from the chip's own memory
    assert moved["fusion.1"] == 128  # the kernel's part; the room is not HBM's
    runs, _ = hlo.runs(*program)
    once = traffic.hbm_bytes(computations, [(1, "main")])
    assert traffic.hbm_bytes(computations, runs) == once + 24 * sum(moved.values())


@pytest.mark.parametrize(
    "lines, moved",
    [
        (["%b = f32[8]{0} negate(%a)"], 64),
        (["%b = f32[8]{0:S(1)} negate(%a)"], 32),
        (["%b = f32[2]{0} slice(%a), slice={[0:2]}"], 16),
        (["%s = (f32[8]{0}, f32[8]{0:S(1)}, u32[]{:S(2)}) copy-start(%a)", "%d = f32[8]{0:S(1)} copy-done(%s)"], 32),
        (["%s = ((f32[8]{0}), f32[2]{0:S(1)}, s32[]) slice-start(%a)", "%d = f32[2]{0:S(1)} slice-done(%s)"], 8),
        (["%t = (f32[8]{0}, f32[8]{0}) tuple(%a, %a)", "%g = f32[8]{0} get-tuple-element(%t), index=1"], 0),
    ],
    ids=["both ways", "stays inside", "slice", "copied in", "slice copied in", "names alone"],
)
def test_bytes_that_an_operation_moves(lines, moved):
    text = "ENTRY %e (a: f32[8]) -> f32[8] {\n  %a = f32[8]{0} parameter(0)\n  " + "\n  ".join(lines) + "\n}\n"
    assert traffic.hbm_bytes(hlo.parse(text)[0], [(1, "e")]) == moved


NESTED = """%view (p: f32[24,64]) -> f32[24,64] {
  %p = f32[24,64]{1,0} parameter(0)
  ROOT %c = f32[24,64]{1,0} copy(%p)
}

%layer (s: f32[24,64], i: s32[]) -> f32[1,64] {
  %s = f32[24,64]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %z = s32[] constant(0)
  %viewed = f32[24,64]{1,0} fusion(%s), kind=kLoop, calls=%view
  %twice = f32[24,64]{1,0} add(%viewed, %viewed)
  ROOT %slice = f32[1,64]{1,0} dynamic-slice(%twice, %i, %z), dynamic_slice_sizes={1,64}
}

%keep (s.2: f32[24,64], x: f32[1,64], i.2: s32[]) -> (f32[24,64], f32[1,64]) {
  %s.2 = f32[24,64]{1,0} parameter(0)
  %x = f32[1,64]{1,0} parameter(1)
  %i.2 = s32[] parameter(2)
  %z.2 = s32[] constant(0)
  %viewed.2 = f32[24,64]{1,0} fusion(%s.2), kind=kLoop, calls=%view
  %put = f32[24,64]{1,0} dynamic-update-slice(%viewed.2, %x, %i.2, %z.2)
  %back = f32[24,64]{1,0} fusion(%put), kind=kLoop, calls=%view
  %less = f32[1,64]{1,0} negate(%x)
  ROOT %both = (f32[24,64]{1,0}, f32[1,64]{1,0}) tuple(%back, %less)
}

%sums (s.3: f32[24,64]) -> f32[64] {
  %s.3 = f32[24,64]{1,0} parameter(0)
  %z.3 = f32[] constant(0)
  ROOT %sum = f32[64]{0} reduce(%s.3, %z.3), dimensions={0}, to_apply=%add
}

%gather (part: f32[8]) -> f32[32] {
  %part = f32[8]{0} parameter(0)
  ROOT %all-gather.1 = f32[32]{0} all-gather(%part), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}
}

ENTRY %main (stack: f32[24,64], row: f32[1,64], at: s32[], part.1: f32[8]) -> f32[64] {
  %stack = f32[24,64]{1,0} parameter(0)
  %row = f32[1,64]{1,0} parameter(1)
  %at = s32[] parameter(2)
  %part.1 = f32[8]{0} parameter(3)
  %read = f32[1,64]{1,0} fusion(%stack, %at), kind=kLoop, calls=%layer
  %write = (f32[24,64]{1,0}, f32[1,64]{1,0:S(1)}) fusion(%stack, %row, %at), kind=kLoop, calls=%keep
  %start = ((f32[8]{0}, token[]), f32[32]{0}) call-start(%part.1), async_execution_thread="core", to_apply=%gather
  %done = f32[32]{0} call-done(%start)
  ROOT %whole = f32[64]{0} fusion(%stack), kind=kLoop, calls=%sums
}
"""


def test_fusions_in_fusions_read_and_write_what_is_used_of_them():
    computations, entry = hlo.parse(NESTED)
    found = traffic.moved(computations, entry)
    assert found["read"] == 256 + 4 + 256  # a row, where, and the row that it returns
    assert found["write"] == 256 + 4 + 256  # the new row, where, and that row in its place; its negative stays inside
    assert found["whole"] == 24 * 256 + 256
    assert found["start"] + found["done"] == 32 + 128


def test_a_collective_on_another_thread_counts():
    computations, entry = hlo.parse(NESTED)
    found = collectives.find(computations, [(3, entry)], 4)
    assert found == [collectives.Collective("all-gather", 3, 128, 4)]
