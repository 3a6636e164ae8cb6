"""Published losses, as specs with their sources."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from losses.spec import LossSpec


class Published(NamedTuple):
    """A published loss, with the values that its paper or the benchmark recommends."""

    source: str
    parameters: dict[str, Any]
    family: str = "composite"


PUBLISHED = {
    "cross_entropy": Published("Bridle, 1990. doi:10.1007/978-3-642-76153-9_28", {}),
    "label_smoothing": Published("Szegedy et al., 2016. arXiv:1512.00567", {"eps": 0.1}),
    "focal": Published("Lin et al., 2017. arXiv:1708.02002", {"gamma": 2.0}),
    "poly1": Published("Leng et al., 2022. arXiv:2204.12511", {"a1": 2.0}),
    "temperature": Published("Agarwala et al., 2020. arXiv:2010.07344", {"tau": 1.05}),
    "generalised": Published("Zhang & Sabuncu, 2018. arXiv:1805.07836", {"kappa": 0.7}),
    # 6 CE + 0.1 reverse CE, whose ln 0 := ln 1e-4 makes it -ln(1e-4) * (1 - p_y)
    "symmetric": Published(
        "Wang et al., 2019. arXiv:1908.06112", {"scale": 6.0, "a1": -0.1 * math.log(1e-4) / 6}
    ),
    "confidence_penalty": Published("Pereyra et al., 2017. arXiv:1701.06548", {"beta": 0.1}),
    "logit_penalty": Published("Kornblith et al., 2021. arXiv:2010.16402", {"lam": 2e-3}),
    "maxsup": Published(
        "Zhou et al., 2025. arXiv:2502.15798",
        {"mu": {"shape": "linear", "start": 0.1, "end": 0.2}},
    ),
    "bi_tempered": Published(
        "Amid et al., 2019. arXiv:1906.03361", {"t1": 0.8, "t2": 1.2}, family="tempered"
    ),
    # its values for CIFAR-100
    "active_passive": Published(
        "Ma et al., 2020. arXiv:2006.13554", {"a": 10.0, "b": 0.1}, family="active_passive"
    ),
    # timm's values; the authors' code has gp 0
    "asymmetric": Published(
        "Ridnik et al., 2021. arXiv:2009.14119",
        {"gp": 1.0, "gn": 4.0, "eps": 0.1},
        family="asymmetric",
    ),
    "logit_norm": Published(
        "Wei et al., 2022. arXiv:2205.09310", {"tau": 0.04}, family="logit_norm"
    ),
    "squentropy": Published("Hui et al., 2023. arXiv:2302.03952", {"c": 1.0}, family="squentropy"),
    "ngl": Published(
        "Akhmedova & Körber, 2024. arXiv:2404.12948", {"alpha": 2.4092}, family="ngl"
    ),
    "sigmoid": Published("Wightman et al., 2021. arXiv:2110.00476", {"a": 1.0}, family="sigmoid"),
}


def published() -> dict[str, LossSpec]:
    """Return the published losses by name; `sources` says where each is from."""
    return {name: LossSpec(loss.family, loss.parameters) for name, loss in PUBLISHED.items()}


def sources() -> dict[str, str]:
    """Return where each of `published()` was published, by the same names."""
    return {name: loss.source for name, loss in PUBLISHED.items()}
