"""The composite family and its sub-families: cross-entropy and its common relatives."""

from __future__ import annotations

from dataclasses import replace

from losses import notation
from losses.family import Family, Range

# fmt: off
PARAMETERS = (
    Range(name="m", meaning="logit margin", latex="m",
          low=0, high=3, neutral=0, class_scaling="*"),
    Range(name="tau", meaning="temperature", latex=r"\tau",
          low=0.5, high=2, log=True, neutral=1, above=0, class_scaling="**"),
    Range(name="eps", meaning="label smoothing", latex=r"\varepsilon",
          low=0, high=0.3, neutral=0, at_least=0, below=1),
    Range(name="gamma", meaning="focus on hard examples", latex=r"\gamma",
          low=0, high=3, neutral=0, at_least=0),
    Range(name="kappa", meaning="mistrust of labels that look wrong", latex=r"\kappa",
          low=0, high=0.7, neutral=0, at_least=0, at_most=1),
    Range(name="a1", meaning="linear polynomial term", latex="a_1",
          low=-0.5, high=5, neutral=0, above=-1),
    Range(name="a2", meaning="quadratic polynomial term", latex="a_2",
          low=0, high=3, neutral=0, at_least=0),
    Range(name="beta", meaning="confidence penalty", latex=r"\beta",
          low=0, high=0.3, neutral=0, at_least=0),
    Range(name="lam", meaning="logit penalty", latex=r"\lambda",
          low=0, high=0.01, neutral=0, at_least=0),
    Range(name="mu", meaning="max suppression", latex=r"\mu",
          low=0, high=0.3, neutral=0, at_least=0),
)
SCALE = Range(name="scale", meaning="factor of the whole loss: a learning rate", latex="c",
              low=1, high=1, neutral=1, above=0)
# fmt: on

COMPOSITE = Family(
    name="composite",
    description="cross-entropy and its common relatives in one formula",
    source="this project; the sources of its terms stand with its sub-families",
    formula="composite",
    module="functional",
    parameters=PARAMETERS,
    unsearched=(SCALE,),
    text=notation.composite_text,
    latex=notation.composite_latex,
    python=notation.composite_python,
)


def part(
    name: str, parameters: str, *, description: str, source: str, scheduled: str = ""
) -> Family:
    """Return the sub-family of `composite` whose other parameters stay neutral."""
    return replace(
        COMPOSITE,
        name=name,
        description=description,
        source=source,
        parameters=tuple(COMPOSITE.parameter(each) for each in parameters.split()),
        scheduled=tuple(scheduled.split()),
    )


COMPOSITES = (
    COMPOSITE,
    part(
        "margin",
        "m tau",
        description="the label's logit must win by a margin",
        source="Wang et al., 2018. arXiv:1801.05599",
    ),
    part(
        "temperature",
        "tau",
        description="sharper or softer probabilities",
        source="Agarwala et al., 2020. arXiv:2010.07344",
    ),
    part(
        "smoothing",
        "eps",
        description="some of the target goes to all classes alike",
        source="Szegedy et al., 2016. arXiv:1512.00567",
    ),
    part(
        "focal",
        "gamma",
        description="easy examples weigh less",
        source="Lin et al., 2017. arXiv:1708.02002",
    ),
    part(
        "generalised",
        "kappa",
        description="labels that look wrong weigh less: between cross-entropy and 1 - p_y",
        source="Zhang & Sabuncu, 2018. arXiv:1805.07836",
    ),
    part(
        "polynomial",
        "a1 a2",
        description="cross-entropy's first terms as a series in 1 - p_y, reweighted",
        source="Leng et al., 2022. arXiv:2204.12511",
    ),
    part(
        "penalty",
        "beta lam mu",
        description="a price on confidence, on large logits and on the largest logit",
        source=(
            "Pereyra et al., 2017. arXiv:1701.06548; Kornblith et al., 2021. arXiv:2010.16402; "
            "Zhou et al., 2025. arXiv:2502.15798"
        ),
    ),
    part(
        "curriculum",
        "tau eps gamma kappa",
        description="from easy to hard, or from sharp to soft, as training goes on",
        source="Bengio et al., 2009. doi:10.1145/1553374.1553380",
        scheduled="tau eps gamma kappa",
    ),
)
