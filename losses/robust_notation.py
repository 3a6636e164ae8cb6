"""How the formulas of `losses.robust` are written; see `losses.family.Family`."""

from __future__ import annotations

from losses.family import Symbols


def tempered_text(symbols: Symbols) -> str:
    loss = "-ln p_y"
    if t1 := symbols.get("t1"):
        bounded = f"(1 - p_y^(1 - {t1})) / (1 - {t1})"
        loss = f"{bounded} - (1 - sum_k(p_k^(2 - {t1}))) / (2 - {t1})"
    if t2 := symbols.get("t2"):
        loss += f", p_k = (1 + ({t2} - 1) * (A - z_k))^(-1 / ({t2} - 1)), sum_k(p_k) = 1"
    return loss


def tempered_latex(symbols: Symbols) -> str:
    loss = r"-\ln p_y"
    if t1 := symbols.get("t1"):
        bounded = rf"\frac{{1 - p_y^{{1 - {t1}}}}}{{1 - {t1}}}"
        loss = rf"{bounded} - \frac{{1 - \sum_k p_k^{{2 - {t1}}}}}{{2 - {t1}}}"
    if t2 := symbols.get("t2"):
        p = rf"\left(1 + ({t2} - 1) (A - z_k)\right)^{{-1 / ({t2} - 1)}}"
        loss += rf", \quad p_k = {p}, \quad \sum_k p_k = 1"
    return loss


def tempered_python(symbols: Symbols) -> list[str]:
    lines = ["log_p = F.log_softmax(z, dim=1)"]
    if t2 := symbols.get("t2"):
        lines = [
            f"excess = {t2} - 1{_off_one(t2)}",
            "below = z - z.amax(dim=1, keepdim=True)",
            "log_exp = -torch.log1p(-excess * below) / excess",
            "for _ in range(5):",
            "    log_norm = torch.logsumexp(log_exp, dim=1, keepdim=True)",
            "    shrunk = below * torch.exp(-excess * log_norm)",
            "    log_exp = -torch.log1p(-excess * shrunk) / excess",
            "log_p = F.log_softmax(log_exp, dim=1)",
        ]
    lines.append("log_p_y = log_p.gather(1, targets[:, None]).squeeze(1)")
    if t1 := symbols.get("t1"):
        return [
            *lines,
            f"kappa = 1 - {t1}{_off_one(t1)}",
            "loss = -torch.expm1(kappa * log_p_y) / kappa",
            "power_sum = torch.exp((1 + kappa) * log_p).sum(dim=1)",
            "return (loss - (1 - power_sum) / (1 + kappa)).mean()",
        ]
    return [*lines, "return -log_p_y.mean()"]


def _off_one(temperature: str) -> str:
    """Return what keeps a temperature that moves away from 1: a constant is never there."""
    return " + 1e-20  # a schedule may pass through 1" if temperature.islower() else ""


def active_passive_text(symbols: Symbols) -> str:
    return "{a} * ln p_y / sum_k(ln p_k) + {b} * ln(10^4) * (1 - p_y)".format_map(symbols)


def active_passive_latex(symbols: Symbols) -> str:
    normalised = rf"{symbols['a']} \frac{{\ln p_y}}{{\sum_k \ln p_k}}"
    return rf"{normalised} + {symbols['b']} \ln 10^4 \, (1 - p_y)"


def active_passive_python(symbols: Symbols) -> list[str]:
    return [
        "log_p = F.log_softmax(z, dim=1)",
        "label = targets[:, None]",
        "normalised = log_p.gather(1, label).squeeze(1) / log_p.sum(dim=1)",
        "# ln(1 - p_y) from the other classes, exact however close p_y comes to 1",
        "log_miss = torch.logsumexp(log_p.scatter(1, label, -math.inf), dim=1)",
        "reverse = -math.log(1e-4) * torch.exp(log_miss)",
        "return ({a} * normalised + {b} * reverse).mean()".format_map(symbols),
    ]
