"""Training of the scene's networks: samples, losses, corruptions, runs, and the gate before what is shipped."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch

from metrichmsr.cli_promote_scene import frame_credits
from metrichmsr.cli_train_depth import SceneSampleArgs, make_scene_samples
from metrichmsr.errors import InputError, UsageError
from metrichmsr.scene.refinement_network import RefineConfig, load_refinement_network
from metrichmsr.training.depth import losses
from metrichmsr.training.depth.config import RefineRunConfig
from metrichmsr.training.depth.corruptions import Corruption, corrupted
from metrichmsr.training.depth.figures import DepthFigures
from metrichmsr.training.depth.promotion import judge, promote_scene
from metrichmsr.training.depth.recoveries import recovered_people
from metrichmsr.training.depth.samples import NOBODY, ScenePools, SceneSamples, read_scene_samples, write_scene_samples
from metrichmsr.training.depth.tasks import RefineTask
from metrichmsr.training.depth.trainer import DivergedError, SceneTrainer

H, W = 192, 256


def scenes(count: int = 4, seed: int = 0) -> SceneSamples:
    """A person before a slanted floor and a wall, sky above."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:H, :W]
    depth = np.empty((count, H, W), np.float32)
    person, body, body_m = (np.full((count, H, W), fill, np.float32) for fill in (NOBODY, NOBODY, 0))
    far = np.zeros((count, H, W), np.uint8)
    for i in range(count):
        wall, at, z = rng.uniform(4, 9), rng.uniform(60, 190), rng.uniform(2, 3.8)
        depth[i] = np.minimum(wall, 1.5 * 200 / np.maximum(v - H / 2 + 1, 1))
        depth[i][v < 20], far[i][v < 20] = 0, 1
        inside = ((u - at) / 25) ** 2 + ((v - 110) / 70) ** 2 < 1
        depth[i][inside], person[i][inside], body[i][inside] = z, 0, 0
        body_m[i][inside] = z + 0.02
    K = torch.tensor([[200.0, 0, W / 2], [0, 200, H / 2], [0, 0, 1]]).expand(count, 3, 3).clone()
    image = torch.from_numpy(rng.integers(0, 255, (count, 3, H, W), dtype=np.uint8))
    return SceneSamples(
        image=image,
        depth_m=torch.from_numpy(depth).half(),
        far=torch.from_numpy(far),
        person=torch.from_numpy(person).to(torch.uint8),
        body_m=torch.from_numpy(body_m).half(),
        body=torch.from_numpy(body).to(torch.uint8),
        K=K,
    )


def same(a: SceneSamples, b: SceneSamples) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(SceneSamples))


# ── samples ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_samples_come_back_from_the_disk(tmp_path):
    samples = scenes()
    write_scene_samples(tmp_path / "a.safetensors", samples)
    pools = read_scene_samples([tmp_path])
    assert pools.portrait is None
    assert pools.landscape is not None
    assert same(pools.landscape, samples)


def test_broken_shards_are_named(tmp_path):
    with pytest.raises(InputError, match="no shards"):
        read_scene_samples([tmp_path])
    path = tmp_path / "a.safetensors"
    write_scene_samples(path, scenes(2))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"a\.safetensors.*damaged"):
        read_scene_samples([tmp_path])


def test_a_mirrored_picture_keeps_its_rays():
    samples = scenes(2)
    samples.K[:, 0, 2] = 100
    mirrored = samples.mirrored()
    column = 30
    x = (column + 0.5 - samples.K[:, 0, 2]) / samples.K[:, 0, 0]
    x_mirrored = (W - 1 - column + 0.5 - mirrored.K[:, 0, 2]) / mirrored.K[:, 0, 0]
    torch.testing.assert_close(x, -x_mirrored)
    assert torch.equal(mirrored.depth_m[..., W - 1 - column], samples.depth_m[..., column])
    assert same(mirrored.mirrored(), samples)


def test_batches_are_decided_by_seed_and_number():
    pools = ScenePools(scenes(5), None)
    first = pools.batches(3, seed=1)
    batches = [next(first) for _ in range(4)]
    later = next(pools.batches(3, seed=1, start=3))
    assert same(batches[3], later)
    assert not same(batches[0], next(pools.batches(3, seed=2)))


def test_frames_of_a_depth_sensor_become_samples(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    depth = np.full((120, 160), 2500, np.uint16)
    depth[:, :20] = 0
    cv2.imwrite(str(frames / "a.png"), depth)
    cv2.imwrite(str(frames / "a.jpg"), np.full((120, 160, 3), 90, np.uint8))
    line = {"file": "a", "set": "mine", "K": [150, 150, 79.5, 59.5], "depth_unit_m": 0.001}
    line |= {"source": "me/mine@0123:a.png", "licence": "CC0"}
    (frames / "index.jsonl").write_text(json.dumps(line) + "\n")
    assert make_scene_samples(SceneSampleArgs(out=tmp_path / "out", frames=frames, sets=("mine",), parts=3)) == 0
    samples = read_scene_samples([tmp_path / "out"]).landscape
    assert samples is not None
    assert len(samples) == 3
    known = samples.depth_m > 0
    assert (samples.depth_m[known].float() - 2.5).abs().max() < 0.01
    assert 0.8 < float(known.float().mean()) < 1
    assert (samples.person == NOBODY).all()
    assert frame_credits(frames, ["mine"]) == ["depth frames/mine, github.com/me/mine: CC0"]
    with pytest.raises(UsageError, match="has samples already"):
        make_scene_samples(SceneSampleArgs(out=tmp_path / "out", frames=frames, sets=("mine",)))
    cv2.imwrite(str(frames / "a.png"), depth[:50])
    with pytest.raises(InputError, match="different sizes"):
        make_scene_samples(SceneSampleArgs(out=tmp_path / "other", frames=frames, sets=("mine",)))


# ── what is done to them ────────────────────────────────────────────────────────────────────────────────────────────


def test_corruption_is_decided_by_the_generator_and_keeps_unknown_unknown():
    samples = scenes(6)
    first, known = corrupted(samples, torch.Generator().manual_seed(3))
    again, _ = corrupted(samples, torch.Generator().manual_seed(3))
    assert torch.equal(first, again)
    assert (first[known] > 0).all()
    assert (first[~known] == 0).all()
    assert torch.isfinite(first).all()
    true = samples.depth_m.float()
    both = known & (true > 0)
    assert 0.05 < float(((first - true).abs() / true.clamp_min(0.01))[both].mean()) < 1


def test_no_corruption_is_the_truth():
    samples = scenes(3)
    nothing = Corruption(**dict.fromkeys((f.name for f in fields(Corruption)), 0.0))
    depth, known = corrupted(samples, torch.Generator().manual_seed(0), nothing)
    true = samples.depth_m.float()
    torch.testing.assert_close(depth[known & (true > 0)], true[known & (true > 0)], rtol=1e-4, atol=1e-4)


def test_recovered_people_are_wrong_by_about_what_they_say():
    samples = scenes(64)
    scene = recovered_people(samples, torch.Generator().manual_seed(0))
    seen = (scene.anchor_mask > 0) & (samples.depth_m > 0)
    assert seen.flatten(1).any(1).sum() > 50
    errors, sigmas = [], []
    for i in range(len(samples)):
        if seen[i].sum() > 50:
            ratio = (scene.anchor_m[i][seen[i]] / samples.depth_m[i].float()[seen[i]]).median()
            errors.append(abs(math.log(float(ratio))))
            sigmas.append(float(scene.anchor_std[i][seen[i]].median()))
    inside = np.mean([error < sigma + 0.02 for error, sigma in zip(errors, sigmas, strict=True)])
    assert 0.5 < inside < 0.95
    nobody = recovered_people(samples, torch.Generator().manual_seed(0), nobody=1.0)
    assert not nobody.anchor_mask.any()


# ── losses and figures, each with a naive twin ──────────────────────────────────────────────────────────────────────


def test_losses_equal_their_naive_twins():
    generator = torch.Generator().manual_seed(0)
    predicted, true = (1 + 4 * torch.rand(2, 8, 10, generator=generator) for _ in range(2))
    log_sigma = torch.rand(2, 8, 10, generator=generator) - 0.5
    valid = torch.rand(2, 8, 10, generator=generator) < 0.7
    std = 0.1 * torch.rand(2, 8, 10, generator=generator)
    likelihood, shape, depth, anchor = [], [], [], []
    for i in range(2):
        pixels = [(r, c) for r in range(8) for c in range(10) if valid[i, r, c]]
        p, t, s, q = (np.array([float(m[i, r, c]) for r, c in pixels]) for m in (predicted, true, log_sigma, std))
        gap = np.log(p) - np.log(t)
        likelihood.append(np.mean(np.abs(gap) / np.exp(s) + s))
        shape.append(np.mean(np.abs(gap - np.sort(gap)[(len(gap) - 1) // 2])))
        off = np.abs(p - t) / t
        depth.append(np.mean(0.5 * (np.minimum(off, 3) + np.abs(gap))))
        anchor += list(np.minimum(off, 2) / (1 + (q / 0.05) ** 2))
    log_p, log_t = predicted.log(), true.log()
    assert float(losses.laplace_likelihood(log_p, log_sigma, log_t, valid)) == pytest.approx(np.mean(likelihood), 1e-5)
    assert float(losses.scale_free(log_p, log_t, valid)) == pytest.approx(np.mean(shape), 1e-5)
    assert float(losses.scale_free(log_p + 0.7, log_t, valid)) == pytest.approx(np.mean(shape), 1e-4)
    assert float(losses.regression(predicted, true, valid)) == pytest.approx(np.mean(depth), 1e-5)
    assert float(losses.anchored(predicted, true, valid.float(), std)) == pytest.approx(np.mean(anchor), 1e-5)
    assert float(losses.gradients(log_p + 0.3, log_p, torch.ones_like(valid))) == pytest.approx(0, abs=1e-6)
    flat = torch.full((2, 4, 4), 0.3)
    assert float(losses.total_variation(flat, flat)) == 0
    assert float(losses.variance(flat, flat)) == pytest.approx(0, abs=1e-9)
    assert float(losses.variance(flat + torch.arange(4), flat)) == pytest.approx(1.25, 1e-4)


def test_far_or_not_is_cross_entropy_where_it_is_decided():
    logit, far = torch.tensor([[[2.0, -1.0]]]), torch.tensor([[[True, True]]])
    decided = torch.tensor([[[True, False]]])
    assert float(losses.far_or_not(logit, far, decided)) == pytest.approx(math.log(1 + math.exp(-2)), 1e-5)


def test_figures_equal_their_naive_twins():
    samples = scenes(3)
    true = samples.depth_m.float()
    told = 1.3 * true + 0.1
    sums = DepthFigures()
    sums.add("x", told, samples)
    found = sums.numbers()
    whole, people, log = [], [], []
    for i in range(3):
        error = ((told[i] - true[i]).abs() / true[i].clamp_min(1e-3)).numpy()
        valid, person = (true[i] > 0).numpy(), (samples.person[i] != NOBODY).numpy()
        whole.append(error[valid].mean())
        log.append(np.abs(np.log((told[i] / true[i]).numpy()[valid])).mean())
        people.append(error[valid & person].mean())
    assert found["x_absrel"] == pytest.approx(np.mean(whole), rel=1e-4)
    assert found["x_log"] == pytest.approx(np.mean(log), rel=1e-4)
    assert found["x_people_absrel"] == pytest.approx(np.mean(people), rel=1e-4)
    assert found["x_aligned_absrel"] < 0.1 * found["x_absrel"]
    assert found["x_delta1"] == 0


# ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────

TINY = RefineRunConfig(
    network=RefineConfig(channels=(8, 8, 8, 16), layers=1, heads=2, hidden=16),
    steps=6,
    batch=2,
    warmup=2,
    validate_every=3,
    log_every=1,
    precision="no",
)


def trainer(folder, config=TINY, samples=None):
    pools = ScenePools(samples if samples is not None else scenes(4), None)
    return SceneTrainer(RefineTask(config), [(pools, 1.0)], {"held_out": ScenePools(scenes(2, seed=9), None)}, folder)


def test_a_run_that_is_stopped_goes_on_to_the_same_weights(tmp_path):
    straight = trainer(tmp_path / "straight")
    straight.run()
    stopped = trainer(tmp_path / "parts")

    def stop(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt):
        stopped.run(report=stop)
    halfway = trainer(tmp_path / "parts")
    assert halfway.step == TINY.validate_every
    halfway.run()
    a, b = (load_refinement_network(tmp_path / name / "last.safetensors")[0] for name in ("straight", "parts"))
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    log = [json.loads(line) for line in (tmp_path / "straight" / "log.jsonl").read_text().splitlines()]
    assert sum("val_score" in line for line in log) == 2
    assert any("pictures_per_s" in line for line in log)
    with pytest.raises(InputError, match="another config"):
        trainer(tmp_path / "parts", replace(TINY, learning_rate=1e-3))


def test_one_batch_is_learned_by_heart():
    torch.manual_seed(0)
    task, samples = RefineTask(TINY), scenes(2)
    network = task.build()
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    course = []
    for _ in range(60):
        # The same errors in every step: what is learned is one batch.
        terms = task.terms(network, samples, torch.Generator().manual_seed(5))
        loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        course.append(float(loss.detach()))
    assert min(course[-5:]) < 0.7 * course[0]


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    run = trainer(tmp_path)
    run.run(until=0)
    with torch.no_grad():
        run.network.head.bias.fill_(math.nan)
    with pytest.raises(DivergedError, match="batch 0 is not a number"):
        run.run()
    assert (tmp_path / "state.safetensors").is_file()
    assert trainer(tmp_path).step == 0


# ── the gate ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_what_wins_is_shipped():
    assert judge({"score": 0.4}, None, 0.5).wins
    assert not judge({"score": 0.6}, None, 0.5).wins
    assert judge({"score": 0.4}, {"score": 0.41}, 0.5).wins
    assert not judge({"score": 0.42}, {"score": 0.41}, 0.5).wins
    assert "not a number" in judge({"score": math.nan}, None, 0.5).reasons[0]


def test_promotion_writes_weights_and_card_or_nothing(tmp_path):
    run = trainer(tmp_path / "run", replace(TINY, steps=3))
    run.run()
    candidate, shipped = tmp_path / "run" / "last.safetensors", tmp_path / "refine.safetensors"
    pools = {"held_out": ScenePools(scenes(2, seed=9), None)}

    class Easy(RefineTask):
        def trivial_score(self, figures):
            return math.inf

    def promote(**how):
        return promote_scene(
            candidate,
            shipped,
            Easy(TINY),
            pools,
            load_refinement_network,
            about="A test.",
            evidence={"recipe": "three steps"},
            attributions=["face/brow, Somebody: CC0"],
            **how,
        )

    assert promote(write=False).wins
    assert not shipped.exists()
    assert promote().wins
    card = shipped.with_suffix(".md").read_text()
    assert "three steps" in card
    assert "Somebody" in card
    verdict = promote()  # the same network does not beat itself
    assert not verdict.wins
    assert "the shipped one's" in verdict.reasons[0]
    with pytest.raises(UsageError, match="itself"):
        promote_scene(shipped, shipped, Easy(TINY), pools, load_refinement_network, about="", evidence={})
