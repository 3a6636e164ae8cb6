import pytest

from losses import published
from losses.literature import sources

# What a stored study refers to: a change here orphans stored results.
IDS = {
    "cross_entropy": "69c420e9f1b6",
    "label_smoothing": "90c558dff03a",
    "focal": "a112d7ab2ebb",
    "poly1": "07d27a698c29",
    "temperature": "18bcb384c309",
    "generalised": "935161e8cc06",
    "symmetric": "a69af810acbb",
    "confidence_penalty": "5260f1cdb7b5",
    "logit_penalty": "b854a5b5e7f6",
    "maxsup": "e9a9395c5e2c",
    "bi_tempered": "84d64237b0a6",
    "active_passive": "7f73b4d292c5",
    "asymmetric": "9daac4a45412",
    "logit_norm": "6d76c69e5f66",
    "squentropy": "f7dced90d23d",
    "ngl": "6cfee66ce0a0",
    "sigmoid": "d07e20400283",
}


def test_every_published_loss_is_here():
    assert list(published()) == list(IDS)


@pytest.mark.parametrize("name", IDS)
def test_a_published_loss_keeps_its_id(name):
    assert published()[name].id == IDS[name]


def test_every_published_loss_has_a_source():
    assert sources().keys() == published().keys()
    assert all("arXiv:" in source or "doi:" in source for source in sources().values())
