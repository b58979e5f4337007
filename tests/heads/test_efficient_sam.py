"""EfficientSAM as a whole against the original: images, prompts of its own conventions, masks and quality."""

import linbench
import pytest
import torch
from linbench.errors import UsageError
from linbench.heads.sam import create_system
from linbench.heads.sam.preprocess import Framing, stretch_pixels


def run(golden, close, normal, name, case_id):
    reference = golden(name)
    system = create_system({"vitt": "efficientsam-ti", "vits": "efficientsam-s"}[name[-4:]]).eval()
    linbench.load_official(system, reference.state_dict())
    entry, stored = reference.case(case_id)
    inputs = entry["inputs"]
    given = inputs["image"]
    pixels = normal(given["seed"], given["shape"]) * given["scale"] + given["offset"]
    size = tuple(given["shape"][-2:])
    framing = Framing(original=size, resized=(1024, 1024), frame=(1024, 1024), geometry="stretch")
    points, labels = framing.to_frame(torch.tensor(inputs["points"][0]).float()), torch.tensor(inputs["labels"][0])
    with torch.inference_mode():
        embedding = system.encode(stretch_pixels(pixels, size=1024))
        three, quality = system.decode(embedding, points=points, labels=labels, multimask=True)
        one, one_quality = system.decode(embedding, points=points, labels=labels)
    got = {
        "image_embeddings": embedding.image,
        "low_res_masks": three[None],
        "masks_full": framing.to_original(three)[None],
        "iou": quality[None],
        "low_res_masks_single": one[None],
        "iou_single": one_quality[None],
    }
    for key, spec in entry["outputs"].items():
        close(got[key], stored[key], spec, rtol=2e-5)


@pytest.mark.parametrize("case_id", "AB")
def test_golden(golden, close, normal, case_id):
    run(golden, close, normal, "efficient_sam_vitt", case_id)


def test_golden_of_the_larger(golden, close, normal):
    run(golden, close, normal, "efficient_sam_vits", "A")


@pytest.fixture(scope="module")
def system():
    torch.manual_seed(0)
    return create_system("efficientsam-ti", depth=1).eval()


@pytest.fixture(scope="module")
def embedding(system):
    with torch.inference_mode():
        return system.encode(torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))


BOX = torch.tensor([[3.0, 5, 60, 50], [20, 10, 50, 40]])


@torch.inference_mode()
def test_a_box_is_two_points(system, embedding):
    by_box, quality = system.decode(embedding, boxes=BOX)
    labels = torch.tensor([[2, 3]]).expand(2, 2)
    by_points, scores = system.decode(embedding, points=BOX.view(2, 2, 2), labels=labels)
    assert by_box.shape == (2, 1, 16, 24)
    assert torch.equal(by_box, by_points)
    assert torch.equal(quality, scores)
    padded = torch.cat([BOX.view(2, 2, 2), torch.full((2, 1, 2), -1.0)], dim=1)
    with_pad = system.decode(embedding, points=padded, labels=torch.tensor([[2, 3, -1]]).expand(2, 3))
    assert torch.equal(by_box, with_pad[0])


@torch.inference_mode()
def test_tokens_by_hand(system):
    """Six tokens; padding lies at (-1, -1), keeps its place's encoding and gets an embedding added."""
    encoder = system.prompt_encoder
    points = torch.tensor([[[10.0, 20.0], [-7.0, 5.0]]])
    tokens, dense = encoder(frame=(64, 96), points=points, labels=torch.tensor([[1, 1]]))
    assert tokens.shape == (1, 6, 256)
    assert not dense.any()

    def at(x, y):
        return encoder.pe_layer(torch.tensor([(x + 0.5) / 96, (y + 0.5) / 64]))

    torch.testing.assert_close(tokens[0, 0], at(10, 20) + encoder.point_embeddings.weight[0])
    torch.testing.assert_close(tokens[0, 1], at(-1, 5) + encoder.point_embeddings.weight[0])
    torch.testing.assert_close(tokens[0, 5], at(-1, -1) + encoder.invalid_points.weight[0])


@torch.inference_mode()
def test_what_the_original_ignores_is_told(system, embedding):
    points, labels = torch.rand(2, 7, 2) * 60, torch.ones(2, 7, dtype=torch.long)
    with pytest.warns(UserWarning, match="6 points"):
        many, _ = system.decode(embedding, points=points, labels=labels)
    assert torch.equal(many, system.decode(embedding, points=points[:, :6], labels=labels[:, :6])[0])
    with pytest.warns(UserWarning, match="background"):
        system.decode(embedding, points=points[:, :2], labels=torch.tensor([[1, 0]]).expand(2, 2))


def test_bad_prompts(system, embedding):
    with pytest.raises(UsageError, match="no masks as prompts"):
        system.decode(embedding, masks=torch.zeros(1, 1, 16, 24))
    with pytest.raises(UsageError, match="labels must be"):
        system.decode(embedding, points=torch.zeros(1, 1, 2), labels=torch.tensor([[4]]))
    with pytest.raises(UsageError, match="no prompt"):
        system.decode(embedding)


@torch.inference_mode()
def test_prompts_of_two_images_equal_separate_calls(system):
    images, index = torch.randn(2, 3, 64, 96), torch.tensor([1, 0])
    both, _ = system.decode(system.encode(images), boxes=BOX, image_index=index, multimask=True)
    for i in range(2):
        logits, _ = system.decode(system.encode(images[i : i + 1]), boxes=BOX[index == i], multimask=True)
        torch.testing.assert_close(both[index == i], logits, rtol=1e-4, atol=1e-5)
