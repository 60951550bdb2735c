"""What is measured with the exact score is exact."""

import jax
import numpy as np
import pytest

from research import exact_score
from research.reproduce import records


def test_the_cdf_is_that_of_the_density():
    process = exact_score.PROCESSES["vp"]
    for t in (0.0, 0.3, 0.8):
        x = np.linspace(-3, 3, 2001)
        p = np.exp(np.asarray(exact_score.LINE.log_prob(x[:, None].astype(np.float32), t, process), float))
        mass = np.concatenate([[0], np.cumsum((p[1:] + p[:-1]) / 2)]) * (x[1] - x[0])
        cdf = exact_score._cdf(t, process)
        np.testing.assert_allclose(cdf(x) - cdf(x[0]), mass, atol=2e-4)


def test_exact_draws_are_within_the_critical_distance_and_others_are_not():
    process, n = exact_score.PROCESSES["vp"], exact_score.MANY
    x0, z = exact_score.LINE.sample(jax.random.key(0), n), jax.random.normal(jax.random.key(1), (n, 1))
    x = np.asarray(process.alpha(0.3) * x0 + process.sigma(0.3) * z)[:, 0]
    assert exact_score._kolmogorov(x, exact_score._cdf(0.3, process)) < exact_score.CRITICAL
    assert exact_score._kolmogorov(1.1 * x, exact_score._cdf(0.3, process)) > exact_score.CRITICAL


def test_marginals_of_few_samples_have_paths_and_distances():
    found = records.plain(exact_score.marginals(count=500, steps=200, paths=3))
    assert len(found["density"]) == len(found["t"]) == 41 and len(found["density"][0]) == len(found["x"]) == 61
    for name in ("ODE", "SDE"):
        paths = np.array(found[name]["paths"])
        assert paths.shape == (3, len(found[name]["times"])) and max(found[name]["distance"]) < 1.95 / np.sqrt(500)
    steps = [abs(np.diff(found[name]["paths"], axis=1, n=2)).max() for name in ("ODE", "SDE")]
    assert steps[0] < 0.5 * steps[1]  # the ODE is smooth


def test_samplers_come_near_and_take_the_calls_they_are_given():
    table, floor = exact_score.sampled(count=1024, seeds=1, calls=(64,))
    assert set(table) == {"vp", "ve"} and all(set(rows) == set(exact_score.METHODS) for rows in table.values())
    for rows in table.values():
        assert 0.2 * floor < rows["probability flow, P"][64][0] < 6 * floor
        assert rows["corrector alone, C"][64][0] > 1.5 * rows["reverse diffusion, PC"][64][0]


@pytest.mark.parametrize(("method", "calls"), [(m, 1 if m.endswith("P") else 2) for m in list(exact_score.METHODS)[:5]])
def test_what_a_method_calls_a_step(method, calls):
    predictor, corrector = exact_score.METHODS[method]
    assert corrector + (predictor != "none") == calls


def test_adaptive_steps_meet_their_tolerance():
    found = exact_score.adaptive(count=64)
    assert (np.diff(found["calls"]) > 0).all() and found["error"][-1] < 1e-5 < found["error"][2]
    assert (np.diff(found["error"]) < 0).all() and found["distance"][-1] == pytest.approx(
        found["distance"][-2], abs=1e-3
    )


def test_the_likelihood_of_the_exact_score_is_exact():
    for ours, truth in exact_score.exact(count=50).values():
        assert ours == pytest.approx(truth, abs=3e-3)
