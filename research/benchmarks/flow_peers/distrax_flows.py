"""RealNVP of 2-D vectors and Glow of images from the parts of distrax; nets it leaves to its users."""

import distrax
import jax
import jax.numpy as jnp

from research.benchmarks.flow_peers.compiled import compiled


def vectors(sizes):
    """distrax.Chain of SplitCoupling with ScalarAffine inside, every second one swapped."""

    def flow(params):
        def affine(p):
            return distrax.ScalarAffine(p[..., :1], log_scale=2 * jnp.tanh(p[..., 1:] / 2))

        nets = [lambda x, own=own: _net(own, x) for own in params]
        layers = [distrax.SplitCoupling(1, 1, net, affine, swap=i % 2 == 1) for i, net in enumerate(nets)]
        base = distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.ones(2))
        return distrax.Transformed(base, distrax.Inverse(distrax.Chain(layers)))

    def draw(params, key):
        return flow(params).sample(seed=key, sample_shape=sizes.batch)

    shapes = (1, sizes.width), (sizes.width, sizes.width), (sizes.width, 2)
    params = [_layers(key, *shapes) for key in jax.random.split(jax.random.key(0), sizes.couplings)]
    x = jax.random.normal(jax.random.key(1), (sizes.batch, 2))
    return compiled(lambda params, x: -jnp.mean(flow(params).log_prob(x)), draw, params, x)


def images(sizes):
    """Chains of ScalarAffine, LowerUpperTriangularAffine and SplitCoupling; squeeze and split of levels are ours."""
    depths, last = [3 * 2 ** (i + 2) for i in range(sizes.levels)], sizes.levels - 1  # channels of the levels

    def chain(steps, c):
        def affine(p):
            return distrax.ScalarAffine(p[..., : c // 2], log_scale=jax.nn.log_sigmoid(p[..., c // 2 :] + 2))

        layers = []
        for own in steps:
            coupling = distrax.SplitCoupling(c // 2, 3, lambda x, own=own: _net(own["net"], x), affine)
            mix = distrax.Block(distrax.LowerUpperTriangularAffine(*own["mix"]), 2)
            norm = distrax.Block(distrax.ScalarAffine(own["norm"][0], log_scale=own["norm"][1]), 3)
            layers += [norm, mix, coupling]
        return distrax.Chain(layers[::-1])  # the last of a Chain comes first

    def loss(params, x):
        nats = 0.0
        for i, (steps, c) in enumerate(zip(params, depths)):
            x, log_det = chain(steps, c).forward_and_log_det(_squeeze(x))
            done, x = (x, None) if i == last else (x[..., c // 2 :], x[..., : c // 2])
            nats += log_det + jnp.sum(jax.scipy.stats.norm.logpdf(done), axis=(1, 2, 3))
        return -jnp.mean(nats)

    def draw(params, key):
        x = jnp.zeros((sizes.batch, *2 * (sizes.side >> sizes.levels,), 0))
        for i, c in reversed(list(enumerate(depths))):
            noise = jax.random.normal(jax.random.fold_in(key, i), (*x.shape[:3], c - x.shape[3]))
            x = _squeeze(chain(params[i], c).inverse(jnp.concatenate([x, noise], axis=3)), back=True)
        return x

    def start(key, c):
        shapes = (3, 3, c // 2, sizes.width), (1, 1, sizes.width, sizes.width), (3, 3, sizes.width, c)
        zero = jnp.zeros(c)
        return {"norm": (zero, zero), "mix": (jax.random.orthogonal(key, c), zero), "net": _layers(key, *shapes)}

    keys = jax.random.split(jax.random.key(0), (sizes.levels, sizes.steps))
    params = [[start(key, c) for key in row] for row, c in zip(keys, depths)]
    return compiled(loss, draw, params, jax.random.uniform(keys[0, 0], (sizes.batch, sizes.side, sizes.side, 3)))


def _layers(key, *shapes):
    """[(kernel, bias)] of layers in a row; the last one starts at zero."""
    scales = [(2 / jnp.prod(jnp.array(shape[:-1]))) ** 0.5 for shape in shapes[:-1]] + [0.0]
    keys = jax.random.split(key, len(shapes))
    return [(scale * jax.random.normal(k, s), jnp.zeros(s[-1])) for scale, k, s in zip(scales, keys, shapes)]


def _net(layers, x):
    """A relu net of kernels [in, out] or [h, w, in, out]; distrax leaves nets to its users."""
    for i, (kernel, bias) in enumerate(layers):
        x, order = jax.nn.relu(x) if i else x, ("NHWC", "HWIO", "NHWC")
        image = kernel.ndim == 4
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=order) if image else x @ kernel
        x = x + bias
    return x


def _squeeze(x, back=False):
    """Images [B, H, W, C] to [B, H / 2, W / 2, 4 C], or back."""
    b, h, w, c = x.shape
    if back:
        return x.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, c // 4)
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)
