"""`bench predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import DataError
from .common import AsJson, Device, Threads, use_threads

app = typer.Typer()


@app.command(
    epilog="**Examples**\n\n"
    "`bench predict photo.jpg --box 10,20,200,300`   one object; demo weights\n\n"
    "`bench predict photo.jpg --point 120,80,1 --point 40,60,0`   this, without that\n\n"
    "`bench predict 'photos/*.jpg' --prompts prompts.json --out masks`   prompts by image name\n\n"
    "`bench predict photos --everything --points-per-side 16`   whatever is there\n\n"
    '`prompts.json`: `{"a.jpg": {"boxes": [[10, 20, 200, 300]]}, "b.jpg": {"points": [[120, 80]], "labels": [1]}}`'
)
def predict(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Files, folders or patterns.")],
    box: Annotated[
        list[str] | None, typer.Option("--box", metavar="X0,Y0,X1,Y1", help="A box in pixels; each is an object.")
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option("--point", metavar="X,Y,LABEL", help="1 on, 0 off the object; all are of one object."),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="JSON file of prompts by image name.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Find everything, by a grid of points.")] = False,
    points_per_side: Annotated[int | None, typer.Option(help="Of the grid (default: 32).")] = None,
    stability: Annotated[float | None, typer.Option(help="Least stability of a mask (default: 0.95).")] = None,
    quality: Annotated[
        float | None, typer.Option(help="Least predicted IoU (default: 0.88; not asked of one-mask decoders).")
    ] = None,
    min_area: Annotated[int | None, typer.Option(help="Remove holes and islands of fewer pixels.")] = None,
    crop_layers: Annotated[int | None, typer.Option(help="Search crops too, 4 in layer 1, 16 in layer 2.")] = None,
    system: Annotated[str, typer.Option(help="System; `bench list systems`.")] = "rwkvsam-t",
    weights: Annotated[
        str | None, typer.Option(help="`demo`, `official` or a checkpoint's path (default: demo, else official).")
    ] = None,
    multimask: Annotated[bool, typer.Option("--multimask", help="Keep all three masks of each object.")] = False,
    choice: Annotated[
        str, typer.Option(help="The mask kept: `single` token's, or `best` of three by predicted IoU.")
    ] = "single",
    frame: Annotated[int, typer.Option(help="Images are scaled into a square of this side.")] = 1024,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("predictions"),
    again: Annotated[bool, typer.Option("--again", help="Predict what is there already, too.")] = False,
    max_bad: Annotated[int, typer.Option(min=0, help="Unusable images to tolerate and leave out.")] = 0,
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    device: Device = "cpu",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Segment your own images by boxes, points or everything: mask PNGs, an overlay and a JSON file for each."""
    from ..predict.options import PredictOptions
    from ..predict.run import predict_images
    from ..terminal import Ticker, show_predictions

    use_threads(threads)
    automatic = {
        "points_per_side": points_per_side,
        "stability_threshold": stability,
        "quality_threshold": quality,
        "min_area": min_area,
        "crop_layers": crop_layers,
    }
    options = PredictOptions(
        images=tuple(images),
        boxes=tuple(box or ()),
        points=tuple(point or ()),
        prompts=prompts,
        everything=everything,
        automatic={name: value for name, value in automatic.items() if value is not None},
        system=system,
        weights=weights,
        multimask=multimask,
        choice=choice,  # type: ignore[arg-type]
        frame=frame,
        out=out.expanduser(),
        device=device,
        dtype=dtype,
        again=again,
    )
    with Ticker() as ticker:
        outcome = predict_images(options, progress=ticker)
    show_predictions(outcome, options.out, as_json)
    if len(outcome.bad) > max_bad or not outcome.rows:
        raise DataError(outcome.complaint())
