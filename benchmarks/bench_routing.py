"""What the experts of a network do: mutual information of routed expert and body part, and what each is worth.

    python benchmarks/bench_routing.py SAMPLES [--checkpoint FILE] [--count 500]

SAMPLES: folder that ``metrichmsr train samples --kind rendered`` wrote, of a split that was not trained on. Bits of
information are of the routing weights (:mod:`metrichmsr.hmr.specialisation`): 0 where every part of the body reads the
same mixture of experts, 2 where each of four experts has parts of its own. Landmark tokens belong to body parts,
feature cells show the person or what is around. "Without it" is the mean move of the COCO-17 joints relative to the
pelvis where an expert of a layer adds nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from machine import describe_machine
from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.hmr.attribution import effects_of_experts
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
from metrichmsr.hmr.checkpoint import load_network
from metrichmsr.hmr.regress import WEIGHTS
from metrichmsr.hmr.routing_maps import token_layout, trace
from metrichmsr.hmr.specialisation import LANDMARK_PARTS, mutual_information, weights_by_part
from metrichmsr.training.augment import doubtful_up
from metrichmsr.training.data import shards
from metrichmsr.training.samples import read_samples

_PARTS = ("head", "trunk", "left arm", "right arm", "left leg", "right leg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=WEIGHTS)
    parser.add_argument("--count", type=int, default=500)
    args = parser.parse_args()

    network, config, _ = load_network(args.checkpoint)
    network.eval()
    samples = read_samples(shards([args.samples]))
    samples = samples[torch.arange(min(args.count, len(samples)))]
    up = None
    if samples.up is not None and config.gravity:
        up = doubtful_up(samples.up, torch.Generator().manual_seed(0), sigma_deg=6.0, withheld=0.0)
    evidence = samples.evidence(config.ray_size, up_seen=up)
    _, layers, tokens = trace(network, evidence)
    layout = token_layout(network, config, tokens)
    body = BodyParameters(AnnyBody.load().restricted_to(torch.arange(1)), SIZES[config.body])
    effects = {(e.layer, e.expert): e for e in effects_of_experts(network, evidence, samples.K_crop.float(), body)}

    print(f"{describe_machine()}\n\n{len(samples)} crops, {args.checkpoint.name}\n")
    print(
        "| layer | I(expert; body part), bits | I(expert; landmark) | I(expert; person or surroundings) | of at most |"
    )
    print("|---|---:|---:|---:|---:|")
    for layer in layers:
        if layer.routing is None or layer.kind != "patch":
            continue
        combine = layer.routing.combine
        landmarks, cells = combine[:, : layout.landmarks], combine[:, layout.landmarks :]
        row = [mutual_information(landmarks, LANDMARK_PARTS), mutual_information(landmarks, layout.names[:33])]
        row.append(_person_information(cells, evidence.mask) if layout.rows and evidence.mask is not None else 0.0)
        print(
            f"| {layer.name} | "
            + " | ".join(f"{v:.3f}" for v in row)
            + f" | {torch.tensor(combine.shape[2]).log2():.1f} |"
        )

    print(
        "\n| expert | " + " | ".join(_PARTS) + " | without it joints move by, mm |\n|---|" + "---:|" * (len(_PARTS) + 1)
    )
    for layer in layers:
        by_part = (
            weights_by_part(layer.routing.combine[:, : layout.landmarks], LANDMARK_PARTS)
            if layer.routing is not None and layer.kind == "patch"
            else None
        )
        for name in layer.added:
            number = int(name.split()[1]) - 1 if name.startswith("routed") else None
            cells = [
                "" if by_part is None or number is None else f"{float(by_part[part][number]):.2f}" for part in _PARTS
            ]
            moved = float(effects[layer.name, name].joints_mm.mean())
            print(f"| {layer.name}, {name} | " + " | ".join(cells) + f" | {moved:.1f} |")


def _person_information(cells: torch.Tensor, mask: torch.Tensor) -> float:
    """I(expert; person or surroundings) of the feature cells, by the mask that the network is given."""
    side = round(cells.shape[1] ** 0.5)
    shows = torch.nn.functional.adaptive_avg_pool2d(mask.float(), side).flatten(1) > 0.5
    # One table of all cells of all people: rows are tokens here.
    flat, person = cells.flatten(0, 1), shows.flatten()
    order = person.argsort(stable=True)
    names = ["surroundings"] * int((~person).sum()) + ["person"] * int(person.sum())
    return mutual_information(flat[order][None], names)


if __name__ == "__main__":
    main()
