import hashlib
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
from linbench.errors import UsageError
from linbench.results.schema import canonical_json
from linbench.suites.training.recipe_values import LATER, recipe_dict
from linbench.suites.training.recipes import DEMO, PAPER, RECIPES, Optimisation, load_recipe
from linbench.suites.training.schedule import learning_rate


def test_the_paper_recipe_has_the_published_values():
    assert (PAPER.frame, PAPER.eval_frame, PAPER.instances) == (1024, 1024, 20)
    loss = PAPER.loss
    assert (loss.bce_weight, loss.dice_weight, loss.points, loss.oversample, loss.importance) == (5, 5, 12544, 3, 0.75)
    assert PAPER.joint.lr == PAPER.distill.lr == 1e-4
    assert PAPER.distill.steps == round(24 * 111_860 / 32)
    assert PAPER.joint.steps == -(-6 * 481_612 // 32)


def test_the_demo_recipe_leaves_time_for_data_and_evaluation_in_ten_minutes():
    assert DEMO.distill.max_minutes + DEMO.joint.max_minutes <= 8


def test_overrides_reach_nested_keys_and_keep_the_rest():
    recipe = load_recipe(
        "demo", ["joint.lr=3e-4", "loss.points=100", "augmentation.resize=[0.5, 1.5]", "layer_scale=none"]
    )
    assert recipe.joint.lr == 3e-4
    assert recipe.loss.points == 100
    assert recipe.augmentation.resize == (0.5, 1.5)
    assert recipe.layer_scale is None
    assert recipe.distill == DEMO.distill


def test_a_file_changes_only_what_it_names(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "paper"\nframe = 512\n[joint]\nsteps = 7\n')
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.frame, recipe.joint.steps) == ("mine", 512, 7)
    assert recipe.joint.lr == PAPER.joint.lr
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_recipe(str(path)) == recipe, "some editors begin a file with a byte order mark"


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("joint.lr", "key=value"),
        ("joint.rate=1", "joint.rate"),
        ("joint.lr=-1", "lr"),
        ("joint.lr=fast", "float"),
        ("frame=100", "multiple of 32"),
        ("frame.deep=1", "too deep"),
        ("precision=fp8", "precision"),
        ("loss.importance=2", "importance"),
        ("augmentation.resize=[2.0, 1.0]", "resize"),
        ("name=other", "name"),
        ("train_prompt_encoder=1", "bool"),
        (f"joint.lr=1{'0' * 400}", "joint.lr"),
        (f"joint.steps=1{'0' * 400}", "joint.steps"),
        ("joint.steps=3\nframe=64", "joint.steps"),
    ],
)
def test_unfitting_overrides_are_usage_errors_that_name_the_key(override, word):
    with pytest.raises(UsageError, match=word) as caught:
        load_recipe("demo", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["not toml [", 'base = "nothing"', "base = []", "base = {a=1}", "unknown = 1", f"[joint]\nlr = {'9' * 400}"],
)
def test_bad_files_are_usage_errors(tmp_path, text):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError):
        load_recipe(str(path))


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(UsageError, match="paper"):
        load_recipe("papr")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_learning_rate_warms_up_and_ends_at_its_floor(recipe):
    stage = recipe.joint
    rates = [learning_rate(stage, step, step / stage.steps) for step in range(stage.steps + 1)]
    assert rates[0] < rates[stage.warmup_steps]
    assert max(rates) <= stage.lr
    assert rates[-1] == pytest.approx(stage.lr * stage.lr_end)


def test_a_straight_schedule_falls_evenly():
    stage = replace(DEMO.joint, steps=100, lr=1.0, lr_end=0.0, warmup_steps=0, schedule="poly")
    assert [learning_rate(stage, step, step / 100) for step in (0, 25, 50, 100)] == pytest.approx([1, 0.75, 0.5, 0])


@dataclass(frozen=True)
class Other:
    """A recipe of another suite."""

    name: str
    size: int
    policy: str
    train: Optimisation
    sides: tuple[int, ...] = (1,)
    mode: Literal["a", "b"] | None = None
    late: float | None = field(default=None, metadata=LATER)


OTHERS = {"small": Other("small", 64, "", DEMO.joint), "large": Other("large", 640, "rand", PAPER.joint)}


def test_recipes_of_other_suites_are_loaded_alike(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "large"\nsides = [2, 3, 4]\n[train]\nema = 0.99\n')
    recipe = load_recipe(str(path), ["size=32", "policy=rand-m9", "mode=b", "train.schedule=poly"], OTHERS)
    assert (recipe.name, recipe.size, recipe.policy, recipe.mode, recipe.sides) == (
        "mine",
        32,
        "rand-m9",
        "b",
        (2, 3, 4),
    )
    assert (recipe.train.ema, recipe.train.schedule, recipe.train.steps) == (0.99, "poly", PAPER.joint.steps)
    assert load_recipe("small", ["mode=none"], OTHERS) == OTHERS["small"]


def test_changes_that_fit_only_together_are_made_together():
    for changes in (["joint.images=64", "joint.images_per_pass=32"], ["joint.images_per_pass=32", "joint.images=64"]):
        assert load_recipe("demo", changes).joint.images_per_pass == 32
    with pytest.raises(UsageError, match="divisor of images=64"):
        load_recipe("demo", ["joint.images=64", "joint.images_per_pass=48"])


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("joint.rate=1", "joint.lr"),
        ("lr=1", "distill.lr or joint.lr"),
        ("joint.warmup_step=1", "joint.warmup_steps"),
        ("los.points=1", "loss.points"),
        ("framee=64", "mean frame"),
        ("joint=3", "joint.steps, joint.max_minutes"),
        ("joint.schedule=line", "cosine, poly"),
        ("joint.ema=much", "joint.ema.* float or none"),
        ("joint.lr=inf", "joint.lr"),
        ("joint.lr=nan", "joint.lr"),
        ("joint.steps=1.5", "joint.steps.* int"),
        ("joint.ema=1.5", "ema.*between 0 and 1"),
    ],
)
def test_unknown_and_ill_typed_keys_name_what_was_meant(override, near):
    with pytest.raises(UsageError, match=near):
        load_recipe("demo", [override])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("imagenet.train.lrr=1", "key 'imagenet.train.lrr'; did you mean imagenet.train.lr\\?"),
        ("imagenet.train=1", "group: imagenet.train.steps, imagenet.train.max_minutes"),
        ("imagenet.odd=1", "here: imagenet.size, imagenet.policy"),
        ("imagenet.size.deep=1", "'imagenet.size' is a single value"),
        ("imagenet.train", "for example imagenet.size="),
        ("imagenet.train.lr=fast", "key 'imagenet.train.lr' got"),
        ("imagenet.train.lr=-1", "imagenet.train: recipe value lr=-1.0"),
    ],
)
def test_keys_with_a_prefix_are_told_as_they_were_typed(override, told):
    assert load_recipe("small", ["imagenet.train.lr=1"], OTHERS, "imagenet.").train.lr == 1
    with pytest.raises(UsageError, match=told):
        load_recipe("small", [override], OTHERS, "imagenet.")


def test_a_file_can_take_a_value_away(tmp_path):
    path = tmp_path / "long.toml"
    # As an editor on Windows writes it.
    path.write_bytes(b'\xef\xbb\xbf[joint]\r\nmax_minutes = "none"\r\n')
    assert load_recipe(str(path)).joint.max_minutes is None
    path.write_text('[joint]\nlr = "none"\n')
    with pytest.raises(UsageError, match=r"joint.lr' got 'none'; expected float"):
        load_recipe(str(path))


def test_fields_that_came_later_are_told_only_where_they_say_something():
    assert not {"schedule", "ema", "images_per_pass"} & set(DEMO.to_dict()["joint"])
    changed = load_recipe("demo", ["joint.ema=0.9"])
    assert changed.to_dict()["joint"]["ema"] == 0.9
    assert recipe_dict(OTHERS["small"])["train"] == DEMO.to_dict()["joint"]
    assert "late" not in recipe_dict(OTHERS["small"])


def test_stored_rows_still_name_the_demo_recipe():
    """The digest that rows in results/ bear."""
    assert hashlib.sha256(canonical_json(DEMO.to_dict()).encode()).hexdigest()[:12] == "730b47646b58"
