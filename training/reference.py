"""The yardstick: the same protocol as a plain loop over a DataLoader.

It is what one would write without thinking of speed: PIL images, torchvision's transforms one
image at a time, contiguous tensors, torch's own scheduler, a number read back in every step. It
takes the engine's initial weights and draws, so that a run must come out the same but for
rounding, and is as fast as such loops are.

Shapes: B images of a batch, C channels, H rows, W columns, K classes.
"""

import time
from collections.abc import Generator

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as TF

from training.benchmarks import Benchmark
from training.data import Data, Part, search_data
from training.draws import derive, draw
from training.models import build
from training.models.vgg import Dropout
from training.report import EpochReport
from training.step import Loss

Draw = tuple[int, int, int, int]  # index, top, left, flip


class Augmented(Dataset[tuple[Tensor, int]]):
    """A part's images, cropped, mirrored and normalised one by one: keyed by their draws."""

    def __init__(self, part: Part, benchmark: Benchmark) -> None:
        end = part.images.shape[1] - part.padding
        inner = part.images[:, part.padding : end, part.padding : end]
        self.images = inner.squeeze(3).cpu().numpy()
        self.labels = part.labels.tolist()
        self.benchmark = benchmark
        self.padding = part.padding

    def __getitem__(self, draw: Draw) -> tuple[Tensor, int]:
        index, top, left, flip = draw
        image = Image.fromarray(self.images[index])
        width, height = image.size
        image = TF.crop(TF.pad(image, [self.padding]), top, left, height, width)
        if flip:
            image = TF.hflip(image)
        image_CHW = TF.normalize(TF.to_tensor(image), self.benchmark.mean, self.benchmark.std)
        return image_CHW, self.labels[index]


def train(  # noqa: PLR0913 (every argument is given by name)
    benchmark: Benchmark,
    loss: Loss,
    *,
    seed: int,
    epochs: int,
    data: Data | None = None,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> Generator[EpochReport, None, None]:
    """Train as `training.train` does, slowly.

    Args:
        benchmark: What to train, and how.
        loss: Any object that fulfils the protocol.
        seed: At least 0.
        epochs: Length of the run.
        data: What to train on and to be scored on; None for `search_data`.
        device: Where to train.
        workers: Processes that prepare images; 0 for none but this.
    """
    device = torch.device(device)
    data = data or search_data(benchmark)
    model = build(benchmark, torch.Generator().manual_seed(derive(seed, "weights"))).to(device)
    dropout = torch.Generator(device)
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = dropout
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=benchmark.learning_rate,
        momentum=benchmark.momentum,
        weight_decay=benchmark.weight_decay,
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    training_set, scoring_set = (Augmented(p, benchmark) for p in (data.training, data.scoring))

    for epoch in range(epochs):
        start = time.perf_counter()
        values_P = torch.tensor(loss.values(epoch, epochs, benchmark.num_classes), device=device)
        dropout.manual_seed(derive(seed, f"dropout {epoch}"))
        batches = draw(
            data.training,
            flip=benchmark.flip,
            batch_size=benchmark.batch_size,
            generator=torch.Generator().manual_seed(derive(seed, f"order {epoch}")),
        )
        loss_sum = 0.0
        model.train()
        keys = [
            list(zip(*(draw_B.tolist() for draw_B in batch), strict=True)) for batch in batches
        ]
        for images_BCHW, labels_B in _loader(training_set, keys, workers):
            logits_BK = model(images_BCHW.to(device))
            mean_loss = loss(logits_BK, labels_B.to(device), values_P).mean()
            optimizer.zero_grad()
            mean_loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += mean_loss.item() * len(labels_B)
        scheduler.step()
        yield EpochReport(
            epoch=epoch,
            train_loss=loss_sum / len(training_set.labels),
            **_score(model, scoring_set, device=device, workers=workers),
            seconds=time.perf_counter() - start,
        )


def _loader(
    images: Augmented, batches: list[list[Draw]], workers: int
) -> DataLoader[tuple[Tensor, int]]:
    # A generator of its own, for a DataLoader draws a seed from the global one otherwise.
    return DataLoader(
        images, batch_sampler=batches, num_workers=workers, generator=torch.Generator()
    )


@torch.no_grad()
def _score(
    model: nn.Module, images: Augmented, *, device: torch.device, workers: int
) -> dict[str, float]:
    """Accuracy in %, mean plain cross-entropy in nats, and calibration error in points."""
    model.eval()
    centred = [(index, 0, 0, 0) for index in range(len(images.labels))]
    batches = [centred[first : first + 500] for first in range(0, len(centred), 500)]
    logits, labels = [], []
    for images_BCHW, labels_B in _loader(images, batches, workers):
        logits.append(model(images_BCHW.to(device)).cpu())
        labels.append(labels_B)
    logits_NK, labels_N = torch.cat(logits), torch.cat(labels)
    confidence_N, predicted_N = logits_NK.softmax(dim=1).max(dim=1)
    hits = (predicted_N == labels_N).tolist()
    return {
        "accuracy": 100 * sum(hits) / len(hits),
        "cross_entropy": F.cross_entropy(logits_NK, labels_N).item(),
        "calibration_error": _calibration_error(confidence_N.tolist(), hits),
    }


def _calibration_error(confidences: list[float], hits: list[bool], bins: int = 15) -> float:
    error = 0.0
    for first in range(bins):
        inside = [
            (confidence, hit)
            for confidence, hit in zip(confidences, hits, strict=True)
            if first / bins < confidence <= (first + 1) / bins
        ]
        if inside:
            accuracy = sum(hit for _, hit in inside) / len(inside)
            confidence = sum(confidence for confidence, _ in inside) / len(inside)
            error += len(inside) / len(hits) * abs(accuracy - confidence)
    return 100 * error
