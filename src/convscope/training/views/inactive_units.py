"""The share of dead and of saturated units of each layer over the steps."""

from convscope.render.line_plot import draw_heat
from convscope.render.rendered_picture import Picture
from convscope.training.run import TrainingLog
from convscope.training.store import tags
from convscope.training.views.declaration import view
from convscope.training.views.layer_numbers import layer_series, table


@view(
    title="Dead and saturated units",
    asks="Which layers lose units while the network learns?",
    reads="Each row is a layer, from the input at the top; bright is a large share of its channels. A dead channel is "
    "zero for the whole batch, a saturated one nearly always at the limit of its activation function; both pass no "
    "gradient.",
)
def inactive_units(log: TrainingLog) -> list[Picture]:
    """A heat map for each run and kind."""
    pictures = []
    for run in log:
        for kind in (tags.DEAD, tags.SATURATED):
            series = layer_series(run, kind)
            if not series:
                continue
            values, steps = table(series)
            ends = (f"step {steps[0]:,}", f"step {steps[-1]:,}")
            title, legend = f"share of {kind} units · {run.name}", f"black: no unit is {kind}"
            pictures.append(draw_heat(values, title=title, x_ends=ends, y_names=list(series), legend=legend))
    return pictures
