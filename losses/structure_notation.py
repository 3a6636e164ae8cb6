"""How the formulas of `losses.structures` are written; see `losses.family.Family`.

[k = y] is 1 for the label and 0 for every other class.
"""

from __future__ import annotations

from losses.family import Symbols
from losses.notation import merged_signs


def taylor_text(symbols: Symbols) -> str:
    polynomial = (
        "{th2} * u + {th3} * u^2 / 2 + {th4} * u^3 / 6 "
        "+ {th5} * v * u + {th6} * v * u^2 / 2 + {th7} * v^2 * u / 2"
    )
    text = f"-sum_k({polynomial}), u = p_k - {{th1}}, v = [k = y] - {{th0}}"
    return merged_signs(text.format_map(symbols))


def taylor_latex(symbols: Symbols) -> str:
    v = symbols
    terms = [
        rf"{v['th2']} u",
        rf"\frac{{{v['th3']}}}{{2}} u^2",
        rf"\frac{{{v['th4']}}}{{6}} u^3",
        rf"{v['th5']} v u",
        rf"\frac{{{v['th6']}}}{{2}} v u^2",
        rf"\frac{{{v['th7']}}}{{2}} v^2 u",
    ]
    loss = rf"-\sum_k \left({' + '.join(terms)}\right)"
    return merged_signs(rf"{loss}, \quad u = p_k - {v['th1']}, \quad v = [k = y] - {v['th0']}")


def taylor_python(symbols: Symbols) -> list[str]:
    lines = [
        "u = F.softmax(z, dim=1) - {th1}",
        "v = F.one_hot(targets, z.shape[1]).to(z) - {th0}",
        "loss = {th2} * u + {th3} * u**2 / 2 + {th4} * u**3 / 6",
        "loss = loss + {th5} * v * u + {th6} * v * u**2 / 2 + {th7} * v**2 * u / 2",
        "return -loss.sum(dim=1).mean()",
    ]
    return [line.format_map(symbols) for line in lines]


def asymmetric_text(symbols: Symbols) -> str:
    v = symbols
    label = f"(1 - p_y)^{v['gp']} * -ln p_y" if "gp" in v else "-ln p_y"
    other = f"p_k^{v['gn']} * -ln p_k" if "gn" in v else "-ln p_k"
    if "eps" not in v:
        return label
    loss = f"(1 - {v['eps']}) * ell_y + {v['eps']} * mean_k(ell_k)"
    return f"{loss}, ell_y = {label}, ell_k = {other} where k != y"


def asymmetric_latex(symbols: Symbols) -> str:
    v = symbols
    label = rf"-(1 - p_y)^{{{v['gp']}}} \ln p_y" if "gp" in v else r"-\ln p_y"
    other = rf"-p_k^{{{v['gn']}}} \ln p_k" if "gn" in v else r"-\ln p_k"
    if "eps" not in v:
        return label
    loss = rf"(1 - {v['eps']}) \, \ell_y + \frac{{{v['eps']}}}{{K}} \sum_k \ell_k"
    return rf"{loss}, \quad \ell_y = {label}, \quad \ell_{{k \neq y}} = {other}"


def asymmetric_python(symbols: Symbols) -> list[str]:
    v = symbols
    lines = [
        "log_p = F.log_softmax(z, dim=1)",
        "label = targets[:, None]",
        "loss = -log_p.gather(1, label).squeeze(1)",
    ]
    if "gp" in v:
        lines += [
            "# ln(1 - p_y) from the other classes, exact however close p_y comes to 1",
            "log_miss = torch.logsumexp(log_p.scatter(1, label, -math.inf), dim=1)",
            f"loss = torch.exp({v['gp']} * log_miss) * loss",
        ]
    if "eps" in v:
        others = f"-torch.exp({v['gn']} * log_p) * log_p" if "gn" in v else "-log_p"
        lines += [
            f"ell = ({others}).scatter(1, label, loss[:, None])",
            f"loss = (1 - {v['eps']}) * loss + {v['eps']} * ell.mean(dim=1)",
        ]
    return [*lines, "return loss.mean()"]


def logit_norm_text(symbols: Symbols) -> str:
    return "-ln p_y, p = softmax(z / ({tau} * (norm(z) + 1e-7)))".format_map(symbols)


def logit_norm_latex(symbols: Symbols) -> str:
    logits = rf"\frac{{z}}{{{symbols['tau']} \left(\lVert z \rVert_2 + 10^{{-7}}\right)}}"
    return rf"-\ln p_y, \quad p = \operatorname{{softmax}}\left({logits}\right)"


def logit_norm_python(symbols: Symbols) -> list[str]:
    return [
        "norm = torch.linalg.vector_norm(z, dim=1, keepdim=True) + 1e-7",
        f"return F.cross_entropy(z / ({symbols['tau']} * norm), targets)",
    ]


def squentropy_text(symbols: Symbols) -> str:
    return f"-ln p_y + {symbols['c']} * sum_k([k != y] * z_k^2) / (K - 1)"


def squentropy_latex(symbols: Symbols) -> str:
    return rf"-\ln p_y + \frac{{{symbols['c']}}}{{K - 1}} \sum_{{k \neq y}} z_k^2"


def squentropy_python(symbols: Symbols) -> list[str]:
    return [
        "others = z.scatter(1, targets[:, None], 0.0)",
        "square = others.square().sum(dim=1) / (z.shape[1] - 1)",
        f"return F.cross_entropy(z, targets) + {symbols['c']} * square.mean()",
    ]


def ngl_text(symbols: Symbols) -> str:
    exponential = "exp({alpha} - p_k * (1 + [k = y]))".format_map(symbols)
    return merged_signs(f"mean_k({exponential} - cos(cos(sin(p_k))))")


def ngl_latex(symbols: Symbols) -> str:
    exponential = rf"e^{{{symbols['alpha']} - p_k (1 + [k = y])}}"
    return rf"\frac{{1}}{{K}} \sum_k \left({exponential} - \cos \cos \sin p_k\right)"


def ngl_python(symbols: Symbols) -> list[str]:
    return [
        "p = F.softmax(z, dim=1)",
        "target = F.one_hot(targets, z.shape[1])",
        f"loss = torch.exp({symbols['alpha']} - p * (1 + target))",
        "return (loss - torch.cos(torch.cos(torch.sin(p)))).mean()",
    ]


def sigmoid_text(symbols: Symbols) -> str:
    return f"(sum_k(ln(1 + exp(z_k))) - z_y) / K^{symbols['a']}"


def sigmoid_latex(symbols: Symbols) -> str:
    return rf"\frac{{\sum_k \ln(1 + e^{{z_k}}) - z_y}}{{K^{{{symbols['a']}}}}}"


def sigmoid_python(symbols: Symbols) -> list[str]:
    return [
        "target = F.one_hot(targets, z.shape[1]).to(z)",
        'loss = F.binary_cross_entropy_with_logits(z, target, reduction="none").sum(dim=1)',
        f"return loss.mean() / z.shape[1] ** {symbols['a']}",
    ]
