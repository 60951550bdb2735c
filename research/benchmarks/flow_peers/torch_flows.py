"""RealNVP and Glow of normflows as its documentation builds them, in a process that answers orders.

python torch_flows.py Vectors '{"batch": 4096, "couplings": 8, "width": 128}' 2, the last the number of threads, and
"build", "step" or "sample" a line on standard input; each answer is a line of JSON. It needs torch and normflows, and
nothing of this code base.
"""

import contextlib
import json
import sys
import time


def vectors(batch, couplings, width):
    """(flow, data [batch, 2]): affine coupling blocks told by perceptrons, the two coordinates swapped after each."""
    import normflows as nf
    import torch

    layers = []
    for _ in range(couplings):
        layers += [nf.flows.AffineCouplingBlock(nf.nets.MLP([1, width, width, 2], init_zeros=True))]
        layers += [nf.flows.Permute(2, mode="swap")]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(2, trainable=False), layers), torch.randn(batch, 2)


def images(batch, side, levels, steps, width):
    """(flow, data [batch, 3, side, side]): Glow blocks (1x1 convolutions by LU) in a MultiscaleFlow, channels last."""
    import normflows as nf
    import torch

    priors, merges, flows = [], [], []
    for i in range(levels):  # from the top
        blocks = [nf.flows.GlowBlock(3 * 2 ** (levels + 1 - i), width) for _ in range(steps)]
        flows.append([*blocks, nf.flows.Squeeze()])
        merges += [nf.flows.Merge()] if i else []
        channels, length = 3 * 2 ** (levels - i + (i == 0)), side // 2 ** (levels - i)
        priors.append(nf.distributions.DiagGaussian((channels, length, length), trainable=False))
    flow, x = nf.MultiscaleFlow(priors, flows, merges, class_cond=False), torch.rand(batch, 3, side, side)
    return flow.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)


def build(kind, sizes, threads):
    """(seconds of the first step, which starts ActNorm; step; sample), both blocking, as eager torch is."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    flow, x = {"Vectors": vectors, "Images": images}[kind](**sizes)
    start = time.perf_counter()
    flow.forward_kld(x)
    optimizer = torch.optim.Adam(flow.parameters(), 1e-4, fused=True)

    def step():
        optimizer.zero_grad(set_to_none=True)
        flow.forward_kld(x).backward()
        optimizer.step()

    def sample():
        with torch.no_grad():
            flow.sample(len(x))

    step()
    return time.perf_counter() - start, step, sample


def main():
    """Answers orders until standard input ends."""
    kind, sizes, threads, calls = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), {}
    for order in map(str.strip, sys.stdin):
        answer = {}
        with contextlib.redirect_stdout(sys.stderr):
            if order == "build":
                answer["compile_s"], calls["step"], calls["sample"] = build(kind, sizes, threads)
            else:
                calls[order]()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
