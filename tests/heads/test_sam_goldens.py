"""The SAM modules against outputs of the original code."""

import linbench
import numpy as np
import pytest
import torch
from linbench.heads.sam import (
    ConvRefine,
    MaskDecoder,
    Neck,
    PromptEncoder,
    TwoScaleNeck,
    build_mask_decoder,
    create_system,
    to_linbench_keys,
)
from linbench.heads.sam.preprocess import Framing, frame_image, resize


def load(module, state):
    own = to_linbench_keys(module, state)
    module.load_state_dict(own)
    return module.eval()


@pytest.fixture(scope="module")
def sam(golden):
    state = golden("sam_prompt_decoder").state_dict()
    return load(PromptEncoder(), state), load(build_mask_decoder(), state)


def prompts_of(inputs):
    boxes, points = inputs.get("boxes"), inputs.get("point_coords")
    return {
        "boxes": None if boxes is None else torch.tensor(boxes, dtype=torch.float32),
        "points": None if points is None else torch.tensor(points, dtype=torch.float32),
        "labels": None if points is None else torch.tensor(inputs["point_labels"]),
    }


@pytest.mark.parametrize("case_id", "ABCDEF")
def test_prompt_encoder_and_decoder(sam, golden, close, normal, case_id):
    encoder, decoder = sam
    entry, stored = golden("sam_prompt_decoder").case(case_id)
    inputs, outputs = entry["inputs"], entry["outputs"]
    masks = None
    if given := inputs.get("mask_input"):
        masks = normal(given["seed"], given["shape"]) * given.get("scale", 1.0)
    with torch.inference_mode():
        sparse, dense = encoder(frame=(1024, 1024), masks=masks, **prompts_of(inputs))
        got = {"dense_embeddings": dense.expand(len(sparse), 256, 64, 64), "image_pe": encoder.dense_pe((64, 64))}
        if "sparse_embeddings" in outputs:
            got["sparse_embeddings"] = sparse
        framing = Framing(tuple(inputs["original_size"]), tuple(inputs["input_size"]), (1024, 1024))
        for name, multimask in (("multimask", True), ("single", False)):
            logits, quality = decoder(
                image_embedding=normal(inputs["image_embeddings"]["seed"], inputs["image_embeddings"]["shape"]),
                image_pe=encoder.dense_pe((64, 64)),
                sparse=sparse,
                dense=dense,
                image_index=torch.zeros(len(sparse), dtype=torch.long),
                multimask=multimask,
            )
            got[f"low_res_masks_{name}"] = logits
            got[f"iou_predictions_{name}"] = quality
            got[f"postprocessed_{name}"] = framing.to_original(logits)
    for key, spec in outputs.items():
        close(got[key], stored[key], spec)


DECODERS = {
    "rwkvsam_decoder_sam": {"single_mask": False},
    "rwkvsam_decoder_single": {"single_mask": True},
    "rwkvsam_decoder_mlpmerge": {"single_mask": True, "expand": 1},
    "rwkvsam_decoder_mlpmerge_x2": {"single_mask": True, "expand": 2},
}


def build_decoder(*, single_mask, expand=0) -> MaskDecoder:
    refine = ConvRefine(fine_channels=64 * expand, middle_channels=128 * expand) if expand else None
    return build_mask_decoder(refine=refine, single_mask=single_mask)


@pytest.mark.parametrize("name", DECODERS)
def test_rwkvsam_decoder(golden, close, name):
    reference, expand = golden(name), DECODERS[name].get("expand", 0)
    decoder = load(build_decoder(**DECODERS[name]), reference.state_dict())
    assert sum(p.numel() for p in decoder.parameters()) == reference.manifest["param_count"]
    entry, stored = reference.case("0")
    inputs = entry["inputs"]
    h, w, prompts = inputs["h"], inputs["w"], inputs["P"]
    random = np.random.RandomState(inputs["seed"])

    def draw(*shape):
        return torch.from_numpy(random.standard_normal(shape).astype(np.float32))

    arguments = {
        "image_embedding": draw(1, 256, h, w),
        "image_pe": draw(1, 256, h, w),
        "sparse": draw(prompts, inputs["S"], 256),
        "dense": draw(prompts, 256, h, w),
        "image_index": torch.zeros(prompts, dtype=torch.long),
    }
    if expand:
        arguments["maps"] = (draw(1, 64 * expand, 4 * h, 4 * w), draw(1, 128 * expand, 2 * h, 2 * w))
    for suffix, multimask in (("", False), ("_multi", True)):
        if f"masks{suffix}" in entry["outputs"]:
            with torch.inference_mode():
                logits, quality = decoder(**arguments, multimask=multimask)
            close(logits, stored[f"masks{suffix}"], entry["outputs"][f"masks{suffix}"])
            close(quality, stored[f"iou{suffix}"], entry["outputs"][f"iou{suffix}"])


def test_necks(golden, close):
    reference = golden("rwkvsam_neck")
    entry, stored = reference.case("0")
    h, w = entry["inputs"]["h"], entry["inputs"]["w"]
    random = np.random.RandomState(entry["inputs"]["seed"])
    stride16, stride32 = (
        torch.from_numpy(random.standard_normal(shape).astype(np.float32))
        for shape in ((1, 192, h, w), (1, 384, h // 2, w // 2))
    )
    neck = load(Neck(channels=192), reference.state_dict(r"^neck\."))
    two = TwoScaleNeck(channels=(192, 384))
    two.load_state_dict({k.removeprefix("neck2."): v for k, v in reference.state_dict(r"^neck2\.").items()})
    with torch.inference_mode():
        close(neck(stride16), stored["proj"], entry["outputs"]["proj"])
        close(two(stride16, stride32), stored["two"], entry["outputs"]["two"])


@pytest.mark.slow
def test_whole_model(golden, close, normal):
    reference = golden("rwkvsam_e2e_small")
    system = create_system("rwkvsam-s").eval()
    linbench.load_official(system, reference.state_dict())
    stored_values = sum(v.numel() for v in system.state_dict().values())
    assert stored_values == reference.manifest["param_count"]
    entry, stored = reference.case("0")
    inputs, outputs = entry["inputs"], entry["outputs"]
    boxes, points = (torch.tensor(inputs[kind], dtype=torch.float32) for kind in ("boxes", "points"))
    labels = torch.ones(len(points), 1, dtype=torch.long)
    with torch.inference_mode():
        embedding = system.encode(normal(inputs["seed"], inputs["shape"]))
        by_box = system.decode(embedding, boxes=boxes)
        by_point = system.decode(embedding, points=points.unsqueeze(1), labels=labels)
        sparse, _ = system.prompt_encoder(frame=embedding.frame, points=points.unsqueeze(1), labels=labels)
    got = {
        "emb__formula": embedding.image,
        "box_masks__formula": by_box[0],
        "box_iou__formula": by_box[1],
        "point_masks__formula": by_point[0],
        "point_iou__formula": by_point[1],
        "point_sparse": sparse,
        "dense_pe": system.prompt_encoder.dense_pe((64, 64)),
    }
    for key, value in got.items():
        close(value, stored[key], outputs[key])


@pytest.mark.parametrize("case_id", "ABC")
def test_preprocessing(golden, close, case_id):
    entry, stored = golden("sam_preprocess").case(case_id)
    inputs, exact = entry["inputs"], entry["json_outputs"]
    image = np.random.RandomState(inputs["seed"]).randint(0, 256, size=inputs["shape"], dtype=np.uint8)
    pixels, framing = frame_image(image, size=1024)
    assert framing.resized == tuple(exact["preprocess_shape"])
    resized = torch.from_numpy(resize(image, *framing.resized).astype(np.float32))
    close(resized, stored["resized_uint8"], entry["outputs"]["resized_uint8"])
    close(pixels.unsqueeze(0), stored["preprocessed"], entry["outputs"]["preprocessed"])
    boxes, points = (torch.tensor(inputs[kind], dtype=torch.float64) for kind in ("boxes", "points"))
    torch.testing.assert_close(framing.boxes_to_frame(boxes), torch.tensor(exact["apply_boxes"], dtype=torch.float64))
    torch.testing.assert_close(framing.to_frame(points), torch.tensor(exact["apply_coords"], dtype=torch.float64))
    float32 = torch.tensor(exact["apply_boxes_torch_float32"])
    torch.testing.assert_close(framing.boxes_to_frame(boxes.float()), float32)
