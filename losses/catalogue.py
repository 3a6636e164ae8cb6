"""Every family: the composite ones, and those whose formulas have another structure."""

from __future__ import annotations

from losses import robust_notation, structure_notation
from losses.composites import COMPOSITES
from losses.family import Family, Range

# fmt: off
TEMPERED = Family(
    name="tempered",
    description="a bounded logarithm and a heavy-tailed softmax, against wrong labels",
    source="Amid et al., 2019. arXiv:1906.03361",
    formula="tempered",
    module="robust",
    parameters=(
        Range(name="t1", meaning="temperature of the logarithm: bounded below 1", latex="t_1",
              low=0.5, high=1, neutral=1, at_least=0, at_most=1),
        Range(name="t2", meaning="temperature of the softmax: heavy tails above 1", latex="t_2",
              low=1, high=2, neutral=1, at_least=1),
    ),
    text=robust_notation.tempered_text,
    latex=robust_notation.tempered_latex,
    python=robust_notation.tempered_python,
)

ACTIVE_PASSIVE = Family(
    name="active_passive",
    description="normalised cross-entropy, robust to wrong labels, and a passive helper",
    source="Ma et al., 2020. arXiv:2006.13554",
    formula="active_passive",
    module="robust",
    parameters=(
        Range(name="a", meaning="weight of the normalised cross-entropy", latex="a",
              low=0.1, high=20, log=True, at_least=0),
        Range(name="b", meaning="weight of the reverse cross-entropy", latex="b",
              low=0, high=10, at_least=0),
    ),
    text=robust_notation.active_passive_text,
    latex=robust_notation.active_passive_latex,
    python=robust_notation.active_passive_python,
)

TAYLOR = Family(
    name="taylor",
    description="any third-order polynomial in the probabilities",
    source="Gonzalez & Miikkulainen, 2020. arXiv:2002.00059",
    formula="taylor",
    module="structures",
    parameters=tuple(
        Range(name=f"th{i}", meaning=meaning, latex=rf"\theta_{i}", low=-10, high=10)
        for i, meaning in enumerate((
            "centre of the target, v = [k = y] - th0", "centre of the probability, u = p_k - th1",
            "weight of u", "weight of u^2", "weight of u^3",
            "weight of v u", "weight of v u^2", "weight of v^2 u",
        ))
    ),
    text=structure_notation.taylor_text,
    latex=structure_notation.taylor_latex,
    python=structure_notation.taylor_python,
)

ASYMMETRIC = Family(
    name="asymmetric",
    description="one focus for the label, another for the other classes",
    source="Ridnik et al., 2021. arXiv:2009.14119",
    formula="asymmetric",
    module="structures",
    parameters=(
        Range(name="gp", meaning="focus on hard examples", latex=r"\gamma_+",
              low=0, high=4, neutral=0, at_least=0),
        Range(name="gn", meaning="focus on other classes taken for likely", latex=r"\gamma_-",
              low=0, high=6, neutral=0, at_least=0),
        Range(name="eps", meaning="label smoothing", latex=r"\varepsilon",
              low=0, high=0.3, neutral=0, at_least=0, below=1),
    ),
    text=structure_notation.asymmetric_text,
    latex=structure_notation.asymmetric_latex,
    python=structure_notation.asymmetric_python,
)

LOGIT_NORM = Family(
    name="logit_norm",
    description="cross-entropy of logits of one fixed length",
    source="Wei et al., 2022. arXiv:2205.09310",
    formula="logit_norm",
    module="structures",
    parameters=(
        Range(name="tau", meaning="temperature: one over the length", latex=r"\tau",
              low=0.01, high=1, log=True, above=0),
    ),
    text=structure_notation.logit_norm_text,
    latex=structure_notation.logit_norm_latex,
    python=structure_notation.logit_norm_python,
)

SQUENTROPY = Family(
    name="squentropy",
    description="cross-entropy, and the other classes' logits pulled to 0",
    source="Hui et al., 2023. arXiv:2302.03952",
    formula="squentropy",
    module="structures",
    parameters=(
        Range(name="c", meaning="weight of the other classes' squared logits", latex="c",
              low=0, high=2, neutral=0, at_least=0),
    ),
    text=structure_notation.squentropy_text,
    latex=structure_notation.squentropy_latex,
    python=structure_notation.squentropy_python,
)

NGL = Family(
    name="ngl",
    description="the Next Generation Loss, which genetic programming found",
    source="Akhmedova & Körber, 2024. arXiv:2404.12948",
    formula="ngl",
    module="structures",
    parameters=(
        Range(name="alpha", meaning="strength of the exponential", latex=r"\alpha",
              low=1, high=4),
    ),
    text=structure_notation.ngl_text,
    latex=structure_notation.ngl_latex,
    python=structure_notation.ngl_python,
)

SIGMOID = Family(
    name="sigmoid",
    description="a binary cross-entropy for each class",
    source="Wightman et al., 2021. arXiv:2110.00476",
    formula="sigmoid",
    module="structures",
    parameters=(
        Range(name="a", meaning="the sum over the classes at 0, their mean at 1", latex="a",
              low=0, high=1),
    ),
    text=structure_notation.sigmoid_text,
    latex=structure_notation.sigmoid_latex,
    python=structure_notation.sigmoid_python,
)
# fmt: on

FAMILIES = (
    *COMPOSITES,
    TEMPERED,
    ACTIVE_PASSIVE,
    TAYLOR,
    ASYMMETRIC,
    LOGIT_NORM,
    SQUENTROPY,
    NGL,
    SIGMOID,
)


def families() -> dict[str, Family]:
    """Return every family by name, in a fixed order."""
    return {family.name: family for family in FAMILIES}
