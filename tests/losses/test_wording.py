import pytest

from losses import LossSpec, Schedule

CASES = [
    (LossSpec(), "cross-entropy", "-ln p_y", r"-\ln p_y"),
    (
        LossSpec("composite", {"gamma": 2, "eps": 0.1}),
        "eps 0.1, gamma 2",
        "(1 - p_y)^2 * ((1 - 0.1) * -ln p_y + 0.1 * mean_k(-ln p_k))",
        r"(1 - p_y)^{2} \left((1 - 0.1) \left(-\ln p_y\right)"
        r" + \frac{0.1}{K} \sum_k \left(-\ln p_k\right)\right)",
    ),
    (
        LossSpec("generalised", {"kappa": 0.7}),
        "kappa 0.7",
        "(1 - p_y^0.7) / 0.7",
        r"\frac{1 - p_y^{0.7}}{0.7}",
    ),
    (
        LossSpec("composite", {"m": -0.5, "tau": 1.05, "a1": -1 / 3, "lam": 1e-5, "scale": 6}),
        "m -0.5, tau 1.05, a1 -0.3333, lam 1e-05, scale 6",
        "6 * [-ln p_y - 0.3333 * (1 - p_y) + 1e-05 * sum_k z_k^2 / 2], "
        "p = softmax((z + 0.5 * onehot(y)) / 1.05)",
        r"6 \left[-\ln p_y - 0.3333 (1 - p_y) + \frac{1 \cdot 10^{-5}}{2} \sum_k z_k^2\right],"
        r" \quad p = \operatorname{softmax}\left(\frac{z + 0.5 \, e_y}{1.05}\right)",
    ),
    (
        LossSpec("composite", {"eps": Schedule("cosine", 0.1, 0), "a2": 2, "beta": 0.1}),
        "eps 0.1 -> 0 (cosine), a2 2, beta 0.1",
        "(1 - eps) * -ln p_y + eps * mean_k(-ln p_k) + 2 * (1 - p_y)^2 - 0.1 * H(p), "
        "eps = 0.1 -> 0 (cosine)",
        r"(1 - \varepsilon) \left(-\ln p_y\right) + \frac{\varepsilon}{K} \sum_k"
        r" \left(-\ln p_k\right) + 2 (1 - p_y)^2 - 0.1 \, H(p), \quad"
        r" \varepsilon = \left(0.1 \to 0,\ \text{cosine}\right)",
    ),
    (
        LossSpec("margin", {"m": Schedule("switch", 0, 1, at=0.5), "tau": 1.5}, class_scaled=True),
        "m 0 -> 1 (switch at 0.5), tau 1.5, class-scaled",
        "-ln p_y, p = softmax((z - m * onehot(y)) / tau), m = 0 -> 1 (switch at 0.5) * s, "
        "tau = 1.5^s, s = ln K / ln 100",
        r"-\ln p_y, \quad p = \operatorname{softmax}\left(\frac{z - m \, e_y}{\tau}\right), \quad"
        r" m = \left(0 \to 1,\ \text{switch at 0.5}\right) \, s, \quad \tau = 1.5^s, \quad"
        r" s = \ln K / \ln 100",
    ),
    (
        LossSpec("penalty", {"mu": 0.1}),
        "mu 0.1",
        "-ln p_y + 0.1 * (max_k z_k - mean_k z_k)",
        r"-\ln p_y + 0.1 \left(\max_k z_k - \tfrac{1}{K} \sum_k z_k\right)",
    ),
    (
        LossSpec("tempered", {"t1": 0.8}),
        "tempered: t1 0.8",
        "(1 - p_y^(1 - 0.8)) / (1 - 0.8) - (1 - sum_k(p_k^(2 - 0.8))) / (2 - 0.8)",
        r"\frac{1 - p_y^{1 - 0.8}}{1 - 0.8} - \frac{1 - \sum_k p_k^{2 - 0.8}}{2 - 0.8}",
    ),
    (
        LossSpec("tempered", {"t1": 1, "t2": Schedule("linear", 1, 1.5)}),
        "tempered: t2 1 -> 1.5 (linear)",
        "-ln p_y, p_k = (1 + (t2 - 1) * (A - z_k))^(-1 / (t2 - 1)), sum_k(p_k) = 1, "
        "t2 = 1 -> 1.5 (linear)",
        r"-\ln p_y, \quad p_k = \left(1 + (t_2 - 1) (A - z_k)\right)^{-1 / (t_2 - 1)}, \quad"
        r" \sum_k p_k = 1, \quad t_2 = \left(1 \to 1.5,\ \text{linear}\right)",
    ),
    (
        LossSpec("taylor", {f"th{i}": (-1) ** i * (i + 0.5) for i in range(8)}),
        "taylor: th0 0.5, th1 -1.5, th2 2.5, th3 -3.5, th4 4.5, th5 -5.5, th6 6.5, th7 -7.5",
        "-sum_k(2.5 * u - 3.5 * u^2 / 2 + 4.5 * u^3 / 6 - 5.5 * v * u + 6.5 * v * u^2 / 2 "
        "- 7.5 * v^2 * u / 2), u = p_k + 1.5, v = [k = y] - 0.5",
        r"-\sum_k \left(2.5 u + \frac{-3.5}{2} u^2 + \frac{4.5}{6} u^3 - 5.5 v u"
        r" + \frac{6.5}{2} v u^2 + \frac{-7.5}{2} v^2 u\right), \quad u = p_k + 1.5, \quad"
        r" v = [k = y] - 0.5",
    ),
    (
        LossSpec("asymmetric", {"gp": 1, "gn": 4, "eps": 0.1}),
        "asymmetric: gp 1, gn 4, eps 0.1",
        "(1 - 0.1) * ell_y + 0.1 * mean_k(ell_k), ell_y = (1 - p_y)^1 * -ln p_y, "
        "ell_k = p_k^4 * -ln p_k where k != y",
        r"(1 - 0.1) \, \ell_y + \frac{0.1}{K} \sum_k \ell_k, \quad"
        r" \ell_y = -(1 - p_y)^{1} \ln p_y, \quad \ell_{k \neq y} = -p_k^{4} \ln p_k",
    ),
    (
        LossSpec("sigmoid", {"a": 0.5}),
        "sigmoid: a 0.5",
        "(sum_k(ln(1 + exp(z_k))) - z_y) / K^0.5",
        r"\frac{\sum_k \ln(1 + e^{z_k}) - z_y}{K^{0.5}}",
    ),
]


@pytest.mark.parametrize(("spec", "label", "formula", "latex"), CASES)
def test_a_loss_in_words(spec, label, formula, latex):
    assert spec.label == label
    assert spec.formula == formula
    assert spec.latex == latex
