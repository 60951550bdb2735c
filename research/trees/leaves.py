"""Values of leaves: gradient and Newton steps of any objective, and the best values of losses of y - score."""

import jax
import jax.numpy as jnp

from research.errors import UserError, is_known, nearest

METHODS = ("gradient", "newton", "newton_full", "exact")


def total(values, leaf, num_leaves):
    """[L, ...] sums over the rows [N, ...] of each leaf, in float32."""
    return jax.ops.segment_sum(values, leaf, num_leaves)


def newton(g, h, l2=0.0, l1=0.0):
    """S(g) / (h + l2) of the sums of leaves, where S takes l1 off |g| (Chen & Guestrin 2016, equation 5)."""
    return _divide(g - jnp.clip(g, -l1, l1), h + l2)


def leaf_values(objective, score, y, w, leaf, num_leaves, l2=0.0, method="gradient", iterations=1, total=total, l1=0.0):
    """[L, K] what the rows of each leaf add to their scores [N, K]; 0 for a leaf without rows.

    method: "gradient", sum(g) / (sum(w) + l2); "newton", sum(g) / (sum(h) + l2); "newton_full", with the whole Hessian
    of the K outputs, as CatBoost's MultiClass; "exact", the least loss, for objectives that know it, whatever l2.
    The first three repeat on the scores they changed, `iterations` times, and l2 shrinks each step, as CatBoost's; l1
    is taken off |sum(g)| in each step of the first two.
    total: sums over leaves, (values [N, ...], leaf, L) -> [L, ...], for sums over devices or in another precision.
    Raises UserError for an unknown method, for "exact" where the objective has no such values, and for l1 with "exact"
    or "newton_full".
    """
    if method not in METHODS:
        raise UserError(f"the method for leaf values is '{method}'; {nearest(method, METHODS)}")
    if method in ("exact", "newton_full") and not (is_known(l1) and l1 == 0):
        raise UserError(f"leaf values by '{method}' have no l1; choose gradient or newton, or an l1 of 0.")
    if method == "exact":
        if objective.exact is None:
            raise UserError(f"{objective.name} has no exact leaf values; choose newton with several iterations.")
        return objective.exact(y - score[:, 0], w, leaf, num_leaves, total)[:, None]
    weight = jnp.ones(len(leaf), score.dtype) if w is None else w

    def step(_, values):
        now = score + values[leaf]
        g, h = objective.gradients(now, y, w)
        g = total(g, leaf, num_leaves)
        if method == "newton_full":
            return values + _solve(total(_hessians(objective, now, y, weight), leaf, num_leaves), g, l2)
        scale = total(h, leaf, num_leaves) if method == "newton" else total(weight, leaf, num_leaves)[:, None]
        return values + newton(g, scale, l2, l1)

    return jax.lax.fori_loop(0, iterations, step, jnp.zeros((num_leaves, score.shape[1]), score.dtype))


def mean(residual, w, leaf, num_leaves, total=total):
    """[L] the mean of the residuals [N] of each leaf."""
    w = jnp.ones_like(residual) if w is None else w
    return _divide(total(w * residual, leaf, num_leaves), total(w, leaf, num_leaves))


def quantile(residual, w, leaf, num_leaves, total=total, *, alpha, between=False):
    """[L] of each leaf the least residual [N] with alpha of the leaf's weight at or below it, as CatBoost's.

    between: where w is None, what lies between the two of n residuals at rank alpha (n + 1), as XGBoost's.
    """
    weight = jnp.ones_like(residual) if w is None else w
    whole = total(weight, leaf, num_leaves)

    def at(needed):
        def enough(value):
            return total(jnp.where(residual <= value[leaf], weight, 0), leaf, num_leaves) >= needed

        return jnp.where(whole > 0, _least(enough, num_leaves), 0)

    if not between or w is not None:
        return at(alpha * whole * (1 - 3e-7))  # 0.7 of 10 rows are 7, however 0.7 is rounded
    rank = jnp.clip(alpha * (whole + 1), 1, whole)
    low, high = at(jnp.floor(rank)), at(jnp.ceil(rank))
    return low + (rank - jnp.floor(rank)) * (high - low)


def huber(residual, w, leaf, num_leaves, total=total, *, delta):
    """[L] the value of each leaf with the least Huber loss of its residuals [N]: where the sum of slopes is 0."""
    return balance(residual, w, leaf, num_leaves, total, pull=lambda error: jnp.clip(error, -delta, delta))


def balance(residual, w, leaf, num_leaves, total=total, *, pull):
    """[L] the value of each leaf from which the pulls of its residuals [N] sum to 0; pull: (error) -> never falling."""
    w = jnp.ones_like(residual) if w is None else w

    def enough(value):
        return total(w * pull(residual - value[leaf]), leaf, num_leaves) <= 0

    return jnp.where(total(w, leaf, num_leaves) > 0, _least(enough, num_leaves), 0)


def _least(enough, num_leaves):
    """[L] the least float32 that is enough, by halving their range as whole numbers of that order: nothing is sorted.

    enough: (value [L]) -> bool [L], false below some value of each leaf and true from there on.
    """

    def number(place):
        return jax.lax.bitcast_convert_type(jnp.where(place < 0, place ^ 0x7FFFFFFF, place), jnp.float32)

    def halve(_, ends):
        low, high = ends
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        found = enough(number(middle))
        return jnp.where(found, low, middle + 1), jnp.where(found, middle, high)

    top = 0x7F7FFFFF  # the bits of the greatest one
    ends = jnp.full(num_leaves, -top - 1, jnp.int32), jnp.full(num_leaves, top, jnp.int32)
    found = number(jax.lax.fori_loop(0, 32, halve, ends)[1])
    return jnp.where(jnp.abs(found) < jnp.finfo(jnp.float32).tiny, 0, found)  # which XLA takes for 0, too


def _divide(a, b):
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)


def _hessians(objective, score, y, w):
    return jax.vmap(jax.hessian(objective.loss))(score, y) * w[:, None, None]


def _solve(hessian, g, l2):
    """(hessian + l2)^-1 g in each leaf; the least solution where that is singular, as softmax's is without l2."""
    inverse = jnp.linalg.pinv(hessian + l2 * jnp.eye(g.shape[-1], dtype=g.dtype), hermitian=True)
    return (inverse * g[:, None, :]).sum(axis=-1)
