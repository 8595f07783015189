"""Train the network that estimates field of view, pitch and roll, or measure it.

    python scripts/train_view.py collect --panoramas BACKGROUNDS --scenes SYNFOCAL --frames RGBD --out FEATURES
    python scripts/train_view.py train FEATURES [FEATURES ...] --panoramas BACKGROUNDS --out view_small.safetensors
    python scripts/train_view.py evaluate --panoramas BACKGROUNDS [--real REAL] [--frames RGBD] [--weights FILE]

``collect`` draws views, looks at them with the frozen backbone and keeps what it says; several runs with different
``--seed`` make several folders. ``train`` trains the head on them and scales its sigmas on the validation panoramas.
``evaluate`` measures on panoramas held out from both, and on real pictures with K, beside the assumed focal length.

BACKGROUNDS: folder with ``pano/*.webp`` and ``INDEX.tsv``. SYNFOCAL: what ``metrichmsr synth --kind scenes`` writes for
training. RGBD: folder with ``index.jsonl``. REAL: the folder of real sets that ``metrichmsr evaluate real`` reads.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from metrichmsr.calibration.panorama import WEIGHTS, PanoramaEstimator
from metrichmsr.calibration.view_network import ViewNetwork
from metrichmsr.people import MoveNetDetector
from metrichmsr.people.weight_files import pack, save_packed
from metrichmsr.weights import file_hash
from view_pictures.collection import Described, describe_views, load, panorama_views, save, training_views
from view_pictures.evaluation import HEADING, Answers, answers, sigma_factors, table
from view_pictures.real import real_pictures
from view_pictures.views import View, draw_focal

ANGLE_WEIGHT = 0.5
"""Of pitch and of roll beside the focal length in the loss."""
USUAL_SHARE = 0.8
"""Of usual lenses among those the network expects; the others have any field of view."""
MOST_WEIGHT = 4.0
_Group = tuple[Tensor, Tensor, Tensor, Tensor]


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    collecting = verbs.add_parser("collect")
    training = verbs.add_parser("train")
    evaluating = verbs.add_parser("evaluate")
    for verb in (collecting, training, evaluating):
        verb.add_argument("--panoramas", type=Path, required=True)
        verb.add_argument("--frames", type=Path)
        verb.add_argument("--threads", type=int, default=1)
    for verb in (collecting, training):
        verb.add_argument("--seed", type=int, default=1)
        verb.add_argument("--out", type=Path, required=True)
    collecting.add_argument("--scenes", type=Path)
    collecting.add_argument("--counts", type=int, nargs=3, default=(6800, 4000, 1600), help="views of each")
    training.add_argument("features", type=Path, nargs="+")
    training.add_argument("--epochs", type=int, default=10)
    training.add_argument("--rate", type=float, default=1e-3)
    evaluating.add_argument("--real", type=Path)
    evaluating.add_argument("--weights", type=Path, default=WEIGHTS)
    evaluating.add_argument("--each", type=int, default=60, help="views of each held-out panorama")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    {"collect": collect, "train": train, "evaluate": evaluate}[args.verb](args)


def collect(args: argparse.Namespace) -> None:
    """Describe views to train on."""
    views = training_views(args.panoramas, args.scenes, args.frames, tuple(args.counts), args.seed)
    save(describe_views(MoveNetDetector().network.backbone, views, progress=500), args.out)


def train(args: argparse.Namespace) -> None:
    """Train the head, scale its sigmas, write it."""
    start = time.perf_counter()
    torch.manual_seed(args.seed)
    sets = [load(folder) for folder in args.features]
    network = ViewNetwork()
    fit(network, sets, epochs=args.epochs, rate=args.rate, seed=args.seed)
    backbone = MoveNetDetector().network.backbone
    held_out = describe_views(backbone, panorama_views(args.panoramas, "val", 100, usual_focal=0.6, usual_tilt=0.5))
    scale_sigmas(network, held_out)
    print(HEADING)
    print(table(answers(network, held_out), "validation panoramas", each=False))
    views = sum(len(part) for part in sets)
    notes = {"views": str(views), "epochs": str(args.epochs), "seed": str(args.seed)}
    save_packed(args.out, pack(network.state_dict(), {}), notes)
    minutes = (time.perf_counter() - start) / 60
    print(f"{args.out}: {args.out.stat().st_size} bytes, SHA-256 {file_hash(args.out)}, {minutes:.1f} minutes")


def scale_sigmas(network: ViewNetwork, held_out: Described) -> None:
    """Make 68 % of the errors lie within one sigma: of the bare network, then of the focal length that is believed."""
    factors = sigma_factors(answers(network, held_out, bare=True))
    network.log_sigma_shift += factors.log()
    network.focal_spread *= sigma_factors(answers(network, held_out))[0]
    told = ", ".join(f"{factor:.2f}" for factor in factors)
    print(f"sigmas scaled by {told}; of the focal length believed by {float(network.focal_spread):.2f}")


def fit(network: ViewNetwork, sets: list[Described], *, epochs: int, rate: float, seed: int) -> None:
    """Train on described views: AdamW, one cycle of the rate, Laplace likelihood."""
    groups = grouped(sets)
    everything = torch.cat([features.flatten(0, 1).float() for features, *_ in groups.values()])
    network.mean.copy_(everything.mean(0))
    network.scale.copy_(1 / everything.std(0).clamp_min(1e-2))
    truth = torch.cat([known for _, _, known, _ in groups.values()])
    middle = truth.nanmean(0)
    with torch.no_grad():  # starts from what is true on average
        network.out.weight.mul_(0.1)
        network.out.bias.copy_(torch.cat([middle, torch.tensor([-1.0, -1.5, -2.0])]))
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.05)
    rng = np.random.default_rng(seed)
    batches = [(key, start) for key, group in groups.items() for start in range(0, len(group[2]), 64)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, epochs * len(batches), pct_start=0.1)
    weights = torch.tensor([1.0, ANGLE_WEIGHT, ANGLE_WEIGHT])
    network.train()
    for epoch in range(epochs):
        total, order = 0.0, {key: torch.from_numpy(rng.permutation(len(group[2]))) for key, group in groups.items()}
        for number in rng.permutation(len(batches)):
            key, begin = batches[number]
            features, places, known, weight = groups[key]
            chosen = order[key][begin : begin + 64]
            values, scales = network(thinned(features[chosen].float(), network, rng), places[chosen])
            target = known[chosen]
            off = (values - target.nan_to_num()).abs()
            likelihood = (off / scales + scales.log()) * ~target.isnan()
            likelihood[:, 0] *= weight[chosen]
            loss = (likelihood * weights).sum() / len(chosen)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        print(f"epoch {epoch + 1}: {total / len(truth):.4f}", flush=True)


def thinned(features: Tensor, network: ViewNetwork, rng: np.random.Generator) -> Tensor:
    """Features with some cells and some kinds left out (average instead): small sets are learned by heart otherwise."""
    views, cells, kinds = features.shape
    cells_seen = rng.random((views, cells, 1), dtype=np.float32) > rng.choice([0.0, 0.1, 0.3])
    kinds_seen = rng.random((views, 1, kinds), dtype=np.float32) > 0.1
    return network.mean + (features - network.mean) * torch.from_numpy(cells_seen & kinds_seen)


def lens_weights(sets: list[Described]) -> list[Tensor]:
    """Weights of views by which every source (panoramas, scenes, frames) has the focal lengths of usual photos.

    Without them the network would tell the focal length by the source: frames of a sensor look like a sensor's.
    """
    rng = np.random.default_rng(0)
    drawn = [math.log(draw_focal(rng, 4, 3, usual=USUAL_SHARE) / 5) for _ in range(40000)]
    edges = np.arange(-2.0, 2.6, 0.2)
    wanted = np.histogram(np.clip(drawn, -2, 2.39), edges)[0] / len(drawn)
    names = np.concatenate([part.sets for part in sets])
    focal = torch.cat([part.truth[:, 0] for part in sets]).numpy()
    place = np.clip(np.digitize(focal, edges) - 1, 0, len(wanted) - 1)
    weights = np.zeros(len(focal), np.float32)
    for name in set(names.tolist()):
        there = names == name
        counts = np.bincount(place[there], minlength=len(wanted))
        one = np.minimum(wanted[place[there]] * there.sum() / counts[place[there]], MOST_WEIGHT)
        weights[there] = one / one.mean()
    return list(torch.from_numpy(weights).split([len(part) for part in sets]))


def grouped(sets: list[Described]) -> dict[tuple[int, int], _Group]:
    """Views by the shape of their grid of cells: features, places, truth and weight, each in one tensor."""
    members: dict[tuple[int, int], list[tuple[Described, int, Tensor]]] = {}
    for described, weights in zip(sets, lens_weights(sets), strict=True):
        for i in range(len(described)):
            members.setdefault(described.grid(i), []).append((described, i, weights[i]))
    return {
        key: (
            torch.stack([part.features[i] for part, i, _ in rows]),
            torch.stack([part.places(i) for part, i, _ in rows]),
            torch.stack([part.truth[i] for part, i, _ in rows]),
            torch.stack([weight for _, _, weight in rows]),
        )
        for key, rows in members.items()
    }


def evaluate(args: argparse.Namespace) -> None:
    """Print the tables."""
    estimator = PanoramaEstimator.load(args.weights)

    def ask(views: Iterable[tuple[str, View]]) -> Answers:
        return answers(estimator.network, describe_views(estimator.backbone, views))

    print(HEADING)
    for name, focal, tilt in (("any field of view, any tilt", 0.0, 0.0), ("usual lenses, usual tilt", 1.0, 1.0)):
        views = panorama_views(args.panoramas, "test", args.each, usual_focal=focal, usual_tilt=tilt)
        print(table(ask(views), f"held-out panoramas: {name}", each=False), flush=True)
    # Apart: DOUBT was chosen on the frames.
    for name, real, frames in (("real pictures", args.real, None), ("frames of other rooms", None, args.frames)):
        if real is not None or frames is not None:
            pictures = ((source.set, source.view()) for source in real_pictures(real, frames))
            print(table(ask(pictures), name, each=True), flush=True)


if __name__ == "__main__":
    main()
