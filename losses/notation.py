"""How the composite formula is written: as text, as LaTeX and as Python.

Each function takes a symbol for each parameter that a loss has, by name: a number, a letter, or
an expression of Python. A parameter without a symbol is neutral and its term is left out.
"""

from __future__ import annotations

from losses.family import Symbols


def composite_text(symbols: Symbols) -> str:
    """Return the composite formula as plain text, p defined where it is not softmax(z)."""
    v = symbols
    ell = f"(1 - p_k^{v['kappa']}) / {v['kappa']}" if "kappa" in v else "-ln p_k"
    loss = ell.replace("p_k", "p_y")
    if "eps" in v:
        loss = f"(1 - {v['eps']}) * {loss} + {v['eps']} * mean_k({ell})"
    if "gamma" in v:
        loss = f"(1 - p_y)^{v['gamma']} * {f'({loss})' if 'eps' in v else loss}"
    added = {
        "a1": " + {} * (1 - p_y)",
        "a2": " + {} * (1 - p_y)^2",
        "beta": " - {} * H(p)",
        "lam": " + {} * sum_k z_k^2 / 2",
        "mu": " + {} * (max_k z_k - mean_k z_k)",
    }
    loss += "".join(term.format(v[name]) for name, term in added.items() if name in v)
    if "scale" in v:
        loss = f"{v['scale']} * [{loss}]"
    logits = f"z - {v['m']} * onehot(y)" if "m" in v else "z"
    if "tau" in v:
        logits = f"({logits}) / {v['tau']}" if "m" in v else f"z / {v['tau']}"
    text = loss if logits == "z" else f"{loss}, p = softmax({logits})"
    return merged_signs(text)


def composite_latex(symbols: Symbols) -> str:
    """Return the composite formula as LaTeX for math mode."""
    v = symbols
    ell = rf"\frac{{1 - p_k^{{{v['kappa']}}}}}{{{v['kappa']}}}" if "kappa" in v else r"-\ln p_k"
    loss = ell.replace("p_k", "p_y")
    if "eps" in v:
        mean = rf"\frac{{{v['eps']}}}{{K}} \sum_k \left({ell}\right)"
        loss = rf"(1 - {v['eps']}) \left({loss}\right) + {mean}"
    if "gamma" in v:
        loss = rf"(1 - p_y)^{{{v['gamma']}}} \left({loss}\right)"
    added = {
        "a1": r" + {} (1 - p_y)",
        "a2": r" + {} (1 - p_y)^2",
        "beta": r" - {} \, H(p)",
        "lam": r" + \frac{{{}}}{{2}} \sum_k z_k^2",
        "mu": r" + {} \left(\max_k z_k - \tfrac{{1}}{{K}} \sum_k z_k\right)",
    }
    loss += "".join(term.format(v[name]) for name, term in added.items() if name in v)
    if "scale" in v:
        loss = rf"{v['scale']} \left[{loss}\right]"
    logits = rf"z - {v['m']} \, e_y" if "m" in v else "z"
    if "tau" in v:
        logits = rf"\frac{{{logits}}}{{{v['tau']}}}"
    if logits != "z":
        loss = rf"{loss}, \quad p = \operatorname{{softmax}}\left({logits}\right)"
    return merged_signs(loss)


def merged_signs(formula: str) -> str:
    """Return the formula with the signs of negative numbers merged into those before them."""
    return formula.replace("+ -", "- ").replace("- -", "+ ")


def composite_python(symbols: Symbols) -> list[str]:
    """Return the composite formula as the lines of a function of `z` and `targets`."""
    v = symbols
    lines, u = _adjusted_python(v)
    smoothing = f", label_smoothing={v['eps']}" if "eps" in v else ""
    if not v.keys() - {"m", "tau", "eps"}:
        return [*lines, f"return F.cross_entropy({u}, targets{smoothing})"]
    if v.keys() & {"kappa", "gamma", "a1", "a2", "beta"}:
        lines.append(f"log_p = F.log_softmax({u}, dim=1)")
    if "kappa" in v:
        lines += _surprise_python(v)
    else:
        lines.append(f'loss = F.cross_entropy({u}, targets{smoothing}, reduction="none")')
    if v.keys() & {"gamma", "a1", "a2"}:
        lines.append("# ln(1 - p_y) from the other classes, exact however close p_y comes to 1")
        lines.append("others = log_p.scatter(1, targets[:, None], -math.inf)")
        lines.append("log_miss = torch.logsumexp(others, dim=1)")
    terms = {
        "gamma": "loss = torch.exp({} * log_miss) * loss",
        "a1": "loss = loss + {} * torch.exp(log_miss)",
        "a2": "loss = loss + {} * torch.exp(2 * log_miss)",
        "beta": "loss = loss + {} * (log_p.exp() * log_p).sum(dim=1)  # minus the entropy",
        "lam": "loss = loss + {} * z.square().sum(dim=1) / 2",
        "mu": "loss = loss + {} * (z.amax(dim=1) - z.mean(dim=1))",
        "scale": "loss = {} * loss",
    }
    lines += [term.format(v[name]) for name, term in terms.items() if name in v]
    return [*lines, "return loss.mean()"]


def _adjusted_python(v: Symbols) -> tuple[list[str], str]:
    """Return the lines that apply margin and temperature, and the name of their result."""
    logits = f"z - {v['m']} * F.one_hot(targets, z.shape[1])" if "m" in v else "z"
    if "tau" in v:
        logits = f"({logits}) / {v['tau']}" if "m" in v else f"z / {v['tau']}"
    return ([], "z") if logits == "z" else ([f"u = {logits}"], "u")


def _surprise_python(v: Symbols) -> list[str]:
    """Return the lines of the bounded cross-entropy that kappa makes, with its smoothing."""
    kappa = v["kappa"]
    lines = [
        f"ell = -torch.expm1({kappa} * log_p) / {kappa}",
        "loss = ell.gather(1, targets[:, None]).squeeze(1)",
    ]
    if kappa.islower():  # a variable, not a constant
        lines.insert(0, f"{kappa} += 1e-20  # a schedule may pass through 0")
    if "eps" in v:
        lines.append(f"loss = (1 - {v['eps']}) * loss + {v['eps']} * ell.mean(dim=1)")
    return lines
