"""Distribution functions against SciPy."""

import math

import numpy as np
import pytest
from scipy import special, stats

from mainspring.evaluate import distributions


@pytest.mark.parametrize("degrees", [1, 2, 3, 13, 30, 200, 10_000])
@pytest.mark.parametrize("probability", [0.02, 0.5, 0.9, 0.975, 0.999999])
def test_t_quantile_equals_scipy(degrees: int, probability: float) -> None:
    expected = stats.t.ppf(probability, degrees)
    assert distributions.t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("degrees", [1, 4.5, 80])
@pytest.mark.parametrize("t", [-3.0, 0.0, 0.4, 12.0])
def test_t_tail_equals_scipy(degrees: float, t: float) -> None:
    assert distributions.t_sf(t, degrees) == pytest.approx(stats.t.sf(t, degrees), rel=1e-9)


@pytest.mark.parametrize("a", [0.5, 1.0, 3.3, 50.0, 2e4])
@pytest.mark.parametrize("factor", [0.1, 0.9, 1.0, 1.1, 3.0])
def test_incomplete_gamma_equals_scipy(a: float, factor: float) -> None:
    assert distributions.gamma_p(a, a * factor) == pytest.approx(special.gammainc(a, a * factor), rel=1e-9, abs=1e-200)
    assert distributions.gamma_q(a, a * factor) == pytest.approx(special.gammaincc(a, a * factor), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("degrees", [1, 2, 9, 63, 999])
@pytest.mark.parametrize("x", [0.0, 0.3, 5.0, 80.0, 1200.0])
def test_chi2_tail_equals_scipy(degrees: int, x: float) -> None:
    assert distributions.chi2_sf(x, degrees) == pytest.approx(stats.chi2.sf(x, degrees), rel=1e-8, abs=1e-11)


def test_kolmogorov_tail_equals_scipy() -> None:
    points = np.linspace(0.01, 5, 300)
    ours = [distributions.kolmogorov_sf(float(x)) for x in points]
    np.testing.assert_allclose(ours, special.kolmogorov(points), rtol=1e-9, atol=1e-14)


def test_normal_quantile_undoes_the_cdf() -> None:
    assert distributions.normal_cdf(distributions.normal_quantile(0.975)) == pytest.approx(0.975, rel=1e-12)


def test_edges_are_certain() -> None:
    assert distributions.gamma_p(2.0, 0.0) == 0.0
    assert distributions.gamma_q(2.0, 0.0) == 1.0
    assert distributions.chi2_sf(3.0, 0) == 1.0
    assert distributions.kolmogorov_sf(0.0) == 1.0
    assert distributions.t_sf(math.inf, 3) == 0.0
