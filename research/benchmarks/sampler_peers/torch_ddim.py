"""DDIM of diffusers on its UNet2DModel in the loop of its DDIMPipeline, in a process that answers orders.

python torch_ddim.py '{"batch": 64, "side": 8, "channels": 1, "widths": [16, 32], "steps": 50}' 2, the last the number
of threads, and "build", "net" or "sample" a line on standard input; each answer is a line of JSON. It needs torch and
diffusers, and nothing of this code base.
"""

import json
import sys


def build(threads, batch, side, channels, widths, steps):
    """({parameters, flops of a call of the net, padding included}, run(order), which returns when the work is done)."""
    import torch
    from diffusers import DDIMScheduler, UNet2DModel
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(threads)
    blocks = {f"{way}_block_types": [f"{way.title()}Block2D"] * len(widths) for way in ("down", "up")}
    blocks |= {"block_out_channels": widths, "layers_per_block": 1, "resnet_time_scale_shift": "scale_shift"}
    blocks |= {"attention_head_dim": widths[-1], "norm_num_groups": 8}
    net = UNet2DModel(sample_size=side, in_channels=channels, out_channels=channels, **blocks).eval()
    scheduler = DDIMScheduler(timestep_spacing="trailing", clip_sample=False)
    scheduler.set_timesteps(steps)

    def run(order):
        x = torch.randn(batch, channels, side, side)
        with torch.no_grad():
            for t in scheduler.timesteps:
                output = net(x, t).sample
                x = scheduler.step(output, t, x).prev_sample if order == "sample" else output

    with FlopCounterMode(display=False) as counter:
        run("net")
    parameters = sum(p.numel() for p in net.parameters())
    return {"parameters": parameters, "flops": counter.get_total_flops() / steps}, run


def main():
    """Answers orders until standard input ends."""
    sizes, threads, run = json.loads(sys.argv[1]), int(sys.argv[2]), None
    for order in map(str.strip, sys.stdin):
        answer, run = build(threads, **sizes) if order == "build" else (run(order), run)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
