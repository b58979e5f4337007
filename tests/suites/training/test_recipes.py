import pytest
from linbench.errors import UsageError
from linbench.suites.training.engine import learning_rate
from linbench.suites.training.recipes import DEMO, PAPER, RECIPES, load_recipe


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
    ],
)
def test_unfitting_overrides_are_usage_errors_that_name_the_key(override, word):
    with pytest.raises(UsageError, match=word) as caught:
        load_recipe("demo", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["not toml [", 'base = "nothing"', "unknown = 1"])
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
